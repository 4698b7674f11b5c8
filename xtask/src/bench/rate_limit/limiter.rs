//! The limiters that are compared, as filters of a bootstrap.

use serde_json::{Value, json};

use crate::bench::bootstrap;
use crate::workspace::Workspace;

/// The request header that tells clients apart.
pub(crate) const KEY_HEADER: &str = "x-user";

/// A limit, of either limiter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    /// Requests that refill in `per`.
    pub(crate) requests: u64,
    /// `1m`, `1s`.
    pub(crate) per: Per,
    /// Requests that a client that has been away may send at once.
    pub(crate) burst: u64,
}

/// A window.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Per {
    Minute,
    Second,
}

impl Limit {
    /// Returns how many requests refill in a second.
    pub(crate) fn rate(self) -> f64 {
        let requests = self.requests as f64;
        match self.per {
            Per::Minute => requests / 60.0,
            Per::Second => requests,
        }
    }
}

/// What a listener does to a request before it is answered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limiter {
    /// Nothing.
    None,
    /// Envoy's local_ratelimit with a wildcard descriptor, as its documentation has it.
    Native(Limit),
    /// Penstock's rate-limit.
    Ours(Limit),
}

impl Limiter {
    /// Returns the filters that a request passes.
    pub(crate) fn filters(self, workspace: &Workspace) -> Vec<Value> {
        match self {
            Self::None => Vec::new(),
            Self::Native(limit) => vec![native(limit)],
            Self::Ours(limit) => vec![ours(workspace, limit)],
        }
    }
}

/// The native limiter with one wildcard descriptor: a bucket for each value of the header.
fn native(limit: Limit) -> Value {
    let seconds = match limit.per {
        Per::Minute => "60s",
        Per::Second => "1s",
    };
    let always = json!({ "default_value": { "numerator": 100, "denominator": "HUNDRED" } });
    let action = json!({ "header_name": KEY_HEADER, "descriptor_key": "user" });
    let config = json!({
        "stat_prefix": "native",
        // The filter wants a bucket for what no descriptor matches.
        "token_bucket": bucket(1_000_000_000, 1_000_000_000, "1s"),
        "filter_enabled": always,
        "filter_enforced": always,
        "always_consume_default_token_bucket": false,
        "rate_limits": [{ "actions": [{ "request_headers": action }] }],
        "descriptors": [{
            "entries": [{ "key": "user" }],
            "token_bucket": bucket(limit.burst, limit.requests, seconds),
        }],
    });
    let message = "local_ratelimit.v3.LocalRateLimit";
    bootstrap::native("envoy.filters.http.local_ratelimit", message, config)
}

fn bucket(size: u64, refill: u64, interval: &str) -> Value {
    json!({ "max_tokens": size, "tokens_per_fill": refill, "fill_interval": interval })
}

fn ours(workspace: &Workspace, limit: Limit) -> Value {
    let per = match limit.per {
        Per::Minute => "1m",
        Per::Second => "1s",
    };
    let config = json!({ "rules": [{
        "name": "per-user",
        "key": [{ "header": KEY_HEADER }],
        "limits": [{ "requests": limit.requests, "per": per, "burst": limit.burst }],
    }] });
    // Two limits in one process must not share their state.
    let vm_id = format!("{}-{}-{per}", limit.requests, limit.burst);
    bootstrap::ours(workspace, "rate_limit", &vm_id, &config)
}
