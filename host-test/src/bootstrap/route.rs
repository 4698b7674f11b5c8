//! Route tables: virtual hosts, matches and what is done with a request.

use regex::Regex;

use super::action::{Forward, Redirect, RouteAction, direct_response};
use super::any::type_of;
use super::fields::{Fields, Problems};
use super::filter::{HEADER_MUTATION_PER_ROUTE, HeaderMutation};
use super::matcher::{HeaderMatcher, QueryMatcher, regex};
use super::mutation::Mutations;
use super::problem::Place;
use super::retry::RetryPolicy;
use super::yaml::{Entry, Node, Value};

/// Envoy's `RouteConfiguration`.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    /// In the order of the file.
    pub virtual_hosts: Vec<VirtualHost>,
    /// Of the whole table.
    pub mutations: Mutations,
}

/// Envoy's `VirtualHost`.
#[derive(Clone, Debug)]
pub struct VirtualHost {
    /// Name for logs.
    pub name: String,
    /// Lower-case patterns: exact, `*suffix`, `prefix*` or `*`.
    pub domains: Vec<String>,
    /// In the order of the file: the first that matches is taken.
    pub routes: Vec<Route>,
    /// Of the virtual host.
    pub mutations: Mutations,
    /// Of routes that have none of their own.
    pub retry: Option<RetryPolicy>,
    /// Whether upstreams are told which attempt it is.
    pub attempt_count: bool,
    /// Configurations of header_mutation filters here, by the filters' names.
    pub header_mutations: Vec<(String, HeaderMutation)>,
    /// Names of filters that are off here.
    pub disabled_filters: Vec<DisabledFilter>,
}

/// Envoy's `Route`.
#[derive(Clone, Debug)]
pub struct Route {
    /// Name for access logs; may be empty.
    pub name: String,
    /// When it is taken.
    pub matches: RouteMatch,
    /// What is done then.
    pub action: RouteAction,
    /// Of the route.
    pub mutations: Mutations,
    /// Configurations of header_mutation filters here, by the filters' names.
    pub header_mutations: Vec<(String, HeaderMutation)>,
    /// Names of filters that are off or on here.
    pub disabled_filters: Vec<DisabledFilter>,
}

/// `typed_per_filter_config: {NAME: {"@type": …FilterConfig, disabled: …}}`.
#[derive(Clone, Debug)]
pub struct DisabledFilter {
    /// Name of an entry of `http_filters`.
    pub name: String,
    /// Whether the filter is left out.
    pub disabled: bool,
    pub(crate) at: Place,
}

/// Envoy's `RouteMatch`.
#[derive(Clone, Debug)]
pub struct RouteMatch {
    /// Compared with the path without its query.
    pub path: PathMatch,
    /// All must match.
    pub headers: Vec<HeaderMatcher>,
    /// All must match.
    pub query: Vec<QueryMatcher>,
    /// Whether letters of the path are compared as they are.
    pub case_sensitive: bool,
}

/// What a path has to be.
#[derive(Clone, Debug)]
pub enum PathMatch {
    /// The whole path.
    Exact(String),
    /// The start of the path.
    Prefix(String),
    /// The whole path by regular expression.
    Regex(Regex),
    /// The path or its start up to a slash.
    SeparatedPrefix(String),
}

impl RouteTable {
    pub(crate) fn read(node: &Node, problems: &Problems) -> Option<Self> {
        let mut fields = Fields::of(node, "a route_config", problems)?;
        fields.take("name");
        let hosts = fields.take("virtual_hosts");
        let mutations = Mutations::take(&mut fields);
        fields.finish(&[
            "vhds",
            "internal_only_headers",
            "most_specific_header_mutations_wins",
            "validate_clusters",
            "max_direct_response_body_size_bytes",
            "cluster_specifier_plugins",
            "request_mirror_policies",
            "ignore_port_in_host_matching",
            "vhost_header",
            "ignore_path_parameters_in_path_matching",
            "typed_per_filter_config",
            "metadata",
            "route_specifiers",
        ]);
        let mut table = Self {
            virtual_hosts: Vec::new(),
            mutations,
        };
        let mut domains: Vec<String> = Vec::new();
        for node in hosts.map_or(&[][..], |node| problems.list(node, "virtual_hosts")) {
            let Some(host) = VirtualHost::read(node, problems) else {
                continue;
            };
            for domain in &host.domains {
                if domains.contains(domain) {
                    let message =
                        format!("the domain `{domain}` occurs twice in this route_config");
                    problems.malformed(node.at, message);
                }
                domains.push(domain.clone());
            }
            table.virtual_hosts.push(host);
        }
        Some(table)
    }
}

