//! What a configuration may say, and what is answered to one that says something else.

mod common;

use std::time::Duration;

use common::{SECRET, jwks, provider};
use filter_core::config::document::{check_or_update, schema, table};
use filter_core::time::Span;
use jwt_auth::config::provider::KeySource;
use jwt_auth::config::{Config, RawConfig};
use jwt_auth::jose::algorithm::Algorithm;
use jwt_auth::requirement::Requirement;

const FOLDER: &str = env!("CARGO_MANIFEST_DIR");

const REMOTE: &str = r#""remote_jwks": {"http_uri": {
    "uri": "https://example.com/jwks.json", "cluster": "idp", "timeout": "1s"}}"#;

fn read(json: &str) -> Config {
    Config::read(json.as_bytes()).unwrap_or_else(|errors| panic!("{errors}\n{json}"))
}

fn mistakes(json: &str) -> Vec<String> {
    let errors = Config::read(json.as_bytes()).expect_err(json);
    errors.iter().map(ToString::to_string).collect()
}

fn with_provider(provider: &str) -> String {
    format!(r#"{{"providers": {{"p": {{{provider}}}}}}}"#)
}

fn with_rule(rule: &str) -> String {
    format!(r#"{{"providers": {{"p": {{{REMOTE}}}}}, "rules": [{rule}]}}"#)
}

#[test]
fn a_minimal_provider_has_the_defaults_of_jwt_authn() {
    let config = read(&with_provider(REMOTE));
    let provider = &config.providers[0];
    assert_eq!(provider.name, "p");
    assert_eq!(provider.times.clock_skew, Duration::from_secs(60));
    assert!(!provider.times.require_expiration);
    assert_eq!(provider.times.max_lifetime, None);
    assert!(!provider.output.forward);
    assert_eq!(provider.locations.len(), 2);
    let KeySource::Remote(remote) = &provider.keys else {
        panic!("{provider:?}");
    };
    assert_eq!(remote.pace.fresh, Span::from_secs(600));
    assert_eq!(remote.pace.failed, Span::from_secs(1));
    assert_eq!(remote.pace.retries, 0);
    assert_eq!(
        (&*remote.endpoint.authority, &*remote.endpoint.path),
        ("example.com", "/jwks.json")
    );
    assert!(!provider.algorithms.contains(&Algorithm::Hs256));
    assert!(provider.algorithms.contains(&Algorithm::EdDsa));
}

#[test]
fn no_configuration_at_all_asks_for_nothing() {
    assert!(read("").rules.is_empty());
    assert!(read("{}").providers.is_empty());
}

#[test]
fn envoy_s_own_spellings_are_taken() {
    let snake = read(
        r#"{"providers": {"p": {"issuer": "https://example.com", "audiences": ["a"],
            "clock_skew_seconds": 7, "require_expiration": true, "max_lifetime": "86400s",
            "forward_payload_header": "x-jwt", "pad_forward_payload_header": true,
            "from_headers": [{"name": "x-a", "value_prefix": "A "}], "from_params": ["t"],
            "from_cookies": ["c"], "jwt_cache_config": {"jwt_cache_size": 1000},
            "claim_to_headers": [{"header_name": "x-sub", "claim_name": "sub"}],
            "remote_jwks": {"http_uri": {"uri": "https://a/b", "cluster": "c", "timeout": "1s"},
                "cache_duration": "300s", "async_fetch": {"fast_listener": true},
                "retry_policy": {"num_retries": 3,
                    "retry_back_off": {"base_interval": "0.01s", "max_interval": "20s"}}}}},
        "rules": [{"match": {"prefix": "/", "case_sensitive": false},
                    "requires": {"requires_any": {"requirements": [
                        {"provider_name": "p"}, {"allow_missing": {}}]}}}],
        "bypass_cors_preflight": true}"#,
    );
    let camel = read(
        r#"{"providers": {"p": {"issuer": "https://example.com", "audiences": "a",
            "clockSkewSeconds": "7", "requireExpiration": true, "maxLifetime": {"seconds": 86400},
            "forwardPayloadHeader": "X-JWT", "padForwardPayloadHeader": true,
            "fromHeaders": [{"name": "x-a", "valuePrefix": "A "}], "fromParams": ["t"],
            "fromCookies": ["c"], "jwtCacheConfig": {"jwtCacheSize": "1000"},
            "claimToHeaders": [{"headerName": "x-sub", "claimName": "sub"}],
            "remoteJwks": {"httpUri": {"uri": "https://a/b", "cluster": "c", "timeout": "1s"},
                "cacheDuration": {"seconds": "300"}, "asyncFetch": {"fastListener": true},
                "retryPolicy": {"numRetries": 3,
                    "retryBackOff": {"baseInterval": "0.010s", "maxInterval": "20s"}}}}},
        "rules": [{"match": {"prefix": "/", "caseSensitive": false},
                   "requires": {"requiresAny": {"requirements": [
                       {"providerName": "p"}, {"allowMissing": {}}]}}}],
        "bypassCorsPreflight": true, "filterStateRules": null}"#,
    );
    assert_eq!(snake, camel);
}

