//! Where tokens are, and what goes upstream.

use crate::common::{Bench, NOW, provider, reason, sign, status, token, upstream};
use crate::{bearer, claims, good, one, rule};

#[test]
fn tokens_in_two_places_must_not_differ() {
    let mut bench = one("");
    let (one, two) = (good(), token(&claims(r#","x":1"#)));
    let mut both = |header: &str, parameter: &str| {
        let authorization = format!("Bearer {header}");
        let path = format!("/?access_token={parameter}");
        reason(&bench.get(&path, &[("authorization", &authorization)]))
    };
    assert_eq!(both(&one, &one), None);
    assert_eq!(both(&one, &two).as_deref(), Some("duplicate_token"));
    assert_eq!(both(&one, "x").as_deref(), Some("duplicate_token"));
}

#[test]
fn a_token_in_the_query_is_found_and_taken_out() {
    let mut bench = one("");
    let path = format!("/p?a=1&access_token={}&b", good());
    let decision = bench.get(&path, &[]);
    assert_eq!(status(&decision), 200);
    assert_eq!(
        upstream(&decision, &[(":path", &path)], ":path"),
        ["/p?a=1&b"]
    );
}

#[test]
fn claims_go_upstream_and_forged_ones_never_do() {
    let more = r#", "forward_payload_header": "x-payload", "pad_forward_payload_header": true,
        "claim_to_headers": [
            {"header_name": "x-sub", "claim_name": "sub"},
            {"header_name": "x-level", "claim_name": "a.b.level"},
            {"header_name": "x-dotted", "claim_path": [{"key": "https://x/y"}, {"key": "z"}]},
            {"header_name": "x-admin", "claim_name": "admin"},
            {"header_name": "x-list", "claim_name": "list"},
            {"header_name": "x-odd", "claim_name": "odd"},
            {"header_name": "x-ratio", "claim_name": "ratio"}]"#;
    let mut bench = Bench::new(&format!(
        r#"{{"providers": {{"p": {}}}, "rules": [
            {{"match": {{"prefix": "/open"}}}},
            {{"match": {{"prefix": "/maybe"}}, "requires": {{"requires_any": {{"requirements":
                [{{"provider_name": "p"}}, {{"allow_missing": {{}}}}]}}}}}},
            {{"match": {{"prefix": "/lax"}}, "requires": {{"allow_missing_or_failed": {{}}}}}},
            {{"match": {{"prefix": "/shadow"}}, "mode": "shadow",
              "requires": {{"provider_name": "p"}}}},
            {{"match": {{"prefix": "/in"}}, "requires": {{"provider_name": "p"}}}}]}}"#,
        provider("i", more)
    ));
    let token = token(&claims(
        r#","a":{"b":{"level":7}},"https://x/y":{"z":"dotted"},"admin":true,"list":[1],
           "odd":"a\r\nb","ratio":1.5"#,
    ));
    let authorization = format!("Bearer {token}");
    let forged = [
        ("x-sub", "root"),
        ("X-Level", "9"),
        ("x-admin", "true"),
        ("x-list", "1"),
        ("x-payload", "e30"),
        ("x-other", "stays"),
    ];
    let names = ["x-sub", "X-Level", "x-admin", "x-list", "x-payload"];
    for path in ["/open", "/maybe", "/lax", "/shadow", "/nowhere"] {
        let decision = bench.get(path, &forged);
        assert_eq!(status(&decision), 200, "{path}");
        for name in names {
            let left = upstream(&decision, &forged, &name.to_lowercase());
            assert!(left.is_empty(), "{path} {name}: {left:?}");
        }
        assert_eq!(upstream(&decision, &forged, "x-other"), ["stays"]);
    }
    let mut sent = forged.to_vec();
    sent.push(("authorization", &authorization));
    for path in ["/in", "/maybe", "/lax", "/shadow"] {
        let decision = bench.get(path, &sent);
        let header = |name| upstream(&decision, &sent, name);
        assert_eq!(header("x-sub"), ["ana"], "{path}");
        assert_eq!(header("x-level"), ["7"]);
        assert_eq!(header("x-dotted"), ["dotted"]);
        assert_eq!(header("x-admin"), ["true"]);
        assert_eq!(header("x-ratio"), ["1.500000"]);
        assert_eq!(header("x-list"), ["WzFd"], "the base64 of [1]");
        assert!(header("x-odd").is_empty());
        let payload = token.split('.').nth(1).unwrap();
        assert_eq!(header("x-payload")[0].trim_end_matches('='), payload);
        assert_eq!(header("x-payload")[0].len() % 4, 0);
    }
}

