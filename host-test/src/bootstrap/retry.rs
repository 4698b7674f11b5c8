//! `retry_policy` of a route or a virtual host.

use std::time::Duration;

use super::any::type_of;
use super::fields::{Fields, Problems};
use super::yaml::Node;

/// What is retried, as a set of conditions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "the conditions are Envoy's and documented by it"
)]
pub struct RetryOn {
    pub all_5xx: bool,
    pub gateway_error: bool,
    pub connect_failure: bool,
    pub refused_stream: bool,
    pub reset: bool,
    pub reset_before_request: bool,
    pub retriable_4xx: bool,
    pub retriable_status_codes: bool,
}

/// Envoy's `RetryPolicy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// When.
    pub on: RetryOn,
    /// How often, besides the first attempt.
    pub retries: u32,
    /// How long each attempt may take; zero is as long as all of them.
    pub per_try_timeout: Duration,
    /// For `retriable-status-codes`.
    pub status_codes: Vec<u16>,
    /// Before the first retry; grows from retry to retry.
    pub base_interval: Duration,
    /// Before any retry at most.
    pub max_interval: Duration,
    /// Whether hosts that were tried are left out.
    pub previous_hosts: bool,
    /// How often another host is asked for then.
    pub host_attempts: u32,
}

const BASE: Duration = Duration::from_millis(25);

impl Default for RetryPolicy {
    /// Envoy's defaults, which retry nothing.
    fn default() -> Self {
        Self {
            on: RetryOn::default(),
            retries: 1,
            per_try_timeout: Duration::ZERO,
            status_codes: Vec::new(),
            base_interval: BASE,
            max_interval: BASE * 10,
            previous_hosts: false,
            host_attempts: 1,
        }
    }
}

impl RetryOn {
    /// Adds a condition by Envoy's name; tells whether it is known.
    pub fn add(&mut self, name: &str) -> bool {
        let flag = match name {
            "5xx" => &mut self.all_5xx,
            "gateway-error" => &mut self.gateway_error,
            "connect-failure" => &mut self.connect_failure,
            "refused-stream" => &mut self.refused_stream,
            "reset" => &mut self.reset,
            "reset-before-request" => &mut self.reset_before_request,
            "retriable-4xx" => &mut self.retriable_4xx,
            "retriable-status-codes" => &mut self.retriable_status_codes,
            _ => return false,
        };
        *flag = true;
        true
    }

    /// Whether there is a condition.
    pub fn any(&self) -> bool {
        *self != Self::default()
    }
}

/// Conditions that Envoy knows and this gateway doesn't.
const OTHER: [&str; 8] = [
    "retriable-headers",
    "envoy-ratelimited",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
];

impl RetryPolicy {
    pub(super) fn read(node: &Node, problems: &Problems) -> Option<Self> {
        let mut fields = Fields::of(node, "a retry_policy", problems)?;
        let on = fields.take("retry_on");
        let retries = fields.take("num_retries");
        let per_try = fields.take("per_try_timeout");
        let codes = fields.take("retriable_status_codes");
        let back_off = fields.take("retry_back_off");
        let predicates = fields.take("retry_host_predicate");
        let attempts = fields.take("host_selection_retry_max_attempts");
        fields.finish(&[
            "per_try_idle_timeout",
            "retry_priority",
            "retry_options_predicates",
            "rate_limited_retry_back_off",
            "retriable_headers",
            "retriable_request_headers",
        ]);
        let mut policy = Self::default();
        if let Some(node) = on {
            for name in problems.string(node, "retry_on")?.split(',') {
                let name = name.trim();
                if policy.on.add(name) || name.is_empty() {
                    continue;
                }
                if OTHER.contains(&name) {
                    let message = format!("retry_on `{name}` is not supported by this gateway");
                    problems.unsupported(node.at, message);
                } else {
                    problems.malformed(node.at, format!("retry_on `{name}` is unknown"));
                }
            }
        }
        if let Some(node) = retries {
            policy.retries = problems.integer(node, "num_retries", 0, u32::MAX)?;
        }
        if let Some(node) = per_try {
            policy.per_try_timeout = problems.duration(node, "per_try_timeout")?;
        }
        for node in codes.map_or(&[][..], |node| {
            problems.list(node, "retriable_status_codes")
        }) {
            let code = problems.integer(node, "a status", 100, 599)?;
            policy.status_codes.push(u16::try_from(code).ok()?);
        }
        if let Some(node) = back_off {
            policy.back_off(node, problems)?;
        }
        for node in predicates.map_or(&[][..], |node| problems.list(node, "retry_host_predicate")) {
            policy.previous_hosts |= previous_hosts(node, problems)?;
        }
        if let Some(node) = attempts {
            let name = "host_selection_retry_max_attempts";
            policy.host_attempts = problems.integer(node, name, 0, 1000)?;
        }
        Some(policy)
    }

    fn back_off(&mut self, node: &Node, problems: &Problems) -> Option<()> {
        let mut fields = Fields::of(node, "retry_back_off", problems)?;
        let base = fields.require("base_interval");
        let max = fields.take("max_interval");
        fields.finish(&[]);
        let base_at = base?.at;
        self.base_interval = problems.duration(base?, "base_interval")?;
        self.max_interval = match max {
            Some(node) => problems.duration(node, "max_interval")?,
            None => self.base_interval * 10,
        };
        if self.base_interval.is_zero() || self.max_interval < self.base_interval {
            let message = "base_interval must be above 0 and not above max_interval";
            problems.malformed(base_at, message);
        }
        Some(())
    }
}

/// Reads a predicate; the one for hosts that were tried is supported.
fn previous_hosts(node: &Node, problems: &Problems) -> Option<bool> {
    const PREVIOUS: &str = "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate";
    let mut fields = Fields::of(node, "a retry_host_predicate", problems)?;
    fields.require("name");
    let config = fields.take("typed_config");
    fields.finish(&[]);
    if let Some(node) = config {
        let mut fields = Fields::of(node, "a predicate's typed_config", problems)?;
        let kind = type_of(&mut fields)?;
        fields.finish(&[]);
        if kind.name != PREVIOUS {
            let message = format!(
                "`{}` is not supported by this gateway; supported: {PREVIOUS}",
                kind.name
            );
            problems.unsupported(kind.at, message);
            return Some(false);
        }
    }
    Some(true)
}