/// The examples in the comments of jwt_authn's own config.proto and in its documentation.
#[test]
fn the_examples_of_envoy_s_documentation_are_taken() {
    let local = jwks("one", SECRET);
    for (providers, rules) in [
        (
            r#""provider1": {"issuer": "issuer1", "audiences": ["audience1", "audience2"],
                "remote_jwks": {"http_uri": {"uri": "https://example.com/.well-known/jwks.json",
                    "cluster": "example_jwks_cluster", "timeout": "1s"}}},
               "provider2": {"issuer": "issuer2", "local_jwks": {"inline_string": "LOCAL"}}"#,
            r#"{"match": {"prefix": "/health"}},
               {"match": {"prefix": "/prefix"}, "requires": {"provider_name": "provider1"}},
               {"match": {"prefix": "/"}, "requires": {"requires_any": {"requirements": [
                   {"provider_name": "provider1"}, {"provider_name": "provider2"}]}}}"#,
        ),
        (
            r#""provider_name1": {"issuer": "https://example.com",
                "audiences": ["bookstore_android.apps.googleusercontent.com"],
                "remote_jwks": {"http_uri": {"uri": "https://example.com/jwks.json",
                    "cluster": "example_jwks_cluster", "timeout": "1s"},
                    "cache_duration": {"seconds": 300}}}"#,
            r#"{"match": {"prefix": "/"}, "requires": {"provider_and_audiences": {
                   "provider_name": "provider_name1", "audiences": ["api1", "api2"]}}},
               {"match": {"path": "/option", "headers": [
                    {"name": ":method", "string_match": {"exact": "OPTIONS"}}]},
                "requires": {"allow_missing_or_failed": {}}},
               {"match": {"prefix": "/extract"},
                "requires": {"extract_only_without_validation": {}}}"#,
        ),
        (
            r#""a": {"issuer": "https://spiffe", "local_jwks": {"inline_string": "LOCAL"},
                "subjects": {"prefix": "spiffe://spiffe.example.com/"}, "require_expiration": true,
                "max_lifetime": {"seconds": 86400}, "from_headers": [{"name": "bearer"},
                    {"name": "bear", "value_prefix": "jwt_value"}],
                "payload_in_metadata": "my_payload", "header_in_metadata": "my_header",
                "failed_status_in_metadata": "my_auth_failure_status",
                "normalize_payload_in_metadata": {"space_delimited_claims": ["scope"]},
                "claim_to_headers": [{"header_name": "x-jwt-claim-nested",
                    "claim_name": "nested.claim.key"},
                    {"header_name": "x-b", "claim_path": [{"key": "https://x.y/z"}, {"key": "b"}]}],
                "clear_route_cache": true}"#,
            r#"{"match": {"safe_regex": {"google_re2": {}, "regex": "/a/.*"}},
                "requirement_name": "r"}"#,
        ),
    ] {
        let json = format!(
            r#"{{"providers": {{{providers}}}, "rules": [{rules}],
                 "requirement_map": {{"r": {{"allow_missing": {{}}}}}}}}"#
        );
        read(&json.replace("LOCAL", &local));
    }
}

