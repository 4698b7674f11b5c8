//! rate-limit in the real Envoy: two workers, real traffic, real reloads, a clock that steps.

#[path = "../common/client.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod client;
mod clock;
mod keys;
#[path = "../common/listeners.rs"]
mod listeners;
#[path = "../common/process.rs"]
#[allow(dead_code, reason = "other tests start our gateway too")]
mod process;
#[path = "../common/real_envoy.rs"]
mod real_envoy;
mod reload;
mod traps;
mod tripwire;
#[path = "../common/upstream.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod upstream;
mod workers;

use std::net::SocketAddr;
use std::thread;

use client::Client;
use process::{Gateway, Kind};
use serde_json::{Value, json};

/// The real Envoy, if there is one.
fn envoys() -> Vec<Kind> {
    real_envoy::real_envoy()
        .map(Kind::Envoy)
        .into_iter()
        .collect()
}

fn typed(kind: &str, mut config: Value) -> Value {
    config["@type"] = json!(format!("type.googleapis.com/{kind}"));
    config
}

fn address(port: u16) -> Value {
    json!({"socket_address": {"address": "127.0.0.1", "port_value": port}})
}

/// A listener with the filter in front of that route's action.
fn listener(module: &str, config: &Value, action: Value) -> Value {
    let wasm = typed(
        "envoy.extensions.filters.http.wasm.v3.Wasm",
        json!({"config": {
            "name": "rate_limit",
            "failure_policy": "FAIL_RELOAD",
            "vm_config": {
                "vm_id": "rate_limit",
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"filename": module}},
            },
            "configuration":
                typed("google.protobuf.StringValue", json!({"value": config.to_string()})),
        }}),
    );
    let mut route = json!({"match": {"prefix": "/"}});
    for (name, value) in action.as_object().expect("fields") {
        route[name] = value.clone();
    }
    let manager = typed(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        json!({
            "stat_prefix": "main",
            "route_config": {
                "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}],
            },
            "http_filters": [
                {"name": "rate_limit", "typed_config": wasm},
                {"name": "router", "typed_config":
                    typed("envoy.extensions.filters.http.router.v3.Router", json!({}))},
            ],
        }),
    );
    json!({
        "name": "main",
        "address": address(0),
        "filter_chains": [{"filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager},
        ]}],
    })
}

/// An Envoy's configuration with that listener and, if need be, an upstream.
fn bootstrap(listener: Value, upstream: Option<SocketAddr>) -> Value {
    let clusters: Vec<_> = upstream
        .iter()
        .map(|upstream| {
            json!({
                "name": "upstream",
                "type": "STATIC",
                "load_assignment": {"cluster_name": "upstream", "endpoints": [{"lb_endpoints": [
                    {"endpoint": {"address": address(upstream.port())}},
                ]}]},
            })
        })
        .collect();
    json!({
        "admin": {"address": address(0)},
        "static_resources": {"listeners": [listener], "clusters": clusters},
    })
}

/// An Envoy that answers 200 to what rate-limit lets through.
fn gateway(kind: &Kind, config: &Value) -> Gateway {
    let listener = listener(&module(), config, served());
    Gateway::start(kind, &bootstrap(listener, None).to_string())
}

/// What is done with requests that are let through.
fn served() -> Value {
    json!({"direct_response": {"status": 200}})
}

fn module() -> String {
    let folder = std::env::var("PENSTOCK_WASM_DIR");
    let folder = folder
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../target/wasm").to_owned());
    format!("{folder}/rate_limit.wasm")
}

/// Sends so many requests, over eight connections at once; how many were served. All others are to be
/// denied.
fn flood(address: SocketAddr, requests: usize, headers: &str) -> usize {
    const CONNECTIONS: usize = 8;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                scope.spawn(move || {
                    let mut client = Client::connect(address);
                    let statuses =
                        (0..requests / CONNECTIONS).map(|_| client.get("/", headers).status);
                    let (served, denied): (Vec<_>, _) = statuses.partition(|status| *status == 200);
                    assert!(denied.iter().all(|status| *status == 429), "{denied:?}");
                    served.len()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .sum()
    })
}
