//! Reading of configurations: what is accepted, and each kind of error that a user can get.

mod common;

use std::time::Duration;

use common::{RawApply, RawKey, encode, encode_yaml, errors, read_config};
use filter_core::config::fields::{Count, DurationText};
use filter_core::config::{Place, read};
use serde::Deserialize;
use serde_json::{Value, json};

/// Returns the errors of a configuration as JSON text, and checks that they are the same as a
/// Struct.
fn both(config: Value) -> Vec<String> {
    let lines = |bytes: &[u8]| {
        let mut lines: Vec<String> = errors(bytes).lines().map(str::to_owned).collect();
        lines[1..].sort();
        lines
    };
    let text = lines(config.to_string().as_bytes());
    assert_eq!(text, lines(&encode(&config)), "as a Struct");
    text[1..].to_vec()
}

fn valid() -> Value {
    json!({
        "rules": [{
            "name": "per-key",
            "key": ["client_address", {"header": "X-Api-Key"}, {"path": {"segment": 1}}],
            "limits": [{"requests": 1000, "per": "1m", "burst": 50}],
            "share": 0.25,
        }],
        "apply": "first",
        "shards": 8,
    })
}

#[test]
fn reads_json_text_a_struct_and_inline_yaml_alike() {
    let text = read_config(valid().to_string().as_bytes()).unwrap();
    assert_eq!(text.apply, RawApply::First);
    assert_eq!(text.shards.get(), 8);
    let rule = &text.rules[0];
    assert_eq!(rule.name.as_str(), "per-key");
    assert_eq!(rule.share, Some(0.25));
    assert_eq!(rule.limits[0].per.get(), Duration::from_secs(60));
    assert_eq!(rule.limits[0].burst, Count::new(50));
    assert!(matches!(&rule.key[1], RawKey::Header(name) if name.as_str() == "x-api-key"));
    assert_eq!(rule.key[2], RawKey::Path { segment: 1 });

    assert_eq!(read_config(&encode(&valid())).unwrap(), text);
    assert_eq!(read_config(&encode_yaml(&valid())).unwrap(), text);
}

/// The bytes are what Envoy 1.40.0 passed to `on_configure` for the YAML beside them, as a Struct
/// in a bootstrap: recorded by a filter that logs its configuration.
#[test]
fn reads_what_envoy_sends_for_inline_yaml() {
    let hex: String = include_str!("vectors/envoy-1.40-struct.hex")
        .split_whitespace()
        .collect();
    let bytes: Vec<u8> = (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect();
    let mut expected = valid();
    expected["rules"][0]["limits"] = json!([
        {"requests": 4_294_967_295_u32, "per": "1m", "burst": 50},
        {"requests": 10, "per": "1s"},
    ]);
    assert_eq!(
        read_config(&bytes),
        read_config(expected.to_string().as_bytes())
    );
    assert!(read_config(&bytes).is_ok());
}

#[test]
fn names_three_mistakes_at_once_as_json_and_as_a_struct() {
    let mut config = valid();
    config["rules"][0]["limts"] = config["rules"][0]["limits"].take();
    config["rules"][0].as_object_mut().unwrap().remove("limits");
    config["rules"][0]["limts"][0]["requests"] = json!(0);
    config["apply"] = json!("frist");
    let expected = r#"3 errors in the configuration:
apply: "frist" is not allowed; allowed: all, first; did you mean "first"?
rules[0].limts: unknown field; allowed: name, key, limits, share; did you mean "limits"?
rules[0].limts[0].requests: 0 is not allowed; allowed: an integer from 1 to 4294967295"#;

    let sorted = |text: String| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines[1..].sort();
        lines.join("\n")
    };
    assert_eq!(sorted(errors(config.to_string().as_bytes())), expected);
    assert_eq!(errors(&encode(&config)), expected);
    assert_eq!(errors(&encode_yaml(&config)), expected);
}