#[test]
fn what_means_nothing_in_a_module_says_so_and_what_to_do() {
    let found = mistakes(
        r#"{"providers": {"p": {"local_jwks": {"filename": "/etc/jwks"}},
                          "q": {"localJwks": {"environmentVariable": "JWKS"}}},
            "filter_state_rules": {"name": "x"},
            "rules": [{"match": {"prefix": "/", "runtime_fraction": {}}}]}"#,
    );
    assert_eq!(found.len(), 4, "{found:#?}");
    assert_eq!(
        found[0],
        "providers.p.local_jwks.filename: a module can't read files; put the JWKS into \
         inline_string"
    );
    assert!(found[1].starts_with("providers.q.localJwks.environmentVariable: a module can't"));
    assert!(found[2].starts_with("filter_state_rules: a module can't"));
    assert!(found[3].starts_with("rules[0].match.runtime_fraction: Envoy's jwt_authn ignores"));
}

#[test]
fn all_mistakes_are_named_at_once_with_their_places() {
    let found = mistakes(
        r#"{"providers": {"p": {"issuers": "x", "clock_skew_seconds": -1,
               "remote_jwks": {"http_uri": {"uri": "nonsense", "cluster": "", "timeout": "0s"}}},
             "q": {"local_jwks": {"inline_string": "{}"}, "algorithms": ["rs256"]},
             "r": {}},
            "rules": [{"match": {}}, {"match": {"prefix": "/", "path": "/"}},
                      {"match": {"safe_regex": {"regex": "("}}},
                      {"match": {"prefix": "/"}, "requires": {"provider_name": "x",
                                                              "allow_missing": {}}},
                      {"match": {"prefix": "/"}, "requirement_name": "none"},
                      {"match": {"prefix": "/"}, "requires": {"requires_any": {
                          "requirements": [{"provider_name": "p"}]}}},
                      {"match": {"prefix": "/"}, "scopes": ["a b"]}]}"#,
    );
    let shown = found.join("\n");
    for part in [
        "providers.p.issuers: unknown field",
        "did you mean \"issuer\"?",
        "providers.p.clock_skew_seconds: -1 is not allowed",
        "providers.p.remote_jwks.http_uri.uri: \"nonsense\" is not allowed; allowed: a URL",
        "providers.p.remote_jwks.http_uri.cluster: \"\" is not allowed",
        "providers.p.remote_jwks.http_uri.timeout: \"0s\" is not allowed",
        "providers.q.local_jwks: the JWK set isn't an object with a list `keys`",
        "providers.q.algorithms[0]: \"rs256\" is not allowed; allowed: EdDSA, ES256",
        "providers.r: must have exactly one of: remote_jwks, local_jwks",
        "rules[0].match: must have exactly one of: prefix, path",
        "rules[1].match: must have exactly one of: prefix, path",
        "rules[2].match.safe_regex.regex: not a regular expression",
        "rules[3].requires: must have at most one of",
        "rules[4].requirement_name: requirement_map has no \"none\"",
        "rules[5].requires.requires_any.requirements: a list is not allowed; allowed: a list with \
         at least two",
        "rules[6].scopes[0]: \"a b\" is not allowed",
        "rules[6]: scopes and claims are those of a token, but the rule requires none",
    ] {
        assert!(shown.contains(part), "{part}\nis not in\n{shown}");
    }
}

#[test]
fn a_secret_of_the_wrong_kind_is_not_repeated() {
    for secret in ["12345678", "true", "1.2345678"] {
        let found = mistakes(&with_provider(&format!(
            r#""introspection": {{"client_id": "c", "client_secret": {secret}, "http_uri":
                {{"uri": "https://a/b", "cluster": "c", "timeout": "1s"}}}}"#
        )));
        assert_eq!(
            found,
            ["providers.p.introspection.client_secret: this value is not allowed; allowed: text"]
        );
    }
}

#[test]
fn a_provider_that_is_not_there_is_a_mistake() {
    let found = mistakes(&with_rule(
        r#"{"match": {"prefix": "/"}, "requires": {"provider_name": "q"}}"#,
    ));
    assert_eq!(
        found,
        ["rules[0].requires.provider_name: there is no provider \"q\""]
    );
}

