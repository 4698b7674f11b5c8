//! What a configuration may say, and what is answered to one that says something else.

mod common;

use common::config;
use filter_core::config::document::{check_or_update, schema, table};
use filter_core::time::Span;
use rate_limit::algorithm::Algorithm;
use rate_limit::config::{Apply, Config, HeaderStyle, Missing, Mode, OnError, RawConfig};
use rate_limit::gcra::Gcra;
use serde_json::{Value, json};

const FOLDER: &str = env!("CARGO_MANIFEST_DIR");

fn mistakes(json: &str) -> Vec<String> {
    let errors = Config::read(json.as_bytes()).expect_err(json);
    errors.iter().map(ToString::to_string).collect()
}

/// The mistakes in a rule that has a name and a limit besides what is given.
fn rule_mistakes(more: &str) -> Vec<String> {
    mistakes(&format!(
        r#"{{"rules": [{{"name": "a", "limits": [{{"requests": 1, "per": "1s"}}], {more}}}]}}"#
    ))
}

fn limit_mistakes(limits: &str) -> Vec<String> {
    mistakes(&format!(
        r#"{{"rules": [{{"name": "a", "limits": {limits}}}]}}"#
    ))
}

/// Encodes an object as `google.protobuf.Struct`, as Envoy sends inline YAML: integers as doubles.
fn as_struct(value: &Value) -> Vec<u8> {
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2];
        let mut len = bytes.len();
        while len > 0x7f {
            out.push((len & 0x7f) as u8 | 0x80);
            len >>= 7;
        }
        out.push(len as u8);
        out.extend_from_slice(bytes);
        out
    }
    fn encode(value: &Value) -> Vec<u8> {
        match value {
            Value::Null => vec![0x08, 0],
            Value::Bool(value) => vec![0x20, u8::from(*value)],
            Value::Number(number) => {
                let double = number.as_f64().unwrap().to_le_bytes();
                [&[0x11][..], &double].concat()
            }
            Value::String(text) => field(3, text.as_bytes()),
            Value::Array(items) => {
                let items: Vec<_> = items
                    .iter()
                    .flat_map(|item| field(1, &encode(item)))
                    .collect();
                field(6, &items)
            }
            Value::Object(_) => field(5, &as_struct(value)),
        }
    }
    let entries = value.as_object().unwrap().iter();
    entries
        .flat_map(|(key, value)| {
            field(
                1,
                &[field(1, key.as_bytes()), field(2, &encode(value))].concat(),
            )
        })
        .collect()
}

