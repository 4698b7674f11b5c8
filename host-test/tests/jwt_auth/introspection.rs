//! Opaque tokens, which the issuer is asked about.

use std::net::SocketAddr;
use std::sync::{Arc, Barrier};
use std::thread;

use serde_json::{Value, json};

use crate::client::Client;
use crate::issuer::{Answer, Issuer};
use crate::p256_key::Key;
use crate::ports::unused_address;
use crate::rig::{
    Clients, bearer, gateway, gateway_before, http_uri, kinds, passes, refuses, token, with_keys,
};
use crate::upstream::header;

const PATH: &str = "/introspect";

fn provider() -> Value {
    json!({"introspection": introspection()})
}

fn introspection() -> Value {
    json!({
        "http_uri": http_uri(PATH), "client_id": "gateway", "client_secret": "hush",
        // Longer than the test takes: what is remembered isn't asked again.
        "cache_duration": "600s", "negative_cache_duration": "600s",
    })
}

fn active() -> Answer {
    Answer::ok(json!({"active": true, "sub": "ana"}).to_string())
}

#[test]
fn an_active_token_passes_and_each_worker_asks_about_it_once() {
    for kind in kinds() {
        let issuer = Issuer::new();
        issuer.put(PATH, active());
        let gateway = gateway(&kind, &provider(), &issuer);
        let mut clients = Clients::connect(&gateway);
        for _ in 0..3 {
            assert_eq!(clients.bearer("opaque-1"), Some(passes()), "{kind:?}");
        }
        let asked = issuer.asked(PATH);
        assert!((1..=2).contains(&asked.len()), "{kind:?}: {asked:?}");
        for request in asked {
            // `printf gateway:hush | base64`
            let credentials = Some("Basic Z2F0ZXdheTpodXNo");
            assert_eq!(header(&request, "authorization"), credentials);
            assert!(request.starts_with("POST "), "{request}");
            let body = "\r\n\r\ntoken=opaque-1&token_type_hint=access_token";
            assert!(request.ends_with(body), "{request}");
        }
    }
}

#[test]
fn one_that_is_not_active_is_refused_and_remembered() {
    for kind in kinds() {
        let issuer = Issuer::new();
        issuer.put(PATH, Answer::ok(r#"{"active": false}"#));
        let gateway = gateway(&kind, &provider(), &issuer);
        let mut clients = Clients::connect(&gateway);
        for _ in 0..3 {
            let refused = Some(refuses(401, "inactive"));
            assert_eq!(clients.bearer("opaque-1"), refused, "{kind:?}");
        }
        assert!(issuer.count(PATH) <= 2, "{kind:?}");
    }
}

#[test]
fn without_a_right_answer_nobody_passes_and_with_one_they_do() {
    for kind in kinds() {
        let issuer = Issuer::new();
        let gateway = gateway(&kind, &provider(), &issuer);
        let mut clients = Clients::connect(&gateway);
        for (n, wrong) in [
            Answer::unavailable(),
            Answer::Cut,
            Answer::Status(200, String::new()),
            Answer::ok("\0{"),
            Answer::ok(r#"{"active": "true"}"#),
            Answer::ok(r#"{"active": true, "active": false}"#),
            Answer::Status(401, r#"{"active": true}"#.to_owned()),
        ]
        .into_iter()
        .enumerate()
        {
            issuer.put(PATH, wrong.clone());
            let refused = Some(refuses(503, "introspection_unavailable"));
            let outcome = clients.bearer(&format!("opaque-{n}"));
            assert_eq!(outcome, refused, "{kind:?}: {wrong:?}");
        }
        issuer.put(PATH, active());
        assert_eq!(clients.bearer("opaque-new"), Some(passes()), "{kind:?}");
    }
}

#[test]
fn an_endpoint_that_nobody_listens_at_lets_nobody_in() {
    for kind in kinds() {
        let gateway = gateway_before(&kind, &provider(), unused_address());
        let mut clients = Clients::connect(&gateway);
        let refused = refuses(503, "introspection_unavailable");
        assert_eq!(clients.bearer("opaque"), Some(refused), "{kind:?}");
    }
}

#[test]
fn beside_keys_signed_tokens_are_not_asked_about() {
    for kind in kinds() {
        let (key, issuer) = (Key::new("one"), Issuer::new());
        issuer.put(PATH, active());
        let provider = with_keys(&[&key], json!({"introspection": introspection()}));
        let gateway = gateway(&kind, &provider, &issuer);
        let mut clients = Clients::connect(&gateway);
        assert_eq!(clients.bearer(&token(&key, json!({}))), Some(passes()));
        let forged = token(&Key::new("two"), json!({}));
        assert_eq!(clients.bearer(&forged), Some(refuses(401, "unknown_key")));
        assert_eq!(issuer.count(PATH), 0, "{kind:?}");
        assert_eq!(clients.bearer("opaque"), Some(passes()), "{kind:?}");
    }
}

#[test]
fn a_hundred_requests_at_once_with_one_new_token_ask_once_for_each_worker() {
    for kind in kinds() {
        let issuer = Issuer::new();
        issuer.put(PATH, active());
        let gateway = gateway(&kind, &provider(), &issuer);
        let outcomes = at_once(gateway.address("main"), 100);
        assert!(outcomes.iter().all(|one| *one == passes()), "{outcomes:?}");
        assert!(issuer.count(PATH) <= 2, "{kind:?}");
    }
}

fn at_once(address: SocketAddr, count: usize) -> Vec<(u16, String)> {
    let barrier = Arc::new(Barrier::new(count));
    let threads: Vec<_> = (0..count)
        .map(|_| {
            let barrier = Arc::clone(&barrier);
            thread::spawn(move || {
                let mut client = Client::connect(address);
                barrier.wait();
                bearer(&mut client, "opaque-1")
            })
        })
        .collect();
    let outcomes = threads.into_iter().map(|one| one.join().expect("no panic"));
    outcomes.collect()
}
