//! What is known elsewhere: tokens that are introspected (RFC 7662), and tokens that were revoked.

mod common;

use std::rc::Rc;

use common::{Bench, NOW, provider, reason, status, token, upstream};
use jwt_auth::decision::{Awaited, Count, Decision, Question, Step};
use jwt_auth::jose::date::NumericDate;
use jwt_auth::policy::Revoked;
use jwt_auth::revocation::DenyList;

const INTROSPECTION: &str = r#""introspection": {
    "http_uri": {"uri": "https://i/introspect", "cluster": "c", "timeout": "1s"},
    "client_id": "gateway", "client_secret": "s", "cache_duration": "60s"}"#;

fn config(providers: &str, requires: &str) -> String {
    format!(
        r#"{{"providers": {{{providers}}}, "rules": [
            {{"match": {{"prefix": "/"}}, "requires": {requires}, "scopes": ["read"]}}]}}"#
    )
}

/// A provider all of whose tokens are introspected.
fn opaque(more: &str) -> Bench {
    let provider = format!(r#""p": {{"issuer": "i", {INTROSPECTION} {more}}}"#);
    Bench::new(&config(&provider, r#"{"provider_name": "p"}"#))
}

fn send(bench: &mut Bench, token: &str) -> Step {
    let authorization = format!("Bearer {token}");
    let headers = [
        (":method", "GET"),
        (":authority", "a"),
        (":path", "/"),
        ("x-request-id", "r-1"),
        ("authorization", &*authorization),
    ];
    bench.step(&headers, true)
}

fn question(step: Step) -> Question {
    match step {
        Step::Wait(Awaited::Introspection(question)) => question,
        step => panic!("{step:?}"),
    }
}

fn done(step: Step) -> Decision {
    match step {
        Step::Done(decision) => decision,
        step => panic!("{step:?}"),
    }
}

fn answer(bench: &mut Bench, question: &Question, json: Option<&str>) {
    let now = NumericDate::from_unix_seconds(bench.now);
    let json = json.map(|json| json.as_bytes().to_vec());
    let _ = bench
        .policy
        .answered(&mut bench.worker, question, json, now);
}

#[test]
fn an_opaque_token_is_asked_about_once_and_remembered() {
    let mut bench =
        opaque(r#", "claim_to_headers": [{"header_name": "x-user", "claim_name": "sub"}]"#);
    let question = question(send(&mut bench, "opaque.token/+=="));
    assert_eq!(question.token, b"opaque.token/+==");
    assert_eq!(question.trace, [("x-request-id", "r-1".to_owned())]);
    let json = format!(
        r#"{{"active": true, "sub": "ana", "scope": "read", "exp": {}}}"#,
        NOW + 30
    );
    answer(&mut bench, &question, Some(&json));
    for _ in 0..2 {
        let decision = done(send(&mut bench, "opaque.token/+=="));
        assert_eq!(reason(&decision), None);
        assert_eq!(upstream(&decision, &[], "x-user"), ["ana"]);
        assert!(decision.counts.contains(&Count::Remembered));
    }
    // Never past its end, with the skew.
    bench.now = NOW + 91;
    assert!(matches!(
        send(&mut bench, "opaque.token/+=="),
        Step::Wait(_)
    ));
}

#[test]
fn an_active_token_is_asked_about_again_after_the_cache_duration() {
    let mut bench = opaque("");
    let first = question(send(&mut bench, "t"));
    answer(
        &mut bench,
        &first,
        Some(r#"{"active": true, "scope": "read"}"#),
    );
    bench.now = NOW + 59;
    assert_eq!(status(&done(send(&mut bench, "t"))), 200);
    bench.now = NOW + 61;
    let again = question(send(&mut bench, "t"));
    answer(&mut bench, &again, Some(r#"{"active": false}"#));
    let decision = done(send(&mut bench, "t"));
    assert_eq!(reason(&decision).as_deref(), Some("inactive"));
    bench.now = NOW + 72;
    assert!(matches!(send(&mut bench, "t"), Step::Wait(_)));
}

#[test]
fn scopes_and_audiences_of_the_answer_count() {
    let mut bench = opaque(r#", "audiences": ["api"]"#);
    for (token, json, expected) in [
        (
            "a",
            r#"{"active": true, "aud": "api", "scope": "write read"}"#,
            None,
        ),
        (
            "b",
            r#"{"active": true, "aud": "api", "scope": "write"}"#,
            Some("insufficient_scope"),
        ),
        (
            "c",
            r#"{"active": true, "aud": "else", "scope": "read"}"#,
            Some("wrong_audience"),
        ),
        (
            "d",
            r#"{"active": true, "aud": "api", "exp": 1}"#,
            Some("expired"),
        ),
        (
            "e",
            r#"{"active": true, "iss": "j", "aud": "api"}"#,
            Some("wrong_issuer"),
        ),
    ] {
        let question = question(send(&mut bench, token));
        answer(&mut bench, &question, Some(json));
        assert_eq!(
            reason(&done(send(&mut bench, token))).as_deref(),
            expected,
            "{token}"
        );
    }
}

#[test]
fn an_endpoint_that_does_not_answer_is_not_the_client_s_fault() {
    let mut bench = opaque("");
    let first = question(send(&mut bench, "t"));
    for json in [None, Some("no"), Some("{}")] {
        answer(&mut bench, &first, json);
        let decision = done(send(&mut bench, "t"));
        assert_eq!(
            reason(&decision).as_deref(),
            Some("introspection_unavailable")
        );
        assert_eq!(status(&decision), 503);
    }
    // It is asked again soon, and no other token suffers.
    assert!(matches!(send(&mut bench, "u"), Step::Wait(_)));
    bench.now = NOW + 2;
    assert!(matches!(send(&mut bench, "t"), Step::Wait(_)));
}

#[test]
fn what_cannot_be_a_token_is_asked_nobody_about() {
    let mut bench = opaque("");
    for token in ["", "a b", "a\"b", "a,b", &"x".repeat(9000)] {
        let decision = done(send(&mut bench, token));
        assert_eq!(status(&decision), 401, "{token}");
    }
}

#[test]
fn beside_keys_only_opaque_tokens_are_introspected() {
    let signed = provider("i", &format!(", {INTROSPECTION}"));
    let mut bench = Bench::new(&config(
        &format!(r#""p": {signed}"#),
        r#"{"provider_name": "p"}"#,
    ));
    let jwt = token(&format!(
        r#"{{"iss":"i","exp":{},"scope":"read"}}"#,
        NOW + 60
    ));
    assert_eq!(status(&done(send(&mut bench, &jwt))), 200);
    assert!(matches!(send(&mut bench, "opaque"), Step::Wait(_)));
    let forged = format!("{}x", &jwt[..jwt.len() - 1]);
    assert_eq!(status(&done(send(&mut bench, &forged))), 401);
}

#[test]
fn an_optional_token_that_names_no_issuer_is_the_introspected_provider_s() {
    let providers = format!(r#""o": {{{INTROSPECTION}}}, "p": {}"#, provider("i", ""));
    let mut bench = Bench::new(&config(&providers, r#"{"allow_missing": {}}"#));
    let question = question(send(&mut bench, "opaque"));
    answer(
        &mut bench,
        &question,
        Some(r#"{"active": true, "scope": "read"}"#),
    );
    assert_eq!(status(&done(send(&mut bench, "opaque"))), 200);
    let jwt = token(&format!(
        r#"{{"iss":"i","exp":{},"scope":"read"}}"#,
        NOW + 60
    ));
    assert_eq!(status(&done(send(&mut bench, &jwt))), 200);
}

const REVOCATION: &str = r#", "revocation": {"http_uri":
    {"uri": "https://i/revoked", "cluster": "c", "timeout": "1s"}}"#;

fn revocable() -> (Bench, String) {
    let provider = provider("i", REVOCATION);
    let bench = Bench::new(&config(
        &format!(r#""p": {provider}"#),
        r#"{"provider_name": "p"}"#,
    ));
    let claims = format!(
        r#"{{"iss":"i","exp":{},"jti":"t1","sub":"ana","scope":"read"}}"#,
        NOW + 60
    );
    (bench, token(&claims))
}

fn list(json: &str) -> Revoked {
    Revoked::List(Rc::new(
        DenyList::read(json.as_bytes().to_vec(), 10).unwrap(),
    ))
}

#[test]
fn a_revoked_token_is_refused_at_once_though_it_is_remembered() {
    let (mut bench, token) = revocable();
    *bench.worker.revoked_mut(0).unwrap() = list("{}");
    assert_eq!(status(&done(send(&mut bench, &token))), 200);
    for (json, expected) in [
        (r#"{"jti": ["t1"]}"#, Some("revoked")),
        (r#"{"sub": ["ana"]}"#, Some("revoked")),
        (r#"{"jti": ["t2"], "sub": ["bo"]}"#, None),
    ] {
        *bench.worker.revoked_mut(0).unwrap() = list(json);
        let decision = done(send(&mut bench, &token));
        assert_eq!(reason(&decision).as_deref(), expected, "{json}");
        assert!(decision.counts.contains(&Count::Remembered));
    }
}

#[test]
fn without_a_list_requests_wait_and_then_nobody_passes_unchecked() {
    let (mut bench, token) = revocable();
    assert_eq!(
        send(&mut bench, &token),
        Step::Wait(Awaited::Revocations(0))
    );
    *bench.worker.revoked_mut(0).unwrap() = Revoked::Unavailable;
    let decision = done(send(&mut bench, &token));
    assert_eq!(status(&decision), 503);
    assert_eq!(
        reason(&decision).as_deref(),
        Some("revocations_unavailable")
    );
}
