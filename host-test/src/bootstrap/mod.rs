//! An Envoy bootstrap file, read exactly: what this gateway supports, typed, and nothing else.
//!
//! A field that Envoy has and the gateway hasn't is an error which names it, its line and what is
//! supported instead; `--lenient` makes it a warning. A field that Envoy hasn't either is always an
//! error. All mistakes of a file are reported at once.
//!
//! The file is first a tree with places ([`yaml`]); each message then has a reader that takes its
//! fields one by one ([`fields`]), so that nothing is passed over in silence.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use access_log::{AccessLog, Format, Sink};
pub use action::{Forward, Redirect, RedirectPath, RouteAction};
pub use balancing::{Balancing, MetadataKey, OverrideHost, OverrideSource};
pub use check::{CheckArgs, check};
pub use cluster::{Cluster, ClusterName, Discovery, Family};
pub use connection_manager::{Codec, ConnectionManager, WasmFilter};
pub use filter::{HeaderMutation, MetadataRule, NativeFilter, NativeKind, StatefulSession};
pub use hash_policy::{HashPolicy, HashSource};
pub use listener::Listener;
pub use matcher::{HeaderMatcher, QueryMatcher, StringMatcher};
pub use mutation::{AddHeader, AppendAction, Mutation, Mutations};
pub(crate) use problem::nearest;
pub use problem::{Fault, Place, Problem, Report};
pub use protocol::Protocol;
pub use resilience::{HealthCheck, Limits, Outlier, Probe};
pub use retry::{RetryOn, RetryPolicy};
pub use route::{DisabledFilter, PathMatch, Route, RouteMatch, RouteTable, VirtualHost};
pub use source::Code;
pub(crate) use source::base64;
pub use stats::{StatsTag, TagSource};
pub use template::{JsonTemplate, Operator, Piece, Template, TimePart};
pub use wasm::PluginConfig;

use fields::{Fields, Problems};
use yaml::Node;

mod access_log;
mod action;
mod any;
mod balancing;
mod check;
mod cluster;
mod connection_manager;
mod fields;
mod filter;
mod hash_policy;
mod listener;
mod matcher;
mod mutation;
mod problem;
mod protocol;
mod resilience;
mod retry;
mod route;
mod scalar;
mod source;
mod stats;
mod structure;
mod template;
mod wasm;
pub(crate) mod yaml;

/// Envoy's `Bootstrap`.
#[derive(Clone, Debug, Default)]
pub struct Bootstrap {
    /// `node.id`.
    pub node_id: String,
    /// `node.cluster`.
    pub node_cluster: String,
    /// Where the admin listener listens.
    pub admin: Option<SocketAddr>,
    /// What becomes a label of a metric.
    pub stats_tags: Vec<StatsTag>,
    /// In the order of the file.
    pub listeners: Vec<Listener>,
    /// In the order of the file.
    pub clusters: Vec<Cluster>,
    /// The file as JSON, for `/config_dump`.
    pub source: serde_json::Value,
}

/// A file that was read.
#[derive(Debug)]
pub struct Loaded {
    /// What it says.
    pub bootstrap: Bootstrap,
    /// What `--lenient` passed over.
    pub warnings: Report,
    /// Without a problem yet; for those that only show when plugins start.
    pub report: Report,
    /// The files that it was read from besides itself: modules and what else it names.
    pub files: Vec<PathBuf>,
}

/// Why a file gives no bootstrap.
#[derive(Debug)]
pub enum LoadError {
    /// The file can't be read; a sentence.
    Unreadable(String),
    /// The file has mistakes.
    Invalid(Report),
}

impl std::fmt::Display for LoadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable(sentence) => writeln!(f, "{sentence}"),
            Self::Invalid(report) => report.fmt(f),
        }
    }
}

impl std::error::Error for LoadError {}

/// Reads a bootstrap file.
///
/// # Errors
///
/// The file can't be read or has mistakes; with `lenient`, unsupported fields aren't counted.
pub fn load(path: &Path, lenient: bool) -> Result<Loaded, LoadError> {
    let source = std::fs::read_to_string(path).map_err(|error| {
        LoadError::Unreadable(format!("{} can't be read: {error}", path.display()))
    })?;
    parse(path, &source, lenient).map_err(LoadError::Invalid)
}

/// Reads the text of a bootstrap file; `path` is for messages.
///
/// # Errors
///
/// As [`load`].
pub fn parse(path: &Path, source: &str, lenient: bool) -> Result<Loaded, Report> {
    let problems = Problems::default();
    let bootstrap = match yaml::parse(source) {
        Ok(root) => Bootstrap::read(&root, &problems),
        Err(problem) => {
            problems.push(problem);
            None
        }
    };
    let files = problems.files();
    let report = Report::new(path, source, problems.into_inner());
    let (warnings, report) = if lenient {
        report.split_unsupported()
    } else {
        (Report::new(path, source, Vec::new()), report)
    };
    match bootstrap {
        Some(bootstrap) if report.is_empty() => Ok(Loaded {
            bootstrap,
            warnings,
            report,
            files,
        }),
        // Without a bootstrap nothing was passed over: what is missing can't be done without.
        None if report.is_empty() => Err(warnings),
        _ => Err(report),
    }
}