#[test]
fn gives_all_errors_as_one_line_for_the_log() {
    let errors = read_config(br#"{"rules": [], "shards": 65}"#).unwrap_err();
    assert_eq!(
        errors.one_line(),
        "2 errors in the configuration: \
         (1) rules: an empty list is not allowed; allowed: at least one rule; \
         (2) shards: 65 is not allowed; allowed: an integer from 1 to 64"
    );
    let paths: Vec<&str> = errors.iter().map(|error| error.path()).collect();
    assert_eq!(paths, ["rules", "shards"]);
}

#[test]
fn says_for_each_kind_of_mistake_what_is_allowed() {
    let name = "a name of 1 to 40 lower-case letters, digits and hyphens";
    let count = "an integer from 1 to 4294967295";
    let keys = "client_address, header, path";
    let cases = [
        ("/apply", json!(1), "apply: 1 is not allowed; allowed: all, first".to_owned()),
        ("/apply", json!("any"), "apply: \"any\" is not allowed; allowed: all, first".to_owned()),
        ("/rules", json!({}), "rules: an object is not allowed; allowed: a list".to_owned()),
        ("/rules", json!(null), "rules: null is not allowed; allowed: a list".to_owned()),
        ("/rules/0", json!([]), "rules[0]: an empty list is not allowed; allowed: an object".to_owned()),
        ("/rules/0", json!([1]), "rules[0]: a list is not allowed; allowed: an object".to_owned()),
        ("/rules/0/name", json!("A"), format!("rules[0].name: \"A\" is not allowed; allowed: {name}")),
        ("/rules/0/name", json!(true), format!("rules[0].name: true is not allowed; allowed: {name}")),
        ("/rules/0/share", json!("all"), "rules[0].share: \"all\" is not allowed; allowed: a number".to_owned()),
        ("/rules/0/key/0", json!("ip"), format!("rules[0].key[0]: \"ip\" is not allowed; allowed: {keys}")),
        ("/rules/0/key/0", json!({"ip": 1}), format!("rules[0].key[0].ip: unknown; allowed: {keys}")),
        ("/rules/0/key/0", json!({"heder": "a"}), format!("rules[0].key[0].heder: unknown; allowed: {keys}; did you mean \"header\"?")),
        ("/rules/0/key/0", json!({"hedaer": 1}), format!("rules[0].key[0].hedaer: unknown; allowed: {keys}; did you mean \"header\"?")),
        ("/rules/0/key/0", json!({}), format!("rules[0].key[0]: must have exactly one field, of: {keys}")),
        ("/rules/0/key/0", json!({"header": "a", "path": {"segment": 1}}), format!("rules[0].key[0]: must have exactly one field, of: {keys}")),
        ("/rules/0/key/0", json!("header"), "rules[0].key[0]: \"header\" needs a value: write {\"header\": …}".to_owned()),
        ("/rules/0/key/0", json!({"client_address": {}}), "rules[0].key[0].client_address: \"client_address\" takes no value: write it as the text \"client_address\"".to_owned()),
        ("/rules/0/key/1/header", json!("a b"), "rules[0].key[1].header: \"a b\" is not allowed; allowed: a header's name, such as \"x-api-key\"".to_owned()),
        ("/rules/0/key/2/path", json!({}), "rules[0].key[2].path.segment: required, but missing; allowed: an integer from 0 to 255".to_owned()),
        ("/rules/0/key/2/path", json!({"segment": 256}), "rules[0].key[2].path.segment: 256 is not allowed; allowed: an integer from 0 to 255".to_owned()),
        ("/rules/0/key/2/path", json!({"segment": 1, "x": 2}), "rules[0].key[2].path.x: unknown field; allowed: segment".to_owned()),
        ("/rules/0/limits", json!([]), "rules[0].limits: an empty list is not allowed; allowed: at least one limit".to_owned()),
        ("/rules/0/limits/0/requests", json!(0), format!("rules[0].limits[0].requests: 0 is not allowed; allowed: {count}")),
        ("/rules/0/limits/0/requests", json!(-5), format!("rules[0].limits[0].requests: -5 is not allowed; allowed: {count}")),
        ("/rules/0/limits/0/requests", json!(1.5), format!("rules[0].limits[0].requests: 1.5 is not allowed; allowed: {count}")),
        ("/rules/0/limits/0/requests", json!(4_294_967_296_u64), format!("rules[0].limits[0].requests: 4294967296 is not allowed; allowed: {count}")),
        ("/shards", json!([]), "shards: an empty list is not allowed; allowed: an integer from 1 to 64".to_owned()),
    ];
    for (pointer, value, expected) in cases {
        let mut config = valid();
        *config.pointer_mut(pointer).expect(pointer) = value;
        assert_eq!(both(config), [expected]);
    }
}

#[test]
fn says_what_a_missing_field_must_be() {
    assert_eq!(
        errors(b""),
        "1 error in the configuration:\nrules: required, but missing; allowed: a list"
    );
    assert_eq!(errors(b"{}"), errors(b""));
    assert_eq!(
        both(json!({"rules": [{"limits": [{}]}]})),
        [
            "rules[0].limits[0].per: required, but missing; allowed: a duration from \"1ms\" to \
             \"366d\", such as \"250ms\", \"10s\", \"1m\", \"1h\" or \"1d\"",
            "rules[0].limits[0].requests: required, but missing; allowed: an integer from 1 to \
             4294967295",
            "rules[0].name: required, but missing; allowed: a name of 1 to 40 lower-case letters, \
             digits and hyphens",
        ]
    );
}

#[test]
fn finds_a_missing_field_beside_a_required_one_that_is_wrong() {
    let rule = json!({"name": "a", "limits": [{"requests": [], "per": "1s"}]});
    let mut without_per = json!({"rules": [rule]});
    without_per["rules"][0]["limits"][0]
        .as_object_mut()
        .unwrap()
        .remove("per");
    assert_eq!(both(without_per).len(), 2);
}

#[test]
fn reads_numbers_that_arrive_as_text_in_a_struct_but_not_in_json() {
    let mut config = valid();
    config["shards"] = json!("8");
    config["rules"][0]["share"] = json!("2.5e-1");
    config["rules"][0]["limits"][0]["requests"] = json!("4294967295");
    let read = read_config(&encode(&config)).unwrap();
    assert_eq!(read.shards.get(), 8);
    assert_eq!(read.rules[0].share, Some(0.25));
    assert_eq!(read.rules[0].limits[0].requests.get(), 4_294_967_295);
    assert_eq!(errors(config.to_string().as_bytes()).lines().count(), 4);

    for text in [
        "", " 8", "8 ", "+8", "08", "0x8", "8.", ".8", "8e", "eight", "inf", "NaN", "8,0", "--8",
    ] {
        config["shards"] = json!(text);
        let expected =
            format!("shards: \"{text}\" is not allowed; allowed: an integer from 1 to 64");
        assert_eq!(
            errors(&encode(&config)).lines().last(),
            Some(expected.as_str())
        );
    }
}

#[test]
fn reads_a_number_without_a_fraction_as_an_integer() {
    for number in ["8.0", "8e0", "80e-1"] {
        let text = valid()
            .to_string()
            .replace("\"shards\":8", &format!("\"shards\":{number}"));
        assert_eq!(
            read_config(text.as_bytes()).unwrap().shards.get(),
            8,
            "{number}"
        );
    }
}

#[test]
fn tells_json_after_a_line_feed_from_a_struct() {
    let text = format!("\n{}", serde_json::to_string_pretty(&valid()).unwrap());
    assert!(read_config(text.as_bytes()).is_ok());
    // The first entry's length is 123: read as text, the bytes begin with a line feed and a brace.
    let config = json!({"$schema": "x".repeat(110)});
    let bytes = encode(&config);
    assert_eq!(bytes[..2], *b"\n{");
    assert_eq!(errors(&bytes), errors(b"{}"));
}

#[test]
fn says_where_json_is_broken() {
    let form = "; allowed: a JSON object, or a google.protobuf.Struct";
    let cases: [(&[u8], &str, &str); 6] = [
        (
            b"{\"rules\": [\n  }",
            "expected value at line 2 column 3",
            "",
        ),
        (
            b"{\"rules\": []} x",
            "trailing characters at line 1 column 15",
            "",
        ),
        (
            b"{\"rules\": 1e999}",
            "number out of range at line 1 column 15",
            "",
        ),
        (
            b"{\"rules\": \"\xff\"}",
            "invalid unicode code point at line 1 column 12",
            "",
        ),
        (b"rules: []", "expected value at line 1 column 1", form),
        (b"   ", "EOF while parsing a value at line 1 column 3", form),
    ];
    for (text, expected, form) in cases {
        let expected = format!(
            "1 error in the configuration:\nconfiguration: not valid JSON: {expected}{form}"
        );
        assert_eq!(errors(text), expected);
    }
}

#[test]
fn says_what_is_wrong_with_bytes_that_are_no_struct() {
    let valid = encode(&json!({"rules": []}));
    let cases: [(Vec<u8>, &str); 6] = [
        (valid[..valid.len() - 1].to_vec(), "it ends too early"),
        ([&valid[..], &[0x80]].concat(), "it ends too early"),
        (
            [&valid[..], &[0xff; 11]].concat(),
            "it has a number longer than 64 bits",
        ),
        (
            [&valid[..], &[0x18, 0x01]].concat(),
            "it has a field that is not in this message",
        ),
        (
            b"\x0a\x05\x0a\x01\xff\x12\x00".to_vec(),
            "it has text that is not UTF-8",
        ),
        (
            b"\x0a\x05\x0a\x01a\x12\x00".to_vec(),
            "it has an empty value",
        ),
    ];
    for (bytes, expected) in cases {
        let expected = format!(
            "1 error in the configuration:\nconfiguration: not a google.protobuf.Struct: {expected}"
        );
        assert_eq!(errors(&bytes), expected);
    }
}

#[test]
fn refuses_numbers_that_are_not_finite() {
    let mut bytes = encode(&json!({"a": 1}));
    for number in [f64::NAN, f64::INFINITY] {
        let at = bytes.len() - 8;
        bytes[at..].copy_from_slice(&number.to_le_bytes());
        assert!(errors(&bytes).ends_with("it has a number that is not finite"));
    }
}

#[test]
fn refuses_nesting_that_could_exhaust_the_stack() {
    let nest = |depth: usize| (0..depth).fold(json!([]), |inner, _| json!([inner]));
    let at_limit = json!({"a": nest(63)});
    assert!(errors(at_limit.to_string().as_bytes()).contains("a: unknown field"));
    assert!(errors(&encode(&at_limit)).contains("a: unknown field"));
    let beyond = json!({"a": nest(64)});
    assert!(errors(beyond.to_string().as_bytes()).contains("nested deeper than 64 levels"));
    assert!(errors(&encode(&beyond)).contains("nested deeper than 64 levels"));
    assert!(errors("[".repeat(1_000_000).as_bytes()).contains("nested deeper than 64 levels"));
}

#[test]
fn refuses_a_field_that_is_given_twice() {
    let text = r#"{"rules": [{"name": "a", "name": "b", "limits": [{"requests": 1, "per": "1s"}]}],
        "apply": "all", "apply": "all"}"#;
    let expected = "2 errors in the configuration:\n\
        rules[0].name: given more than once\napply: given more than once";
    assert_eq!(errors(text.as_bytes()), expected);
}

