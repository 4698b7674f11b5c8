//! Placement as Envoy does it: the same host for every key as the real Envoy's `maglev` and
//! `ring_hash`, and the same ones after it for retries.
//!
//! One Envoy has a cluster for each case. All of them have the same upstreams, a listener of the same
//! Envoy with an address for each host, which answers with the address it was reached by.
//!
//! With `PENSTOCK_UPDATE` set, 100,000 keys instead of some hundred are asked for, and what Envoy
//! chose is written down where `consistent-hash`'s own tests find it.

mod case;
#[allow(dead_code, reason = "the tests of the gateway use more of it")]
#[path = "../common/client.rs"]
mod client;
mod golden;
#[path = "../common/ports.rs"]
mod ports;
#[allow(dead_code, reason = "the gateway of ours is for other tests")]
#[path = "../common/process.rs"]
mod process;
#[path = "../common/real_envoy.rs"]
mod real_envoy;

use std::net::SocketAddr;

use serde_json::json;

use case::Case;
use client::Client;
use process::{Gateway, Kind};

/// How many keys are asked for, unless all of a golden table's are.
const KEYS: usize = 500;

/// How many requests are sent before their answers are read.
const BATCH: usize = 100;

/// How many retries a request to a route of retries may have.
const RETRIES: usize = 4;

/// The real Envoy, with a cluster for each case.
struct Scene {
    gateway: Gateway,
    ports: Ports,
}

/// The port of a listener that answers 200 for whichever host it was reached by, and of one that
/// answers 503.
struct Ports {
    well: u16,
    failing: u16,
}

impl Scene {
    fn start(cases: &[Case]) -> Option<Self> {
        let kind = Kind::Envoy(real_envoy::real_envoy()?);
        let ports = Ports {
            well: ports::unused_address().port(),
            failing: ports::unused_address().port(),
        };
        let most = cases.iter().map(|case| case.weights.len()).max();
        let most = most.expect("there are cases");
        let config = json!({
            "admin": {"address": socket(([127, 0, 0, 1], 0).into())},
            "static_resources": {
                "listeners": [
                    ingress(cases),
                    upstream("well", ports.well, 200, most),
                    upstream("failing", ports.failing, 503, most),
                ],
                "clusters": cases.iter().map(|case| case.cluster(&ports)).collect::<Vec<_>>(),
            },
        });
        Some(Self {
            gateway: Gateway::start(&kind, &config.to_string()),
            ports,
        })
    }

    /// The hosts by number that Envoy chooses for keys, the last one after so many retries.
    fn chosen(&self, case: &Case, retries: usize, keys: &[String]) -> Vec<usize> {
        let mut client = Client::connect(self.gateway.address("ingress"));
        let mut chosen = Vec::with_capacity(keys.len());
        for keys in keys.chunks(BATCH) {
            let requests = keys.iter().map(|key| {
                let path = format!("/{}/{retries}", case.name);
                format!("GET {path} HTTP/1.1\r\nhost: a.example\r\nx-key: {key}\r\n\r\n")
            });
            client.send(&requests.collect::<String>());
            for _ in keys {
                let response = client.response();
                let host = response.header("x-host");
                let host = host.unwrap_or_else(|| panic!("{response:?}"));
                chosen.push(case::number(host));
            }
        }
        chosen
    }

    /// Envoy's version, as in `1.40.0`.
    fn version(&self) -> String {
        let admin = self.gateway.address("admin");
        let answer = Client::connect(admin).get("/server_info", "");
        let info: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
        let version = info["version"].as_str().expect("a version");
        // commit/version/state/build/TLS library
        version.split('/').nth(1).expect("a version").to_owned()
    }
}

fn socket(address: SocketAddr) -> serde_json::Value {
    json!({"socket_address": {"address": address.ip(), "port_value": address.port()}})
}