impl VirtualHost {
    fn read(node: &Node, problems: &Problems) -> Option<Self> {
        let mut fields = Fields::of(node, "a virtual host", problems)?;
        let name = fields.require("name");
        let domains = fields.require("domains");
        let routes = fields.take("routes");
        let mutations = Mutations::take(&mut fields);
        let (disabled_filters, header_mutations) =
            per_filter(fields.take("typed_per_filter_config"), problems);
        let retry = fields.take("retry_policy");
        let attempt_count = fields.take("include_request_attempt_count");
        fields.finish(&[
            "matcher",
            "require_tls",
            "virtual_clusters",
            "rate_limits",
            "cors",
            "include_attempt_count_in_response",
            "retry_policy_typed_config",
            "hedge_policy",
            "include_is_timeout_retry_header",
            "per_request_buffer_limit_bytes",
            "request_body_buffer_limit",
            "request_mirror_policies",
            "metadata",
            "route_specifiers",
        ]);
        let routes = routes.map_or(&[][..], |node| problems.list(node, "routes"));
        Some(Self {
            name: problems.string(name?, "name")?,
            domains: problems
                .list(domains?, "domains")
                .iter()
                .filter_map(|node| problems.string(node, "a domain"))
                .map(|domain| domain.to_ascii_lowercase())
                .collect(),
            routes: routes
                .iter()
                .filter_map(|node| Route::read(node, problems))
                .collect(),
            mutations,
            retry: match retry {
                Some(node) => Some(RetryPolicy::read(node, problems)?),
                None => None,
            },
            attempt_count: match attempt_count {
                Some(node) => problems.boolean(node, "include_request_attempt_count")?,
                None => false,
            },
            disabled_filters,
            header_mutations,
        })
    }
}

impl Route {
    fn read(node: &Node, problems: &Problems) -> Option<Self> {
        let mut fields = Fields::of(node, "a route", problems)?;
        let name = fields.take("name");
        let matches = fields.require("match");
        let action = fields.require_one(&["route", "direct_response", "redirect"]);
        let mutations = Mutations::take(&mut fields);
        let (disabled_filters, header_mutations) =
            per_filter(fields.take("typed_per_filter_config"), problems);
        fields.finish(&[
            "filter_action",
            "non_forwarding_action",
            "metadata",
            "decorator",
            "tracing",
            "per_request_buffer_limit_bytes",
            "stat_prefix",
            "request_body_buffer_limit",
            "route_specifiers",
        ]);
        let matches = matches.and_then(|node| RouteMatch::read(node, problems));
        let action = match action {
            Some(("route", node, _)) => Forward::read(node, problems).map(RouteAction::Forward),
            Some(("redirect", node, _)) => {
                Redirect::read(node, problems).map(RouteAction::Redirect)
            }
            Some((_, node, _)) => direct_response(node, problems),
            None => None,
        };
        Some(Self {
            name: match name {
                Some(name) => problems.string(name, "name")?,
                None => String::new(),
            },
            matches: matches?,
            action: action?,
            mutations,
            disabled_filters,
            header_mutations,
        })
    }
}

