//! What becomes of requests: rules, tokens in their places, claims, what goes upstream.

mod common;

use common::{Bench, NOW, OTHER, SECRET, provider, reason, sign, status, token, upstream};
use jwt_auth::decision::{Awaited, Count, Decision, Outcome, Step};
use jwt_auth::jose::refusal::Reason;

/// Claims of issuer `i` that are good for another minute, and whatever is given.
fn claims(more: &str) -> String {
    format!(r#"{{"iss":"i","sub":"ana","exp":{}{more}}}"#, NOW + 60)
}

fn good() -> String {
    token(&claims(""))
}

/// One provider of issuer `i` that every request needs.
fn one(more: &str) -> Bench {
    Bench::new(&format!(
        r#"{{"providers": {{"p": {}}},
             "rules": [{{"match": {{"prefix": "/"}}, "requires": {{"provider_name": "p"}}}}]}}"#,
        provider("i", more)
    ))
}

/// One rule about everything, with provider `p` of issuer `i` and `q` of issuer `j`.
fn rule(rule: &str) -> Bench {
    Bench::new(&format!(
        r#"{{"providers": {{"p": {}, "q": {}}}, "rules": [{{"match": {{"prefix": "/"}}, {rule}}}]}}"#,
        provider("i", ""),
        provider("j", r#", "from_headers": [{"name": "x-q"}]"#)
    ))
}

fn bearer(bench: &mut Bench, token: &str) -> Decision {
    bench.get("/", &[("authorization", &format!("Bearer {token}"))])
}

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
fn the_first_rule_that_matches_counts() {
    let mut bench = Bench::new(&format!(
        r#"{{"providers": {{"p": {}}}, "rules": [
            {{"match": {{"path": "/health"}}}},
            {{"match": {{"path_separated_prefix": "/api"}}, "requires": {{"provider_name": "p"}}}},
            {{"match": {{"safe_regex": {{"regex": "/v[0-9]+/.*"}}}},
              "requires": {{"provider_name": "p"}}}},
            {{"match": {{"prefix": "/h", "headers": [{{"name": "x-a", "string_match":
                {{"exact": "b"}}}}], "query_parameters": [{{"name": "q"}}]}},
              "requires": {{"provider_name": "p"}}}},
            {{"match": {{"connect_matcher": {{}}}}, "requires": {{"provider_name": "p"}}}}]}}"#,
        provider("i", "")
    ));
    for (path, expected) in [
        ("/health", 200),
        ("/health?x=/api", 200),
        ("/api", 401),
        ("/api/x", 401),
        ("/apis", 200),
        ("/API", 200),
        ("/v12/x", 401),
        ("/v/x", 200),
        ("/hello?q=1", 200),
    ] {
        assert_eq!(status(&bench.get(path, &[])), expected, "{path}");
    }
    let with_header = |bench: &mut Bench, path| status(&bench.get(path, &[("x-a", "b")]));
    assert_eq!(with_header(&mut bench, "/hello?q=1"), 401);
    assert_eq!(with_header(&mut bench, "/hello"), 200);
    let connect = [(":method", "CONNECT"), (":authority", "a:443")];
    assert_eq!(status(&bench.decide(&connect)), 401);
}

