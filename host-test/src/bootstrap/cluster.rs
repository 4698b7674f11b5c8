//! Clusters: their endpoints and how one is chosen.

use std::time::Duration;

use super::balancing::{Balancing, BalancingFields};
use super::fields::{Fields, Problems};
use super::problem::{Place, nearest};
use super::protocol::Protocol;
use super::resilience::{HealthCheck, Limits, Outlier, PANIC, panic_threshold};
use super::scalar::Address;
use super::yaml::Node;

/// Envoy's `Cluster`.
#[derive(Clone, Debug, PartialEq)]
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
    /// Of an `ORIGINAL_DST` cluster: the header, lower case, that names the address to go to.
    pub destination_header: Option<String>,
    /// How much of it may be in use at once.
    pub limits: Limits,
    /// How it is looked whether endpoints are up.
    pub health_checks: Vec<HealthCheck>,
    /// When endpoints that answer badly are left out.
    pub outlier: Option<Outlier>,
    /// The share of healthy endpoints, in percent, below which health is ignored.
    pub panic_threshold: f64,
    /// What is spoken to it.
    pub protocol: Protocol,
    /// Where it stands in the file.
    pub at: Place,
}

/// How the addresses of endpoints are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// Names; each connection goes to the first address.
    LogicalDns,
    /// None: a header of the request names the address.
    OriginalDst,
    /// IP addresses.
    Static,
    /// Names; every address of every name is an endpoint.
    StrictDns,
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
        let balancing = BalancingFields::take(&mut fields);
        let destination = fields.take("original_dst_lb_config");
        let breakers = fields.take("circuit_breakers");
        let checks = fields.take("health_checks");
        let outlier = fields.take("outlier_detection");
        let common = fields.take("common_lb_config");
        let protocol = Protocol::take(&mut fields);
        let timeout = fields.take("connect_timeout");
        let refresh = fields.take("dns_refresh_rate");
        let family = fields.take("dns_lookup_family");
        let load_assignment = fields.take("load_assignment");
        let at = fields.at;
        fields.finish(&UNSUPPORTED);
        let discovery = match discovery {
            Some(node) => problems.choice(node, "type", &DISCOVERIES, &["EDS"])?,
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
        let balancing = balancing.read(problems);
        if (discovery == Discovery::OriginalDst) != (balancing == Balancing::Provided) {
            let message = "the load balancer of an ORIGINAL_DST cluster, and of no other, must be \
                           CLUSTER_PROVIDED";
            problems.malformed(at, message);
        }
        let destination_header = match (discovery, destination) {
            (Discovery::OriginalDst, node) => Some(destination_header(node, at, problems)?),
            (_, Some(node)) => {
                let message = "original_dst_lb_config is for ORIGINAL_DST clusters";
                problems.malformed(node.at, message);
                None
            }
            _ => None,
        };
        let health_checks: Vec<HealthCheck> = checks
            .map_or(&[][..], |node| problems.list(node, "health_checks"))
            .iter()
            .filter_map(|node| HealthCheck::read(node, problems))
            .collect();
        if let (Some(node), true) = (checks, health_checks.len() > 1) {
            problems.unsupported(
                node.at,
                "a second health check is not supported by this gateway",
            );
        }
        let duration = |node: Option<&Node>, what, default| match node {
            Some(node) => problems.duration(node, what),
            None => Some(default),
        };
        Some(Self {
            name: problems.string(name?, "name")?,
            discovery,
            balancing,
            endpoints,
            connect_timeout: duration(timeout, "connect_timeout", CONNECT_TIMEOUT)?,
            refresh: duration(refresh, "dns_refresh_rate", REFRESH)?.max(Duration::from_millis(1)),
            family: match family {
                Some(node) => problems.choice(node, "dns_lookup_family", &FAMILIES, &[])?,
                None => Family::Auto,
            },
            destination_header,
            limits: match breakers {
                Some(node) => Limits::read(node, problems)?,
                None => Limits::default(),
            },
            health_checks,
            outlier: match outlier {
                Some(node) => Some(Outlier::read(node, problems)?),
                None => None,
            },
            panic_threshold: match common {
                Some(node) => panic_threshold(node, problems)?,
                None => PANIC,
            },
            protocol,
            at,
        })
    }

    /// Whether another one is the same but for its place in the file.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let there = Self {
            at: self.at,
            ..other.clone()
        };
        *self == there
    }
}

/// Reads `original_dst_lb_config`, without which the destination is that of the client's
/// connection: nothing that a gateway on a laptop has.
fn destination_header(node: Option<&Node>, at: Place, problems: &Problems) -> Option<String> {
    let mut on = None;
    let mut name = None;
    if let Some(node) = node {
        let mut fields = Fields::of(node, "original_dst_lb_config", problems)?;
        on = fields.take("use_http_header");
        name = fields.take("http_header_name");
        fields.finish(&["upstream_port_override", "metadata_key"]);
    }
    if on.is_none_or(|node| problems.boolean(node, "use_http_header") != Some(true)) {
        let message = "an ORIGINAL_DST cluster without `original_dst_lb_config: {use_http_header: \
                       true}` is not supported by this gateway";
        problems.unsupported(at, message);
        return None;
    }
    let name = match name {
        Some(node) => problems
            .string(node, "http_header_name")?
            .to_ascii_lowercase(),
        None => String::new(),
    };
    Some(if name.is_empty() {
        "x-envoy-original-dst-host".to_owned()
    } else {
        name
    })
}

const DISCOVERIES: [(&str, Discovery); 4] = [
    ("ORIGINAL_DST", Discovery::OriginalDst),
    ("STATIC", Discovery::Static),
    ("STRICT_DNS", Discovery::StrictDns),
    ("LOGICAL_DNS", Discovery::LogicalDns),
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

const UNSUPPORTED: [&str; 38] = [
    "transport_socket_matches",
    "transport_socket_matcher",
    "alt_stat_name",
    "stats_matcher",
    "cluster_type",
    "eds_cluster_config",
    "per_connection_buffer_limit_bytes",
    "per_connection_buffer_high_watermark_timeout",
    "max_requests_per_connection",
    "upstream_http_protocol_options",
    "common_http_protocol_options",
    "http_protocol_options",
    "dns_jitter",
    "dns_failure_refresh_rate",
    "respect_dns_ttl",
    "dns_resolvers",
    "use_tcp_for_dns_lookups",
    "dns_resolution_config",
    "typed_dns_resolver_config",
    "wait_for_warm_on_init",
    "cleanup_interval",
    "upstream_bind_config",
    "lb_subset_config",
    "transport_socket",
    "metadata",
    "protocol_selection",
    "upstream_connection_options",
    "close_connections_on_host_health_failure",
    "ignore_health_on_host_removal",
    "filters",
    "lrs_server",
    "lrs_report_endpoint_metrics",
    "track_timeout_budgets",
    "upstream_config",
    "track_cluster_stats",
    "preconnect_policy",
    "connection_pool_per_downstream_connection",
    "queuing_policies",
];
