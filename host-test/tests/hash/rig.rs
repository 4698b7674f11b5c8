//! Envoy with the filter in front of hosts.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::backend::Backend;
use crate::client::{Client, Response};
use crate::process::{Gateway, Kind};
use crate::real_envoy::real_envoy;

/// An Envoy in front of hosts.
pub(crate) struct Rig {
    gateway: Gateway,
}

pub(crate) fn backends(count: usize) -> Vec<Backend> {
    (0..count).map(|_| Backend::start()).collect()
}

/// The part `hosts` of a configuration.
pub(crate) fn hosts(backends: &[Backend]) -> Value {
    let hosts = backends
        .iter()
        .map(|backend| json!({"address": backend.address.to_string()}));
    hosts.collect()
}

fn wasm() -> String {
    let directory = std::env::var_os("PENSTOCK_WASM_DIR").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/wasm")),
        PathBuf::from,
    );
    let path = directory.join("consistent_hash.wasm");
    assert!(
        path.exists(),
        "`cargo xtask build` makes {}",
        path.display()
    );
    path.display().to_string()
}

fn endpoints(name: &str, addresses: &[SocketAddr]) -> Value {
    let endpoints = addresses.iter().map(|address| {
        let socket = json!({"address": address.ip().to_string(), "port_value": address.port()});
        json!({"endpoint": {"address": {"socket_address": socket}}})
    });
    json!({
        "cluster_name": name,
        "endpoints": [{"lb_endpoints": endpoints.collect::<Vec<_>>()}],
    })
}

fn policy(kind: &str, name: &str, config: Value) -> Value {
    let mut config = config;
    config["@type"] =
        format!("type.googleapis.com/envoy.extensions.load_balancing_policies.{kind}").into();
    json!({"policies": [{"typed_extension_config": {"name": name, "typed_config": config}}]})
}

/// A cluster whose hosts are chosen by the filter's header, which they don't see.
fn cluster(name: &str, addresses: &[SocketAddr]) -> Value {
    let fallback = policy("round_robin.v3.RoundRobin", "fallback", json!({}));
    let steering = json!({
        "override_host_sources": [{"header": "x-upstream-candidates"}],
        "fallback_policy": fallback,
    });
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "circuit_breakers": {"thresholds": [{"max_connections": 4096, "max_requests": 4096, "max_pending_requests": 4096, "max_retries": 4096}]},
        "load_balancing_policy": policy("override_host.v3.OverrideHost", "steer", steering),
        "load_assignment": endpoints(name, addresses),
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http_protocol_options": {}},
            "http_filters": [
                {"name": "strip", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
                    "mutations": {"request_mutations": [{"remove": "x-upstream-candidates"}]},
                }},
                {"name": "envoy.filters.http.upstream_codec", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec",
                }},
            ],
        }},
    })
}

impl Rig {
    /// Starts Envoy with two workers and the filter so configured. Clusters: `service` and `health` with
    /// all hosts, and `discovery` with its own. `None` where the tests are to go without Envoy.
    pub(crate) fn start(
        config: &Value,
        hosts: &[Backend],
        discovery: Option<&Backend>,
    ) -> Option<Self> {
        let envoy = real_envoy()?;
        let addresses: Vec<_> = hosts.iter().map(|host| host.address).collect();
        let mut clusters = vec![
            cluster("service", &addresses),
            cluster("health", &addresses),
        ];
        clusters.extend(discovery.map(|discovery| {
            json!({
                "name": "discovery", "type": "STATIC", "connect_timeout": "1s",
                "load_assignment": endpoints("discovery", &[discovery.address]),
            })
        }));
        let wasm = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": "consistent_hash",
                "failure_policy": "FAIL_RELOAD",
                "allow_on_headers_stop_iteration": true,
                "vm_config": {
                    "vm_id": "consistent_hash",
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"filename": wasm()}},
                },
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.StringValue",
                    "value": config.to_string(),
                },
            },
        });
        let route = json!({
            "cluster": "service",
            "timeout": "60s",
            "retry_policy": {"retry_on": "connect-failure,refused-stream,reset", "num_retries": 3},
        });
        let manager = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "ingress",
            "http_filters": [
                {"name": "consistent_hash", "typed_config": wasm},
                {"name": "envoy.filters.http.router", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
                }},
            ],
            "route_config": {"virtual_hosts": [
                {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}]},
            ]},
        });
        let any_port = json!({"socket_address": {"address": "127.0.0.1", "port_value": 0}});
        let bootstrap = json!({
            "admin": {"address": any_port},
            "static_resources": {
                "listeners": [{
                    "name": "ingress", "address": any_port,
                    "filter_chains": [{"filters": [{
                        "name": "envoy.filters.network.http_connection_manager", "typed_config": manager,
                    }]}],
                }],
                "clusters": clusters,
            },
        });
        let gateway = Gateway::start(&Kind::Envoy(envoy), &bootstrap.to_string());
        Some(Self { gateway })
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.gateway.address("ingress"))
    }

    /// The port of the host that serves a key.
    pub(crate) fn host_of(&self, client: &mut Client, key: &str) -> u16 {
        let response = client.get("/", &format!("x-key: {key}\r\n"));
        port(&response)
    }

    /// The hosts of keys `k0`, `k1`, ….
    pub(crate) fn hosts_of(&self, keys: usize) -> Vec<u16> {
        let mut client = self.connect();
        let keys = 0..keys;
        keys.map(|key| self.host_of(&mut client, &format!("k{key}")))
            .collect()
    }

    /// The filter's metrics by name.
    pub(crate) fn metrics(&self) -> BTreeMap<String, u64> {
        let mut admin = Client::connect(self.gateway.address("admin"));
        let text = admin.get("/stats?filter=consistent_hash", "").body;
        let lines = text.lines().filter_map(|line| line.rsplit_once(": "));
        let metrics = lines.filter_map(|(name, value)| {
            let name = name.strip_prefix("wasmcustom.").unwrap_or(name);
            Some((name.to_owned(), value.parse().ok()?))
        });
        metrics.collect()
    }

    pub(crate) fn metric(&self, name: &str) -> u64 {
        self.metrics().get(name).copied().unwrap_or(0)
    }

    /// What Envoy counts of the attempts at a host of the service.
    pub(crate) fn attempts(&self, host: SocketAddr) -> u64 {
        let mut admin = Client::connect(self.gateway.address("admin"));
        let text = admin.get("/clusters", "").body;
        let prefix = format!("service::{host}::");
        let of = |name: &str| -> u64 {
            let mut lines = text.lines();
            let value = lines.find_map(|line| {
                line.strip_prefix(&prefix)?
                    .strip_prefix(name)?
                    .strip_prefix("::")
            });
            value
                .expect("Envoy knows the host")
                .parse()
                .expect("a number")
        };
        of("rq_total") + of("cx_connect_fail")
    }

    /// Waits until something is seen of the gateway.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, mut is_seen: impl FnMut(&Self) -> bool) {
        let begun = Instant::now();
        while !is_seen(self) {
            let waited = begun.elapsed();
            assert!(
                waited < Duration::from_secs(60),
                "not seen for long: {what}\n{:#?}",
                self.metrics()
            );
            // Other processes have to do what is waited for.
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
}

/// The port that a response's host says it has.
#[track_caller]
pub(crate) fn port(response: &Response) -> u16 {
    assert_eq!(response.status, 200, "{response:?}");
    response.body.parse().expect("a port")
}
