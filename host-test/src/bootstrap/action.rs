//! What a route does with a request: forward it, redirect it, or answer it.

use std::time::Duration;

use super::cluster::ClusterName;
use super::fields::{Fields, Problems};
use super::hash_policy::HashPolicy;
use super::retry::RetryPolicy;
use super::source::data_source;
use super::yaml::Node;

/// What is done with a request.
#[derive(Clone, Debug)]
pub enum RouteAction {
    /// Answered at once.
    Direct {
        /// From 200 to 599.
        status: u16,
        /// May be empty.
        body: Vec<u8>,
    },
    /// Sent on.
    Forward(Forward),
    /// Answered with a `location`.
    Redirect(Redirect),
}

/// Envoy's `RouteAction`.
#[derive(Clone, Debug)]
pub struct Forward {
    /// Clusters with weights; a single one has any weight. Empty if a header names the cluster.
    pub clusters: Vec<(ClusterName, u32)>,
    /// Replaces the matched prefix or path.
    pub prefix_rewrite: Option<String>,
    /// Replaces `:authority`.
    pub host_rewrite: Option<String>,
    /// From the end of the request to the end of the response; zero is none.
    pub timeout: Duration,
    /// The header, lower case, that names the cluster.
    pub cluster_header: Option<String>,
    /// Status of the answer if there is no such cluster.
    pub not_found_status: u16,
    /// Overrides the virtual host's.
    pub retry: Option<RetryPolicy>,
    /// What hashing load balancers go by.
    pub hash: Vec<HashPolicy>,
}

/// Envoy's `RedirectAction`.
#[derive(Clone, Debug)]
pub struct Redirect {
    /// Replaces the scheme.
    pub scheme: Option<String>,
    /// Replaces the host.
    pub host: Option<String>,
    /// Replaces the port.
    pub port: Option<u16>,
    /// Replaces the path or its matched prefix.
    pub path: RedirectPath,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// Whether the query is left out.
    pub strip_query: bool,
}

/// How a redirect changes the path.
#[derive(Clone, Debug)]
pub enum RedirectPath {
    /// Left as it is.
    Keep,
    /// Replaced; a query of its own replaces the request's.
    Path(String),
    /// The matched prefix is replaced.
    Prefix(String),
}

/// Envoy's default of a route's `timeout`.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);

impl Forward {
    pub(super) fn read(node: &Node, problems: &Problems) -> Option<Self> {
        let mut fields = Fields::of(node, "a route action", problems)?;
        let target = fields.require_one(&["cluster", "weighted_clusters", "cluster_header"]);
        let not_found = fields.take("cluster_not_found_response_code");
        let retry = fields.take("retry_policy");
        let hash = fields.take("hash_policy");
        let prefix_rewrite = fields.take("prefix_rewrite");
        let host_rewrite = fields.take("host_rewrite_literal");
        let timeout = fields.take("timeout");
        fields.finish(&UNSUPPORTED_IN_ACTION);
        let clusters = match target {
            Some(("cluster", node, _)) => vec![(ClusterName::read(node, problems)?, 1)],
            Some(("cluster_header", ..)) => Vec::new(),
            Some((_, node, _)) => weighted_clusters(node, problems)?,
            None => return None,
        };
        let cluster_header = match target {
            Some((name @ "cluster_header", node, _)) => {
                Some(problems.string(node, name)?.to_ascii_lowercase())
            }
            _ => None,
        };
        let text = |node: Option<&Node>, name| node.and_then(|node| problems.string(node, name));
        Some(Self {
            clusters,
            prefix_rewrite: text(prefix_rewrite, "prefix_rewrite"),
            host_rewrite: text(host_rewrite, "host_rewrite_literal"),
            timeout: match timeout {
                Some(node) => problems.duration(node, "timeout")?,
                None => DEFAULT_TIMEOUT,
            },
            cluster_header,
            not_found_status: match not_found {
                Some(node) => problems.choice(
                    node,
                    "cluster_not_found_response_code",
                    &NOT_FOUND_STATUSES,
                    &[],
                )?,
                None => 503,
            },
            retry: match retry {
                Some(node) => Some(RetryPolicy::read(node, problems)?),
                None => None,
            },
            hash: hash
                .map_or(&[][..], |node| problems.list(node, "hash_policy"))
                .iter()
                .filter_map(|node| HashPolicy::read(node, problems))
                .collect(),
        })
    }
}

const NOT_FOUND_STATUSES: [(&str, u16); 3] = [
    ("SERVICE_UNAVAILABLE", 503),
    ("NOT_FOUND", 404),
    ("INTERNAL_SERVER_ERROR", 500),
];