#[test]
fn ignores_a_link_to_the_schema_at_the_top_only() {
    let mut config = valid();
    config["$schema"] = json!("https://example.com/schema.json");
    assert!(read_config(config.to_string().as_bytes()).is_ok());
    assert!(read_config(&encode(&config)).is_ok());
    config["$schema"] = json!(1);
    config["rules"][0]["$schema"] = json!("x");
    assert_eq!(
        both(config),
        [
            "$schema: 1 is not allowed; allowed: text",
            "rules[0].$schema: unknown field; allowed: name, key, limits, share",
        ]
    );
}

#[test]
fn finds_mistakes_inside_a_field_whose_name_is_misspelt() {
    assert_eq!(
        both(json!({"ruels": [{"nmae": "A", "limits": [{"requests": 1, "per": "1s"}]}]})),
        [
            "ruels: unknown field; allowed: rules, apply, shards; did you mean \"rules\"?",
            "ruels[0].nmae: unknown field; allowed: name, key, limits, share; did you mean \"name\"?",
        ]
    );
}

#[test]
fn a_check_reports_at_the_name_that_was_written() {
    assert_eq!(
        both(json!({"ruels": [{"name": "a", "limits": []}]}))[1],
        "ruels[0].limits: an empty list is not allowed; allowed: at least one limit"
    );
}

