//! MIGRATING.md against Envoy and against the reader of configurations: every field that jwt_authn has
//! is in it, and what it says is what happens.

mod common;

use std::collections::BTreeMap;

use common::{OTHER, SECRET, jwks};
use jwt_auth::config::Config;
use jwt_auth::jose::base64url;
use serde_json::{Value, json};

/// Written by a test of host-test out of the descriptors in Envoy's binary.
const FIELDS: &str = include_str!("vectors/jwt_authn-1.40-fields.txt");
const TABLES: &str = include_str!("../MIGRATING.md");

/// A field of one of Envoy's messages.
#[derive(Debug)]
struct Field {
    name: &'static str,
    /// The group of which only one may be given, or `-`.
    oneof: &'static str,
    /// The message that it is, or `-`.
    message: &'static str,
}

/// The messages by their names without package.
fn messages() -> BTreeMap<&'static str, Vec<Field>> {
    let mut messages = BTreeMap::new();
    for block in FIELDS.split("\n\n").skip(1) {
        let mut lines = block.lines();
        let name = short(lines.next().unwrap());
        let fields = lines.map(|line| {
            let parts: Vec<_> = line.split_whitespace().collect();
            Field {
                name: parts[0],
                oneof: parts[1],
                message: short(parts[2]),
            }
        });
        // Some of those that are refused share a name.
        messages.entry(name).or_insert_with(|| fields.collect());
    }
    messages
}

fn short(name: &str) -> &str {
    name.split_once(".v3.").map_or(name, |(_, short)| short)
}

/// The tables: message, field, and what is said of it.
fn tables() -> Vec<(&'static str, &'static str, &'static str)> {
    let (_, rest) = TABLES.split_once("## Every field").unwrap();
    let (rest, _) = rest.split_once("\n## ").unwrap();
    let mut rows = Vec::new();
    for section in rest.split("\n### ").skip(1) {
        let (message, rows_of_it) = section.split_once('\n').unwrap();
        for line in rows_of_it.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<_> = line.split(" | ").collect();
            let field = cells[0].trim_start_matches("| ").trim_matches('`');
            rows.push((message, field, cells[1]));
        }
    }
    rows
}

fn word(message: &str, field: &str) -> Option<&'static str> {
    let rows = tables();
    let mut rows = rows.iter().filter(|row| (row.0, row.1) == (message, field));
    let found = rows.next().map(|row| row.2);
    assert!(rows.next().is_none(), "{message}.{field} is there twice");
    found
}

/// A configuration that has each message somewhere.
fn base() -> Value {
    let set = jwks("one", SECRET).replace('\\', "");
    json!({
        "providers": {
            "p": {
                "remote_jwks": {
                    "http_uri": {"uri": "https://a/b", "cluster": "c", "timeout": "1s"},
                    "async_fetch": {},
                    "retry_policy": {"retry_back_off": {"base_interval": "1s"}},
                },
                "subjects": {"exact": "a"},
                "normalize_payload_in_metadata": {},
                "jwt_cache_config": {},
                "from_headers": [{"name": "x-token"}],
                "claim_to_headers": [
                    {"header_name": "x-claim", "claim_name": "a"},
                    {"header_name": "x-path", "claim_path": [{"key": "a"}]},
                ],
            },
            "q": {"local_jwks": {"inline_string": set}},
        },
        "requirement_map": {"r": {"provider_name": "q"}},
        "rules": [
            {
                "match": {
                    "prefix": "/",
                    "headers": [
                        {"name": "x-text", "string_match": {"exact": "a"}},
                        {"name": "x-number", "range_match": {"start": 1, "end": 5}},
                    ],
                    "query_parameters": [{"name": "a"}],
                },
                "requires": {"provider_name": "p"},
            },
            {
                "match": {"safe_regex": {"regex": "/a"}},
                "requires": {"provider_and_audiences": {"provider_name": "p", "audiences": ["a"]}},
            },
            {
                "match": {"prefix": "/"},
                "requires": {"requires_any": {"requirements": [
                    {"provider_name": "p"}, {"allow_missing": {}}]}},
            },
            {
                "match": {"prefix": "/"},
                "requires": {"requires_all": {"requirements": [
                    {"provider_name": "p"}, {"provider_name": "q"}]}},
            },
            {
                "match": {"prefix": "/"},
                "requires": {"extract_only_without_validation": {}},
            },
        ],
    })
}