#[test]
fn payload_header_and_failure_go_into_filter_state() {
    let more = r#", "payload_in_metadata": "payload", "header_in_metadata": "header",
        "failed_status_in_metadata": "failure",
        "normalize_payload_in_metadata": {"space_delimited_claims": ["scope"]}"#;
    let mut bench = one(more);
    let text = r#"{"iss":"i","scope":"a b","t":"q\"\u00e9","n":[1, 2]}"#;
    let decision = bearer(&mut bench, &token(text));
    let state = |key: &str| {
        let mut found = decision.properties.iter().filter(|(k, _)| k == key);
        found.next().map(|(_, value)| value.clone())
    };
    assert_eq!(
        state("payload").as_deref(),
        Some(r#"{"iss":"i","scope":["a","b"],"t":"q\"\u00e9","n":[1, 2]}"#)
    );
    assert_eq!(
        state("header").as_deref(),
        Some(r#"{"alg":"HS256","kid":"one"}"#)
    );
    let refused = bearer(&mut bench, "x");
    let (key, value) = &refused.properties[0];
    assert_eq!(key, "failure");
    assert!(
        value.starts_with(r#"{"code":"malformed","message":"#),
        "{value}"
    );
}

#[test]
fn optional_tokens() {
    let mut bench = rule(r#""requires": {"allow_missing": {}}"#);
    assert_eq!(status(&bench.get("/", &[])), 200);
    assert_eq!(bench.bearer(&good()), None);
    assert_eq!(bench.bearer("x").as_deref(), Some("malformed"));
    let foreign = token(r#"{"iss":"k"}"#);
    assert_eq!(bench.bearer(&foreign).as_deref(), Some("unknown_issuer"));
    // A place is only for tokens of its own providers.
    let elsewhere = token(r#"{"iss":"j"}"#);
    assert_eq!(bench.bearer(&elsewhere).as_deref(), Some("unknown_issuer"));
    assert_eq!(status(&bench.get("/", &[("x-q", &elsewhere)])), 200);
    // One right token doesn't make up for a wrong one.
    let authorization = format!("Bearer {}", good());
    let both = [("authorization", &*authorization), ("x-q", "wrong")];
    assert_eq!(status(&bench.get("/", &both)), 401);

    let mut bench = rule(r#""requires": {"allow_missing_or_failed": {}}"#);
    for token in ["x", &*good(), &*foreign] {
        assert_eq!(bench.bearer(token), None);
    }
}

#[test]
fn several_tokens() {
    let list = r#"{"requirements": [{"provider_name": "p"}, {"provider_name": "q"}]}"#;
    let q = token(r#"{"iss":"j"}"#);
    let authorization = format!("Bearer {}", good());
    let of_p = ("authorization", &*authorization);
    let of_q = ("x-q", &*q);

    let mut all = rule(&format!(r#""requires": {{"requires_all": {list}}}"#));
    assert_eq!(status(&all.get("/", &[of_p, of_q])), 200);
    assert_eq!(status(&all.get("/", &[of_p])), 401);
    assert_eq!(status(&all.get("/", &[of_q])), 401);

    let mut any = rule(&format!(r#""requires": {{"requires_any": {list}}}"#));
    assert_eq!(status(&any.get("/", &[of_q])), 200);
    assert_eq!(status(&any.get("/", &[of_p])), 200);
    assert_eq!(reason(&any.get("/", &[])).as_deref(), Some("missing"));
    let wrong = [("authorization", "Bearer x"), ("x-q", "y")];
    assert_eq!(reason(&any.get("/", &wrong)).as_deref(), Some("malformed"));
}

#[test]
fn a_token_that_is_not_right_is_told_upstream_where_nothing_is_validated() {
    let more = r#", "claim_to_headers": [{"header_name": "x-sub", "claim_name": "sub"}]"#;
    let mut bench = Bench::new(&format!(
        r#"{{"providers": {{"p": {}}}, "rules": [{{"match": {{"prefix": "/"}},
            "requires": {{"extract_only_without_validation": {{}}}}}}]}}"#,
        provider("i", more)
    ));
    let forged = sign(
        r#"{"alg":"RS256"}"#,
        r#"{"iss":"i","sub":"eve","exp":4102444800}"#,
        b"anything",
    );
    let authorization = format!("Bearer {forged}");
    let sent = [
        ("authorization", &*authorization),
        ("x-sub", "root"),
        ("x-jwt-signature-verified", "true"),
    ];
    let decision = bench.get("/", &sent);
    assert_eq!(status(&decision), 200);
    assert!(upstream(&decision, &sent, "x-sub").is_empty());
    assert_eq!(
        upstream(&decision, &sent, "x-jwt-signature-verified"),
        ["false"]
    );
    assert_eq!(
        upstream(&decision, &sent, "authorization"),
        [&*authorization]
    );
    let right = token(&format!(r#"{{"iss":"i","sub":"ana","exp":{}}}"#, NOW + 60));
    let authorization = format!("Bearer {right}");
    let sent = [("authorization", &*authorization)];
    let decision = bench.get("/", &sent);
    assert_eq!(upstream(&decision, &sent, "x-sub"), ["ana"]);
    assert!(upstream(&decision, &sent, "x-jwt-signature-verified").is_empty());
    assert!(upstream(&decision, &sent, "authorization").is_empty());
    let none = [("x-jwt-signature-verified", "true")];
    let decision = bench.get("/", &none);
    assert_eq!(status(&decision), 200);
    assert!(upstream(&decision, &none, "x-jwt-signature-verified").is_empty());
}

#[test]
fn forged_headers_are_removed_also_where_a_token_is_optional() {
    let output = r#", "forward_payload_header": "x-payload",
        "claim_to_headers": [{"header_name": "x-user", "claim_name": "sub"}]"#;
    for requires in [
        r#""requires": {"allow_missing": {}}"#,
        r#""requires": {"allow_missing_or_failed": {}}"#,
        r#""requires": {"extract_only_without_validation": {}}"#,
        r#""requires": {"requires_any": {"requirements": [
            {"provider_name": "p"}, {"allow_missing": {}}]}}"#,
        r#""requires": {}"#,
        r#""mode": "shadow", "requires": {"provider_name": "p"}"#,
    ] {
        let mut bench = Bench::new(&format!(
            r#"{{"providers": {{"p": {}}},
                 "rules": [{{"match": {{"prefix": "/a"}}, {requires}}}]}}"#,
            provider("i", output)
        ));
        // Without a rule, too.
        for path in ["/a", "/b"] {
            let forged = [("x-user", "root"), ("x-user", "eve"), ("x-payload", "e30")];
            let decision = bench.get(path, &forged);
            assert_eq!(status(&decision), 200, "{requires}");
            for name in ["x-user", "x-payload"] {
                let left = upstream(&decision, &forged, name);
                assert!(left.is_empty(), "{requires}: {left:?}");
            }
        }
    }
}