#[test]
fn counts_the_items_of_a_list_as_they_were_written() {
    let rule = |name: &str| json!({"name": name, "limits": [{"requests": 1, "per": "1s"}]});
    let mut config = json!({"rules": [rule("A"), rule("same"), 5, rule("same"), rule("last")]});
    config["rules"][4]["limits"] = json!([]);
    let lines = both(config);
    let places: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.split(": ").next())
        .collect();
    assert_eq!(
        places,
        [
            "rules[0].name",
            "rules[2]",
            "rules[3].name",
            "rules[4].limits"
        ]
    );
}

#[test]
fn reports_no_consequences_of_what_was_left_out() {
    // Without its only rule the list is empty, which the check refuses: not the user's mistake.
    assert_eq!(
        both(json!({"rules": [5]})),
        ["rules[0]: 5 is not allowed; allowed: an object"]
    );
    // Without its name the rule can't be read, without the rule the list is empty.
    let config = json!({"rules": [{"name": "", "limits": [{"requests": 1, "per": "1s"}]}]});
    assert_eq!(both(config).len(), 1);
}

#[test]
fn shows_values_shortened_and_in_one_line() {
    let value = format!("a\n\u{1b}\"é{}", "x".repeat(100));
    let lines = both(json!({"rules": [], "apply": value}));
    let shown = format!("\"a\\n\\u{{1b}}\\\"é{}…\"", "x".repeat(43));
    assert_eq!(
        lines[0],
        format!("apply: {shown} is not allowed; allowed: all, first")
    );
}