/// Routes `/case/retries` to the case's cluster.
fn ingress(cases: &[Case]) -> serde_json::Value {
    let routes = cases.iter().flat_map(|case| {
        (0..=RETRIES).map(move |retries| {
            json!({
                "match": {"path": format!("/{}/{retries}", case.name)},
                "route": {
                    "cluster": case.name,
                    "hash_policy": [{"header": {"header_name": "x-key"}}],
                    "retry_policy": {
                        "retry_on": "5xx",
                        "num_retries": retries,
                        "retry_back_off": {"base_interval": "0.001s"},
                        "retry_host_predicate": [{
                            "name": "envoy.retry_host_predicates.previous_hosts",
                            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.\
                                retry.host.previous_hosts.v3.PreviousHostsPredicate"},
                        }],
                        "host_selection_retry_max_attempts": 1_000,
                    },
                },
            })
        })
    });
    let route = json!({"virtual_hosts": [
        {"name": "all", "domains": ["*"], "routes": routes.collect::<Vec<_>>()},
    ]});
    json!({
        "name": "ingress",
        "address": socket(([127, 0, 0, 1], 0).into()),
        "filter_chains": [{"filters": [connection_manager(&route)]}],
    })
}

/// Answers with the address it was reached by.
fn upstream(name: &str, port: u16, status: u16, hosts: usize) -> serde_json::Value {
    let route = json!({"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{
        "match": {"prefix": "/"},
        "direct_response": {"status": status},
        "response_headers_to_add": [
            {"header": {"key": "x-host", "value": "%DOWNSTREAM_LOCAL_ADDRESS%"}},
        ],
    }]}]});
    let others = (1..hosts).map(|host| json!({"address": socket(case::address(host, port))}));
    json!({
        "name": name,
        "address": socket(case::address(0, port)),
        "additional_addresses": others.collect::<Vec<_>>(),
        "filter_chains": [{"filters": [connection_manager(&route)]}],
    })
}

fn connection_manager(route: &serde_json::Value) -> serde_json::Value {
    json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.\
                      http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "http",
            "route_config": route,
            "http_filters": [{
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
                },
            }],
        },
    })
}

fn keys(count: usize) -> Vec<String> {
    (0..count).map(golden::key).collect()
}

#[test]
fn every_key_of_the_golden_tables_meets_the_host_that_envoy_chooses() {
    let cases = golden::cases();
    let Some(scene) = Scene::start(&cases) else {
        return;
    };
    let update = std::env::var_os("PENSTOCK_UPDATE").is_some();
    let keys = keys(if update { golden::KEYS } else { KEYS });
    for case in &cases {
        let theirs = scene.chosen(case, 0, &keys);
        if update {
            golden::write(case, &scene.version(), &theirs);
        }
        assert_same(&scene, case, &keys, &theirs);
    }
}

#[test]
fn unusual_sizes_hostnames_and_plain_addresses_are_placed_alike_too() {
    let cases = case::unusual();
    let Some(scene) = Scene::start(&cases) else {
        return;
    };
    for case in &cases {
        let keys = keys(KEYS);
        assert_same(&scene, case, &keys, &scene.chosen(case, 0, &keys));
    }
}

#[test]
fn retries_meet_the_candidates_in_the_order_of_envoys_further_attempts() {
    let cases: Vec<Case> = golden::cases().into_iter().map(Case::failing).collect();
    let Some(scene) = Scene::start(&cases) else {
        return;
    };
    let keys = keys(60);
    for case in &cases {
        let ranking = case.ranking(&scene.ports);
        let mut theirs = vec![Vec::new(); keys.len()];
        for retries in 0..=RETRIES {
            let chosen = scene.chosen(case, retries, &keys);
            for (all, host) in theirs.iter_mut().zip(chosen) {
                all.push(host);
            }
        }
        for (key, theirs) in keys.iter().zip(theirs) {
            let ours = ranking.candidates(key, RETRIES + 1);
            assert_eq!(ours, theirs, "{} for {key}", case.name);
        }
    }
}

#[track_caller]
fn assert_same(scene: &Scene, case: &Case, keys: &[String], theirs: &[usize]) {
    let ranking = case.ranking(&scene.ports);
    for (key, &theirs) in keys.iter().zip(theirs) {
        let ours = ranking.candidates(key, 1);
        assert_eq!(ours, [theirs], "{} for {key}", case.name);
    }
    let met = (0..case.weights.len()).filter(|host| theirs.contains(host));
    assert!(met.count() > 1, "{}: the test says nothing", case.name);
}
