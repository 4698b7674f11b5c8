//! What the workers share: the bootstrap with its plugins loaded, and where things go.

use std::sync::Arc;

use super::access_log::Target;
use super::host::Group;
use super::native::Natives;
use super::plugins::Plugins;
use super::router::{Found, Router};
use crate::bootstrap::{
    Bootstrap, Cluster, DisabledFilter, HeaderMutation, Listener, NativeFilter, Route, RouteAction,
    VirtualHost, WasmFilter,
};
use crate::inspector::Inspector;
use crate::worker::Environment;

/// The configuration of all workers.
pub(super) struct Config {
    pub(super) bootstrap: Bootstrap,
    /// In the order of the bootstrap.
    pub(super) listeners: Vec<ListenerConfig>,
    pub(super) plugins: Plugins,
    /// In the order of the bootstrap's clusters.
    pub(super) groups: Vec<Arc<Group>>,
    pub(super) environment: Environment,
    pub(super) hostname: String,
    /// `None` unless it is asked for.
    pub(super) inspector: Option<Arc<Inspector>>,
}

/// What is prepared for a listener.
pub(super) struct ListenerConfig {
    pub(super) router: Router,
    /// Positions of the plugins that a request without a route passes.
    chain: Vec<usize>,
    natives: Natives,
    /// By virtual host and route.
    routes: Vec<Vec<RouteConfig>>,
    pub(super) logs: Vec<Target>,
}

/// What is prepared for a route.
struct RouteConfig {
    /// Positions of the plugins that a request passes.
    chain: Vec<usize>,
    natives: Natives,
    /// Positions of the clusters that it may go to.
    clusters: Vec<usize>,
}

impl Config {
    /// The position of a cluster.
    pub(super) fn cluster(&self, name: &str) -> Option<usize> {
        let clusters = &self.bootstrap.clusters;
        clusters.iter().position(|cluster| cluster.name == name)
    }
}

impl ListenerConfig {
    /// Prepares a listener; `plugins` are the positions of its filters' plugins.
    pub(super) fn new(
        listener: &Listener,
        plugins: &[usize],
        clusters: &[Cluster],
    ) -> Result<Self, String> {
        let manager = &listener.manager;
        let chain = |switches: &[&[DisabledFilter]]| -> Vec<usize> {
            let on = |(filter, plugin): (&WasmFilter, &usize)| {
                is_on(&filter.name, filter.disabled, switches).then_some(*plugin)
            };
            manager.filters.iter().zip(plugins).filter_map(on).collect()
        };
        let natives = |switches: &[&[DisabledFilter]], levels: &[&[(String, HeaderMutation)]]| {
            let on = |filter: &NativeFilter| is_on(&filter.name, filter.disabled, switches);
            Natives::new(&manager.natives, on, levels)
        };
        let position = |name: &str| clusters.iter().position(|cluster| cluster.name == name);
        let route = |host: &VirtualHost, route: &Route| RouteConfig {
            chain: chain(&[&route.disabled_filters, &host.disabled_filters]),
            natives: natives(
                &[&route.disabled_filters, &host.disabled_filters],
                &[&route.header_mutations, &host.header_mutations],
            ),
            clusters: match &route.action {
                RouteAction::Forward(forward) => {
                    let names = forward.clusters.iter();
                    names.filter_map(|(name, _)| position(&name.name)).collect()
                }
                RouteAction::Direct { .. } | RouteAction::Redirect(_) => Vec::new(),
            },
        };
        let hosts = manager.routes.virtual_hosts.iter();
        let logs = manager.access_logs.iter().map(Target::open);
        Ok(Self {
            router: Router::new(&manager.routes),
            chain: chain(&[]),
            natives: natives(&[], &[]),
            routes: hosts
                .map(|host| host.routes.iter().map(|r| route(host, r)).collect())
                .collect(),
            logs: logs.collect::<Result<_, _>>()?,
        })
    }

    fn route(&self, found: Found) -> Option<&RouteConfig> {
        self.routes.get(found.host)?.get(found.route)
    }

    /// The plugins that a request passes, in order.
    pub(super) fn chain(&self, found: Option<Found>) -> &[usize] {
        let route = found.and_then(|found| self.route(found));
        route.map_or(&self.chain, |route| &route.chain)
    }

    /// Envoy's own filters that a request passes.
    pub(super) fn natives(&self, found: Option<Found>) -> &Natives {
        let route = found.and_then(|found| self.route(found));
        route.map_or(&self.natives, |route| &route.natives)
    }

    /// The clusters that a request may go to.
    pub(super) fn targets(&self, found: Found) -> &[usize] {
        self.route(found).map_or(&[], |route| &route.clusters)
    }
}

/// Whether a filter takes part, by the switches of the levels of a route, the most specific first: the
/// first that names it decides.
fn is_on(name: &str, disabled: bool, switches: &[&[DisabledFilter]]) -> bool {
    let mut named = switches
        .iter()
        .flat_map(|level| level.iter())
        .filter(|switch| switch.name == name);
    !named.next().map_or(disabled, |switch| switch.disabled)
}
