//! Clusters: their endpoints and how one is chosen.

use std::time::Duration;

use super::fields::{Fields, Problems};
use super::problem::{Place, nearest};
use super::scalar::Address;
use super::yaml::Node;

/// Envoy's `Cluster`.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Name that routes and callouts use.
    pub name: String,
    /// How the endpoints' addresses are found.
    pub discovery: Discovery,
    /// How one is chosen.
    pub balancing: Balancing,
    /// Hosts and ports as written.
    pub endpoints: Vec<(String, u16)>,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How often names are looked up again.
    pub refresh: Duration,
    /// Which addresses of a name are taken.
    pub family: Family,
    /// Where it stands in the file.
    pub at: Place,
}

/// How the addresses of endpoints are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// Names; each connection goes to the first address.
    LogicalDns,
    /// IP addresses.
    Static,
    /// Names; every address of every name is an endpoint.
    StrictDns,
}

/// How an endpoint is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balancing {
    /// The less busy one of two at random.
    LeastRequest,
    /// Any.
    Random,
    /// Each in turn.
    RoundRobin,
}

/// Which addresses of a name are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv6 if there is one, else IPv4. Envoy's default.
    Auto,
    /// IPv4 alone.
    V4,
    /// IPv4 if there is one, else IPv6.
    V4Preferred,
    /// IPv6 alone.
    V6,
    /// Both.
    All,
}

/// A cluster's name where it is used.
#[derive(Clone, Debug)]
pub struct ClusterName {
    /// The name.
    pub name: String,
    /// Where it stands.
    pub(crate) at: Place,
}

/// Envoy's default of `connect_timeout`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Envoy's default of `dns_refresh_rate`.
const REFRESH: Duration = Duration::from_secs(5);

impl ClusterName {
    pub(crate) fn read(node: &Node, problems: &Problems) -> Option<Self> {
        Some(Self {
            name: problems.string(node, "a cluster's name")?,
            at: node.at,
        })
    }

    /// Reports a name that no cluster has.
    pub(crate) fn check(&self, clusters: &[Cluster], problems: &Problems) {
        if clusters.iter().any(|cluster| cluster.name == self.name) {
            return;
        }
        let names: Vec<&str> = clusters.iter().map(|c| c.name.as_str()).collect();
        let hint = nearest(&self.name, &names)
            .map(|name| format!("; did you mean `{name}`?"))
            .unwrap_or_default();
        let message = format!("there is no cluster `{}`{hint}", self.name);
        problems.malformed(self.at, message);
    }
}

impl Cluster {
    pub(crate) fn read(node: &Node, problems: &Problems) -> Option<Self> {
        let mut fields = Fields::of(node, "a cluster", problems)?;
        let name = fields.require("name");
        let discovery = fields.take("type");
        let balancing = fields.take("lb_policy");
        let timeout = fields.take("connect_timeout");
        let refresh = fields.take("dns_refresh_rate");
        let family = fields.take("dns_lookup_family");
        let load_assignment = fields.take("load_assignment");
        let at = fields.at;
        fields.finish(&UNSUPPORTED);
        let discovery = match discovery {
            Some(node) => problems.choice(node, "type", &DISCOVERIES, &["EDS", "ORIGINAL_DST"])?,
            None => Discovery::Static,
        };
        let endpoints = match load_assignment {
            Some(node) => load_assignment_of(node, discovery, problems)?,
            None => Vec::new(),
        };
        if discovery == Discovery::LogicalDns && endpoints.len() != 1 {
            let message = "a LOGICAL_DNS cluster must have exactly one endpoint";
            problems.malformed(at, message);
        }
        let duration = |node: Option<&Node>, what, default| match node {
            Some(node) => problems.duration(node, what),
            None => Some(default),
        };
        Some(Self {
            name: problems.string(name?, "name")?,
            discovery,
            balancing: match balancing {
                // An unsupported policy is passed over by `--lenient`: any choice is a choice.
                Some(node) => problems
                    .choice(node, "lb_policy", &BALANCINGS, &OTHER_BALANCINGS)
                    .unwrap_or(Balancing::RoundRobin),
                None => Balancing::RoundRobin,
            },
            endpoints,
            connect_timeout: duration(timeout, "connect_timeout", CONNECT_TIMEOUT)?,
            refresh: duration(refresh, "dns_refresh_rate", REFRESH)?.max(Duration::from_millis(1)),
            family: match family {
                Some(node) => problems.choice(node, "dns_lookup_family", &FAMILIES, &[])?,
                None => Family::Auto,
            },
            at,
        })
    }
}