#[test]
fn quotes_names_in_a_path_that_do_not_read_as_names() {
    let lines = both(json!({"rules": [], "a.b\n": 1, "": 2}));
    assert!(lines[0].starts_with("\"\": unknown field"), "{lines:?}");
    assert!(
        lines[1].starts_with("\"a.b\\n\": unknown field"),
        "{lines:?}"
    );
}

#[test]
fn stops_at_fifty_errors_and_says_so() {
    let text = errors(json!({"rules": vec![5; 1000]}).to_string().as_bytes());
    let mut lines = text.lines();
    assert_eq!(
        lines.next(),
        Some("50 errors in the configuration (there may be more):")
    );
    assert_eq!(lines.count(), 50);

    let same = json!({"name": "same", "limits": [{"requests": 1, "per": "1s"}]});
    let text = errors(json!({"rules": vec![same; 1000]}).to_string().as_bytes());
    assert!(text.starts_with("50 errors in the configuration (there may be more):"));
}

#[test]
fn a_check_can_tell_whether_a_part_was_left_out() {
    #[derive(Deserialize)]
    struct Raw {
        uses: String,
        names: Vec<String>,
    }
    fn check(raw: Raw, place: &Place<'_>) -> Option<()> {
        let names = place.field("names");
        if names.is_whole() && !raw.names.contains(&raw.uses) {
            place.field("uses").report("no such name");
        }
        Some(())
    }
    let lines = |text: &str| read(text.as_bytes(), check).unwrap_err().to_string();
    assert_eq!(
        lines(r#"{"uses": "a", "names": ["b"]}"#),
        "1 error in the configuration:\nuses: no such name"
    );
    assert_eq!(
        lines(r#"{"uses": "a", "names": [5]}"#),
        "1 error in the configuration:\nnames[0]: 5 is not allowed; allowed: text"
    );
}

#[test]
fn a_check_that_refuses_without_a_reason_still_gives_an_error() {
    let refused = read(b"{}", |(): (), _| Some(())).unwrap_err();
    assert_eq!(refused.iter().count(), 1);
    let refused = read(b"{}", |_: std::collections::BTreeMap<String, u8>, _| {
        None::<()>
    })
    .unwrap_err();
    assert!(
        refused
            .to_string()
            .ends_with("configuration: refused without a reason")
    );
}

#[test]
fn durations_are_a_whole_number_and_a_unit() {
    let parse = |text: &str| serde_json::from_value::<DurationText>(json!(text)).ok();
    let milliseconds = [
        ("1ms", 1),
        ("250ms", 250),
        ("10s", 10_000),
        ("007m", 420_000),
        ("1h", 3_600_000),
        ("366d", 31_622_400_000),
    ];
    for (text, expected) in milliseconds {
        assert_eq!(
            parse(text).map(DurationText::get),
            Some(Duration::from_millis(expected)),
            "{text}"
        );
    }
    for text in [
        "",
        "0s",
        "10",
        "s",
        "1.5s",
        "-1s",
        "+1s",
        "1 s",
        "1S",
        "1w",
        "1m30s",
        "367d",
        "18446744073709551615d",
        "99999999999999999999ms",
        "١s",
    ] {
        assert_eq!(parse(text), None, "{text}");
    }
    for text in ["999ms", "59s", "61m", "25h", "366d"] {
        assert_eq!(parse(text).unwrap().to_string(), text);
    }
    assert_eq!(parse("120s").unwrap().to_string(), "2m");
}

mod protojson {
    use filter_core::config::fields::ProtoDuration;
    use filter_core::config::{Errors, Place, read, read_protojson};
    use serde::Deserialize;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default, deny_unknown_fields, rename_all = "snake_case")]
    struct Raw {
        cache_duration: Option<ProtoDuration>,
        clock_skew: Option<u32>,
        kind: Option<Kind>,
        named: std::collections::BTreeMap<String, Raw>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields, rename_all = "snake_case")]
    enum Kind {
        TwoWords(String),
    }

    fn of(text: &str) -> Result<Raw, Errors> {
        read_protojson(text.as_bytes(), |raw, _: &Place<'_>| Some(raw))
    }

    #[test]
    fn camel_case_and_snake_case_are_one() {
        let snake = of(r#"{"cache_duration": "300s", "clock_skew": 7,
                           "kind": {"two_words": "a"}, "named": {"aB": {"clock_skew": 1}}}"#);
        let camel = of(r#"{"cacheDuration": {"seconds": 300}, "clockSkew": "7",
                           "kind": {"twoWords": "a"}, "named": {"aB": {"clockSkew": "1"}}}"#);
        assert_eq!(snake, camel);
        assert!(
            camel.unwrap().named.contains_key("aB"),
            "names of users stay as they are"
        );
    }

    #[test]
    fn null_is_a_field_that_is_not_there() {
        assert_eq!(of(r#"{"named": null, "kind": null}"#), Ok(Raw::default()));
    }

    #[test]
    fn a_place_is_shown_as_it_was_written() {
        let errors = read_protojson(br#"{"clockSkew": 7}"#, |_: Raw, place: &Place<'_>| {
            place.field("clock_skew").refuse("less");
            None::<()>
        });
        assert_eq!(
            errors.unwrap_err().to_string(),
            "1 error in the configuration:\nclockSkew: 7 is not allowed; allowed: less"
        );
        let errors = of(r#"{"clockSkew": "x", "cacheDurations": "1s"}"#)
            .unwrap_err()
            .to_string();
        assert!(
            errors.contains("clockSkew: \"x\" is not allowed; allowed: an integer"),
            "{errors}"
        );
        assert!(
            errors.contains("did you mean \"cache_duration\"?"),
            "{errors}"
        );
    }

    #[test]
    fn the_strict_form_stays_strict() {
        for text in [
            r#"{"clockSkew": 7}"#,
            r#"{"clock_skew": "7"}"#,
            r#"{"named": null}"#,
        ] {
            let read = read(text.as_bytes(), |raw: Raw, _: &Place<'_>| Some(raw));
            assert!(read.is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_text_or_a_message() {
        for (text, allowed) in [
            (
                r#"{"cache_duration": {"seconds": 1, "nanos": 500000000}}"#,
                true,
            ),
            (r#"{"cache_duration": {"seconds": 99999999999}}"#, false),
            (r#"{"cache_duration": {"nanos": 1000000000}}"#, false),
            (r#"{"cache_duration": {"minutes": 1}}"#, false),
            (r#"{"cache_duration": 300}"#, false),
            (r#"{"cache_duration": "soon"}"#, false),
        ] {
            assert_eq!(of(text).is_ok(), allowed, "{text}: {:?}", of(text));
        }
    }
}
