//! The filter-state objects that `set_envoy_filter_state` can make in Envoy 1.40.

use std::net::{IpAddr, SocketAddr};

/// Whether Envoy has a factory of that name, and if so whether it takes the value.
pub(crate) fn accepts(path: &str, value: &[u8]) -> Option<bool> {
    let text = std::str::from_utf8(value);
    Some(match path {
        "envoy.string"
        | "envoy.hashable_string"
        | "envoy.upstream.dynamic_host"
        | "envoy.network.upstream_server_name"
        | "envoy.network.application_protocols"
        | "envoy.network.upstream_subject_alt_names"
        | "envoy.network.network_namespace"
        | "envoy.tcp_proxy.cluster" => true,
        // Envoy 1.40 takes 70000 for a port, too.
        "envoy.upstream.dynamic_port" | "envoy.ratelimit.hits_addend" => {
            text.is_ok_and(|text| text.parse::<u32>().is_ok())
        }
        "envoy.network.ip" => text.is_ok_and(|text| text.parse::<IpAddr>().is_ok()),
        "envoy.network.transport_socket.original_dst_address"
        | "envoy.filters.listener.original_dst.local_ip" => {
            text.is_ok_and(|text| text.parse::<SocketAddr>().is_ok())
        }
        _ => return None,
    })
}
