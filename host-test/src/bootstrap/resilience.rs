//! What keeps a cluster going when its endpoints don't: limits, health checks, outlier ejection.

use std::time::Duration;

use super::fields::{Fields, Problems};
use super::yaml::Node;

/// `circuit_breakers` of the default priority: how much of a cluster may be in use at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections of all workers.
    pub connections: u32,
    /// Requests that wait for a connection.
    pub pending: u32,
    /// Requests on their way.
    pub requests: u32,
    /// Retries on their way.
    pub retries: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            pending: 1024,
            requests: 1024,
            retries: 3,
        }
    }
}

impl Limits {
    pub(super) fn read(node: &Node, problems: &Problems) -> Option<Self> {
        let mut fields = Fields::of(node, "circuit_breakers", problems)?;
        let thresholds = fields.take("thresholds");
        fields.finish(&["per_host_thresholds"]);
        let mut limits = Self::default();
        for node in thresholds.map_or(&[][..], |node| problems.list(node, "thresholds")) {
            let mut fields = Fields::of(node, "a threshold", problems)?;
            if let Some(node) = fields.take("priority") {
                problems.choice(node, "priority", &[("DEFAULT", ())], &["HIGH"]);
            }
            let mut set = |name, limit: &mut u32| {
                if let Some(node) = fields.take(name)
                    && let Some(value) = problems.integer(node, name, 0, u32::MAX)
                {
                    *limit = value;
                }
            };
            set("max_connections", &mut limits.connections);
            set("max_pending_requests", &mut limits.pending);
            set("max_requests", &mut limits.requests);
            set("max_retries", &mut limits.retries);
            // Whether the remainders are reported: nothing depends on it.
            fields.take("track_remaining");
            fields.finish(&["retry_budget", "max_connection_pools"]);
        }
        Some(limits)
    }
}

/// One of `health_checks`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// How long an answer may take.
    pub timeout: Duration,
    /// Time between checks.
    pub interval: Duration,
    /// The same as long as the cluster has had no traffic.
    pub no_traffic_interval: Duration,
    /// The same of an endpoint that is down.
    pub unhealthy_interval: Duration,
    /// Failures in a row until an endpoint is down.
    pub unhealthy_threshold: u32,
    /// Successes in a row until it is up again.
    pub healthy_threshold: u32,
    /// What is asked.
    pub probe: Probe,
}

/// What a health check asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// A request.
    Http {
        /// Value of `host`; the cluster's name if the file gives none.
        host: Option<String>,
        /// Path.
        path: String,
        /// Statuses that are a success: from, and up to but without.
        expected: Vec<(u16, u16)>,
        /// Statuses that count as one failure of several, and don't end the endpoint at once.
        retriable: Vec<(u16, u16)>,
        /// Over HTTP/2.
        http2: bool,
    },
    /// A connection.
    Tcp,
}

const NO_TRAFFIC: Duration = Duration::from_secs(60);

