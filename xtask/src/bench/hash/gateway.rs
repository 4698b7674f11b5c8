//! The gateway under measurement: a listener and a cluster for each way to choose a host.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::bench::bootstrap;
use crate::bench::hash::{HOSTS_HEADER, KEY_HEADER};
use crate::workspace::Workspace;

const TYPE: &str = "type.googleapis.com";
/// The header in which our filter names hosts.
const CHOICE_HEADER: &str = "x-upstream-candidates";
const POLICIES: &str = "type.googleapis.com/envoy.extensions.load_balancing_policies";

/// A way to choose a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Envoy's `round_robin`.
    RoundRobin,
    /// Envoy's `ring_hash`.
    RingHash,
    /// Envoy's `maglev`.
    Maglev,
    /// `round_robin` behind a module that does nothing.
    NoOp,
    /// `override_host` by a header that the client sends: what the policy itself costs.
    Override,
    /// `override_host` by a header that Envoy's `header_mutation` writes.
    Mutation,
    /// `override_host` by the client's header behind a module that does nothing: what no filter that
    /// chooses a host in this way can be below.
    NoOpOverride,
    /// Our key for Envoy's `maglev`.
    HashKey,
    /// Our rendezvous hashing, `override_host`.
    Rendezvous,
    /// Our Maglev, `override_host`.
    OurMaglev,
    /// Our rendezvous hashing with bounded load.
    Bounded,
}

