//! What is asked of the gateway about a request, and how much.

mod common;

use common::Gateway;
use filter_core::request::{Inputs, Request};

#[test]
fn only_what_the_rules_look_at_is_fetched() {
    let inputs = |rule: &str| {
        Gateway::new(&format!(
            r#"{{"rules": [{{"name": "a", {rule} "limits": [{{"requests": 1, "per": "1s"}}]}}]}}"#
        ))
        .policy
        .inputs()
    };
    assert_eq!(inputs(""), Inputs::NONE);
    assert_eq!(inputs(r#""key": [{"header": "x"}],"#), Inputs::HEADERS);
    assert_eq!(
        inputs(r#""key": [{"client_address": {}}],"#),
        Inputs::SOURCE_ADDRESS
    );
    assert_eq!(
        inputs(r#""match": {"methods": ["GET"]}, "key": ["route_name"],"#),
        Inputs::HEADERS.and(Inputs::ROUTE_NAME)
    );
}

#[test]
fn a_single_header_is_fetched_alone_if_its_first_value_is_all_that_rules_look_at() {
    let only = |rule: &str| {
        let gateway = Gateway::new(&format!(
            r#"{{"rules": [{{"name": "a", {rule} "limits": [{{"requests": 5, "per": "1s"}}]}}]}}"#
        ));
        gateway.policy.only_header().map(|name| name.to_string())
    };
    let rows = [
        ("", None),
        (r#""key": [{"header": "X-A"}],"#, Some("x-a")),
        (
            r#""key": ["path"], "match": {"paths": [{"prefix": "/"}]},"#,
            Some(":path"),
        ),
        (
            r#""key": [{"client_address": {}}], "match": {"methods": ["GET"]},"#,
            Some(":method"),
        ),
        (
            r#""key": [{"header": "x-a"}], "cost_header": {"name": "x-a", "max": 5},"#,
            Some("x-a"),
        ),
        (
            r#""key": [{"header": "x-a"}], "cost_header": {"name": "x-b", "max": 5},"#,
            None,
        ),
        (r#""key": [{"header": "x-a"}, "path"],"#, None),
        // Any of their values counts, or any of their lines.
        (r#""match": {"headers": {"x-a": "present"}},"#, None),
        (r#""key": [{"cookie": "a"}],"#, None),
        (r#""key": [{"client_address": {"trusted_hops": 1}}],"#, None),
        // It has two names.
        (r#""key": ["host"],"#, None),
        (r#""key": [{"header": "host"}],"#, None),
        (
            r#""key": [{"header": "x-a"}], "allow": [{"match": {"methods": ["GET"]}}],"#,
            None,
        ),
    ];
    for (rule, expected) in rows {
        assert_eq!(only(rule).as_deref(), expected, "{rule}");
    }
}

#[test]
fn one_rule_for_one_client_touches_one_set() {
    let policy = common::policy(
        r#"{"rules": [{"name": "a", "key": [{"client_address": {}}], "limits": [
            {"requests": 1, "per": "1s"}, {"requests": 2, "per": "1m"}, {"requests": 3, "per": "1h"}]}]}"#,
    );
    let request = Request {
        source_address: b"[2001:db8::1]:80",
        ..Request::default()
    };
    assert_eq!(policy.claim(&request).sets().len(), 1);
}
