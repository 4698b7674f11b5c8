//! Which requests a `match` object is about.

use filter_core::config;
use filter_core::headers::Headers;
use filter_core::matcher::{Matcher, RawMatch};
use filter_core::request::{Inputs, Request};

fn matcher(json: &str) -> Matcher {
    config::read(json.as_bytes(), RawMatch::check).unwrap_or_else(|errors| panic!("{errors}"))
}

fn mistakes(json: &str) -> Vec<String> {
    let errors = config::read(json.as_bytes(), RawMatch::check).expect_err(json);
    errors.iter().map(ToString::to_string).collect()
}

/// A request for `METHOD host/path`, with more headers after it.
fn matches(matcher: &Matcher, line: &str, more: &[(&str, &str)]) -> bool {
    let (method, url) = line.split_once(' ').unwrap();
    let (host, path) = url.split_at(url.find('/').unwrap());
    let mut pairs = vec![(":method", method), (":authority", host), (":path", path)];
    pairs.extend_from_slice(more);
    let block = Headers::encode(pairs.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())));
    matcher.matches(&Request {
        headers: Headers::decode(&block),
        route_name: b"shop",
        ..Request::default()
    })
}

#[test]
fn no_condition_is_about_every_request_and_needs_nothing() {
    let all = matcher("{}");
    assert!(matches(&all, "GET example.com/", &[]));
    assert!(all.matches(&Request::default()));
    assert_eq!(all.inputs(), Inputs::NONE);
}