impl HealthCheck {
    pub(super) fn read(node: &Node, problems: &Problems) -> Option<Self> {
        let mut fields = Fields::of(node, "a health check", problems)?;
        let timeout = fields.require("timeout");
        let interval = fields.require("interval");
        let no_traffic = fields.take("no_traffic_interval");
        let unhealthy_interval = fields.take("unhealthy_interval");
        let unhealthy = fields.require("unhealthy_threshold");
        let healthy = fields.require("healthy_threshold");
        let probe = fields.require_one(&["http_health_check", "tcp_health_check"]);
        // Each check has a connection of its own here, and its failures are in `/clusters`.
        fields.take("reuse_connection");
        fields.take("always_log_health_check_failures");
        fields.finish(&[
            "initial_jitter",
            "interval_jitter",
            "interval_jitter_percent",
            "alt_port",
            "grpc_health_check",
            "custom_health_check",
            "no_traffic_healthy_interval",
            "unhealthy_edge_interval",
            "healthy_edge_interval",
            "event_log_path",
            "event_logger",
            "event_service",
            "always_log_health_check_success",
            "tls_options",
            "transport_socket_match_criteria",
        ]);
        let time = |node: Option<&Node>, what, default| match node {
            Some(node) => problems.duration(node, what),
            None => Some(default),
        };
        let interval = problems.duration(interval?, "interval")?;
        Some(Self {
            timeout: problems.duration(timeout?, "timeout")?,
            interval,
            no_traffic_interval: time(no_traffic, "no_traffic_interval", NO_TRAFFIC)?,
            unhealthy_interval: time(unhealthy_interval, "unhealthy_interval", interval)?,
            unhealthy_threshold: problems.integer(
                unhealthy?,
                "unhealthy_threshold",
                0,
                u32::MAX,
            )?,
            healthy_threshold: problems.integer(healthy?, "healthy_threshold", 0, u32::MAX)?,
            probe: match probe? {
                ("http_health_check", node, _) => http_probe(node, problems)?,
                (_, node, _) => {
                    let fields = Fields::of(node, "tcp_health_check", problems)?;
                    fields.finish(&["send", "receive", "proxy_protocol_config"]);
                    Probe::Tcp
                }
            },
        })
    }
}

fn http_probe(node: &Node, problems: &Problems) -> Option<Probe> {
    let mut fields = Fields::of(node, "http_health_check", problems)?;
    let path = fields.require("path");
    let host = fields.take("host");
    let expected = fields.take("expected_statuses");
    let retriable = fields.take("retriable_statuses");
    let codec = fields.take("codec_client_type");
    fields.finish(&[
        "send",
        "receive",
        "response_buffer_size",
        "request_headers_to_add",
        "request_headers_to_remove",
        "service_name_matcher",
        "method",
    ]);
    let codecs = [("HTTP1", false), ("HTTP2", true)];
    let mut expected = ranges(expected, "expected_statuses", problems)?;
    if expected.is_empty() {
        expected.push((200, 201));
    }
    Some(Probe::Http {
        host: host.and_then(|node| problems.string(node, "host")),
        path: problems.string(path?, "path")?,
        expected,
        retriable: ranges(retriable, "retriable_statuses", problems)?,
        http2: match codec {
            Some(node) => problems.choice(node, "codec_client_type", &codecs, &["HTTP3"])?,
            None => false,
        },
    })
}

/// A list of `{start, end}`, the end not included.
fn ranges(node: Option<&Node>, what: &'static str, problems: &Problems) -> Option<Vec<(u16, u16)>> {
    let mut ranges = Vec::new();
    for node in node.map_or(&[][..], |node| problems.list(node, what)) {
        let mut fields = Fields::of(node, "a range of statuses", problems)?;
        let start = fields.require("start");
        let end = fields.require("end");
        fields.finish(&[]);
        let number = |node: Option<&Node>, what| {
            let number = problems.integer(node?, what, 100, 600)?;
            u16::try_from(number).ok()
        };
        ranges.push((number(start, "start")?, number(end, "end")?));
    }
    Some(ranges)
}

/// `outlier_detection`: endpoints that answer badly are left out for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlier {
    /// Answers of 5xx in a row that eject; 0 for never.
    pub consecutive_5xx: u32,
    /// Answers of 502, 503 or 504 in a row that eject; 0 for never.
    pub consecutive_gateway_failure: u32,
    /// Of a hundred endpoints that should be ejected, how many are.
    pub enforcing_5xx: u32,
    /// The same for gateway failures.
    pub enforcing_gateway: u32,
    /// How often it is looked whether an ejection is over.
    pub interval: Duration,
    /// How long the first ejection takes; the n-th takes n times as long.
    pub base_ejection: Duration,
    /// How long an ejection takes at most.
    pub max_ejection: Duration,
    /// Percentage of endpoints that may be ejected at once.
    pub max_percent: u32,
    /// Whether one may be ejected even if that is a larger share.
    pub always_one: bool,
}