/// Where a message is in [`base`].
fn pointer(message: &str) -> &'static str {
    match message {
        "JwtAuthentication" | "PerRouteConfig" => "",
        "JwtProvider" => "/providers/p",
        "JwtProvider.NormalizePayload" => "/providers/p/normalize_payload_in_metadata",
        "JwtCacheConfig" => "/providers/p/jwt_cache_config",
        "JwtHeader" => "/providers/p/from_headers/0",
        "JwtClaimToHeader" => "/providers/p/claim_to_headers/0",
        "JwtClaimToHeader.PathSegment" => "/providers/p/claim_to_headers/1/claim_path/0",
        "RemoteJwks" => "/providers/p/remote_jwks",
        "JwksAsyncFetch" => "/providers/p/remote_jwks/async_fetch",
        "HttpUri" => "/providers/p/remote_jwks/http_uri",
        "RetryPolicy" => "/providers/p/remote_jwks/retry_policy",
        "BackoffStrategy" => "/providers/p/remote_jwks/retry_policy/retry_back_off",
        "DataSource" => "/providers/q/local_jwks",
        "RequirementRule" => "/rules/0",
        "RouteMatch" => "/rules/0/match",
        "HeaderMatcher" => "/rules/0/match/headers/0",
        "QueryParameterMatcher" => "/rules/0/match/query_parameters/0",
        "StringMatcher" => "/providers/p/subjects",
        "RegexMatcher" => "/rules/1/match/safe_regex",
        "Int64Range" => "/rules/0/match/headers/1/range_match",
        "JwtRequirement" => "/rules/0/requires",
        "ProviderWithAudiences" => "/rules/1/requires/provider_and_audiences",
        "JwtRequirementOrList" => "/rules/2/requires/requires_any",
        "JwtRequirementAndList" => "/rules/3/requires/requires_all",
        "ExtractOnlyWithoutValidation" => "/rules/4/requires/extract_only_without_validation",
        other => panic!("no message of {other} in the configuration"),
    }
}

/// A value for a field, other than that of [`base`]. What is an object there is added to, what is a
/// list is put in the list's place.
fn sample(message: &str, field: &str) -> Value {
    let other_set = || jwks("one", OTHER).replace('\\', "");
    let two = json!([{"provider_name": "q"}, {"provider_name": "p"}]);
    match (message, field) {
        ("JwtAuthentication", "providers") => {
            json!({"z": {"local_jwks": {"inline_string": other_set()}}})
        }
        ("JwtAuthentication", "rules") => json!([{"match": {"path": "/z"}}]),
        ("JwtAuthentication", "filter_state_rules") => json!({"name": "z"}),
        ("JwtAuthentication", "requirement_map") => json!({"r": {"provider_name": "p"}}),
        ("JwtProvider", "remote_jwks") => json!({"cache_duration": "5s"}),
        ("JwtProvider", "local_jwks") => json!({"inline_string": other_set()}),
        ("JwtProvider", "subjects") => json!({"ignore_case": true}),
        ("JwtProvider", "from_headers") => json!([{"name": "z"}]),
        ("JwtProvider", "claim_to_headers") => json!([{"header_name": "z", "claim_name": "z"}]),
        ("JwtProvider", "normalize_payload_in_metadata") => {
            json!({"space_delimited_claims": ["z"]})
        }
        ("JwtProvider", "jwt_cache_config") => json!({"jwt_cache_size": 7}),
        ("JwtProvider", "clock_skew_seconds") | ("JwtCacheConfig" | "Int64Range", _) => json!(3),
        ("JwtClaimToHeader", "claim_path") => json!([{"key": "z"}]),
        ("RemoteJwks", "http_uri") => json!({"cluster": "z"}),
        ("RemoteJwks", "async_fetch") => json!({"failed_refetch_duration": "7s"}),
        ("RemoteJwks", "retry_policy") => json!({"num_retries": 7}),
        ("RetryPolicy", "num_retries" | "host_selection_retry_max_attempts") => json!(7),
        ("RetryPolicy", "retry_back_off") => json!({"base_interval": "7s"}),
        ("RetryPolicy", "retry_priority") => json!({"name": "z"}),
        ("RetryPolicy", "retry_host_predicate") => json!([{"name": "z"}]),
        ("HttpUri", "uri") => json!("https://z/z"),
        ("DataSource", "inline_bytes") => json!(base64(&other_set())),
        ("DataSource", "inline_string") => json!(other_set()),
        ("DataSource", "watched_directory") => json!({"path": "/z"}),
        ("RequirementRule", "match") => json!({"case_sensitive": false}),
        ("RequirementRule", "requires") => json!({"provider_name": "q"}),
        ("RequirementRule", "requirement_name") => json!("r"),
        ("RouteMatch", "prefix" | "path" | "path_separated_prefix") => json!("/z"),
        ("RouteMatch", "safe_regex") => json!({"regex": "/z"}),
        ("RouteMatch", "case_sensitive") => json!(false),
        ("RouteMatch", "headers" | "query_parameters" | "cookies" | "dynamic_metadata") => {
            json!([{"name": "z"}])
        }
        ("RouteMatch", "filter_state") => json!([{"key": "z"}]),
        ("RouteMatch", _) => json!({}),
        ("HeaderMatcher", "safe_regex_match") => json!({"regex": "z"}),
        ("HeaderMatcher", "range_match") => json!({"start": 1, "end": 2}),
        ("HeaderMatcher" | "QueryParameterMatcher", "string_match") => json!({"exact": "z"}),
        ("QueryParameterMatcher", "present_match") => json!(false),
        ("StringMatcher", "safe_regex") => json!({"regex": "z"}),
        ("StringMatcher", "custom") | ("RegexMatcher", "google_re2") => json!({}),
        ("JwtRequirement", "provider_name") => json!("q"),
        ("JwtRequirement", "provider_and_audiences") => {
            json!({"provider_name": "p", "audiences": ["z"]})
        }
        ("JwtRequirement", "requires_any" | "requires_all") => json!({"requirements": two}),
        ("JwtRequirement", _) => json!({}),
        ("ProviderWithAudiences", "provider_name") => json!("q"),
        ("JwtRequirementOrList" | "JwtRequirementAndList", _) => two,
        (
            _,
            "require_expiration" | "forward" | "pad_forward_payload_header" | "clear_route_cache",
        )
        | (_, "bypass_cors_preflight" | "strip_failure_response" | "ignore_case")
        | (_, "fast_listener" | "disabled" | "present_match" | "invert_match")
        | (_, "treat_missing_header_as_empty") => json!(true),
        (_, "audiences" | "from_params" | "from_cookies" | "space_delimited_claims") => {
            json!(["z"])
        }
        (
            _,
            "max_lifetime"
            | "cache_duration"
            | "failed_refetch_duration"
            | "timeout"
            | "base_interval"
            | "max_interval",
        ) => json!("7s"),
        _ => json!("z"),
    }
}

