//! `envoy.filters.network.http_connection_manager`.

use std::time::Duration;

use super::access_log::AccessLog;
use super::any::type_of;
use super::fields::{Fields, Problems};
use super::filter::{
    HEADER_MUTATION, HEADER_TO_METADATA, NativeFilter, NativeKind, STATEFUL_SESSION,
};
use super::problem::Place;
use super::protocol::{Http1, http1, http2};
use super::route::{DisabledFilter, RouteTable};
use super::wasm::PluginConfig;
use super::yaml::Node;

/// Envoy's `HttpConnectionManager`.
#[derive(Clone, Debug)]
pub struct ConnectionManager {
    /// Prefix of statistics: `http.PREFIX.`.
    pub stat_prefix: String,
    /// Value of the `server` header of responses.
    pub server_name: String,
    /// Where requests go.
    pub routes: RouteTable,
    /// The wasm filters before the router, in order.
    pub filters: Vec<WasmFilter>,
    /// Written once a stream is over.
    pub access_logs: Vec<AccessLog>,
    /// Whether the client is who is connected, and not who `x-forwarded-for` names.
    pub use_remote_address: bool,
    /// Proxies before this one that are trusted to append to `x-forwarded-for`.
    pub trusted_hops: usize,
    /// Whether `x-request-id` is made.
    pub generate_request_id: bool,
    /// Filters of Envoy's own, in order; each is before or after all wasm filters.
    pub natives: Vec<NativeFilter>,
    /// What clients speak.
    pub codec: Codec,
    /// Whether trailers of HTTP/1.1 are passed on.
    pub trailers: bool,
    /// Whether methods of HTTP/1.1 are taken that the parser doesn't know.
    pub custom_methods: bool,
    /// Largest head of a request in bytes.
    pub max_head_bytes: usize,
    /// How long a request's head may take; zero is without limit.
    pub head_timeout: Duration,
    /// How long a stream may rest; zero is without limit.
    pub stream_idle_timeout: Duration,
}

/// Envoy's `CodecType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// HTTP/2 if the client begins with its preface, else HTTP/1.1. The default.
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 without TLS.
    Http2,
}

/// Envoy's default of `stream_idle_timeout`.
const STREAM_IDLE: Duration = Duration::from_secs(300);
/// Envoy's default of `max_request_headers_kb`.
const MAX_HEAD_KB: u32 = 60;

/// A wasm filter in its place.
#[derive(Clone, Debug)]
pub struct WasmFilter {
    /// Name of the entry, which routes use to switch it off.
    pub name: String,
    /// The plugin.
    pub plugin: PluginConfig,
    /// Whether it is off unless a route puts it on.
    pub disabled: bool,
}

const ROUTER: &str = "envoy.extensions.filters.http.router.v3.Router";
const WASM: &str = "envoy.extensions.filters.http.wasm.v3.Wasm";

