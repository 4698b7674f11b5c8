//! Tokens that are bound to a key of the client's, and proofs that it has it (DPoP, RFC 9449).

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::client::Client;
use crate::issuer::Issuer;
use crate::p256_key::{Key, token_digest};
use crate::process::{Gateway, Kind};
use crate::rig::{Clients, gateway, kinds, outcome, passes, refuses, token, with_keys};

/// What the client calls the gateway.
const URL: &str = "http://a.example/";

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("after 1970").as_secs()
}

/// A gateway that wants proofs, and a token that is bound to the client's key.
fn scene(kind: &Kind, dpop: Value) -> (Gateway, Key, String) {
    let (key, client) = (Key::new("one"), Key::new("client"));
    let provider = with_keys(&[&key], json!({"dpop": dpop}));
    let gateway = gateway(kind, &provider, &Issuer::new());
    let bound = token(&key, json!({"cnf": {"jkt": client.thumbprint()}}));
    (gateway, client, bound)
}

/// The claims of a right proof.
fn claims(token: &str, id: &str) -> Value {
    json!({"jti": id, "htm": "GET", "htu": URL, "iat": now(), "ath": token_digest(token)})
}

fn proof(client: &Key, token: &str, id: &str) -> String {
    client.prove(&claims(token, id).to_string())
}

fn send(connection: &mut Client, token: &str, proof: &str) -> (u16, String) {
    let headers = format!("authorization: DPoP {token}\r\ndpop: {proof}\r\n");
    outcome(&connection.get("/", &headers))
}

#[test]
fn a_proof_is_good_for_one_request_over_all_workers() {
    for kind in kinds() {
        let (gateway, client, token) = scene(&kind, json!({}));
        let mut clients = Clients::connect(&gateway);
        let used = proof(&client, &token, "used");
        let mut count = 0;
        let outcomes = clients.each(|connection| {
            count += 1;
            let fresh = proof(&client, &token, &format!("fresh-{count}"));
            (
                send(connection, &token, &fresh),
                send(connection, &token, &used),
            )
        });
        let (fresh, replayed): (Vec<_>, Vec<_>) = outcomes.into_iter().unzip();
        assert!(fresh.iter().all(|one| *one == passes()), "{fresh:?}");
        assert_eq!(replayed[0], passes(), "{kind:?}");
        let refused = refuses(401, "proof_failed");
        assert!(
            replayed[1..].iter().all(|one| *one == refused),
            "{kind:?}: {replayed:?}"
        );
    }
}

#[test]
fn of_fifty_requests_with_one_proof_at_the_same_time_one_passes() {
    for kind in kinds() {
        let (gateway, client, token) = scene(&kind, json!({}));
        for round in 0..5 {
            let proof = proof(&client, &token, &format!("raced-{round}"));
            let barrier = Arc::new(Barrier::new(50));
            let threads: Vec<_> = (0..50)
                .map(|_| {
                    let (barrier, address) = (Arc::clone(&barrier), gateway.address("main"));
                    let (token, proof) = (token.clone(), proof.clone());
                    thread::spawn(move || {
                        let mut connection = Client::connect(address);
                        barrier.wait();
                        send(&mut connection, &token, &proof)
                    })
                })
                .collect();
            let outcomes = threads.into_iter().map(|one| one.join().expect("no panic"));
            let outcomes: Vec<_> = outcomes.collect();
            let passed = outcomes.iter().filter(|one| **one == passes()).count();
            let refused = refuses(401, "proof_failed");
            let refused = outcomes.iter().filter(|one| **one == refused).count();
            assert_eq!((passed, refused), (1, 49), "{kind:?}: {outcomes:?}");
        }
    }
}

#[test]
fn proofs_of_anything_else_and_none_are_refused() {
    for kind in kinds() {
        let (gateway, client, token) = scene(&kind, json!({}));
        let mut connection = Client::connect(gateway.address("main"));
        let other = Key::new("thief");
        let changed = |name: &str, value: Value| {
            let mut claims = claims(&token, name);
            claims[name] = value;
            client.prove(&claims.to_string())
        };
        let right = proof(&client, &token, "cut");
        let (text, _) = right.rsplit_once('.').expect("three parts");
        for wrong in [
            changed("htm", json!("POST")),
            changed("htu", json!("http://b.example/")),
            changed("htu", json!("https://a.example/")),
            changed("htu", json!("http://a.example/b")),
            changed("iat", json!(now() - 120)),
            changed("iat", json!(now() + 120)),
            changed("iat", Value::Null),
            changed("ath", json!(token_digest("another"))),
            changed("jti", Value::Null),
            proof(&other, &token, "thief"),
            // The token in place of a proof.
            token.clone(),
            text.to_owned(),
            format!("{text}.AAAA"),
            "..".to_owned(),
            "garbage".to_owned(),
            String::new(),
        ] {
            let refused = refuses(401, "proof_failed");
            let outcome = send(&mut connection, &token, &wrong);
            assert_eq!(outcome, refused, "{kind:?}: {wrong}");
        }
        let bearer = connection.get("/", &format!("authorization: Bearer {token}\r\n"));
        assert_eq!(bearer.status, 401, "{kind:?}: {bearer:?}");
        let challenge = bearer.header("www-authenticate").unwrap_or_default();
        assert!(challenge.starts_with("DPoP "), "{kind:?}: {challenge}");
        // After all of it, a right one is right.
        let right = proof(&client, &token, "right");
        assert_eq!(send(&mut connection, &token, &right), passes(), "{kind:?}");
    }
}

#[test]
fn a_gateway_of_another_name_compares_with_that() {
    for kind in kinds() {
        let origin = json!({"origin": "https://api.example.com", "tokens": "if_bound"});
        let (gateway, client, bound) = scene(&kind, origin);
        let mut connection = Client::connect(gateway.address("main"));
        let mut claims = claims(&bound, "one");
        claims["htu"] = json!("https://api.example.com/");
        let right = client.prove(&claims.to_string());
        assert_eq!(send(&mut connection, &bound, &right), passes(), "{kind:?}");
        let own = proof(&client, &bound, "two");
        let refused = refuses(401, "proof_failed");
        assert_eq!(send(&mut connection, &bound, &own), refused, "{kind:?}");
        let unbound = token(&Key::new("one"), json!({}));
        let outcome = crate::rig::bearer(&mut connection, &unbound);
        assert_eq!(outcome, passes(), "{kind:?}");
    }
}