impl Outlier {
    pub(super) fn read(node: &Node, problems: &Problems) -> Option<Self> {
        let mut fields = Fields::of(node, "outlier_detection", problems)?;
        let mut number = |name: &'static str, default, most| match fields.take(name) {
            Some(node) => problems.integer(node, name, 0, most),
            None => Some(default),
        };
        let consecutive_5xx = number("consecutive_5xx", 5, u32::MAX);
        let consecutive_gateway_failure = number("consecutive_gateway_failure", 5, u32::MAX);
        let enforcing_5xx = number("enforcing_consecutive_5xx", 100, 100);
        let enforcing_gateway = number("enforcing_consecutive_gateway_failure", 0, 100);
        let max_percent = number("max_ejection_percent", 10, 100);
        // The only statistical detector values that this gateway can hold to: off.
        for name in [
            "enforcing_success_rate",
            "enforcing_failure_percentage",
            "enforcing_failure_percentage_local_origin",
            "enforcing_local_origin_success_rate",
            "enforcing_consecutive_local_origin_failure",
        ] {
            let at = fields.key_place(name);
            if let Some(node) = fields.take(name)
                && problems
                    .integer(node, name, 0, 100)
                    .is_some_and(|value| value > 0)
            {
                let message = format!("`{name}` above 0 is not supported by this gateway");
                problems.unsupported(at, message);
            }
        }
        let mut time = |name: &'static str, default| match fields.take(name) {
            Some(node) => problems.duration(node, name),
            None => Some(Duration::from_secs(default)),
        };
        let interval = time("interval", 10);
        let base_ejection = time("base_ejection_time", 30);
        let max_ejection = time("max_ejection_time", 300);
        let always_one = fields.take("always_eject_one_host");
        fields.finish(&[
            "success_rate_minimum_hosts",
            "success_rate_request_volume",
            "success_rate_stdev_factor",
            "split_external_local_origin_errors",
            "consecutive_local_origin_failure",
            "failure_percentage_threshold",
            "failure_percentage_minimum_hosts",
            "failure_percentage_request_volume",
            "max_ejection_time_jitter",
            "successful_active_health_check_uneject_host",
            "monitors",
            "detect_degraded_hosts",
        ]);
        let base_ejection = base_ejection?;
        Some(Self {
            consecutive_5xx: consecutive_5xx?,
            consecutive_gateway_failure: consecutive_gateway_failure?,
            enforcing_5xx: enforcing_5xx?,
            enforcing_gateway: enforcing_gateway?,
            interval: interval?,
            base_ejection,
            max_ejection: max_ejection?.max(base_ejection),
            max_percent: max_percent?,
            always_one: match always_one {
                Some(node) => problems.boolean(node, "always_eject_one_host")?,
                None => false,
            },
        })
    }
}

/// `common_lb_config`: the share of healthy endpoints, in percent, below which health is ignored.
pub(super) fn panic_threshold(node: &Node, problems: &Problems) -> Option<f64> {
    let mut fields = Fields::of(node, "common_lb_config", problems)?;
    let threshold = fields.take("healthy_panic_threshold");
    fields.finish(&[
        "zone_aware_lb_config",
        "locality_weighted_lb_config",
        "update_merge_window",
        "ignore_new_hosts_until_first_hc",
        "close_connections_on_host_set_change",
        "consistent_hashing_lb_config",
        "override_host_status",
    ]);
    let Some(node) = threshold else {
        return Some(PANIC);
    };
    let mut fields = Fields::of(node, "healthy_panic_threshold", problems)?;
    let value = fields.take("value");
    fields.finish(&[]);
    match value {
        None => Some(0.0),
        Some(node) => problems.number(node, "value", 0.0, 100.0),
    }
}

/// Envoy's default of `healthy_panic_threshold`.
pub(super) const PANIC: f64 = 50.0;