#[test]
fn a_path_cannot_be_spelt_so_that_a_rule_misses_it() {
    let config = |more: &str| {
        format!(
            r#"{{"providers": {{"p": {}}}, "rules": [
                {{"match": {{"prefix": "/admin"}}, "requires": {{"provider_name": "p"}}}},
                {{"match": {{"prefix": "/public"}}}},
                {{"match": {{"prefix": "/also"}}, "requires": {{"provider_name": "p"}}}}]{more}}}"#,
            provider("i", "")
        )
    };
    let mut bench = Bench::new(&config(""));
    for path in [
        "//admin",
        "/%61dmin",
        "/%2561dmin",
        "/./admin",
        "/public/../admin",
        "/public/..;/admin",
        "/public/%2e%2e/admin",
        "/public/..%2fadmin",
        "/public/..%5cadmin",
        "/public\\..\\admin",
        "/admin/..;/public",
        "/admin/../x",
        "admin",
    ] {
        let decision = bench.get(path, &[]);
        assert_eq!(status(&decision), 400, "{path}");
        assert_eq!(
            reason(&decision).as_deref(),
            Some("ambiguous_path"),
            "{path}"
        );
    }
    // Odd spellings that change nothing are let be.
    for (path, expected) in [
        ("/public//x", 200),
        ("/public/%61", 200),
        ("/x//y", 200),
        ("/admin//x", 401),
        ("/admin/..;/also", 401),
        ("/public?x=//admin", 200),
    ] {
        assert_eq!(status(&bench.get(path, &[])), expected, "{path}");
    }
    let mut as_sent = Bench::new(&config(r#", "ambiguous_path": "as_sent""#));
    assert_eq!(status(&as_sent.get("//admin", &[])), 200);
}

#[test]
fn cors_preflights_pass_if_wanted() {
    let preflight = [
        (":method", "OPTIONS"),
        (":path", "/"),
        ("origin", "https://a"),
        ("access-control-request-method", "GET"),
    ];
    assert_eq!(status(&one("").decide(&preflight)), 401);
    let mut bench = Bench::new(&format!(
        r#"{{"providers": {{"p": {}}}, "bypass_cors_preflight": true,
             "rules": [{{"match": {{"prefix": "/"}}, "requires": {{"provider_name": "p"}}}}]}}"#,
        provider("i", "")
    ));
    let decision = bench.decide(&preflight);
    assert_eq!(status(&decision), 200);
    assert_eq!(decision.counts, [Count::Preflight]);
    for missing in 0..4 {
        let mut headers = preflight.to_vec();
        headers.remove(missing);
        if missing != 1 {
            assert_eq!(status(&bench.decide(&headers)), 401, "{missing}");
        }
    }
}