/// Base64 in its plain alphabet, padded, as protobuf's JSON form has bytes.
fn base64(text: &str) -> String {
    let mut encoded = base64url::encode(text.as_bytes())
        .replace('-', "+")
        .replace('_', "/");
    while !encoded.len().is_multiple_of(4) {
        encoded.push('=');
    }
    encoded
}

/// The configuration with a field given besides, in place of others of its oneof.
fn with(fields: &[Field], message: &str, field: &Field) -> Value {
    let mut config = base();
    let place = config
        .pointer_mut(pointer(message))
        .unwrap_or_else(|| panic!("{message}"));
    let place = place.as_object_mut().unwrap();
    for other in fields {
        if field.oneof != "-" && other.oneof == field.oneof && other.name != field.name {
            place.remove(other.name);
        }
    }
    match (place.get_mut(field.name), sample(message, field.name)) {
        (Some(Value::Object(there)), Value::Object(more)) => there.extend(more),
        (_, value) => {
            place.insert(field.name.to_owned(), value);
        }
    }
    config
}

#[test]
fn every_field_of_every_message_is_in_the_tables_and_nothing_else() {
    let messages = messages();
    let mut reached = vec!["JwtAuthentication", "PerRouteConfig"];
    let mut at = 0;
    let mut missing = Vec::new();
    while let Some(message) = reached.get(at).copied() {
        at += 1;
        for field in &messages[message] {
            let Some(word) = word(message, field.name) else {
                missing.push(format!("{message}.{}", field.name));
                continue;
            };
            // What is within a field that isn't looked at needs no saying.
            let is_read = matches!(word, "same" | "differs");
            if is_read && messages.contains_key(field.message) && !reached.contains(&field.message)
            {
                reached.push(field.message);
            }
        }
    }
    assert!(missing.is_empty(), "not in MIGRATING.md: {missing:#?}");
    for (message, field, _) in tables() {
        assert!(
            reached.contains(&message),
            "{message} is in no configuration"
        );
        let known = messages[message].iter().any(|known| known.name == field);
        assert!(known, "{message} has no {field}");
    }
    assert!(reached.len() > 20, "{reached:?}");
}

#[test]
fn the_reader_does_what_the_tables_say() {
    let messages = messages();
    let read = |config: &Value| Config::read(config.to_string().as_bytes());
    let plain = read(&base()).unwrap_or_else(|errors| panic!("{errors}"));
    let mut wrong = Vec::new();
    for (message, name, word) in tables() {
        let fields = &messages[message];
        let field = fields.iter().find(|field| field.name == name).unwrap();
        let config = read(&with(fields, message, field));
        let said = match &config {
            Ok(config) if *config == plain => "no effect".to_owned(),
            Ok(_) => "same".to_owned(),
            Err(errors) => errors.to_string(),
        };
        let is_unknown = said.contains("unknown field");
        let is_so = match word {
            "same" | "differs" => said == "same",
            "no effect" => said == "no effect",
            "refused" => config.is_err() && said.contains(name) && !is_unknown,
            "absent" => is_unknown,
            other => panic!("{other} is said of {message}.{name}"),
        };
        if !is_so {
            wrong.push(format!("{message}.{name} is said to be {word}: {said}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
