//! What holds whatever clients send.

mod common;

use common::{Bench, NOW, provider, status, token, upstream};
use jwt_auth::decision::Step;
use proptest::prelude::*;

const OWN: [&str; 3] = ["x-payload", "x-sub", "x-jwt-signature-verified"];

fn bench() -> Bench {
    let more = r#", "forward_payload_header": "x-payload",
        "claim_to_headers": [{"header_name": "x-sub", "claim_name": "sub"}],
        "from_headers": [{"name": "authorization", "value_prefix": "Bearer "},
                         {"name": "x-jwt", "value_prefix": "jwt="}],
        "from_params": ["t"], "from_cookies": ["t"]"#;
    Bench::new(&format!(
        r#"{{"providers": {{"p": {}}}, "bypass_cors_preflight": true, "rules": [
            {{"match": {{"prefix": "/need"}}, "requires": {{"provider_name": "p"}}}},
            {{"match": {{"prefix": "/any"}}, "requires": {{"requires_any": {{"requirements": [
                {{"provider_name": "p"}}, {{"allow_missing": {{}}}}]}}}}}},
            {{"match": {{"prefix": "/lax"}}, "requires": {{"allow_missing_or_failed": {{}}}}}},
            {{"match": {{"prefix": "/raw"}}, "requires": {{"extract_only_without_validation": {{}}}}}},
            {{"match": {{"prefix": "/shadow"}}, "mode": "shadow",
              "requires": {{"provider_name": "p"}}}}]}}"#,
        provider("i", more)
    ))
}

fn good() -> String {
    token(&format!(r#"{{"iss":"i","sub":"ana","exp":{}}}"#, NOW + 60))
}

fn values() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(good()),
        Just(format!("Bearer {}", good())),
        Just(format!("bearer {}", good())),
        Just(format!("x, jwt=\"{}\"", good())),
        Just(format!("a=b; t={}", good())),
        Just("e30.e30.e30".to_owned()),
        "[ -~]{0,20}",
        "(Bearer |jwt=|t=)?[A-Za-z0-9_.=-]{0,30}",
    ]
}

fn names() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "authorization",
        "Authorization",
        "x-jwt",
        "cookie",
        "x-sub",
        "X-Payload",
        "x-jwt-signature-verified",
        "origin",
        "access-control-request-method",
        "x",
    ])
}

fn paths() -> impl Strategy<Value = String> {
    let path =
        "/(need|any|lax|raw|shadow|other|%6eeed|\\.\\./need|/need){0,2}(/[a-z%;.]{0,6}){0,2}";
    (path, prop::option::of(values())).prop_map(|(path, token)| match token {
        Some(token) => format!("{path}?t={token}"),
        None => path,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    /// A header of ours that reaches the upstream is one that we wrote from a token in the request.
    #[test]
    fn no_client_can_write_a_header_of_ours(
        path in paths(),
        method in prop::sample::select(vec!["GET", "OPTIONS"]),
        headers in prop::collection::vec((names(), values()), 0..6),
    ) {
        let mut bench = bench();
        let mut sent = vec![(":method", method), (":path", &*path)];
        sent.extend(headers.iter().map(|(name, value)| (*name, &**value)));
        let decision = bench.decide(&sent);
        if status(&decision) == 200 {
            let lower: Vec<(String, &str)> =
                sent.iter().map(|(n, v)| (n.to_ascii_lowercase(), *v)).collect();
            let lower: Vec<(&str, &str)> = lower.iter().map(|(n, v)| (&**n, *v)).collect();
            for name in OWN {
                for value in upstream(&decision, &lower, name) {
                    let ours = match name {
                        "x-sub" => value == "ana",
                        "x-payload" => good().contains(&value) || value == "e30",
                        _ => value == "false",
                    };
                    prop_assert!(ours, "{name}: {value}");
                }
            }
        }
    }

    /// What needs a token doesn't go on without a right one in one of the provider's places.
    #[test]
    fn nothing_passes_without_a_token_where_one_is_needed(
        rest in "[a-z/]{0,8}",
        headers in prop::collection::vec((names(), values()), 0..4),
    ) {
        let mut bench = bench();
        let path = format!("/need{rest}");
        let mut sent = vec![(":method", "GET"), (":path", &*path)];
        sent.extend(headers.iter().map(|(name, value)| (*name, &**value)));
        let has_token = headers.iter().any(|(_, value)| value.contains(&good()));
        let passed = status(&bench.decide(&sent)) == 200;
        prop_assert!(has_token || !passed);
    }

    /// The second look at a request, from memory, comes to the same.
    #[test]
    fn memory_changes_nothing(
        path in paths(),
        headers in prop::collection::vec((names(), values()), 0..4),
    ) {
        let mut bench = bench();
        let mut sent = vec![(":method", "GET"), (":path", &*path)];
        sent.extend(headers.iter().map(|(name, value)| (*name, &**value)));
        let first = bench.decide(&sent);
        let second = bench.decide(&sent);
        prop_assert_eq!(first.reply, second.reply);
        prop_assert_eq!(first.edits, second.edits);
        prop_assert_eq!(first.properties, second.properties);
        prop_assert_eq!(first.log, second.log);
    }

    /// With keys in the configuration nobody ever waits.
    #[test]
    fn local_keys_are_never_waited_for(
        path in paths(),
        headers in prop::collection::vec((names(), values()), 0..4),
    ) {
        let mut sent = vec![(":method", "GET"), (":path", &*path)];
        sent.extend(headers.iter().map(|(name, value)| (*name, &**value)));
        prop_assert!(matches!(bench().step(&sent, true), Step::Done(_)));
    }
}
