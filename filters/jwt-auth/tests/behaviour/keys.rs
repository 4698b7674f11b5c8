//! Keys that come and go.

use jwt_auth::decision::{Awaited, Step};

use crate::common::{Bench, OTHER, reason, sign, status};
use crate::{claims, good, one};

#[test]
fn keys_that_are_on_their_way_are_waited_for_but_not_by_hopeless_tokens() {
    let config = r#"{"providers": {"p": {"issuer": "i", "remote_jwks": {"http_uri":
            {"uri": "https://i/jwks", "cluster": "c", "timeout": "1s"}}}},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "p"}}]}"#;
    let mut bench = Bench::new(config);
    let header = r#"{"alg":"RS256","kid":"one"}"#;
    let bearer = |claims: &str| format!("Bearer {}", sign(header, claims, b"x"));
    let (good, old) = (bearer(&claims("")), bearer(r#"{"iss":"i","exp":1}"#));
    let with = |value| [(":path", "/"), (":method", "GET"), ("authorization", value)];
    assert_eq!(bench.step(&with(&good), true), Step::Wait(Awaited::Keys(0)));
    assert_eq!(
        reason(&bench.decide(&with(&old))).as_deref(),
        Some("expired")
    );
    // Whoever may not wait gets an answer, and one that isn't the client's fault.
    let Step::Done(decision) = bench.step(&with(&good), false) else {
        panic!("may not wait");
    };
    assert_eq!(status(&decision), 503);
    // Nor does anybody once it is known that they don't come.
    bench.worker.keys_mut(0).unwrap().awaited = false;
    assert_eq!(status(&bench.decide(&with(&good))), 503);
}

#[test]
fn an_unknown_kid_asks_for_the_keys_once_more() {
    let mut bench = one("");
    let other = sign(r#"{"alg":"HS256","kid":"new"}"#, &claims(""), OTHER);
    let authorization = format!("Bearer {other}");
    let sent = [
        (":path", "/"),
        (":method", "GET"),
        ("authorization", &*authorization),
    ];
    assert_eq!(reason(&bench.decide(&sent)).as_deref(), Some("unknown_key"));
    bench.worker.keys_mut(0).unwrap().may_want = true;
    assert_eq!(bench.step(&sent, true), Step::Wait(Awaited::Keys(0)));
    assert!(bench.worker.keys_mut(0).unwrap().wanted);
    let Step::Done(decision) = bench.step(&sent, false) else {
        panic!("may not wait");
    };
    assert_eq!(reason(&decision).as_deref(), Some("unknown_key"));
}

#[test]
fn tokens_are_forgotten_with_the_keys_they_were_verified_by() {
    let mut bench = one("");
    let token = good();
    assert_eq!(bench.bearer(&token), None);
    let keys = bench.worker.keys_mut(0).unwrap();
    keys.version = 2;
    keys.set = Some(std::rc::Rc::default());
    assert_eq!(bench.bearer(&token).as_deref(), Some("unknown_key"));
    bench.worker.keys_mut(0).unwrap().set = None;
    assert_eq!(bench.bearer(&token).as_deref(), Some("jwks_unavailable"));
}
