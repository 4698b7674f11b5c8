//! What a configuration may say, and what is answered to one that says something else.

mod common;

use cache_lookup::config::{Config, RawConfig, SetCookie};
use common::config;
use filter_core::config::document::{check_or_update, schema, table};

const FOLDER: &str = env!("CARGO_MANIFEST_DIR");

fn mistakes(json: &str) -> Vec<String> {
    let errors = Config::read(json.as_bytes()).expect_err(json);
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn no_configuration_at_all_is_a_shared_cache_as_the_rfc_has_it() {
    let config = Config::read(b"").expect("defaults");
    assert_eq!(
        config.targets,
        ["penstock-cache-control", "cdn-cache-control"]
    );
    assert_eq!(config.cache_name.as_deref(), Some("penstock"));
    assert_eq!(
        (config.max_bytes, config.max_object_bytes),
        (64 << 20, 8 << 20)
    );
    assert!(config.collapse && config.purge.is_none() && config.remote.is_none());
    let [rule] = &*config.rules else {
        panic!("one rule for everything");
    };
    assert!(rule.honours_clients && !rule.bypass && !rule.force && rule.body_key.is_none());
    assert_eq!(rule.set_cookie, SetCookie::StoreExplicit);
    assert_eq!(
        (rule.ttl.heuristic.percent, rule.ttl.heuristic.most),
        (10, 86_400)
    );
    let stale = &rule.stale;
    assert_eq!(
        (stale.while_revalidate, stale.if_error, stale.keep),
        (0, 600, 3600)
    );
}

#[test]
fn a_rule_has_what_the_top_says_where_it_says_nothing() {
    let config = config(
        r#"{"ttl": {"default": "5s"}, "set_cookie": "refuse", "key": {"ignore_host": true},
            "rules": [{"name": "a", "ttl": {"max": "1m"}}, {"name": "b", "key": {}}]}"#,
    );
    let [a, b, rest] = &*config.rules else {
        panic!("three rules");
    };
    assert_eq!((a.ttl.default, a.ttl.max), (None, Some(60)));
    assert_eq!((b.ttl.default, b.ttl.max), (Some(5), None));
    assert!(a.key.ignore_host && !b.key.ignore_host && rest.key.ignore_host);
    assert_eq!(
        [a, b, rest].map(|rule| rule.set_cookie),
        [SetCookie::Refuse; 3]
    );
}

#[test]
fn all_mistakes_are_told_at_once_with_what_was_meant() {
    let found = mistakes(
        r#"{"stail": {}, "set_cookie": "keep", "ttl": {"default": "5"},
            "store": {"max_bytes": 1}, "rules": [{"name": "A"}]}"#,
    );
    for (place, hint) in [
        ("stail: unknown field", "did you mean \"stale\"?"),
        (
            "set_cookie: \"keep\" is not allowed",
            "store_explicit, strip, refuse",
        ),
        ("ttl.default: \"5\" is not allowed", "such as"),
        ("store.max_bytes: 1 is not allowed", "1048576 to 1073741824"),
        ("rules[0].name: \"A\" is not allowed", "lower-case letters"),
    ] {
        let fits = |line: &&String| line.starts_with(place) && line.contains(hint);
        assert!(found.iter().any(|line| fits(&line)), "{place}: {found:#?}");
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    for (json, expected) in [
        (
            r#"{"rules": [{"name": "a", "force": true}]}"#,
            "rules[0].force: needs \"ttl.override\"",
        ),
        (
            r#"{"rules": [{"name": "a", "bypass": true, "cache_post": {"key_from_body": true}}]}"#,
            "rules[0].bypass: requests that are left alone",
        ),
        (
            r#"{"rules": [{"name": "a", "cache_post": {"key_from_body": false}}]}"#,
            "rules[0].cache_post.key_from_body: answers",
        ),
        (
            r#"{"rules": [{"name": "a"}, {"name": "a"}]}"#,
            "rules[1].name: another rule",
        ),
        (
            r#"{"rules": [{"name": "a", "content_types": ["html"]}]}"#,
            "rules[0].content_types[0]",
        ),
        (
            r#"{"ttl": {"status": [{"from": 500, "to": 400, "ttl": "1s"}]}}"#,
            "ttl.status[0].to: is below",
        ),
        (
            r#"{"key": {"query": {"ignore": ["a*b"]}}}"#,
            "key.query.ignore[0]",
        ),
        (r#"{"purge": {}}"#, "purge: anybody could purge"),
        (r#"{"purge": {"secret": "short"}}"#, "purge.secret"),
        (
            r#"{"purge": {"addresses": ["10.0.0.0/8"], "method": "GET"}}"#,
            "purge.method",
        ),
        (
            r#"{"store": {"max_bytes": 1048576, "max_object_bytes": 2000000}}"#,
            "store.max_object_bytes",
        ),
        (r#"{"cache_status": {"name": "a b"}}"#, "cache_status.name"),
        (
            r#"{"remote": {"cluster": "c", "prefix": "a/b"}}"#,
            "remote.prefix",
        ),
    ] {
        let found = mistakes(json);
        assert!(
            found.iter().any(|line| line.starts_with(expected)),
            "{json}: {found:?}"
        );
    }
}

#[test]
fn a_secret_is_enough_to_purge_and_so_are_networks() {
    for purge in [
        r#"{"secret": "0123456789abcdef"}"#,
        r#"{"addresses": ["10.0.0.0/8"]}"#,
    ] {
        let purge = config(&format!(r#"{{"purge": {purge}}}"#)).purge;
        assert_eq!(purge.map(|purge| purge.method).as_deref(), Some("PURGE"));
    }
}

#[test]
fn the_schema_file_is_what_the_code_says() {
    let path = format!("{FOLDER}/schema.json");
    check_or_update(path, None, &schema::<RawConfig>("cache-lookup")).unwrap();
}

#[test]
fn the_readme_table_is_what_the_code_says() {
    let path = format!("{FOLDER}/README.md");
    let markers = Some(["<!-- fields -->", "<!-- /fields -->"]);
    check_or_update(path, markers, &table::<RawConfig>()).unwrap();
}
