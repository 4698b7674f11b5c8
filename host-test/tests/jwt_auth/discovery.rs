//! Keys by the issuer's own document.

use serde_json::{Value, json};

use crate::issuer::{Answer, Issuer};
use crate::p256_key::{Key, jwks};
use crate::ports::unused_address;
use crate::rig::{Clients, FUTURE, gateway, gateway_before, kinds, passes, refuses};
use crate::until::until;

const ISSUER: &str = "https://idp.example.com/realm";
const DOCUMENT: &str = "/realm/.well-known/openid-configuration";

fn provider() -> Value {
    json!({
        "discovery": {"issuer": ISSUER, "cluster": "idp"},
        "remote_jwks": {"async_fetch": {"failed_refetch_duration": "0.1s"}},
    })
}

fn document(issuer: &str, keys: &str) -> Answer {
    let document = json!({
        "issuer": issuer,
        "jwks_uri": keys,
        "id_token_signing_alg_values_supported": ["ES256"],
    });
    Answer::ok(document.to_string())
}

fn right_document() -> Answer {
    document(ISSUER, "https://idp.example.com/keys")
}

fn token(key: &Key) -> String {
    key.sign_claims(&json!({"iss": ISSUER, "exp": FUTURE}).to_string())
}

#[test]
fn the_keys_are_found_once_for_all_workers() {
    for kind in kinds() {
        let (key, other, issuer) = (Key::new("one"), Key::new("two"), Issuer::new());
        issuer.put(DOCUMENT, right_document());
        issuer.put("/keys", Answer::ok(jwks(&[&key])));
        let gateway = gateway(&kind, &provider(), &issuer);
        let mut clients = Clients::connect(&gateway);
        assert_eq!(clients.bearer(&token(&key)), Some(passes()), "{kind:?}");
        let asked = (issuer.count(DOCUMENT), issuer.count("/keys"));
        assert_eq!(asked, (1, 1), "{kind:?}");
        let forged = token(&other);
        let refused = Some(refuses(401, "unknown_key"));
        assert_eq!(clients.bearer(&forged), refused, "{kind:?}");
    }
}

#[test]
fn a_document_that_is_forged_broken_or_missing_lets_nobody_in_until_there_is_a_right_one() {
    for kind in kinds() {
        let (key, issuer) = (Key::new("one"), Issuer::new());
        issuer.put("/keys", Answer::ok(jwks(&[&key])));
        let gateway = gateway(&kind, &provider(), &issuer);
        let mut clients = Clients::connect(&gateway);
        for wrong in [
            Answer::unavailable(),
            Answer::Cut,
            Answer::ok("{"),
            document("https://evil.example.com", "https://idp.example.com/keys"),
            document(ISSUER, "https://evil.example.com/keys"),
            document(ISSUER, "http://idp.example.com/keys"),
        ] {
            issuer.put(DOCUMENT, wrong.clone());
            let before = issuer.count(DOCUMENT);
            until("it was asked for", || issuer.count(DOCUMENT) > before + 1);
            let refused = Some(refuses(503, "jwks_unavailable"));
            assert_eq!(clients.bearer(&token(&key)), refused, "{kind:?}: {wrong:?}");
            assert_eq!(issuer.count("/keys"), 0, "{kind:?}: {wrong:?}");
        }
        issuer.put(DOCUMENT, right_document());
        until("the keys are there", || {
            clients.bearer(&token(&key)) == Some(passes())
        });
    }
}

#[test]
fn a_right_document_whose_keys_are_broken_lets_nobody_in() {
    for kind in kinds() {
        let (key, issuer) = (Key::new("one"), Issuer::new());
        issuer.put(DOCUMENT, right_document());
        let gateway = gateway(&kind, &provider(), &issuer);
        let mut clients = Clients::connect(&gateway);
        for wrong in [Answer::unavailable(), Answer::Cut, Answer::ok("[]")] {
            issuer.put("/keys", wrong.clone());
            let before = issuer.count("/keys");
            until("they were asked for", || issuer.count("/keys") > before + 1);
            let refused = Some(refuses(503, "jwks_unavailable"));
            assert_eq!(clients.bearer(&token(&key)), refused, "{kind:?}: {wrong:?}");
        }
    }
}

#[test]
fn an_issuer_that_nobody_listens_for_lets_nobody_in() {
    for kind in kinds() {
        let gateway = gateway_before(&kind, &provider(), unused_address());
        let mut clients = Clients::connect(&gateway);
        let refused = refuses(503, "jwks_unavailable");
        assert_eq!(clients.bearer(&token(&Key::new("one"))), Some(refused));
    }
}