#[test]
fn scopes_and_claims_decide_what_a_token_may() {
    let mut bench = rule(
        r#""requires": {"provider_name": "p"}, "scopes": ["read", "write"],
           "claims": {"any": [{"claim": "realm.roles", "contains": "admin"},
                              {"all": [{"claim": "level", "min": 3, "max": 5},
                                       {"not": {"claim": "banned", "equals": true}}]}]}"#,
    );
    let mut ask = |more: &str| bench.bearer(&token(&claims(more)));
    let scope = r#","scope":"read x write""#;
    let admin = r#","realm":{"roles":["user","admin"]}"#;
    for (more, expected) in [
        (format!("{scope}{admin}"), None),
        (format!(r#","scp":["read","write"]{admin}"#), None),
        (format!(r#"{scope},"level":4"#), None),
        (format!(r#"{scope},"level":4,"banned":false"#), None),
        (
            format!(r#","scope":"read"{admin}"#),
            Some("insufficient_scope"),
        ),
        (
            format!(r#","scope":"readwrite"{admin}"#),
            Some("insufficient_scope"),
        ),
        (admin.to_owned(), Some("insufficient_scope")),
        (scope.to_owned(), Some("claim_denied")),
        (format!(r#"{scope},"level":2"#), Some("claim_denied")),
        (format!(r#"{scope},"level":"4""#), Some("claim_denied")),
        (
            format!(r#"{scope},"level":4,"banned":true"#),
            Some("claim_denied"),
        ),
        (
            format!(r#"{scope},"realm":{{"roles":["administrator"]}}"#),
            Some("claim_denied"),
        ),
        (
            format!(r#"{scope},"realm.roles":["admin"]"#),
            Some("claim_denied"),
        ),
    ] {
        assert_eq!(ask(&more).as_deref(), expected, "{more}");
    }
    assert_eq!(reason(&bench.get("/", &[])).as_deref(), Some("missing"));
}

#[test]
fn every_kind_of_condition_on_a_claim() {
    let cases = [
        (r#""claim": "a", "equals": "x""#, r#""x""#, r#""y""#),
        (r#""claim": "a", "equals": 5"#, "5", "6"),
        (r#""claim": "a", "equals": 0.5"#, "0.5", r#""0.5""#),
        (r#""claim": "a", "equals": true"#, "true", r#""true""#),
        (r#""claim": "a", "one_of": ["x", 5]"#, "5", r#""z""#),
        (
            r#""claim": "a", "contains": "x""#,
            r#"["y","x"]"#,
            r#"["xy"]"#,
        ),
        (r#""claim": "a", "contains": "x""#, r#""y x""#, r#""xy""#),
        (r#""claim": "a", "prefix": "x""#, r#""xy""#, r#""yx""#),
        (
            r#""claim": "a", "prefix": "x""#,
            r#"["y","xy"]"#,
            r#"["yx"]"#,
        ),
        (r#""claim": "a", "exists": true"#, "null", ""),
        (r#""claim": "a", "exists": false"#, "", "null"),
        (r#""claim": "a", "min": -1.5"#, "-1.5", "-1.6"),
        (r#""claim": "a", "max": 2"#, "2", "2.1"),
        (r#""claim": ["a"], "equals": "x""#, r#""x""#, r#"["x"]"#),
    ];
    for (condition, good, bad) in cases {
        let mut bench = rule(&format!(
            r#""requires": {{"provider_name": "p"}}, "claims": {{{condition}}}"#
        ));
        for (value, expected) in [(good, None), (bad, Some("claim_denied"))] {
            let more = match value {
                "" => String::new(),
                value => format!(r#","a":{value}"#),
            };
            let found = bench.bearer(&token(&claims(&more)));
            assert_eq!(found.as_deref(), expected, "{condition} on {value}");
        }
    }
}

#[test]
fn a_shadow_rule_tells_and_lets_pass() {
    let mut bench = rule(r#""requires": {"provider_name": "p"}, "mode": "shadow", "name": "try""#);
    let decision = bench.get("/", &[]);
    assert_eq!(status(&decision), 200);
    assert_eq!(decision.log.as_deref(), Some("shadow=missing rule=try"));
    assert!(decision.counts.contains(&Count::Request {
        rule: 0,
        outcome: Outcome::Shadow
    }));
}

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

#[test]
fn a_share_of_tokens_is_refused_and_the_rest_is_reported() {
    let requirement = r#""requires": {"provider_name": "p"}, "scopes": ["admin"]"#;
    let mut none = rule(&format!(r#"{requirement}, "percent": 0"#));
    let mut some = rule(&format!(r#"{requirement}, "percent": 30"#));
    let mut all = rule(requirement);
    let mut refused = 0;
    for n in 0..400 {
        let token = token(&claims(&format!(r#","n":{n}"#)));
        assert_eq!(status(&bearer(&mut none, &token)), 200);
        assert_eq!(status(&bearer(&mut all, &token)), 403);
        let decision = bearer(&mut some, &token);
        // The same token shares one fate.
        assert_eq!(status(&bearer(&mut some, &token)), status(&decision));
        match status(&decision) {
            403 => refused += 1,
            _ => assert_eq!(
                decision.log.as_deref(),
                Some("shadow=insufficient_scope rule=rule-0")
            ),
        }
    }
    assert!((80..=160).contains(&refused), "{refused} of 400");
}

#[test]
fn without_a_token_the_share_is_one_of_clients() {
    let mut bench = rule(r#""requires": {"provider_name": "p"}, "percent": 50"#);
    let mut refused = 0;
    for n in 0..200 {
        let client = format!("203.0.113.9, 10.0.0.{n}");
        let first = bench.get("/", &[("x-forwarded-for", &client)]);
        let client = format!("198.51.100.7, 10.0.0.{n}");
        let second = bench.get("/a", &[("x-forwarded-for", &client)]);
        assert_eq!(
            status(&first),
            status(&second),
            "what a client adds doesn't count"
        );
        refused += usize::from(status(&first) == 401);
    }
    assert!((60..=140).contains(&refused), "{refused} of 200");
}