#[test]
fn a_table_of_single_conditions() {
    #[rustfmt::skip]
    let rows: &[(&str, &[&str], &[&str])] = &[
        (r#"{"hosts": ["Api.Example.com"]}"#,
            &["GET api.example.com/", "GET API.EXAMPLE.COM:8080/", "GET api.example.com./"],
            &["GET example.com/", "GET x.api.example.com/", "GET /"]),
        (r#"{"hosts": ["*.example.com"]}"#,
            &["GET a.example.com/", "GET a.b.example.com/"],
            &["GET example.com/", "GET aexample.com/", "GET .example.com/x/.example.org"]),
        (r#"{"hosts": ["[::1]", "a_b.internal"]}"#,
            &["GET [::1]:80/", "GET a_b.internal/"], &["GET [::2]/"]),
        (r#"{"paths": [{"exact": "/login"}]}"#,
            &["POST x/login", "GET x/login?next=/"], &["GET x/login/", "GET x/Login", "GET x/logi"]),
        (r#"{"paths": [{"prefix": "/api/"}]}"#, &["GET x/api/", "GET x/api/v1?a"], &["GET x/api"]),
        (r#"{"paths": [{"suffix": ".json"}]}"#, &["GET x/a.json?b"], &["GET x/a?b=.json"]),
        (r#"{"paths": [{"glob": "/users/*/orders"}, {"exact": "/x"}]}"#,
            &["GET x/users/7/orders", "GET x/x"], &["GET x/users/7/8/orders"]),
        (r#"{"paths": [{"regex": "/v[0-9]+/(users|orders)"}]}"#,
            &["GET x/v1/users", "GET x/v23/orders?a=/"],
            &["GET x/v1/users/", "GET x/v/users", "GET x/a/v1/users", "GET x/v1?/users"]),
        (r#"{"query": {"id": {"regex": "[0-9]{3,}"}}}"#,
            &["GET x/?id=123", "GET x/?id=a&id=%31234"], &["GET x/?id=12", "GET x/?id=123a"]),
        (r#"{"methods": ["GET", "HEAD"]}"#, &["GET x/", "HEAD x/"], &["POST x/", "get x/"]),
        (r#"{"query": {"debug": "present"}}"#,
            &["GET x/?debug", "GET x/?a=1&%64ebug=0"], &["GET x/", "GET x/?Debug=1", "GET x/debug"]),
        (r#"{"query": {"v": {"exact": "a b"}}}"#,
            &["GET x/?v=a+b", "GET x/?v=1&v=a%20b"], &["GET x/?v=a"]),
        (r#"{"query": {"v": "absent"}}"#, &["GET x/?w=1"], &["GET x/?v"]),
        (r#"{"route_names": ["shop"]}"#, &["GET x/"], &[]),
        (r#"{"route_names": ["other"]}"#, &[], &["GET x/"]),
    ];
    for (json, hits, misses) in rows {
        let matcher = matcher(json);
        for line in *hits {
            assert!(matches(&matcher, line, &[]), "{json} should match {line}");
        }
        for line in *misses {
            assert!(
                !matches(&matcher, line, &[]),
                "{json} shouldn't match {line}"
            );
        }
    }
}

#[test]
fn a_table_of_header_conditions() {
    #[rustfmt::skip]
    let rows: &[(&str, &[&str], bool)] = &[
        (r#""present""#,             &[""],              true),
        (r#""present""#,             &[],                false),
        (r#""absent""#,              &[],                true),
        (r#""absent""#,              &[""],              false),
        (r#"{"exact": "gold"}"#,     &["gold"],          true),
        (r#"{"exact": "gold"}"#,     &["tin", "gold"],   true),
        (r#"{"exact": "gold"}"#,     &["Gold"],          false),
        (r#"{"exact": ""}"#,         &[""],              true),
        (r#"{"prefix": "go"}"#,      &["gold"],          true),
        (r#"{"prefix": "go"}"#,      &["agog"],          false),
        (r#"{"suffix": "ld"}"#,      &["gold"],          true),
        (r#"{"suffix": "ld"}"#,      &["l", "d"],        false),
        (r#"{"contains": "ol"}"#,    &["gold"],          true),
        (r#"{"contains": "olx"}"#,   &["gol"],           false),
        (r#"{"regex": "go+ld"}"#,    &["tin", "goold"],  true),
        (r#"{"regex": "go+ld"}"#,    &["a gold", "gld"], false),
    ];
    for (condition, values, expected) in rows {
        let matcher = matcher(&format!(r#"{{"headers": {{"X-Plan": {condition}}}}}"#));
        let more: Vec<_> = values.iter().map(|value| ("x-plan", *value)).collect();
        assert_eq!(
            matches(&matcher, "GET x/", &more),
            *expected,
            "{condition} on {values:?}"
        );
    }
}

#[test]
fn all_conditions_must_hold() {
    let both = matcher(r#"{"methods": ["POST"], "paths": [{"prefix": "/api"}]}"#);
    assert!(matches(&both, "POST x/api", &[]));
    assert!(!matches(&both, "GET x/api", &[]));
    assert!(!matches(&both, "POST x/", &[]));
}

#[test]
fn only_what_is_looked_at_is_asked_for() {
    assert_eq!(matcher(r#"{"methods": ["GET"]}"#).inputs(), Inputs::HEADERS);
    assert_eq!(
        matcher(r#"{"route_names": ["a"]}"#).inputs(),
        Inputs::ROUTE_NAME
    );
}

#[test]
fn mistakes_are_told_with_place_and_remedy() {
    let found = mistakes(
        r#"{"hosts": ["http://x", "*", "x:80"], "paths": [{"exact": "login"}, {"glob": "/a**"}],
            "methods": ["get"], "headers": {"X-A": {"prefix": ""}, "a b": "present"}, "route_names": []}"#,
    );
    let expected = [
        "hosts[0]: \"http://x\" is not allowed; allowed: a host without port, such as \"api.example.com\" or \"*.example.com\"",
        "hosts[1]: \"*\" is not allowed; allowed: a host without port, such as \"api.example.com\" or \"*.example.com\"",
        "hosts[2]: \"x:80\" is not allowed; allowed: a host without port, such as \"api.example.com\" or \"*.example.com\"",
        "paths[0].exact: \"login\" is not allowed; allowed: a path that starts with \"/\", without query",
        "paths[1].glob: \"/a**\" is not allowed; allowed: \"**\" as a whole segment only, such as \"/api/**\"",
        "methods[0]: \"get\" is not allowed; allowed: a method in upper case, such as \"GET\"",
        "headers.X-A.prefix: empty text is part of every value; say \"present\" instead",
        "headers.\"a b\": this can't be a name",
        "route_names: an empty list is not allowed; allowed: a list with at least one entry, or no such field",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for line in expected {
        assert!(
            found.iter().any(|found| found == line),
            "{line}\n{found:#?}"
        );
    }
}

#[test]
fn a_broken_regular_expression_is_told_with_its_place() {
    let found = mistakes(
        r#"{"paths": [{"regex": "/a("}], "headers": {"x-a": {"regex": "[z-a]"}},
            "query": {"q": {"regex": "(?=a)"}}}"#,
    );
    let places = ["paths[0].regex: ", "headers.x-a.regex: ", "query.q.regex: "];
    assert_eq!(found.len(), places.len(), "{found:#?}");
    for place in places {
        let told = |line: &String| line.starts_with(&format!("{place}not a regular expression: "));
        assert!(found.iter().any(told), "{place}\n{found:#?}");
    }
}
