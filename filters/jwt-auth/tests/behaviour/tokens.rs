//! One token: whether it is right, and that this is remembered.

use jwt_auth::decision::{Count, Outcome};
use jwt_auth::jose::refusal::Reason;

use crate::common::{Bench, NOW, OTHER, SECRET, provider, sign, status, token, upstream};
use crate::{bearer, claims, good, one};

#[test]
fn a_right_token_is_let_through_and_taken_out() {
    let mut bench = one("");
    let authorization = format!("Bearer {}", good());
    let sent = [("authorization", &*authorization)];
    let decision = bench.get("/", &sent);
    assert_eq!(status(&decision), 200);
    assert!(upstream(&decision, &sent, "authorization").is_empty());
    assert_eq!(decision.log, None);
    assert!(decision.counts.contains(&Count::Request {
        rule: 0,
        outcome: Outcome::Allow
    }));

    let mut bench = one(r#", "forward": true"#);
    let decision = bench.get("/", &sent);
    assert_eq!(
        upstream(&decision, &sent, "authorization"),
        std::slice::from_ref(&authorization)
    );
}

#[test]
fn no_token_is_asked_for_with_401() {
    let mut bench = one("");
    let decision = bench.get("/secret?a=b", &[]);
    let reply = decision.reply.as_ref().unwrap();
    assert_eq!((reply.status, &*reply.body), (401, "Jwt is missing"));
    assert_eq!(
        reply.headers,
        [(
            "www-authenticate".to_owned(),
            "Bearer realm=\"https://api.example.com/secret\"".to_owned()
        )]
    );
    assert_eq!(reply.details, "jwt_auth_denied{rule=rule-0,reason=missing}");
    assert_eq!(decision.log.as_deref(), Some("deny=missing rule=rule-0"));
    assert!(decision.counts.contains(&Count::Reason(Reason::Missing)));
}

#[test]
fn each_thing_that_is_wrong_has_its_reason() {
    let mut bench = one(
        r#", "audiences": ["api"], "subjects": {"prefix": "a"}, "max_lifetime": "3600s",
             "token_types": ["at+jwt"], "algorithms": ["HS256"]"#,
    );
    let at = r#"{"alg":"HS256","kid":"one","typ":"at+jwt"}"#;
    let exp = NOW + 60;
    let right = format!(r#"{{"iss":"i","sub":"ana","aud":["x","api"],"exp":{exp}}}"#);
    let with = |from: &str, to: &str| sign(at, &right.replace(from, to), SECRET);
    let header = |header: &str| sign(header, &right, SECRET);
    let old = (NOW - 61).to_string();
    let late = (NOW + 4000).to_string();
    let cases = [
        (sign(at, &right, SECRET), None),
        (
            header(r#"{"alg":"HS256","typ":"application/AT+JWT"}"#),
            None,
        ),
        (with(r#""iss":"i""#, r#""iss":"j""#), Some("wrong_issuer")),
        (with(r#""iss":"i","#, ""), Some("wrong_issuer")),
        (with("ana", "bo"), Some("wrong_subject")),
        (with(r#""sub":"ana","#, ""), Some("wrong_subject")),
        (with(r#"["x","api"]"#, r#"["x"]"#), Some("wrong_audience")),
        (with(r#""aud":["x","api"],"#, ""), Some("wrong_audience")),
        (with(&exp.to_string(), &old), Some("expired")),
        (with(&exp.to_string(), "0"), Some("expired")),
        (with(&exp.to_string(), &late), Some("lifetime_too_long")),
        (
            with(&format!(r#","exp":{exp}"#), ""),
            Some("missing_expiration"),
        ),
        (
            with(r#""exp""#, &format!(r#""nbf":{},"exp""#, NOW + 61)),
            Some("not_yet_valid"),
        ),
        (header(r#"{"alg":"HS256","kid":"one"}"#), Some("wrong_type")),
        (
            header(r#"{"alg":"HS256","kid":"two","typ":"at+jwt"}"#),
            Some("unknown_key"),
        ),
        (
            header(r#"{"alg":"HS512","kid":"one","typ":"at+jwt"}"#),
            Some("alg_not_allowed"),
        ),
        (
            header(r#"{"alg":"none","typ":"at+jwt"}"#),
            Some("unsupported_alg"),
        ),
        (
            header(r#"{"alg":"HS256","crit":["x"],"x":1,"typ":"at+jwt"}"#),
            Some("unsupported_crit"),
        ),
        (sign(at, &right, OTHER), Some("bad_signature")),
        (with("\"iss\"", "'iss'"), Some("malformed")),
        ("a.b".to_owned(), Some("malformed")),
        (String::new(), Some("malformed")),
        ("a".repeat(9000), Some("too_large")),
    ];
    // Twice: the second time from memory.
    for _ in 0..2 {
        for (token, expected) in &cases {
            let found = bench.bearer(token);
            assert_eq!(found.as_deref(), *expected, "{token}");
        }
    }
}

#[test]
fn a_wrong_audience_is_forbidden_and_all_else_unauthorized() {
    let mut bench = one(r#", "audiences": ["api"]"#);
    assert_eq!(status(&bearer(&mut bench, &good())), 403);
    assert_eq!(status(&bearer(&mut bench, "x")), 401);
}

#[test]
fn a_remembered_token_is_refused_from_its_end_on() {
    let mut bench = one("");
    let token = good();
    let fresh = bearer(&mut bench, &token);
    assert!(fresh.counts.contains(&Count::Fresh));
    bench.now = NOW + 60 + 59;
    let known = bearer(&mut bench, &token);
    assert!(known.counts.contains(&Count::Remembered));
    assert_eq!(status(&known), 200);
    for later in [121, 122, 100_000] {
        bench.now = NOW + later;
        assert_eq!(bench.bearer(&token).as_deref(), Some("expired"), "{later}");
    }
}

#[test]
fn a_token_that_isn_t_valid_yet_is_not_remembered_as_wrong() {
    let mut bench = one("");
    let early = token(&claims(&format!(r#","nbf":{}"#, NOW + 61)));
    assert_eq!(bench.bearer(&early).as_deref(), Some("not_yet_valid"));
    bench.now = NOW + 2;
    assert_eq!(bench.bearer(&early), None);
}

#[test]
fn a_remembered_refusal_costs_no_look_at_the_token() {
    let mut bench = one("");
    let wrong = sign(r#"{"alg":"HS256"}"#, &claims(""), OTHER);
    assert!(bearer(&mut bench, &wrong).counts.contains(&Count::Fresh));
    assert!(
        bearer(&mut bench, &wrong)
            .counts
            .contains(&Count::Remembered)
    );
    assert_eq!(bench.bearer(&wrong).as_deref(), Some("bad_signature"));
}

#[test]
fn what_was_found_for_one_provider_is_not_taken_for_another() {
    let mut bench = Bench::new(&format!(
        r#"{{"providers": {{"p": {}, "q": {}}}, "rules": [
            {{"match": {{"prefix": "/p"}}, "requires": {{"provider_name": "p"}}}},
            {{"match": {{"prefix": "/a"}}, "requires": {{"provider_and_audiences":
                {{"provider_name": "p", "audiences": ["other"]}}}}}},
            {{"match": {{"prefix": "/q"}}, "requires": {{"provider_name": "q"}}}}]}}"#,
        provider("i", ""),
        provider("j", "")
    ));
    let authorization = format!("Bearer {}", good());
    for _ in 0..2 {
        for (path, expected) in [("/p", 200), ("/a", 403), ("/q", 401)] {
            let decision = bench.get(path, &[("authorization", &authorization)]);
            assert_eq!(status(&decision), expected, "{path}");
        }
    }
}