impl ConnectionManager {
    /// Reads the fields of the message after its `@type`.
    pub(crate) fn read(mut fields: Fields<'_, '_>) -> Option<Self> {
        let problems = fields.problems;
        let stat_prefix = fields.require("stat_prefix");
        let codec = fields.take("codec_type");
        let routes = fields.require("route_config");
        let filters = fields.require("http_filters");
        let access_logs = fields.take("access_log");
        let server_name = fields.take("server_name");
        let use_remote_address = fields.take("use_remote_address");
        let trusted_hops = fields.take("xff_num_trusted_hops");
        let generate_request_id = fields.take("generate_request_id");
        let head_kb = fields.take("max_request_headers_kb");
        let head_timeout = fields.take("request_headers_timeout");
        let stream_idle = fields.take("stream_idle_timeout");
        // Who waits for a 100 gets it from the gateway; see the README.
        let continues = fields.take("proxy_100_continue");
        let http1_options = fields.take("http_protocol_options");
        if let Some(node) = fields.take("http2_protocol_options") {
            http2(node, "http2_protocol_options", problems);
        }
        fields.finish(&UNSUPPORTED);
        let time = |node: Option<&Node>, what, default| match node {
            Some(node) => problems.duration(node, what),
            None => Some(default),
        };
        let routes = routes.and_then(|node| RouteTable::read(node, problems));
        let filters = filters.map(|node| http_filters(node, problems));
        let access_logs = access_logs.map_or(&[][..], |node| problems.list(node, "access_log"));
        let flag = |node: Option<&Node>, what, default| match node {
            Some(node) => problems.boolean(node, what),
            None => Some(default),
        };
        let (filters, natives) = filters?;
        flag(continues, "proxy_100_continue", false)?;
        let http1 = match http1_options {
            Some(node) => http1(node, "http_protocol_options", problems)?,
            None => Http1::default(),
        };
        let manager = Self {
            stat_prefix: problems.string(stat_prefix?, "stat_prefix")?,
            server_name: match server_name {
                Some(node) => problems.string(node, "server_name")?,
                None => "envoy".to_owned(),
            },
            routes: routes?,
            filters,
            natives,
            access_logs: access_logs
                .iter()
                .filter_map(|node| AccessLog::read(node, problems))
                .collect(),
            use_remote_address: flag(use_remote_address, "use_remote_address", false)?,
            trusted_hops: match trusted_hops {
                Some(node) => problems.integer(node, "xff_num_trusted_hops", 0, 100)? as usize,
                None => 0,
            },
            generate_request_id: flag(generate_request_id, "generate_request_id", true)?,
            codec: match codec {
                Some(node) => problems.choice(node, "codec_type", &CODECS, &["HTTP3"])?,
                None => Codec::Auto,
            },
            trailers: http1.trailers,
            custom_methods: http1.custom_methods,
            max_head_bytes: 1024
                * match head_kb {
                    Some(node) => problems.integer(node, "max_request_headers_kb", 1, 8192)?,
                    None => MAX_HEAD_KB,
                } as usize,
            head_timeout: time(head_timeout, "request_headers_timeout", Duration::ZERO)?,
            stream_idle_timeout: time(stream_idle, "stream_idle_timeout", STREAM_IDLE)?,
        };
        manager.check_disabled(problems);
        Some(manager)
    }

    /// Reports a route that switches a filter which isn't in the chain, as Envoy does.
    fn check_disabled(&self, problems: &Problems) {
        let known = |filter: &DisabledFilter| {
            self.filters.iter().any(|f| f.name == filter.name)
                || self.natives.iter().any(|f| f.name == filter.name)
        };
        for host in &self.routes.virtual_hosts {
            let of_routes = host.routes.iter().flat_map(|route| &route.disabled_filters);
            for filter in host.disabled_filters.iter().chain(of_routes) {
                if !known(filter) {
                    let message = format!("http_filters has no filter named `{}`", filter.name);
                    problems.malformed(filter.at, message);
                }
            }
        }
    }
}

/// Reads `http_filters`, whose last entry has to be the router.
fn http_filters(node: &Node, problems: &Problems) -> (Vec<WasmFilter>, Vec<NativeFilter>) {
    let mut filters = Vec::new();
    let mut natives: Vec<(NativeFilter, Place)> = Vec::new();
    let mut names: Vec<String> = Vec::new();
    let mut router: Option<Place> = None;
    for item in problems.list(node, "http_filters") {
        let Some(filter) = http_filter(item, problems) else {
            continue;
        };
        let name = match &filter {
            HttpFilter::Router { name } => name.clone(),
            HttpFilter::Wasm(filter) => filter.name.clone(),
            HttpFilter::Native(filter) => filter.name.clone(),
        };
        if names.contains(&name) {
            let message = format!("two filters of http_filters are named `{name}`");
            problems.malformed(item.at, message);
        }
        names.push(name);
        if router.is_some() {
            let message = "the router must be the last filter; this one comes after it";
            problems.malformed(item.at, message);
        }
        match filter {
            HttpFilter::Router { .. } => router = Some(item.at),
            HttpFilter::Wasm(filter) => {
                let between = natives.iter().find(|(native, _)| !native.first);
                if let Some((native, at)) = between {
                    let message = format!(
                        "the filter `{}` stands between wasm filters, which is not supported by \
                         this gateway: put it before all of them or after",
                        native.name
                    );
                    problems.unsupported(*at, message);
                }
                filters.push(*filter);
            }
            HttpFilter::Native(mut native) => {
                native.first = filters.is_empty();
                natives.push((native, item.at));
            }
        }
    }
    if router.is_none() {
        let message = "http_filters must end with envoy.filters.http.router";
        problems.malformed(node.at, message);
    }
    // Without wasm filters all of them stand at the end, where the route is known.
    let first = !filters.is_empty();
    let natives = natives.into_iter().map(|(mut native, _)| {
        native.first &= first;
        native
    });
    (filters, natives.collect())
}

