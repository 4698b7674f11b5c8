//! Fetched keys: how often they are fetched, whatever clients and issuers do, and keys that go.

use std::net::SocketAddr;
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};

use crate::client::Client;
use crate::issuer::{Answer, Issuer};
use crate::p256_key::{Key, jwks};
use crate::process::Gateway;
use crate::rig::{
    Clients, bearer, envoys, gateway, http_uri, kinds, outcome, passes, refuses, token,
};
use crate::until::until;

fn remote(more: Value) -> Value {
    let mut jwks = json!({"http_uri": http_uri("/keys"), "unknown_kid_interval": "600s"});
    for (name, value) in more.as_object().expect("fields") {
        jwks[name] = value.clone();
    }
    json!({"issuer": "i", "remote_jwks": jwks})
}

/// The requests that are under way in Envoy.
fn active(gateway: &Gateway) -> u64 {
    let mut admin = Client::connect(gateway.address("admin"));
    let path = "/stats?filter=http.main.downstream_rq_active$";
    let answer = admin.get(path, "").body;
    let (_, count) = answer.trim_end().rsplit_once(' ').expect("a gauge");
    count.parse().expect("a number")
}

/// Sends a request with each of these headers at the same time, over a connection for each.
fn at_once(address: SocketAddr, tokens: Vec<String>) -> Vec<thread::JoinHandle<(u16, String)>> {
    let send = |token: String| {
        let mut client = Client::connect(address);
        thread::spawn(move || bearer(&mut client, &token))
    };
    tokens.into_iter().map(send).collect()
}

#[test]
fn fifty_cold_requests_are_held_for_one_fetch() {
    for kind in envoys() {
        let (key, issuer) = (Key::new("one"), Issuer::new());
        issuer.put("/keys", Answer::Held);
        let gateway = gateway(&kind, &remote(json!({})), &issuer);
        let tokens = (0..50).map(|n| token(&key, json!({"jti": n.to_string()})));
        let requests = at_once(gateway.address("main"), tokens.collect());
        until("all are held", || active(&gateway) == 50);
        issuer.put("/keys", Answer::ok(jwks(&[&key])));
        for request in requests {
            assert_eq!(request.join().expect("no panic"), passes());
        }
        assert_eq!(issuer.count("/keys"), 1);
    }
}

/// Sends tokens over all connections until the issuer was asked that often; fails if it was asked more
/// often than once in each of the intervals, of so many milliseconds, that went by.
fn flood(issuer: &Issuer, asked: usize, interval: u128, mut send: impl FnMut(usize)) {
    let (begun, before) = (Instant::now(), issuer.count("/keys"));
    let mut round = 0;
    until("the keys are asked for often enough", || {
        send(round);
        round += 1;
        issuer.count("/keys") >= before + asked
    });
    // Counted first: more time has gone by than between the first and the last of them.
    let fetches = issuer.count("/keys") - before;
    let intervals = begun.elapsed().as_millis() / interval;
    assert!(
        fetches as u128 <= intervals + 1,
        "{fetches} fetches in {intervals} intervals"
    );
}

#[test]
fn an_issuer_that_answers_503_is_asked_once_in_an_interval_over_all_workers() {
    for kind in kinds() {
        let (key, issuer) = (Key::new("one"), Issuer::new());
        let pause = json!({"async_fetch": {"failed_refetch_duration": "0.5s"}});
        let gateway = gateway(&kind, &remote(pause), &issuer);
        let mut clients = Clients::connect(&gateway);
        // The first ones wait until a fetch has failed.
        let wanted = |n: usize| token(&key, json!({"jti": n.to_string()}));
        let refused = refuses(503, "jwks_unavailable");
        until("a fetch has failed", || {
            clients.bearer(&wanted(0)) == Some(refused.clone())
        });
        flood(&issuer, 4, 500, |round| {
            assert_eq!(clients.bearer(&wanted(round)), Some(refused.clone()));
        });
        issuer.put("/keys", Answer::ok(jwks(&[&key])));
        until("the keys are there", || {
            clients.bearer(&wanted(0)) == Some(passes())
        });
    }
}