#[test]
fn secrets_cannot_be_fetched() {
    let found = mistakes(&with_provider(&format!(
        r#"{REMOTE}, "algorithms": ["HS256"]"#
    )));
    assert_eq!(
        found,
        [
            "providers.p.algorithms[0]: keys for HS… are secrets and can't be fetched; put them into \
          local_jwks"
        ]
    );
    let config = read(&format!(
        r#"{{"providers": {{"p": {}}}}}"#,
        provider("i", "")
    ));
    assert!(config.providers[0].algorithms.contains(&Algorithm::Hs256));
}

#[test]
fn urls_are_split_as_they_are_asked_for() {
    for (url, scheme, authority, path) in [
        ("http://a", "http", "a", "/"),
        ("https://a:8443/b/c?d=e", "https", "a:8443", "/b/c?d=e"),
        ("https://a?b", "https", "a", "/?b"),
        ("http://[::1]:80/", "http", "[::1]:80", "/"),
    ] {
        let config = read(&with_provider(
            &REMOTE.replace("https://example.com/jwks.json", url),
        ));
        let KeySource::Remote(remote) = &config.providers[0].keys else {
            panic!("remote");
        };
        assert_eq!(
            (
                &*remote.endpoint.scheme,
                &*remote.endpoint.authority,
                &*remote.endpoint.path
            ),
            (scheme, authority, path)
        );
    }
    for url in [
        "",
        "a/b",
        "ftp://a/",
        "http://",
        "http:///b",
        "http://a/ b",
        "http://a/#b",
    ] {
        let json = with_provider(&REMOTE.replace("https://example.com/jwks.json", url));
        assert_eq!(mistakes(&json).len(), 1, "{url}");
    }
}

#[test]
fn requirements_by_name_are_those_of_the_map() {
    let config = read(&format!(
        r#"{{"providers": {{"p": {{{REMOTE}}}}},
            "requirement_map": {{"r": {{"provider_and_audiences":
                {{"provider_name": "p", "audiences": ["x"]}}}}}},
            "rules": [{{"match": {{"prefix": "/a"}}, "requirement_name": "r"}},
                      {{"match": {{"prefix": "/b"}}, "requires": {{}}}},
                      {{"match": {{"prefix": "/"}}, "requires": {{"provider_name": "p"}}}}]}}"#
    ));
    let requirements: Vec<_> = config.rules.iter().map(|rule| &rule.requirement).collect();
    assert_eq!(
        requirements,
        [
            &Requirement::Token(0),
            &Requirement::Nothing,
            &Requirement::Token(1)
        ]
    );
    assert_eq!(config.asks[0].audiences, ["x"]);
}

#[test]
fn conditions_on_claims_say_exactly_one_thing() {
    let rule = |claims: &str| {
        with_rule(&format!(
            r#"{{"match": {{"prefix": "/"}}, "requires": {{"provider_name": "p"}},
                 "claims": {claims}}}"#
        ))
    };
    for good in [
        r#"{"claim": "a.b", "equals": 1}"#,
        r#"{"claim": ["https://x/y"], "one_of": ["a", true, 0.5]}"#,
        r#"{"claim": "age", "min": 18}"#,
        r#"{"all": [{"claim": "a", "exists": true}, {"not": {"any": [{"claim": "b", "prefix": "c"}]}}]}"#,
    ] {
        read(&rule(good));
    }
    for bad in [
        "{}",
        r#"{"claim": "a"}"#,
        r#"{"equals": 1}"#,
        r#"{"claim": "a", "equals": 1, "prefix": "b"}"#,
        r#"{"claim": "a", "all": []}"#,
        r#"{"any": []}"#,
    ] {
        let found = mistakes(&rule(bad));
        assert!(found[0].starts_with("rules[0].claims"), "{found:?}");
    }
}

#[test]
fn the_schema_file_is_what_the_code_says() {
    let path = format!("{FOLDER}/schema.json");
    check_or_update(path, None, &schema::<RawConfig>("jwt-auth")).unwrap();
}

#[test]
fn the_readme_table_is_what_the_code_says() {
    let path = format!("{FOLDER}/README.md");
    let markers = Some(["<!-- fields -->", "<!-- /fields -->"]);
    check_or_update(path, markers, &table::<RawConfig>()).unwrap();
}
