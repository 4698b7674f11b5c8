//! jwt-auth with a real identity provider: oidc-provider, a certified OpenID server, issues the
//! tokens over OAuth and publishes its keys; our gateway and the real Envoy ask it for them.

#[path = "../common/client.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod client;
#[path = "../common/process.rs"]
mod process;
mod provider;
#[path = "../common/real_envoy.rs"]
mod real_envoy;
#[allow(dead_code, reason = "the native table uses more of it")]
#[path = "../jwt_authn/token.rs"]
mod token;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, RwLock};

use client::Client;
use process::{Gateway, Kind};
use provider::Provider;
use serde_json::json;

/// The gateways there are.
fn kinds() -> Vec<Kind> {
    let envoy = real_envoy::real_envoy().map(Kind::Envoy);
    [Kind::Ours].into_iter().chain(envoy).collect()
}

/// A gateway that answers 200 to whoever has a token of the provider, and lets unknown keys have
/// the key set fetched again after that interval.
fn gateway(kind: &Kind, provider: &Provider, unknown_kid_interval: &str) -> Gateway {
    let jwt = json!({
        "providers": {"idp": {
            "issuer": provider.issuer,
            "audiences": ["https://api.example.com"],
            "remote_jwks": {
                "http_uri": {"uri": format!("{}/jwks", provider.issuer), "cluster": "idp", "timeout": "5s"},
                "cache_duration": "600s",
                "unknown_kid_interval": unknown_kid_interval,
            },
        }},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "idp"}}],
    });
    let address =
        |port: u16| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    let typed = |kind: &str, mut config: serde_json::Value| {
        config["@type"] = json!(format!("type.googleapis.com/{kind}"));
        config
    };
    let wasm = typed(
        "envoy.extensions.filters.http.wasm.v3.Wasm",
        json!({"config": {
            "name": "jwt_auth",
            "vm_config": {
                "vm_id": "jwt_auth",
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"filename": module()}},
            },
            "configuration": typed("google.protobuf.StringValue", json!({"value": jwt.to_string()})),
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
                {"name": "jwt_auth", "typed_config": wasm},
                {"name": "router", "typed_config": typed("envoy.extensions.filters.http.router.v3.Router", json!({}))},
            ],
        }),
    );
    let config = json!({
        "admin": {"address": address(0)},
        "static_resources": {
            "listeners": [{
                "name": "main",
                "address": address(0),
                "filter_chains": [{"filters": [
                    {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager},
                ]}],
            }],
            "clusters": [{
                "name": "idp",
                "type": "STATIC",
                "load_assignment": {"cluster_name": "idp", "endpoints": [{"lb_endpoints": [
                    {"endpoint": {"address": address(provider.address.port())}},
                ]}]},
            }],
        },
    });
    Gateway::start(kind, &config.to_string())
}

fn module() -> String {
    let folder = std::env::var("PENSTOCK_WASM_DIR");
    let folder = folder
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../target/wasm").to_owned());
    format!("{folder}/jwt_auth.wasm")
}

fn status(client: &mut Client, token: &str) -> u16 {
    client
        .get("/", &format!("authorization: Bearer {token}\r\n"))
        .status
}

#[test]
fn a_token_that_the_provider_issued_is_let_through_and_no_other() {
    for kind in kinds() {
        let provider = Provider::start();
        let other = Provider::start();
        let gateway = gateway(&kind, &provider, "600s");
        let mut client = Client::connect(gateway.address("main"));
        assert_eq!(client.get("/", "").status, 401, "{kind:?}");
        let token = provider.token();
        assert_eq!(status(&mut client, &token), 200, "{kind:?}");
        assert_eq!(status(&mut client, &other.token()), 401, "{kind:?}");
        let (text, signature) = token.rsplit_once('.').expect("a token");
        let forged = format!("{text}.{}", signature.replace(['A', 'B'], "C"));
        assert_eq!(status(&mut client, &forged), 401, "{kind:?}");
    }
}

