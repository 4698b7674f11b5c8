//! Bootstraps for gateways under measurement. JSON, which every YAML reader takes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::workspace::Workspace;

/// The request header that tells clients apart.
pub(crate) const KEY_HEADER: &str = "x-user";

const TYPE: &str = "type.googleapis.com";
const HTTP: &str = "type.googleapis.com/envoy.extensions.filters.http";

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

/// A listener of a bootstrap.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listener {
    /// Its name.
    pub(crate) name: &'static str,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// What limits it.
    pub(crate) limiter: Limiter,
    /// Where requests go; answered in place when absent.
    pub(crate) upstream: Option<SocketAddr>,
}

/// Writes a bootstrap to `target/bench` and returns its path.
pub(crate) fn write(
    workspace: &Workspace,
    name: &str,
    admin: SocketAddr,
    listeners: &[Listener],
) -> Result<PathBuf> {
    let file = workspace.target("bench").join(format!("{name}.json"));
    let text = format!(
        "{:#}\n",
        bootstrap(&workspace.wasm("rate_limit"), admin, listeners)
    );
    std::fs::write(&file, text).with_context(|| format!("can't write {}", file.display()))?;
    Ok(file)
}

fn bootstrap(wasm: &Path, admin: SocketAddr, listeners: &[Listener]) -> Value {
    let upstreams = listeners
        .iter()
        .filter_map(|it| Some((it.name, it.upstream?)));
    let clusters: Vec<Value> = upstreams
        .map(|(name, address)| cluster(name, address))
        .collect();
    let listeners: Vec<Value> = listeners.iter().map(|it| listener(wasm, *it)).collect();
    json!({
        "admin": { "address": socket(admin) },
        "static_resources": { "listeners": listeners, "clusters": clusters },
    })
}

fn listener(wasm: &Path, listener: Listener) -> Value {
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": { "@type": format!("{HTTP}.router.v3.Router") },
    });
    let mut filters = match listener.limiter {
        Limiter::None => vec![],
        Limiter::Native(limit) => vec![native(limit)],
        Limiter::Ours(limit) => vec![ours(wasm, limit)],
    };
    filters.push(router);
    let mut route = json!({ "match": { "prefix": "/" } });
    match listener.upstream {
        Some(_) => route["route"] = json!({ "cluster": listener.name }),
        None => {
            let body = json!({ "inline_string": "ok" });
            route["direct_response"] = json!({ "status": 200, "body": body });
        }
    }
    let manager = format!(
        "{TYPE}/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    );
    json!({
        "name": listener.name,
        "address": socket(listener.address),
        "filter_chains": [{ "filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": manager,
                "stat_prefix": listener.name,
                "http_filters": filters,
                "route_config": { "virtual_hosts": [
                    { "name": "all", "domains": ["*"], "routes": [route] }
                ] },
            },
        }] }],
    })
}

/// The native limiter with one wildcard descriptor: a bucket for each value of the header.
fn native(limit: Limit) -> Value {
    let seconds = match limit.per {
        Per::Minute => "60s",
        Per::Second => "1s",
    };
    let always = json!({ "default_value": { "numerator": 100, "denominator": "HUNDRED" } });
    let action = json!({ "header_name": KEY_HEADER, "descriptor_key": "user" });
    json!({
        "name": "envoy.filters.http.local_ratelimit",
        "typed_config": {
            "@type": format!("{HTTP}.local_ratelimit.v3.LocalRateLimit"),
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
        },
    })
}

fn bucket(size: u64, refill: u64, interval: &str) -> Value {
    json!({ "max_tokens": size, "tokens_per_fill": refill, "fill_interval": interval })
}

fn ours(wasm: &Path, limit: Limit) -> Value {
    let per = match limit.per {
        Per::Minute => "1m",
        Per::Second => "1s",
    };
    let configuration = json!({ "rules": [{
        "name": "per-user",
        "key": [{ "header": KEY_HEADER }],
        "limits": [{ "requests": limit.requests, "per": per, "burst": limit.burst }],
    }] });
    json!({
        "name": "rate_limit",
        "typed_config": {
            "@type": format!("{HTTP}.wasm.v3.Wasm"),
            "config": {
                "name": "rate_limit",
                "failure_policy": "FAIL_RELOAD",
                "configuration": {
                    "@type": format!("{TYPE}/google.protobuf.StringValue"),
                    "value": configuration.to_string(),
                },
                "vm_config": {
                    // Two limits in one process must not share their state.
                    "vm_id": format!("{}-{}-{per}", limit.requests, limit.burst),
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": { "local": { "filename": wasm } },
                },
            },
        },
    })
}

fn cluster(name: &str, address: SocketAddr) -> Value {
    let endpoint = json!({ "endpoint": { "address": socket(address) } });
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": [endpoint] }],
        },
    })
}

fn socket(address: SocketAddr) -> Value {
    let ip = address.ip().to_string();
    json!({ "socket_address": { "address": ip, "port_value": address.port() } })
}
