//! Listeners: an address, one filter chain, one connection manager in it.

use std::net::SocketAddr;

use super::any::type_of;
use super::connection_manager::ConnectionManager;
use super::fields::{Fields, Problems};
use super::problem::Place;
use super::yaml::Node;

/// Envoy's `Listener`.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Name in messages; the address if the file gives none.
    pub name: String,
    /// Where it listens; port 0 is any free one.
    pub address: SocketAddr,
    /// Its one filter.
    pub manager: ConnectionManager,
    /// Where it stands in the file.
    pub at: Place,
}

const MANAGER: &str =
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

impl Listener {
    pub(crate) fn read(node: &Node, problems: &Problems) -> Option<Self> {
        let mut fields = Fields::of(node, "a listener", problems)?;
        let name = fields.take("name");
        let address = fields.require("address");
        let chains = fields.require("filter_chains");
        let at = fields.at;
        fields.finish(&UNSUPPORTED);
        let address = address
            .and_then(|node| problems.address(node, "an address"))
            .and_then(|address| address.socket(problems));
        let manager = chains.and_then(|node| {
            let chain = only(node, "filter_chains", "filter chain", problems)?;
            filter_chain(chain, problems)
        });
        let name = name.and_then(|node| problems.string(node, "name"));
        let address = address?;
        Some(Self {
            name: name.unwrap_or_else(|| address.to_string()),
            address,
            manager: manager?,
            at,
        })
    }
}

fn filter_chain(node: &Node, problems: &Problems) -> Option<ConnectionManager> {
    let mut fields = Fields::of(node, "a filter chain", problems)?;
    let filters = fields.require("filters");
    fields.take("name");
    fields.finish(&[
        "filter_chain_match",
        "use_proxy_proto",
        "metadata",
        "transport_socket",
        "transport_socket_connect_timeout",
    ]);
    let filter = only(filters?, "filters", "network filter", problems)?;
    let mut fields = Fields::of(filter, "a network filter", problems)?;
    fields.require("name");
    let config = fields.require("typed_config");
    fields.finish(&["config_discovery"]);
    let mut fields = Fields::of(config?, "http_connection_manager", problems)?;
    let kind = type_of(&mut fields)?;
    if kind.name != MANAGER {
        let message = format!(
            "a network filter of type `{}` is not supported by this gateway; supported: {MANAGER}",
            kind.name
        );
        problems.unsupported(kind.at, message);
        return None;
    }
    ConnectionManager::read(fields)
}

/// The one item of a list that may hold more in Envoy.
fn only<'d>(node: &'d Node, field: &str, what: &str, problems: &Problems) -> Option<&'d Node> {
    let items = problems.list(node, field);
    if let Some(second) = items.get(1) {
        let message = format!("a second {what} is not supported by this gateway");
        problems.unsupported(second.at, message);
    }
    if items.is_empty() {
        problems.malformed(node.at, format!("{field} needs a {what}"));
    }
    items.first()
}

const UNSUPPORTED: [&str; 32] = [
    "additional_addresses",
    "stat_prefix",
    "stats_matcher",
    "fcds_config",
    "filter_chain_matcher",
    "use_original_dst",
    "default_filter_chain",
    "per_connection_buffer_limit_bytes",
    "per_connection_buffer_high_watermark_timeout",
    "metadata",
    "deprecated_v1",
    "drain_type",
    "listener_filters",
    "listener_filters_timeout",
    "continue_on_listener_filters_timeout",
    "transparent",
    "freebind",
    "socket_options",
    "tcp_fast_open_queue_length",
    "traffic_direction",
    "udp_listener_config",
    "api_listener",
    "connection_balance_config",
    "reuse_port",
    "enable_reuse_port",
    "access_log",
    "tcp_backlog_size",
    "max_connections_to_accept_per_socket_event",
    "bind_to_port",
    "internal_listener",
    "enable_mptcp",
    "ignore_global_conn_limit",
];