#[test]
fn keys_rotate_under_load_and_no_valid_token_is_refused() {
    for kind in kinds() {
        let mut provider = Provider::start();
        let gateway = gateway(&kind, &provider, "0.001s");
        let token = Arc::new(RwLock::new(provider.token()));
        let (stop, served) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let load: Vec<_> = (0..4)
            .map(|_| {
                let (token, stop, served) = (token.clone(), stop.clone(), served.clone());
                let address = gateway.address("main");
                std::thread::spawn(move || refusals(address, &token, &stop, &served))
            })
            .collect();
        let mut keys = vec![provider.first_key.clone()];
        for algorithm in ["ES256", "EdDSA", "PS256", "RS256"] {
            // The provider signs with a new key as soon as it publishes it, which is the hard way:
            // the gateway learns of the key from the first token.
            keys.push(provider.add_key(algorithm));
            *token.write().expect("no thread panicked") = provider.token();
            let before = served.load(Ordering::SeqCst);
            while served.load(Ordering::SeqCst) < before + 200 {
                std::thread::yield_now();
            }
        }
        stop.store(true, Ordering::SeqCst);
        let refusals: Vec<_> = load
            .into_iter()
            .flat_map(|thread| thread.join().expect("it ends"))
            .collect();
        assert!(
            refusals.is_empty(),
            "{kind:?}: {} refused, the first with {}",
            refusals.len(),
            refusals[0]
        );
        // An interval as short as this lets each of the two workers ask.
        let fetches = provider.key_fetches();
        assert!(
            fetches <= 1 + 2 * 4,
            "{kind:?}: {fetches} fetches for 4 rotations"
        );
    }
}

/// Sends the current token over and over; the statuses other than 200.
fn refusals(
    address: SocketAddr,
    token: &RwLock<String>,
    stop: &AtomicBool,
    served: &AtomicU64,
) -> Vec<u16> {
    let mut refused = Vec::new();
    let mut client = Client::connect(address);
    while !stop.load(Ordering::SeqCst) {
        let current = token.read().expect("no thread panicked").clone();
        match status(&mut client, &current) {
            200 => {}
            other => refused.push(other),
        }
        served.fetch_add(1, Ordering::SeqCst);
    }
    refused
}

#[test]
fn fifty_cold_requests_at_once_ask_for_the_keys_once() {
    for kind in kinds() {
        let mut provider = Provider::start();
        let gateway = gateway(&kind, &provider, "600s");
        let token = provider.token();
        let statuses = at_once(50, gateway.address("main"), &token);
        assert!(
            statuses.iter().all(|status| *status == 200),
            "{kind:?}: {statuses:?}"
        );
        assert_eq!(provider.key_fetches(), 1, "{kind:?}");
    }
}

#[test]
fn a_flood_of_unknown_keys_asks_for_the_keys_once_an_interval() {
    for kind in kinds() {
        let mut provider = Provider::start();
        let gateway = gateway(&kind, &provider, "600s");
        let mut client = Client::connect(gateway.address("main"));
        assert_eq!(status(&mut client, &provider.token()), 200, "{kind:?}");
        let before = provider.key_fetches();
        let claims = json!({
            "iss": provider.issuer, "aud": "https://api.example.com", "exp": token::FUTURE,
        });
        for round in 0..5 {
            let header = json!({"alg": "RS256", "kid": format!("unknown-{round}")});
            let forged = token::sign(token::Key::Stranger, &header, &claims);
            let statuses = at_once(20, gateway.address("main"), &forged);
            assert!(
                statuses.iter().all(|status| *status == 401),
                "{kind:?}: {statuses:?}"
            );
        }
        let fetches = provider.key_fetches() - before;
        assert!(fetches <= 1, "{kind:?}: {fetches} fetches");
    }
}

/// The statuses of so many requests, sent when all connections are there.
fn at_once(count: usize, address: SocketAddr, token: &str) -> Vec<u16> {
    let barrier = Arc::new(Barrier::new(count));
    let threads: Vec<_> = (0..count)
        .map(|_| {
            let (barrier, token) = (barrier.clone(), token.to_owned());
            std::thread::spawn(move || {
                let mut client = Client::connect(address);
                barrier.wait();
                status(&mut client, &token)
            })
        })
        .collect();
    threads
        .into_iter()
        .map(|thread| thread.join().expect("it ends"))
        .collect()
}