impl RouteMatch {
    fn read(node: &Node, problems: &Problems) -> Option<Self> {
        let mut fields = Fields::of(node, "a route match", problems)?;
        let path = fields.require_one(&["prefix", "path", "safe_regex", "path_separated_prefix"]);
        let headers = fields.take("headers");
        let query = fields.take("query_parameters");
        let case_sensitive = fields.take("case_sensitive");
        fields.finish(&[
            "connect_matcher",
            "path_match_policy",
            "runtime_fraction",
            "cookies",
            "grpc",
            "tls_context",
            "dynamic_metadata",
            "filter_state",
        ]);
        let (kind, value, _) = path?;
        let path = if kind == "safe_regex" {
            PathMatch::Regex(regex(value, problems)?)
        } else {
            let text = problems.string(value, kind)?;
            match kind {
                "prefix" => PathMatch::Prefix(text),
                "path" => PathMatch::Exact(text),
                _ => PathMatch::SeparatedPrefix(separated(text, value, problems)?),
            }
        };
        let headers = headers.map_or(&[][..], |node| problems.list(node, "headers"));
        let query = query.map_or(&[][..], |node| problems.list(node, "query_parameters"));
        Some(Self {
            path,
            headers: headers
                .iter()
                .filter_map(|node| HeaderMatcher::read(node, problems))
                .collect(),
            query: query
                .iter()
                .filter_map(|node| QueryMatcher::read(node, problems))
                .collect(),
            case_sensitive: match case_sensitive {
                Some(node) => problems.boolean(node, "case_sensitive")?,
                None => true,
            },
        })
    }
}

fn separated(text: String, node: &Node, problems: &Problems) -> Option<String> {
    let valid = text.len() > 1 && text.starts_with('/') && !text.ends_with('/');
    if !valid || text.contains(['?', '#']) {
        let message = "path_separated_prefix must begin with a slash, not end with one, \
                       and hold no `?` or `#`";
        problems.malformed(node.at, message);
        return None;
    }
    Some(text)
}

/// What `typed_per_filter_config` says of filters by name: that they are off or on, and the
/// configurations of header_mutation filters.
type PerFilter = (Vec<DisabledFilter>, Vec<(String, HeaderMutation)>);

/// Reads `typed_per_filter_config`.
fn per_filter(node: Option<&Node>, problems: &Problems) -> PerFilter {
    let mut mutations = Vec::new();
    let Some(node) = node else {
        return Default::default();
    };
    let Value::Mapping(entries) = &node.value else {
        let kind = node.kind();
        let message = format!("typed_per_filter_config must be a mapping, not {kind}");
        problems.malformed(node.at, message);
        return Default::default();
    };
    let mut read = |entry: &Entry| {
        let mut fields = Fields::of(&entry.value, "a per-route filter config", problems)?;
        let kind = type_of(&mut fields)?;
        if kind.name == HEADER_MUTATION_PER_ROUTE {
            mutations.push((entry.key.clone(), HeaderMutation::per_route(fields)?));
            return None;
        }
        if kind.name != "envoy.config.route.v3.FilterConfig" {
            let message = format!(
                "per-route `{}` is not supported by this gateway; \
                 supported: envoy.config.route.v3.FilterConfig, {HEADER_MUTATION_PER_ROUTE}",
                kind.name
            );
            problems.unsupported(kind.at, message);
            return None;
        }
        let disabled = fields.take("disabled");
        let config = fields.take("config");
        fields.finish(&["is_optional"]);
        // `config: {}` is how a filter that is off by default is put on; anything else in it is a
        // configuration of the filter, which Envoy's wasm filter doesn't take per route.
        if let Some(node) = config
            && !matches!(&node.value, Value::Mapping(entries) if entries.is_empty())
        {
            let message = "only an empty `config` is supported here: `config: {}`";
            problems.unsupported(node.at, message);
        }
        Some(DisabledFilter {
            name: entry.key.clone(),
            disabled: match disabled {
                Some(node) => problems.boolean(node, "disabled")?,
                None => false,
            },
            at: entry.key_at,
        })
    };
    let switches = entries.iter().filter_map(&mut read).collect();
    (switches, mutations)
}