impl Way {
    /// What it is called.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::RingHash => "ring_hash",
            Self::Maglev => "maglev",
            Self::NoOp => "round_robin, wasm that does nothing",
            Self::Override => "override_host, the client's header",
            Self::Mutation => "override_host, header_mutation's",
            Self::NoOpOverride => "override_host, wasm that does nothing",
            Self::HashKey => "our key, native maglev",
            Self::Rendezvous => "our rendezvous, override_host",
            Self::OurMaglev => "our maglev, override_host",
            Self::Bounded => "our rendezvous, bounded load",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::RingHash => "ring_hash",
            Self::Maglev => "maglev",
            Self::NoOp => "no_op",
            Self::Override => "override",
            Self::Mutation => "mutation",
            Self::NoOpOverride => "no_op_override",
            Self::HashKey => "hash_key",
            Self::Rendezvous => "rendezvous",
            Self::OurMaglev => "our_maglev",
            Self::Bounded => "bounded",
        }
    }

    fn policy(self) -> Value {
        match self {
            Self::RoundRobin | Self::NoOp => policy("round_robin.v3.RoundRobin", json!({})),
            Self::RingHash => policy("ring_hash.v3.RingHash", json!({})),
            Self::Maglev | Self::HashKey => policy("maglev.v3.Maglev", json!({})),
            Self::Override | Self::NoOpOverride => override_host(HOSTS_HEADER),
            Self::Mutation | Self::Rendezvous | Self::OurMaglev | Self::Bounded => {
                override_host(CHOICE_HEADER)
            }
        }
    }

    fn filters(self, workspace: &Workspace, hosts: &[SocketAddr]) -> Vec<Value> {
        let hosts = || -> Value {
            let hosts = hosts
                .iter()
                .map(|host| json!({ "address": host.to_string() }));
            hosts.collect()
        };
        let key = json!([{ "header": KEY_HEADER }]);
        let config = match self {
            Self::RoundRobin | Self::RingHash | Self::Maglev | Self::Override => return Vec::new(),
            Self::NoOp | Self::NoOpOverride => {
                let nothing = json!(0);
                return vec![bootstrap::ours(
                    workspace,
                    "bench_guest",
                    self.name(),
                    &nothing,
                )];
            }
            Self::Mutation => {
                let header =
                    json!({ "key": CHOICE_HEADER, "value": format!("%REQ({HOSTS_HEADER})%") });
                let set =
                    json!({ "header": header, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD" });
                return vec![bootstrap::native(
                    "envoy.filters.http.header_mutation",
                    "header_mutation.v3.HeaderMutation",
                    json!({ "mutations": { "request_mutations": [{ "append": set }] } }),
                )];
            }
            Self::HashKey => json!({ "key": key, "steer": { "hash_key": { "header": "x-hash" } } }),
            Self::Rendezvous => json!({ "key": key, "hosts": hosts(), "algorithm": "rendezvous" }),
            Self::OurMaglev => {
                json!({ "key": key, "hosts": hosts(), "algorithm": { "maglev": {} } })
            }
            Self::Bounded => json!({ "key": key, "hosts": hosts(), "bounded_load": {} }),
        };
        vec![bootstrap::ours(
            workspace,
            "consistent_hash",
            self.name(),
            &config,
        )]
    }

    fn route(self) -> Value {
        let by = |header: &str| json!([{ "header": { "header_name": header } }]);
        match self {
            Self::RingHash | Self::Maglev => {
                json!({ "cluster": self.name(), "hash_policy": by(KEY_HEADER) })
            }
            Self::HashKey => json!({ "cluster": self.name(), "hash_policy": by("x-hash") }),
            _ => json!({ "cluster": self.name() }),
        }
    }
}

fn policy(message: &str, mut config: Value) -> Value {
    config["@type"] = json!(format!("{POLICIES}.{message}"));
    let name = message.split('.').next();
    json!({ "policies": [{ "typed_extension_config": { "name": name, "typed_config": config } }] })
}

/// The policy that goes through the hosts in a header.
fn override_host(header: &str) -> Value {
    let config = json!({
        "override_host_sources": [{ "header": header }],
        "fallback_policy": policy("round_robin.v3.RoundRobin", json!({})),
    });
    policy("override_host.v3.OverrideHost", config)
}

/// Writes the bootstrap and returns its path.
pub(crate) fn write(
    workspace: &Workspace,
    admin: SocketAddr,
    rows: &[(Way, SocketAddr)],
    hosts: &[SocketAddr],
) -> Result<PathBuf> {
    let listeners: Vec<Value> = rows
        .iter()
        .map(|(way, address)| listener(workspace, *way, *address, hosts))
        .collect();
    let clusters: Vec<Value> = rows.iter().map(|(way, _)| cluster(*way, hosts)).collect();
    let bootstrap = json!({
        "admin": { "address": socket(admin) },
        "static_resources": { "listeners": listeners, "clusters": clusters },
    });
    let file = workspace.target("bench/hash-envoy.json");
    std::fs::write(&file, format!("{bootstrap:#}\n"))
        .with_context(|| format!("can't write {}", file.display()))?;
    Ok(file)
}

fn listener(workspace: &Workspace, way: Way, address: SocketAddr, hosts: &[SocketAddr]) -> Value {
    let mut filters = way.filters(workspace, hosts);
    filters.push(bootstrap::native(
        "envoy.filters.http.router",
        "router.v3.Router",
        json!({}),
    ));
    let manager = format!(
        "{TYPE}/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    );
    json!({
        "name": way.name(),
        "address": socket(address),
        "filter_chains": [{ "filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": manager,
                "stat_prefix": way.name(),
                "http_filters": filters,
                "route_config": { "virtual_hosts": [{
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{ "match": { "prefix": "/" }, "route": way.route() }],
                }] },
            },
        }] }],
    })
}

fn cluster(way: Way, hosts: &[SocketAddr]) -> Value {
    let endpoints: Vec<Value> = hosts
        .iter()
        .map(|host| json!({ "endpoint": { "address": socket(*host) } }))
        .collect();
    json!({
        "name": way.name(),
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_balancing_policy": way.policy(),
        "load_assignment": {
            "cluster_name": way.name(),
            "endpoints": [{ "lb_endpoints": endpoints }],
        },
    })
}

fn socket(address: SocketAddr) -> Value {
    let ip = address.ip().to_string();
    json!({ "socket_address": { "address": ip, "port_value": address.port() } })
}
