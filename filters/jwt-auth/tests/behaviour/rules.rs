//! Which rule is asked, and what it allows.

use jwt_auth::decision::Count;

use crate::common::{Bench, provider, reason, status, token};
use crate::{claims, one, rule};

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
fn a_method_or_a_host_cannot_be_spelt_so_that_a_rule_misses_it() {
    let config = |more: &str| {
        format!(
            r#"{{"providers": {{"p": {}}}, "rules": [
                {{"match": {{"prefix": "/", "headers": [
                    {{"name": ":method", "string_match": {{"exact": "DELETE"}}}}]}},
                  "requires": {{"provider_name": "p"}}}},
                {{"match": {{"prefix": "/", "headers": [
                    {{"name": ":authority", "string_match": {{"prefix": "admin.example"}}}}]}},
                  "requires": {{"provider_name": "p"}}}},
                {{"match": {{"connect_matcher": {{}}}}, "requires": {{"provider_name": "p"}}}}]{more}}}"#,
            provider("i", "")
        )
    };
    let cases = [
        ("DELETE", "a.example", 401),
        ("delete", "a.example", 400),
        ("Delete", "a.example", 400),
        ("GET", "admin.example:80", 401),
        ("GET", "ADMIN.example", 400),
        ("GET", "admin.Example", 400),
        // Odd spellings that change nothing are let be.
        ("get", "a.example", 200),
        ("GET", "A.EXAMPLE", 200),
        ("GET", "admin.example.COM", 401),
    ];
    let mut bench = Bench::new(&config(""));
    let mut as_sent = Bench::new(&config(r#", "ambiguous_path": "as_sent""#));
    for (method, host, expected) in cases {
        let request = [(":method", method), (":authority", host), (":path", "/")];
        let decision = bench.decide(&request);
        assert_eq!(status(&decision), expected, "{method} {host}");
        let is_ambiguous = reason(&decision).as_deref() == Some("ambiguous_path");
        assert_eq!(is_ambiguous, expected == 400, "{method} {host}");
        let decision = as_sent.decide(&request);
        let expected = if expected == 400 { 200 } else { expected };
        assert_eq!(status(&decision), expected, "{method} {host}");
    }
    let connect = |method| [(":method", method), (":authority", "a.example:443")];
    assert_eq!(status(&bench.decide(&connect("CONNECT"))), 401);
    assert_eq!(status(&bench.decide(&connect("connect"))), 400);
    // A path that is odd as well doesn't hide it.
    let both = [(":method", "delete"), (":authority", "a"), (":path", "//x")];
    assert_eq!(status(&bench.decide(&both)), 400);
}
