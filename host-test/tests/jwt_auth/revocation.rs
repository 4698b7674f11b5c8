//! Lists of revoked tokens.

use serde_json::{Value, json};

use crate::issuer::{Answer, Issuer};
use crate::p256_key::Key;
use crate::ports::unused_address;
use crate::rig::{
    Clients, gateway, gateway_before, http_uri, kinds, passes, refuses, token, with_keys,
};
use crate::until::until;

const PATH: &str = "/revoked";

fn provider(key: &Key, more: Value) -> Value {
    let mut revocation = json!({"http_uri": http_uri(PATH), "poll_interval": "0.1s"});
    for (name, value) in more.as_object().expect("fields") {
        revocation[name] = value.clone();
    }
    with_keys(&[key], json!({"revocation": revocation}))
}

#[test]
fn a_revoked_token_is_refused_by_every_worker_though_it_was_remembered() {
    for kind in kinds() {
        let (key, issuer) = (Key::new("one"), Issuer::new());
        issuer.put(PATH, Answer::ok("{}"));
        let gateway = gateway(&kind, &provider(&key, json!({})), &issuer);
        let mut clients = Clients::connect(&gateway);
        let (one, other) = (
            token(&key, json!({"jti": "t1"})),
            token(&key, json!({"jti": "t2", "sub": "bo"})),
        );
        for token in [&one, &other] {
            assert_eq!(clients.bearer(token), Some(passes()), "{kind:?}");
        }
        issuer.put(PATH, Answer::ok(r#"{"jti": ["t1"]}"#));
        let revoked = Some(refuses(401, "revoked"));
        until("the token is revoked", || clients.bearer(&one) == revoked);
        assert_eq!(clients.bearer(&other), Some(passes()), "{kind:?}");
        issuer.put(PATH, Answer::ok(r#"{"sub": ["bo"]}"#));
        until("its subject is", || clients.bearer(&other) == revoked);
        until("the first is not any more", || {
            clients.bearer(&one) == Some(passes())
        });
    }
}

#[test]
fn the_last_good_list_counts_while_the_service_is_down_or_says_nonsense() {
    for kind in kinds() {
        let (key, issuer) = (Key::new("one"), Issuer::new());
        issuer.put(PATH, Answer::ok(r#"{"jti": ["t1"]}"#));
        let gateway = gateway(&kind, &provider(&key, json!({"max_entries": 2})), &issuer);
        let mut clients = Clients::connect(&gateway);
        let (gone, good) = (
            token(&key, json!({"jti": "t1"})),
            token(&key, json!({"jti": "t2"})),
        );
        assert_eq!(clients.bearer(&gone), Some(refuses(401, "revoked")));
        for wrong in [
            Answer::unavailable(),
            Answer::Cut,
            Answer::ok("\0"),
            Answer::ok(r#"{"jti": "t2"}"#),
            Answer::ok(r#"{"jti": ["t2", "t3", "t4"]}"#),
        ] {
            issuer.put(PATH, wrong.clone());
            let before = issuer.count(PATH);
            until("it was asked for", || issuer.count(PATH) > before + 1);
            let revoked = Some(refuses(401, "revoked"));
            assert_eq!(clients.bearer(&gone), revoked, "{kind:?}: {wrong:?}");
            assert_eq!(clients.bearer(&good), Some(passes()), "{kind:?}: {wrong:?}");
        }
        issuer.put(PATH, Answer::ok("{}"));
        until("nothing is revoked", || {
            clients.bearer(&gone) == Some(passes())
        });
    }
}

#[test]
fn without_any_list_nobody_passes_unless_configured() {
    for kind in kinds() {
        let key = Key::new("one");
        for (more, expected) in [
            (json!({}), refuses(503, "revocations_unavailable")),
            (json!({"on_unavailable": "allow"}), passes()),
        ] {
            let provider = provider(&key, more);
            let gateway = gateway_before(&kind, &provider, unused_address());
            let mut clients = Clients::connect(&gateway);
            let outcome = clients.bearer(&token(&key, json!({})));
            assert_eq!(outcome, Some(expected), "{kind:?}");
        }
    }
}
