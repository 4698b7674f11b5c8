//! rate-limit's global limits with real engines: gateways that share one Redis behind webdis, or one
//! server of the Rate Limit Service protocol, and a server that does everything wrong.

#[path = "../common/client.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod client;
mod engines;
#[path = "../common/ports.rs"]
mod ports;
#[path = "../common/process.rs"]
mod process;
#[path = "../common/real_envoy.rs"]
mod real_envoy;
mod redis;
mod rls;
mod stub;

use std::net::SocketAddr;
use std::thread;

use client::Client;
use process::{Gateway, Kind};
use serde_json::{Value, json};

/// The gateways there are.
fn kinds() -> Vec<Kind> {
    let envoy = real_envoy::real_envoy().map(Kind::Envoy);
    [Kind::Ours].into_iter().chain(envoy).collect()
}

/// The real Envoy, if there is one.
fn envoys() -> Vec<Kind> {
    real_envoy::real_envoy()
        .map(Kind::Envoy)
        .into_iter()
        .collect()
}

/// A gateway of two workers that answers 200 to what rate-limit lets through, and knows `service` as a
/// cluster.
fn gateway(kind: &Kind, service: SocketAddr, speaks_http2: bool, config: &Value) -> Gateway {
    let address =
        |port: u16| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    let typed = |kind: &str, mut config: Value| {
        config["@type"] = json!(format!("type.googleapis.com/{kind}"));
        config
    };
    let wasm = typed(
        "envoy.extensions.filters.http.wasm.v3.Wasm",
        json!({"config": {
            "name": "rate_limit",
            "vm_config": {
                "vm_id": "rate_limit",
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"filename": module()}},
            },
            "configuration":
                typed("google.protobuf.StringValue", json!({"value": config.to_string()})),
        }}),
    );
    let manager = typed(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        json!({
            "stat_prefix": "main",
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
                {"match": {"prefix": "/"}, "direct_response": {"status": 200}},
            ]}]},
            "http_filters": [
                {"name": "rate_limit", "typed_config": wasm},
                {"name": "router", "typed_config":
                    typed("envoy.extensions.filters.http.router.v3.Router", json!({}))},
            ],
        }),
    );
    let mut cluster = json!({
        "name": "limits",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "limits", "endpoints": [{"lb_endpoints": [
            {"endpoint": {"address": address(service.port())}},
        ]}]},
    });
    if speaks_http2 {
        let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
        let http2 = json!({"explicit_http_config": {"http2_protocol_options": {}}});
        cluster["typed_extension_protocol_options"] = json!({options: typed(options, http2)});
    }
    let config = json!({
        "admin": {"address": address(0)},
        "static_resources": {
            "listeners": [{
                "name": "main",
                "address": address(0),
                "filter_chains": [{"filters": [
                    {"name": "envoy.filters.network.http_connection_manager",
                     "typed_config": manager},
                ]}],
            }],
            "clusters": [cluster],
        },
    });
    Gateway::start(kind, &config.to_string())
}

fn module() -> String {
    let folder = std::env::var("PENSTOCK_WASM_DIR");
    let folder = folder
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../target/wasm").to_owned());
    format!("{folder}/rate_limit.wasm")
}

/// What became of a number of requests.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    served: usize,
    denied: usize,
    other: Vec<u16>,
}

impl Tally {
    fn add(&mut self, status: u16) {
        match status {
            200 => self.served += 1,
            429 => self.denied += 1,
            other => self.other.push(other),
        }
    }

    fn sum(mut self, other: Self) -> Self {
        self.served += other.served;
        self.denied += other.denied;
        self.other.extend(other.other);
        self
    }
}

/// Sends so many requests of one client to each gateway, over four connections each, all at once.
fn flood(gateways: &[&Gateway], requests: usize, headers: &str) -> Tally {
    const CONNECTIONS: usize = 4;
    thread::scope(|scope| {
        let threads: Vec<_> = gateways
            .iter()
            .flat_map(|gateway| [gateway.address("main"); CONNECTIONS])
            .map(|address| scope.spawn(move || send(address, requests / CONNECTIONS, headers)))
            .collect();
        let tallies = threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"));
        tallies.fold(Tally::default(), Tally::sum)
    })
}

/// Sends so many requests one after the other.
fn send(address: SocketAddr, requests: usize, headers: &str) -> Tally {
    let mut client = Client::connect(address);
    let mut tally = Tally::default();
    for _ in 0..requests {
        tally.add(client.get("/", headers).status);
    }
    tally
}

/// A counter of the filter, summed up over workers.
fn count(gateway: &Gateway, name: &str) -> u64 {
    let mut admin = Client::connect(gateway.address("admin"));
    let stats = admin.get("/stats", "").body;
    let found = stats.lines().find_map(|line| {
        let (known, value) = line.split_once(": ")?;
        let known = known.strip_prefix("wasmcustom.")?;
        (known == name).then_some(value)
    });
    // A counter that nothing was added to may not be there yet.
    found.map_or(0, |value| value.parse().expect("a number"))
}