impl Bootstrap {
    fn read(root: &Node, problems: &Problems) -> Option<Self> {
        let mut fields = Fields::of(root, "a bootstrap", problems)?;
        let node = fields.take("node");
        let admin = fields.take("admin");
        let stats = fields.take("stats_config");
        let resources = fields.require("static_resources");
        fields.finish(&UNSUPPORTED);
        let mut bootstrap = Self {
            source: root.json(),
            ..Self::default()
        };
        if let Some(node) = node {
            bootstrap.read_node(node, problems);
        }
        if let Some(node) = admin {
            bootstrap.admin = read_admin(node, problems);
        }
        if let Some(node) = stats {
            bootstrap.stats_tags = stats::stats_config(node, problems);
        }
        let mut fields = Fields::of(resources?, "static_resources", problems)?;
        let listeners = fields.take("listeners");
        let clusters = fields.take("clusters");
        fields.finish(&["secrets"]);
        for node in listeners.map_or(&[][..], |node| problems.list(node, "listeners")) {
            bootstrap.listeners.extend(Listener::read(node, problems));
        }
        let clusters = clusters.map_or(&[][..], |node| problems.list(node, "clusters"));
        for node in clusters {
            bootstrap.clusters.extend(Cluster::read(node, problems));
        }
        // A cluster that has a mistake of its own is known nevertheless: one message is enough.
        if bootstrap.clusters.len() == clusters.len() {
            bootstrap.check_clusters(problems);
        }
        bootstrap.check_names(problems);
        Some(bootstrap)
    }

    fn read_node(&mut self, node: &Node, problems: &Problems) {
        let Some(mut fields) = Fields::of(node, "a node", problems) else {
            return;
        };
        let id = fields.take("id");
        let cluster = fields.take("cluster");
        fields.finish(&[
            "metadata",
            "dynamic_parameters",
            "locality",
            "user_agent_name",
            "user_agent_version",
            "user_agent_build_version",
            "extensions",
            "client_features",
            "listening_addresses",
        ]);
        let text = |node: Option<&Node>, what| {
            node.and_then(|node| problems.string(node, what))
                .unwrap_or_default()
        };
        self.node_id = text(id, "id");
        self.node_cluster = text(cluster, "cluster");
    }

    /// Reports routes to clusters that aren't there.
    fn check_clusters(&self, problems: &Problems) {
        let hosts = self
            .listeners
            .iter()
            .flat_map(|listener| &listener.manager.routes.virtual_hosts);
        for route in hosts.flat_map(|host| &host.routes) {
            if let RouteAction::Forward(forward) = &route.action {
                for (cluster, _) in &forward.clusters {
                    cluster.check(&self.clusters, problems);
                }
            }
        }
    }

    /// Reports two listeners or clusters of one name.
    fn check_names(&self, problems: &Problems) {
        for (index, listener) in self.listeners.iter().enumerate() {
            let name = &listener.name;
            if self.listeners[..index].iter().any(|l| l.name == *name) {
                problems.malformed(listener.at, format!("two listeners are named `{name}`"));
            }
        }
        for (index, cluster) in self.clusters.iter().enumerate() {
            let name = &cluster.name;
            if self.clusters[..index].iter().any(|c| c.name == *name) {
                problems.malformed(cluster.at, format!("two clusters are named `{name}`"));
            }
        }
    }
}

fn read_admin(node: &Node, problems: &Problems) -> Option<SocketAddr> {
    let mut fields = Fields::of(node, "admin", problems)?;
    let address = fields.require("address");
    fields.finish(&[
        "access_log",
        "access_log_path",
        "profile_path",
        "socket_options",
        "ignore_global_conn_limit",
        "allow_paths",
    ]);
    problems.address(address?, "an address")?.socket(problems)
}

const UNSUPPORTED: [&str; 37] = [
    "node_context_params",
    "dynamic_resources",
    "cluster_manager",
    "hds_config",
    "flags_path",
    "stats_sinks",
    "deferred_stat_options",
    "stats_flush_interval",
    "stats_flush_on_admin",
    "stats_eviction_interval",
    "watchdog",
    "watchdogs",
    "tracing",
    "layered_runtime",
    "overload_manager",
    "enable_dispatcher_stats",
    "header_prefix",
    "stats_server_version_override",
    "use_tcp_for_dns_lookups",
    "dns_resolution_config",
    "typed_dns_resolver_config",
    "bootstrap_extensions",
    "fatal_actions",
    "config_sources",
    "default_config_source",
    "default_socket_interface",
    "certificate_provider_instances",
    "inline_headers",
    "perf_tracing_file_path",
    "default_regex_engine",
    "xds_delegate_extension",
    "xds_config_tracker_extension",
    "listener_manager",
    "application_log_config",
    "grpc_async_client_manager_config",
    "memory_allocator_manager",
    "enable_worker_cpu_affinity",
];