enum HttpFilter {
    Router { name: String },
    Wasm(Box<WasmFilter>),
    Native(NativeFilter),
}

fn http_filter(node: &Node, problems: &Problems) -> Option<HttpFilter> {
    let mut fields = Fields::of(node, "an HTTP filter", problems)?;
    let name = fields.require("name");
    let config = fields.require("typed_config");
    let disabled = fields.take("disabled");
    fields.finish(&["config_discovery", "is_optional"]);
    let name = problems.string(name?, "name")?;
    let mut fields = Fields::of(config?, "an HTTP filter's typed_config", problems)?;
    let kind = type_of(&mut fields)?;
    let disabled = match disabled {
        Some(node) => problems.boolean(node, "disabled")?,
        None => false,
    };
    match kind.name.as_str() {
        ROUTER => {
            fields.finish(&[
                "dynamic_stats",
                "start_child_span",
                "upstream_log",
                "upstream_log_options",
                "suppress_envoy_headers",
                "strict_check_headers",
                "respect_expected_rq_timeout",
                "suppress_grpc_request_failure_code_stats",
                "upstream_http_filters",
                "reject_connect_request_early_data",
            ]);
            Some(HttpFilter::Router { name })
        }
        WASM => Some(HttpFilter::Wasm(Box::new(WasmFilter {
            name,
            plugin: PluginConfig::read(fields)?,
            disabled,
        }))),
        HEADER_MUTATION | HEADER_TO_METADATA | STATEFUL_SESSION => {
            Some(HttpFilter::Native(NativeFilter {
                name,
                kind: NativeKind::read(&kind.name, fields)??,
                disabled,
                first: true,
            }))
        }
        other => {
            let message = format!(
                "an HTTP filter of type `{other}` is not supported by this gateway; \
                 supported: {WASM}, {HEADER_MUTATION}, {HEADER_TO_METADATA}, {STATEFUL_SESSION}, \
                 {ROUTER}"
            );
            problems.unsupported(kind.at, message);
            None
        }
    }
}

const CODECS: [(&str, Codec); 3] = [
    ("AUTO", Codec::Auto),
    ("HTTP1", Codec::Http1),
    ("HTTP2", Codec::Http2),
];

const UNSUPPORTED: [&str; 43] = [
    "rds",
    "scoped_routes",
    "add_user_agent",
    "tracing",
    "common_http_protocol_options",
    "http1_safe_max_connection_duration",
    "http3_protocol_options",
    "server_header_transformation",
    "scheme_header_transformation",
    "stream_flush_timeout",
    "request_timeout",
    "drain_timeout",
    "drain_timeout_jitter",
    "delayed_close_timeout",
    "access_log_flush_interval",
    "flush_access_log_on_new_request",
    "access_log_options",
    "original_ip_detection_extensions",
    "early_header_mutation_extensions",
    "internal_address_config",
    "skip_xff_append",
    "via",
    "preserve_external_request_id",
    "always_set_request_id_in_response",
    "forward_client_cert_details",
    "set_current_client_cert_details",
    "forward_client_cert_matcher",
    "represent_ipv4_remote_address_as_ipv4_mapped_ipv6",
    "upgrade_configs",
    "normalize_path",
    "merge_slashes",
    "path_with_escaped_slashes_action",
    "request_id_extension",
    "local_reply_config",
    "strip_matching_host_port",
    "strip_any_host_port",
    "stream_error_on_invalid_http_message",
    "path_normalization_options",
    "strip_trailing_host_dot",
    "proxy_status_config",
    "typed_header_validation_config",
    "append_x_forwarded_port",
    "append_local_overload",
];
