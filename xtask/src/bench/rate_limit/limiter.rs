//! The limiters that are compared, as filters of a bootstrap.

use serde_json::{Value, json};

use crate::bench::bootstrap;
use crate::workspace::Workspace;

/// The request header that tells clients apart.
pub(crate) const KEY_HEADER: &str = "x-user";

/// The rule of ours, by which a service knows it too.
const RULE: &str = "per-user";
/// The domain in which a service knows limits.
pub(crate) const DOMAIN: &str = "edge";
/// The cluster that the service is in.
pub(crate) const SERVICE: &str = "rls";
/// How long an answer of the service is waited for: on a busy machine nobody is to give up.
const PATIENCE: &str = "1s";
/// Requests that are charged for at once.
const LEASE: u32 = 64;

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
    /// A module that does nothing: what having one costs.
    NoOp,
    /// Envoy's local_ratelimit with a wildcard descriptor, as its documentation has it.
    Native(Limit),
    /// The same, which tells clients how they stand.
    NativeTold(Limit),
    /// Penstock's rate-limit, which tells clients nothing, as the native filter.
    Ours(Limit),
    /// The same as it is by default: it tells clients how they stand.
    OursTold(Limit),
    /// The same again, which takes units ahead and tells nothing.
    OursLeased(Limit),
    /// What a user would write for Envoy's Lua filter.
    Lua(Limit),
    /// Envoy's ratelimit, which asks a service about each request.
    NativeService,
    /// Ours, asking the same service.
    OursService,
    /// Ours, which has the service charge ahead.
    OursServiceLeased,
}

impl Limiter {
    /// Returns the filters that a request passes.
    pub(crate) fn filters(self, workspace: &Workspace) -> Vec<Value> {
        let ours =
            |vm: &str, config: Value| vec![bootstrap::ours(workspace, "rate_limit", vm, &config)];
        match self {
            Self::None => Vec::new(),
            Self::NoOp => vec![bootstrap::ours(
                workspace,
                "bench_guest",
                "no_op",
                &json!(0),
            )],
            Self::Native(limit) => vec![native(limit, "OFF")],
            Self::NativeTold(limit) => vec![native(limit, "DRAFT_VERSION_03")],
            Self::Ours(limit) => ours(&vm("none", limit), local(limit, "none", 1)),
            Self::OursTold(limit) => ours(&vm("told", limit), local(limit, "standard", 1)),
            Self::OursLeased(limit) => ours(&vm("leased", limit), local(limit, "none", LEASE)),
            Self::Lua(limit) => vec![lua(limit)],
            Self::NativeService => vec![native_service()],
            Self::OursService => ours("service", global(1)),
            Self::OursServiceLeased => ours("service-leased", global(LEASE)),
        }
    }
}

/// Two limits in one process must not share their state.
fn vm(name: &str, limit: Limit) -> String {
    let Limit {
        requests,
        per,
        burst,
    } = limit;
    format!("{name}-{requests}-{burst}-{per:?}")
}

/// The native limiter with one wildcard descriptor: a bucket for each value of the header.
fn native(limit: Limit, headers: &str) -> Value {
    let seconds = match limit.per {
        Per::Minute => "60s",
        Per::Second => "1s",
    };
    let always = json!({ "default_value": { "numerator": 100, "denominator": "HUNDRED" } });
    let config = json!({
        "stat_prefix": "native",
        // The filter wants a bucket for what no descriptor matches.
        "token_bucket": bucket(1_000_000_000, 1_000_000_000, "1s"),
        "filter_enabled": always,
        "filter_enforced": always,
        "always_consume_default_token_bucket": false,
        "enable_x_ratelimit_headers": headers,
        "rate_limits": [{ "actions": [by_user()] }],
        "descriptors": [{
            "entries": [{ "key": KEY_HEADER }],
            "token_bucket": bucket(limit.burst, limit.requests, seconds),
        }],
    });
    let message = "local_ratelimit.v3.LocalRateLimit";
    bootstrap::native("envoy.filters.http.local_ratelimit", message, config)
}

fn bucket(size: u64, refill: u64, interval: &str) -> Value {
    json!({ "max_tokens": size, "tokens_per_fill": refill, "fill_interval": interval })
}

fn by_user() -> Value {
    json!({ "request_headers": { "header_name": KEY_HEADER, "descriptor_key": KEY_HEADER } })
}

fn native_service() -> Value {
    let config = json!({
        "domain": DOMAIN,
        "timeout": PATIENCE,
        "failure_mode_deny": true,
        "rate_limit_service": {
            "grpc_service": { "envoy_grpc": { "cluster_name": SERVICE } },
            "transport_api_version": "V3",
        },
        "rate_limits": [{ "actions": [{ "generic_key": { "descriptor_value": RULE } }, by_user()] }],
    });
    bootstrap::native(
        "envoy.filters.http.ratelimit",
        "ratelimit.v3.RateLimit",
        config,
    )
}

fn local(limit: Limit, headers: &str, lease: u32) -> Value {
    let per = match limit.per {
        Per::Minute => "1m",
        Per::Second => "1s",
    };
    json!({
        "headers": headers,
        "rules": [{
            "name": RULE,
            "key": [{ "header": KEY_HEADER }],
            "limits": [{ "requests": limit.requests, "per": per, "burst": limit.burst }],
            "lease": lease,
        }],
    })
}

fn global(lease: u32) -> Value {
    json!({
        "headers": "none",
        "rules": [{
            "name": RULE,
            "scope": "global",
            "key": [{ "header": KEY_HEADER }],
            "lease": lease,
        }],
        "backend": { "rls": {
            "cluster": SERVICE, "domain": DOMAIN, "timeout": PATIENCE, "on_error": "deny",
        } },
    })
}

/// Counts by client in a table of each worker's own, which is thrown away with each window.
fn lua(limit: Limit) -> Value {
    let length = match limit.per {
        Per::Minute => 60,
        Per::Second => 1,
    };
    let code = format!(
        r#"
local window, counts = 0, {{}}
function envoy_on_request(handle)
  local user = handle:headers():get("{KEY_HEADER}")
  if user == nil then return end
  local now = math.floor(os.time() / {length})
  if now ~= window then window, counts = now, {{}} end
  local count = (counts[user] or 0) + 1
  counts[user] = count
  if count > {limit} then
    handle:respond({{ [":status"] = "429" }}, "Too many requests.")
  end
end
"#,
        limit = limit.requests
    );
    let config = json!({ "default_source_code": { "inline_string": code } });
    bootstrap::native("envoy.filters.http.lua", "lua.v3.Lua", config)
}