#[test]
fn a_minimal_configuration_has_these_defaults() {
    let config = config(r#"{"rules": [{"name": "a", "limits": [{"requests": 5, "per": "1m"}]}]}"#);
    assert_eq!(config.apply, Apply::All);
    assert_eq!(config.headers, HeaderStyle::Standard);
    assert_eq!(config.on_error, OnError::Allow);
    assert_eq!((config.geometry.sets(), config.geometry.ways()), (4096, 16));
    let rule = &config.rules[0];
    assert_eq!(
        (rule.mode, rule.missing, rule.cost),
        (Mode::Enforce, Missing::Skip, 1)
    );
    let limit = &rule.limits[0];
    assert_eq!(
        (&*limit.policy, limit.requests, limit.per),
        ("a", 5, Span::from_secs(60))
    );
    let minute = Span::from_secs(60);
    let gcra = Gcra::new(5, minute, 5, minute).expect("a limit");
    // Twelve seconds each; the burst is as large as the limit.
    assert_eq!(limit.algorithm, Algorithm::Gcra(gcra));
}

#[test]
fn json_and_struct_say_the_same() {
    let value = json!({
        "rules": [{
            "name": "api",
            "match": {
                "hosts": ["api.example.com"],
                "paths": [{"prefix": "/v1/"}, {"glob": "/users/*/orders"}],
                "methods": ["GET", "POST"],
                "headers": {"x-internal": "absent", "x-plan": {"exact": "gold"}},
                "query": {"debug": "present"},
                "route_names": ["main"],
            },
            "key": [{"header": "x-user"}, {"client_address": {"trusted_hops": 1, "v6_prefix": 56}},
                "path", {"path_segment": 2}, {"constant": "k"}],
            "missing": "share",
            "limits": [{"requests": 10, "per": "1s"}, {"requests": 1000, "per": "1h", "burst": 50}],
            "mode": "shadow",
            "cost": 2,
        }],
        "apply": "first",
        "headers": "none",
        "table": {"sets": 1024, "ways": 8},
        "on_error": "deny",
    });
    let from_json = config(&value.to_string());
    assert_eq!(Config::read(&as_struct(&value)), Ok(from_json.clone()));
    let names: Vec<_> = from_json.rules[0]
        .limits
        .iter()
        .map(|limit| &*limit.policy)
        .collect();
    assert_eq!(names, ["api/10-per-1s", "api/1000-per-1h"]);
}

#[test]
fn three_mistakes_are_told_at_once_in_both_forms() {
    let value = json!({
        "rules": [
            {"name": "login", "limts": [{"requests": 5, "per": "1m"}]},
            {"name": "api", "limits": [{"requests": 0, "per": "1m"}]},
        ],
        "apply": "frist",
    });
    for bytes in [value.to_string().into_bytes(), as_struct(&value)] {
        let errors = Config::read(&bytes).unwrap_err();
        let line = errors.one_line();
        for expected in [
            "rules[0].limts: unknown field; allowed: name, match, key, missing, allow, scope, limits, concurrent, overrides, mode, percent, cost, cost_header, charge, lease, delay_up_to, on_limit; did you mean \"limits\"?",
            "rules[1].limits[0].requests: 0 is not allowed; allowed: an integer from 1 to 4294967295",
            "apply: \"frist\" is not allowed; allowed: all, first; did you mean \"first\"?",
        ] {
            assert!(line.contains(expected), "{expected}\n{line}");
        }
        assert_eq!(errors.iter().count(), 3, "{line}");
    }
}

#[test]
fn a_broken_regular_expression_is_told_with_its_place() {
    let found = rule_mistakes(r#""match": {"paths": [{"regex": "/a("}]}"#);
    assert!(
        found[0].starts_with("rules[0].match.paths[0].regex: not a regular expression: "),
        "{found:?}"
    );
}

#[test]
fn rules_and_limits_can_not_be_left_out() {
    let missing = "rules: required, but missing; allowed: a list";
    assert_eq!(mistakes(""), [missing]);
    assert_eq!(mistakes("{}"), [missing]);
    assert_eq!(
        mistakes(r#"{"rules": []}"#),
        ["rules: an empty list is not allowed; allowed: a list with at least one rule"]
    );
    assert_eq!(
        mistakes(r#"{"rules": [{}]}"#),
        ["rules[0].name: required, but missing; \
                allowed: a name of 1 to 40 lower-case letters, digits and hyphens",]
    );
    assert_eq!(
        mistakes(r#"{"rules": [{"name": "a"}]}"#),
        ["rules[0].limits: 0 limits; allowed: 1 to 8"]
    );
    assert_eq!(
        limit_mistakes("[]"),
        ["rules[0].limits: 0 limits; allowed: 1 to 8"]
    );
}

#[test]
fn names_are_unique() {
    let found = mistakes(
        r#"{"rules": [{"name": "a", "limits": [{"requests": 1, "per": "1s"}]},
                      {"name": "a", "limits": [{"requests": 1, "per": "1s"}]}]}"#,
    );
    assert_eq!(
        found,
        ["rules[1].name: another rule is called \"a\" too; names must differ"]
    );
}

#[test]
fn limits_that_make_no_sense_are_refused() {
    #[rustfmt::skip]
    let rows = [
        (r#"[{"requests": 2000000, "per": "1s"}]"#,
            "rules[0].limits[0].requests: more than one request per microsecond can't be told apart"),
        (r#"[{"requests": 1, "per": "1d", "burst": 400}]"#,
            "rules[0].limits[0].burst: a burst of 400 at this rate takes more than 366 days to come back"),
        (r#"[{"requests": 1, "per": "366d", "burst": 4294967295}]"#,
            "rules[0].limits[0].burst: a burst of 4294967295 at this rate takes more than 366 days to come back"),
        (r#"[{"requests": 5, "per": "1m"}, {"requests": 5, "per": "60s", "burst": 9}]"#,
            "rules[0].limits[1]: says the same as another limit of the rule; leave one out"),
        (r#"[{"requests": 1, "per": "1s", "burst": 5}, {"requests": 60, "per": "1m", "burst": 5}]"#,
            "rules[0].limits[1]: says the same as another limit of the rule; leave one out"),
        (r#"[{"requests": 5, "per": "1m", "burst": 9, "algorithm": "fixed_window"}]"#,
            "rules[0].limits[0].burst: windows know no burst; leave it out, or take the algorithm \"gcra\""),
        (r#"[{"requests": 5, "per": "184d", "algorithm": "sliding_window"}]"#,
            "rules[0].limits[0].per: a sliding window remembers two windows and can be 183 days long at most"),
    ];
    for (limits, expected) in rows {
        assert_eq!(limit_mistakes(limits), [expected]);
    }
    assert_eq!(
        rule_mistakes(r#""cost": 2"#),
        ["rules[0].limits[0]: a request costs 2 and never fits into a burst of 1"]
    );
    let nine: Vec<_> = (1..=9)
        .map(|number| format!(r#"{{"requests": {number}, "per": "1s"}}"#))
        .collect();
    assert_eq!(
        limit_mistakes(&format!("[{}]", nine.join(","))),
        ["rules[0].limits: 9 limits; allowed: 1 to 8"]
    );
}

#[test]
fn exceptions_that_make_no_sense_are_refused() {
    #[rustfmt::skip]
    let rows = [
        (r#""allow": [{}]"#,
            "rules[0].allow[0]: is about every request without \"match\" or \"addresses\""),
        (r#""allow": [{"addresses": ["10.1.0.0/8"]}]"#,
            "rules[0].allow[0].addresses[0]: \"10.1.0.0/8\" is not allowed; \
             allowed: an address or a network without bits beyond its prefix, such as \"10.0.0.0/8\""),
        (r#""overrides": [{"limits": [{"requests": 1, "per": "1s"}]}]"#,
            "rules[0].overrides[0]: is about every request without \"match\" or \"addresses\""),
        (r#""overrides": [{"match": {}, "limits": []}]"#,
            "rules[0].overrides[0].limits: 0 limits; allowed: 1 to 8"),
        (r#""cost_header": {"name": "x", "max": 2}"#,
            "rules[0].limits[0]: a request costs 2 and never fits into a burst of 1"),
        (r#""concurrent": {"requests": 1, "timeout": "184d"}"#,
            "rules[0].concurrent.timeout: a request in flight can be remembered for 183 days at most"),
        (r#""concurrent": {"requests": 1000000, "timeout": "1ms"}"#,
            "rules[0].concurrent.timeout: \
             too short to count so many requests; a microsecond each is the least"),
        (r#""charge": {"response": {"statuses": ["6xx"]}}"#,
            "rules[0].charge.response.statuses[0]: \"6xx\" is not allowed; \
             allowed: a status such as \"401\" or \"5xx\""),
        (r#""charge": {"response": {"statuses": ["4x4"]}}"#,
            "rules[0].charge.response.statuses[0]: \"4x4\" is not allowed; \
             allowed: a status such as \"401\" or \"5xx\""),
        (r#""charge": {"response": {"usage": ["usage..total"]}}"#,
            "rules[0].charge.response.usage[0]: \"usage..total\" is not allowed; \
             allowed: names parted by dots, such as \"usage.total_tokens\""),
        (r#""delay_up_to": "61s""#,
            "rules[0].delay_up_to: \"61s\" is not allowed; allowed: a duration up to \"1m\""),
        (r#""delay_up_to": "1s", "concurrent": {"requests": 1}"#,
            "rules[0].delay_up_to: when a request can go on is known for \"gcra\" alone, \
             not beside windows, \"concurrent\" or a charge by the response"),
        (r#""delay_up_to": "1s", "charge": {"response": {}}"#,
            "rules[0].delay_up_to: when a request can go on is known for \"gcra\" alone, \
             not beside windows, \"concurrent\" or a charge by the response"),
        (r#""lease": 8, "cost_header": {"name": "x", "max": 1}"#,
            "rules[0].lease: what can be taken ahead is known for \"gcra\" and a constant cost alone, \
             not beside windows, \"concurrent\", \"cost_header\", \"delay_up_to\" or a charge by the response"),
        (r#""percent": 101"#,
            "rules[0].percent: 101 is not allowed; allowed: an integer from 0 to 100"),
        (r#""key": [{"property": ["a", ""]}]"#,
            "rules[0].key[0].property: a list is not allowed; \
             allowed: the parts of a property's path, none of them empty"),
        (r#""key": [{"client_address": {"trusted_hops": 1, "trusted_cidrs": ["10.0.0.0/8"]}}]"#,
            "rules[0].key[0].client_address.trusted_cidrs: \
             beside \"trusted_hops\" it isn't clear which of the two counts"),
        (r#""on_limit": {"message": "a\nb"}"#,
            "rules[0].on_limit.message: has control characters in it"),
        (r#""on_limit": {"headers": [{"name": "Retry-After", "value": "1"}]}"#,
            "rules[0].on_limit.headers[0].name: is written by the filter or the gateway"),
        (r#""on_limit": {"headers": [{"name": "x", "value": "a\r\nset-cookie: b"}]}"#,
            "rules[0].on_limit.headers[0].value: has control characters in it"),
    ];
    for (more, expected) in rows {
        assert_eq!(rule_mistakes(more), [expected]);
    }
}

#[test]
fn all_limits_of_a_rule_must_fit_into_a_set() {
    let found = mistakes(
        r#"{"table": {"ways": 1}, "rules": [{"name": "a", "limits": [
            {"requests": 1, "per": "1s"}, {"requests": 2, "per": "1m"}]}]}"#,
    );
    assert_eq!(
        found,
        ["rules[0].limits: 2 records don't fit into a table set of 1 ways; raise table.ways"]
    );
}

#[test]
fn names_of_limits_tell_them_apart() {
    let config = config(
        r#"{"rules": [{"name": "a", "limits": [
            {"requests": 1, "per": "1500ms"}, {"requests": 10, "per": "60s"}, {"requests": 20, "per": "1m"},
            {"requests": 100, "per": "48h"}]}]}"#,
    );
    let names: Vec<_> = config.rules[0]
        .limits
        .iter()
        .map(|limit| &*limit.policy)
        .collect();
    assert_eq!(
        names,
        [
            "a/1-per-1500ms",
            "a/10-per-1m",
            "a/20-per-1m",
            "a/100-per-2d"
        ]
    );
}

#[test]
fn the_schema_file_is_what_the_code_says() {
    let path = format!("{FOLDER}/schema.json");
    check_or_update(path, None, &schema::<RawConfig>("rate-limit")).unwrap();
}

#[test]
fn the_readme_table_is_what_the_code_says() {
    let path = format!("{FOLDER}/README.md");
    let markers = Some(["<!-- fields -->", "<!-- /fields -->"]);
    check_or_update(path, markers, &table::<RawConfig>()).unwrap();
}