const DISCOVERIES: [(&str, Discovery); 3] = [
    ("STATIC", Discovery::Static),
    ("STRICT_DNS", Discovery::StrictDns),
    ("LOGICAL_DNS", Discovery::LogicalDns),
];

const BALANCINGS: [(&str, Balancing); 3] = [
    ("ROUND_ROBIN", Balancing::RoundRobin),
    ("LEAST_REQUEST", Balancing::LeastRequest),
    ("RANDOM", Balancing::Random),
];

const OTHER_BALANCINGS: [&str; 4] = [
    "RING_HASH",
    "MAGLEV",
    "CLUSTER_PROVIDED",
    "LOAD_BALANCING_POLICY_CONFIG",
];

const FAMILIES: [(&str, Family); 5] = [
    ("AUTO", Family::Auto),
    ("V4_ONLY", Family::V4),
    ("V6_ONLY", Family::V6),
    ("V4_PREFERRED", Family::V4Preferred),
    ("ALL", Family::All),
];

fn load_assignment_of(
    node: &Node,
    discovery: Discovery,
    problems: &Problems,
) -> Option<Vec<(String, u16)>> {
    let mut fields = Fields::of(node, "a load_assignment", problems)?;
    fields.require("cluster_name");
    let localities = fields.take("endpoints");
    fields.finish(&["named_endpoints", "policy"]);
    let mut endpoints = Vec::new();
    for node in localities.map_or(&[][..], |node| problems.list(node, "endpoints")) {
        let Some(mut fields) = Fields::of(node, "an entry of `endpoints`", problems) else {
            continue;
        };
        let hosts = fields.take("lb_endpoints");
        fields.finish(&[
            "locality",
            "metadata",
            "load_balancer_endpoints",
            "leds_cluster_locality_config",
            "load_balancing_weight",
            "priority",
            "proximity",
        ]);
        for node in hosts.map_or(&[][..], |node| problems.list(node, "lb_endpoints")) {
            let Some(address) = endpoint(node, problems) else {
                continue;
            };
            if discovery == Discovery::Static {
                address.socket(problems);
            }
            endpoints.push((address.host, address.port));
        }
    }
    Some(endpoints)
}

fn endpoint(node: &Node, problems: &Problems) -> Option<Address> {
    let mut fields = Fields::of(node, "an entry of `lb_endpoints`", problems)?;
    let endpoint = fields.require("endpoint");
    fields.finish(&[
        "endpoint_name",
        "health_status",
        "metadata",
        "load_balancing_weight",
    ]);
    let mut fields = Fields::of(endpoint?, "an endpoint", problems)?;
    let address = fields.require("address");
    fields.finish(&[
        "health_check_config",
        "hostname",
        "additional_addresses",
        "observability_name",
    ]);
    problems.address(address?, "an address")
}

const UNSUPPORTED: [&str; 50] = [
    "transport_socket_matches",
    "transport_socket_matcher",
    "alt_stat_name",
    "stats_matcher",
    "cluster_type",
    "eds_cluster_config",
    "per_connection_buffer_limit_bytes",
    "per_connection_buffer_high_watermark_timeout",
    "health_checks",
    "max_requests_per_connection",
    "circuit_breakers",
    "upstream_http_protocol_options",
    "common_http_protocol_options",
    "http_protocol_options",
    "http2_protocol_options",
    "typed_extension_protocol_options",
    "dns_jitter",
    "dns_failure_refresh_rate",
    "respect_dns_ttl",
    "dns_resolvers",
    "use_tcp_for_dns_lookups",
    "dns_resolution_config",
    "typed_dns_resolver_config",
    "wait_for_warm_on_init",
    "outlier_detection",
    "cleanup_interval",
    "upstream_bind_config",
    "lb_subset_config",
    "ring_hash_lb_config",
    "maglev_lb_config",
    "original_dst_lb_config",
    "least_request_lb_config",
    "round_robin_lb_config",
    "common_lb_config",
    "transport_socket",
    "metadata",
    "protocol_selection",
    "upstream_connection_options",
    "close_connections_on_host_health_failure",
    "ignore_health_on_host_removal",
    "filters",
    "load_balancing_policy",
    "lrs_server",
    "lrs_report_endpoint_metrics",
    "track_timeout_budgets",
    "upstream_config",
    "track_cluster_stats",
    "preconnect_policy",
    "connection_pool_per_downstream_connection",
    "queuing_policies",
];
