//! What is spoken to a cluster: `typed_extension_protocol_options` and the older field for HTTP/2.

use super::any::type_of;
use super::fields::{Fields, Problems};
use super::filter::{HEADER_MUTATION, HeaderMutation};
use super::yaml::{Node, Value};

/// How a cluster is spoken to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Protocol {
    /// HTTP/2 without TLS, else HTTP/1.1.
    pub http2: bool,
    /// Whether trailers of HTTP/1.1 are passed on.
    pub trailers: bool,
    /// Applied, in order, to each attempt.
    pub filters: Vec<HeaderMutation>,
}

const OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
const CODEC: &str = "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec";

/// Other fields of `Http1ProtocolOptions`.
const HTTP1: [&str; 10] = [
    "allow_absolute_url",
    "accept_http_10",
    "default_host_for_http_10",
    "header_key_format",
    "allow_chunked_length",
    "override_stream_error_on_invalid_http_message",
    "send_fully_qualified_url",
    "use_balsa_parser",
    "ignore_http_11_upgrade",
    "max_headers_count",
];

/// Other fields of `Http2ProtocolOptions`.
const HTTP2: [&str; 15] = [
    "hpack_table_size",
    "max_concurrent_streams",
    "initial_stream_window_size",
    "initial_connection_window_size",
    "allow_connect",
    "allow_metadata",
    "max_outbound_frames",
    "max_outbound_control_frames",
    "max_consecutive_inbound_frames_with_empty_payload",
    "max_inbound_priority_frames_per_stream",
    "max_inbound_window_update_frames_per_data_frame_sent",
    "stream_error_on_invalid_http_messaging",
    "override_stream_error_on_invalid_http_message",
    "connection_keepalive",
    "custom_settings_parameters",
];

/// What `Http1ProtocolOptions` sets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Http1 {
    /// Whether trailers are passed on.
    pub(super) trailers: bool,
    /// Whether methods are taken that the parser doesn't know.
    pub(super) custom_methods: bool,
}

/// Reads `Http1ProtocolOptions`.
pub(super) fn http1(node: &Node, what: &'static str, problems: &Problems) -> Option<Http1> {
    let mut fields = Fields::of(node, what, problems)?;
    let trailers = fields.take("enable_trailers");
    let custom_methods = fields.take("allow_custom_methods");
    fields.finish(&HTTP1);
    let flag = |node: Option<&Node>, what| match node {
        Some(node) => problems.boolean(node, what),
        None => Some(false),
    };
    Some(Http1 {
        trailers: flag(trailers, "enable_trailers")?,
        custom_methods: flag(custom_methods, "allow_custom_methods")?,
    })
}

/// Reads `Http2ProtocolOptions`, of which nothing can be set.
pub(super) fn http2(node: &Node, what: &'static str, problems: &Problems) {
    if let Some(fields) = Fields::of(node, what, problems) {
        fields.finish(&HTTP2);
    }
}

impl Protocol {
    /// Takes the two fields of a cluster.
    pub(super) fn take(fields: &mut Fields<'_, '_>) -> Self {
        let problems = fields.problems;
        let mut protocol = Self::default();
        if let Some(node) = fields.take("http2_protocol_options") {
            http2(node, "http2_protocol_options", problems);
            protocol.http2 = true;
        }
        let Some(node) = fields.take("typed_extension_protocol_options") else {
            return protocol;
        };
        let Value::Mapping(entries) = &node.value else {
            let kind = node.kind();
            let message = format!("typed_extension_protocol_options must be a mapping, not {kind}");
            problems.malformed(node.at, message);
            return protocol;
        };
        for entry in entries {
            if entry.key == OPTIONS {
                // What is wrong in it is reported; the rest of the cluster can be read.
                let _ = protocol.read(&entry.value, problems);
            } else {
                let key = &entry.key;
                let message =
                    format!("`{key}` is not supported by this gateway; supported: {OPTIONS}");
                problems.unsupported(entry.key_at, message);
            }
        }
        protocol
    }

    fn read(&mut self, node: &Node, problems: &Problems) -> Option<()> {
        let mut fields = Fields::of(node, "HttpProtocolOptions", problems)?;
        let kind = type_of(&mut fields)?;
        if kind.name != OPTIONS {
            problems.malformed(kind.at, format!("the type here is {OPTIONS}"));
        }
        let explicit = fields.require("explicit_http_config");
        let filters = fields.take("http_filters");
        fields.finish(&[
            "common_http_protocol_options",
            "upstream_http_protocol_options",
            "use_downstream_protocol_config",
            "auto_config",
            "header_validation_config",
            "outlier_detection",
            "retry_policy",
            "request_mirror_policies",
            "hash_policy",
        ]);
        let mut fields = Fields::of(explicit?, "explicit_http_config", problems)?;
        let version = fields.require_one(&["http_protocol_options", "http2_protocol_options"]);
        fields.finish(&["http3_protocol_options"]);
        match version? {
            ("http_protocol_options", node, _) => {
                self.trailers = http1(node, "http_protocol_options", problems)?.trailers;
            }
            (_, node, _) => {
                http2(node, "http2_protocol_options", problems);
                self.http2 = true;
            }
        }
        if let Some(node) = filters {
            self.filters = upstream_filters(node, problems)?;
        }
        Some(())
    }
}

/// Reads `http_filters` of a cluster, whose last entry has to be the codec.
fn upstream_filters(node: &Node, problems: &Problems) -> Option<Vec<HeaderMutation>> {
    let mut filters = Vec::new();
    let mut codec = false;
    for item in problems.list(node, "http_filters") {
        let mut fields = Fields::of(item, "an upstream HTTP filter", problems)?;
        fields.require("name");
        let config = fields.require("typed_config");
        fields.finish(&["config_discovery", "is_optional", "disabled"]);
        let mut fields = Fields::of(config?, "a filter's typed_config", problems)?;
        let kind = type_of(&mut fields)?;
        if codec {
            problems.malformed(item.at, "the codec must be the last upstream filter");
        }
        match kind.name.as_str() {
            CODEC => {
                fields.finish(&[]);
                codec = true;
            }
            HEADER_MUTATION => filters.push(HeaderMutation::read(fields)?),
            other => {
                let message = format!(
                    "an upstream HTTP filter of type `{other}` is not supported by this gateway; \
                     supported: {HEADER_MUTATION}, {CODEC}"
                );
                problems.unsupported(kind.at, message);
            }
        }
    }
    if !codec {
        let message = "http_filters of a cluster must end with envoy.filters.http.upstream_codec";
        problems.malformed(node.at, message);
    }
    Some(filters)
}
