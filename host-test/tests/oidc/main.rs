//! jwt-auth with a real identity provider: oidc-provider, a certified OpenID server, issues the
//! tokens over OAuth and publishes its keys; our gateway and the real Envoy ask it for them.

mod browser;
#[path = "../common/client.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod client;
#[path = "../common/one_filter.rs"]
mod one_filter;
#[path = "../common/p256_key.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod p256_key;
#[path = "../common/process.rs"]
mod process;
mod provider;
#[path = "../common/real_envoy.rs"]
mod real_envoy;
#[allow(dead_code, reason = "the native table uses more of it")]
#[path = "../jwt_authn/token.rs"]
mod token;
#[path = "../common/until.rs"]
mod until;
mod users;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Barrier, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use client::Client;
use one_filter::OneFilter;
use process::{Gateway, Kind};
use provider::Provider;
use serde_json::{Value, json};
use until::until;

/// The services that tokens are for: one that takes signed ones, and one that takes opaque ones.
const API: &str = "https://api.example.com";
const OPAQUE: &str = "https://opaque.example.com";

/// The gateways there are.
fn kinds() -> Vec<Kind> {
    let envoy = real_envoy::real_envoy().map(Kind::Envoy);
    [Kind::Ours].into_iter().chain(envoy).collect()
}

/// A gateway that answers 200 to whoever has a token of the provider, and lets unknown keys have
/// the key set fetched again after that interval.
fn gateway(kind: &Kind, provider: &Provider, unknown_kid_interval: &str) -> Gateway {
    let config = requires(json!({
        "issuer": provider.issuer,
        "audiences": [API],
        "remote_jwks": {
            "http_uri": http_uri(provider, "/jwks"),
            "cache_duration": "600s",
            "unknown_kid_interval": unknown_kid_interval,
        },
    }));
    start(kind, provider, &config)
}

/// The filter's configuration where all need a token of this provider.
fn requires(provider: Value) -> Value {
    json!({
        "providers": {"idp": provider},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "idp"}}],
    })
}

/// Where the provider has something.
fn http_uri(provider: &Provider, path: &str) -> Value {
    let uri = format!("{}{path}", provider.issuer);
    json!({"uri": uri, "cluster": "idp", "timeout": "5s"})
}

/// A gateway whose filter is so configured.
fn start(kind: &Kind, provider: &Provider, config: &Value) -> Gateway {
    let gateway = OneFilter {
        filter: "jwt_auth",
        config,
        clusters: &[("idp", provider.address)],
        transport_socket: None,
        manager: json!({}),
    };
    Gateway::start(kind, &gateway.bootstrap())
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

/// Requests a second while keys rotate, and how many there are for each key.
const RATE: u32 = 1_000;
const FOR_EACH_KEY: u32 = 1_000;

#[test]
fn keys_rotate_at_a_thousand_requests_a_second_and_no_valid_token_is_refused() {
    for kind in kinds() {
        let mut provider = Provider::start();
        let gateway = gateway(&kind, &provider, "0.1s");
        let load = Load::new((0..4).map(|_| provider.token()).collect());
        let address = gateway.address("main");
        let refusals = thread::scope(|scope| {
            let end = End(&load.ends);
            let clients: Vec<_> = (0..8).map(|_| scope.spawn(|| load.send(address))).collect();
            load.until_served(FOR_EACH_KEY);
            for algorithm in ["ES256", "EdDSA", "PS256", "RS256"] {
                // The provider signs with a new key as soon as it publishes it, which is the hard
                // way: the gateway learns of the key from the first token. Those of the key before
                // stay valid and go on being sent.
                provider.add_key(algorithm);
                load.mix_in((0..4).map(|_| provider.token()).collect());
                load.until_served(FOR_EACH_KEY);
            }
            drop(end);
            let clients = clients.into_iter();
            let refusals = clients.flat_map(|client| client.join().expect("it ends"));
            refusals.collect::<Vec<_>>()
        });
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

/// Requests that several clients send, evenly over time.
struct Load {
    begun: Instant,
    /// The tokens of the newest key and of the one before.
    tokens: RwLock<Vec<String>>,
    sent: AtomicU32,
    served: AtomicU32,
    ends: AtomicBool,
}

/// Ends the load when it is dropped, be it by a panic.
struct End<'l>(&'l AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Load {
    fn new(tokens: Vec<String>) -> Self {
        Self {
            begun: Instant::now(),
            tokens: RwLock::new(tokens),
            sent: AtomicU32::new(0),
            served: AtomicU32::new(0),
            ends: AtomicBool::new(false),
        }
    }

    fn mix_in(&self, newest: Vec<String>) {
        let mut tokens = self.tokens.write().expect("no thread panicked");
        let older = tokens.len().saturating_sub(newest.len());
        tokens.drain(..older);
        tokens.extend(newest);
    }

    /// Waits until so many more requests were answered.
    fn until_served(&self, more: u32) {
        let wanted = self.served.load(Ordering::SeqCst) + more;
        until("requests are served", || {
            self.served.load(Ordering::SeqCst) >= wanted
        });
    }

    /// Sends its share; the statuses other than 200.
    fn send(&self, address: SocketAddr) -> Vec<u16> {
        let mut refused = Vec::new();
        let mut client = Client::connect(address);
        while !self.ends.load(Ordering::SeqCst) {
            let number = self.sent.fetch_add(1, Ordering::SeqCst);
            let due = self.begun + Duration::from_secs(1) / RATE * number;
            while let Some(early) = due.checked_duration_since(Instant::now()) {
                thread::park_timeout(early);
            }
            let tokens = self.tokens.read().expect("no thread panicked");
            let token = tokens[number as usize % tokens.len()].clone();
            drop(tokens);
            match status(&mut client, &token) {
                200 => {}
                other => refused.push(other),
            }
            self.served.fetch_add(1, Ordering::SeqCst);
        }
        refused
    }
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
            thread::spawn(move || {
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