#[test]
fn a_flood_of_unknown_kids_asks_for_the_keys_once_in_an_interval_over_all_workers() {
    for kind in kinds() {
        let (key, issuer) = (Key::new("one"), Issuer::new());
        issuer.put("/keys", Answer::ok(jwks(&[&key])));
        let interval = json!({"unknown_kid_interval": "0.5s"});
        let gateway = gateway(&kind, &remote(interval), &issuer);
        let mut clients = Clients::connect(&gateway);
        assert_eq!(clients.bearer(&token(&key, json!({}))), Some(passes()));
        let claims = json!({"iss": "i", "exp": crate::rig::FUTURE}).to_string();
        let mut next = 0;
        flood(&issuer, 4, 500, |_| {
            let outcomes = clients.each(|client| {
                next += 1;
                let header = format!(r#"{{"alg":"ES256","kid":"k{next}"}}"#);
                bearer(client, &key.sign(&header, &claims))
            });
            let refused = refuses(401, "unknown_key");
            assert!(outcomes.iter().all(|one| *one == refused), "{outcomes:?}");
        });
        assert_eq!(clients.bearer(&token(&key, json!({}))), Some(passes()));
    }
}

#[test]
fn a_removed_key_has_its_remembered_tokens_refused_by_every_worker() {
    for kind in kinds() {
        let (old, new, issuer) = (Key::new("old"), Key::new("new"), Issuer::new());
        issuer.put("/keys", Answer::ok(jwks(&[&old])));
        let interval = json!({"unknown_kid_interval": "0.2s"});
        let gateway = gateway(&kind, &remote(interval), &issuer);
        let mut clients = Clients::connect(&gateway);
        let (removed, added) = (token(&old, json!({})), token(&new, json!({})));
        for _ in 0..3 {
            assert_eq!(clients.bearer(&removed), Some(passes()), "{kind:?}");
        }
        issuer.put("/keys", Answer::ok(jwks(&[&new])));
        // Tokens of the new key have the new set fetched. A worker that knows the new key knows that
        // the old one is gone.
        until("the new key is known", || {
            clients.bearer(&added) == Some(passes())
        });
        let refused = Some(refuses(401, "unknown_key"));
        assert_eq!(clients.bearer(&removed), refused, "{kind:?}");
    }
}

#[test]
fn what_is_no_key_set_lets_nobody_in_and_the_next_good_one_does() {
    for kind in kinds() {
        let (key, issuer) = (Key::new("one"), Issuer::new());
        let pause = json!({"async_fetch": {"failed_refetch_duration": "0.1s"}});
        issuer.put("/keys", Answer::Cut);
        let gateway = gateway(&kind, &remote(pause), &issuer);
        let mut clients = Clients::connect(&gateway);
        let good = token(&key, json!({}));
        for odd in [
            Answer::Cut,
            Answer::ok("\0\u{ff}"),
            Answer::ok(r#"{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}"#),
            Answer::Status(302, jwks(&[&key])),
        ] {
            issuer.put("/keys", odd.clone());
            let before = issuer.count("/keys");
            until("it was asked for", || issuer.count("/keys") > before + 1);
            let refused = Some(refuses(503, "jwks_unavailable"));
            assert_eq!(clients.bearer(&good), refused, "{odd:?}");
        }
        issuer.put("/keys", Answer::ok(jwks(&[&key])));
        until("the keys are there", || {
            clients.bearer(&good) == Some(passes())
        });
    }
}

#[test]
fn an_issuer_that_nobody_listens_for_is_told_from_a_wrong_token() {
    for kind in kinds() {
        let key = Key::new("one");
        let gateway =
            crate::rig::gateway_before(&kind, &remote(json!({})), crate::ports::unused_address());
        let mut client = Client::connect(gateway.address("main"));
        let response = client.get(
            "/",
            &format!("authorization: Bearer {}\r\n", token(&key, json!({}))),
        );
        assert_eq!(outcome(&response), refuses(503, "jwks_unavailable"));
        assert_eq!(response.header("www-authenticate"), None);
        let expired = token(&key, json!({"exp": 1}));
        assert_eq!(bearer(&mut client, &expired), refuses(401, "expired"));
    }
}