const UNSUPPORTED_IN_ACTION: [&str; 28] = [
    "cluster_specifier_plugin",
    "inline_cluster_specifier_plugin",
    "metadata_match",
    "regex_rewrite",
    "path_rewrite_policy",
    "path_rewrite",
    "auto_host_rewrite",
    "host_rewrite_header",
    "host_rewrite_path_regex",
    "host_rewrite",
    "append_x_forwarded_host",
    "idle_timeout",
    "flush_timeout",
    "early_data_policy",
    "retry_policy_typed_config",
    "request_mirror_policies",
    "priority",
    "rate_limits",
    "include_vh_rate_limits",
    "cors",
    "max_grpc_timeout",
    "grpc_timeout_offset",
    "upgrade_configs",
    "internal_redirect_policy",
    "internal_redirect_action",
    "max_internal_redirects",
    "hedge_policy",
    "max_stream_duration",
];

fn weighted_clusters(node: &Node, problems: &Problems) -> Option<Vec<(ClusterName, u32)>> {
    let mut fields = Fields::of(node, "weighted_clusters", problems)?;
    let clusters = fields.require("clusters");
    fields.finish(&[
        "total_weight",
        "runtime_key_prefix",
        "header_name",
        "use_hash_policy",
    ]);
    let mut weighted = Vec::new();
    for node in problems.list(clusters?, "clusters") {
        let mut fields = Fields::of(node, "a weighted cluster", problems)?;
        let name = fields.require("name");
        let weight = fields.require("weight");
        fields.finish(&[
            "cluster_header",
            "metadata_match",
            "request_headers_to_add",
            "request_headers_to_remove",
            "response_headers_to_add",
            "response_headers_to_remove",
            "typed_per_filter_config",
            "host_rewrite_literal",
        ]);
        let name = ClusterName::read(name?, problems)?;
        weighted.push((name, problems.integer(weight?, "weight", 0, u32::MAX)?));
    }
    let total: u64 = weighted.iter().map(|(_, weight)| u64::from(*weight)).sum();
    if total == 0 || u32::try_from(total).is_err() {
        let message = "the weights must add up to a number from 1 to 4294967295";
        problems.malformed(node.at, message);
        return None;
    }
    Some(weighted)
}

impl Redirect {
    pub(super) fn read(node: &Node, problems: &Problems) -> Option<Self> {
        let mut fields = Fields::of(node, "a redirect", problems)?;
        let scheme = fields.one_of(&["https_redirect", "scheme_redirect"]);
        let host = fields.take("host_redirect");
        let port = fields.take("port_redirect");
        let path = fields.one_of(&["path_redirect", "prefix_rewrite"]);
        let status = fields.take("response_code");
        let strip_query = fields.take("strip_query");
        fields.finish(&["regex_rewrite", "path_rewrite"]);
        let codes = [
            ("MOVED_PERMANENTLY", 301),
            ("FOUND", 302),
            ("SEE_OTHER", 303),
            ("TEMPORARY_REDIRECT", 307),
            ("PERMANENT_REDIRECT", 308),
        ];
        Some(Self {
            scheme: match scheme {
                Some(("https_redirect", node, _)) => problems
                    .boolean(node, "https_redirect")?
                    .then(|| "https".to_owned()),
                Some((name, node, _)) => Some(problems.string(node, name)?),
                None => None,
            },
            host: host.and_then(|node| problems.string(node, "host_redirect")),
            port: port
                .and_then(|node| problems.integer(node, "port_redirect", 1, 65535))
                .and_then(|port| u16::try_from(port).ok()),
            path: match path {
                Some((name @ "path_redirect", node, _)) => {
                    RedirectPath::Path(problems.string(node, name)?)
                }
                Some((name, node, _)) => RedirectPath::Prefix(problems.string(node, name)?),
                None => RedirectPath::Keep,
            },
            status: match status {
                Some(node) => problems.choice(node, "response_code", &codes, &[])?,
                None => 301,
            },
            strip_query: match strip_query {
                Some(node) => problems.boolean(node, "strip_query")?,
                None => false,
            },
        })
    }
}

pub(super) fn direct_response(node: &Node, problems: &Problems) -> Option<RouteAction> {
    let mut fields = Fields::of(node, "a direct_response", problems)?;
    let status = fields.require("status");
    let body = fields.take("body");
    fields.finish(&["body_format"]);
    let body = match body {
        Some(body) => data_source(body, "body", problems)?,
        None => Vec::new(),
    };
    let status = problems.integer(status?, "status", 200, 599)?;
    Some(RouteAction::Direct {
        status: u16::try_from(status).ok()?,
        body,
    })
}
