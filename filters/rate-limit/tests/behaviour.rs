//! What the filter does, request by request.

mod common;

use common::{Gateway, field, fields, is_allowed, reply};
use filter_core::headers::Headers;
use filter_core::reply::GrpcStatus;
use filter_core::request::Request;
use rate_limit::decision::Cause;

const LOGIN: &str = r#"{"rules": [{"name": "login", "key": [{"header": "x-user"}],
    "limits": [{"requests": 3, "per": "30s"}]}]}"#;

const ALICE: &[(&str, &str)] = &[("x-user", "alice")];
const BOB: &[(&str, &str)] = &[("x-user", "bob")];

#[test]
fn serves_the_burst_denies_the_next_and_serves_again_after_the_wait() {
    let mut gateway = Gateway::new(LOGIN);
    assert_eq!(gateway.served(ALICE), 3);
    let denied = reply(gateway.send(ALICE));
    assert_eq!(denied.status, 429);
    assert_eq!(denied.body, "Too many requests. Try again in 10 s.");
    assert_eq!(denied.details, "rate_limited{rule=login}");
    assert_eq!(denied.grpc_status, Some(GrpcStatus::ResourceExhausted));
    gateway.wait(9);
    assert!(!is_allowed(&gateway.send(ALICE)));
    gateway.wait(1);
    assert_eq!(gateway.served(ALICE), 1);
}

#[test]
fn clients_have_buckets_of_their_own() {
    let mut gateway = Gateway::new(LOGIN);
    assert_eq!(gateway.served(ALICE), 3);
    assert_eq!(gateway.served(BOB), 3);
}

#[test]
fn without_a_key_all_requests_share_one_bucket() {
    let mut gateway =
        Gateway::new(r#"{"rules": [{"name": "all", "limits": [{"requests": 3, "per": "1m"}]}]}"#);
    assert_eq!(gateway.served(ALICE), 3);
    assert_eq!(gateway.served(BOB), 0);
}

#[test]
fn a_rule_leaves_requests_alone_that_it_does_not_match() {
    let mut gateway = Gateway::new(
        r#"{"rules": [{"name": "login", "match": {"paths": [{"exact": "/login"}]},
            "limits": [{"requests": 1, "per": "1m"}]}]}"#,
    );
    let other = gateway.send(&[(":path", "/other")]);
    assert!(is_allowed(&other));
    assert_eq!((fields(other.clone()).len(), other.counts.len()), (0, 0));
    assert_eq!(gateway.served(&[(":path", "/login")]), 1);
    assert!(is_allowed(&gateway.send(&[(":path", "/other")])));
}

#[test]
fn a_request_is_charged_to_all_limits_of_a_rule_or_to_none() {
    let mut gateway = Gateway::new(
        r#"{"rules": [{"name": "api", "limits": [
            {"requests": 2, "per": "1s"}, {"requests": 5, "per": "1h"}]}]}"#,
    );
    assert_eq!(gateway.served(&[]), 2);
    for _ in 0..10 {
        let denied = gateway.send(&[]);
        assert_eq!(
            field(&denied, "ratelimit").as_deref(),
            // The hour has lost two, not twelve; its reset is beyond Retry-After and left out.
            Some("\"api/2-per-1s\";r=0;t=1, \"api/5-per-1h\";r=3")
        );
        assert_eq!(field(&denied, "retry-after").as_deref(), Some("1"));
    }
    gateway.wait(1);
    assert_eq!(gateway.served(&[]), 2);
    gateway.wait(1);
    assert_eq!(gateway.served(&[]), 1);
    let denied = gateway.send(&[]);
    assert_eq!(
        field(&denied, "ratelimit-policy").as_deref(),
        Some("\"api/2-per-1s\";q=2;w=1, \"api/5-per-1h\";q=5;w=3600")
    );
    assert_eq!(field(&denied, "retry-after").as_deref(), Some("718"));
}

#[test]
fn a_request_is_charged_to_all_rules_or_to_none() {
    let mut gateway = Gateway::new(
        r#"{"rules": [
            {"name": "all", "limits": [{"requests": 10, "per": "1h"}]},
            {"name": "user", "key": [{"header": "x-user"}], "limits": [{"requests": 2, "per": "1h"}]}
        ]}"#,
    );
    assert_eq!(gateway.served(ALICE), 2);
    for _ in 0..20 {
        assert_eq!(
            reply(gateway.send(ALICE)).details,
            "rate_limited{rule=user}"
        );
    }
    assert_eq!(gateway.served(BOB), 2);
    // Four are used up of ten, not twenty-four.
    for name in ["c", "d", "e"] {
        assert_eq!(gateway.served(&[("x-user", name)]), 2, "{name}");
    }
    assert_eq!(
        reply(gateway.send(&[("x-user", "f")])).details,
        "rate_limited{rule=all}"
    );
}

#[test]
fn several_refusing_rules_are_all_counted_and_the_longest_wait_is_told() {
    let mut gateway = Gateway::new(
        r#"{"rules": [{"name": "a", "limits": [{"requests": 1, "per": "10s"}]},
                      {"name": "b", "limits": [{"requests": 1, "per": "1m"}]}]}"#,
    );
    gateway.send(&[]);
    let denied = gateway.send(&[]);
    assert_eq!(field(&denied, "retry-after").as_deref(), Some("60"));
    assert_eq!(
        gateway.counts(&denied),
        [
            "requests_total_rule=a_outcome=deny",
            "requests_total_rule=b_outcome=deny"
        ]
    );
    assert_eq!(denied.log.as_deref(), Some("deny=a,b"));
    assert_eq!(reply(denied).details, "rate_limited{rule=a}");
}

#[test]
fn only_the_first_matching_rule_applies_if_told_so() {
    let mut gateway = Gateway::new(
        r#"{"apply": "first", "rules": [
            {"name": "gold", "match": {"headers": {"x-plan": {"exact": "gold"}}},
             "limits": [{"requests": 5, "per": "1h"}]},
            {"name": "rest", "limits": [{"requests": 2, "per": "1h"}]}]}"#,
    );
    assert_eq!(gateway.served(&[("x-plan", "gold")]), 5);
    assert_eq!(gateway.served(&[]), 2);
}

#[test]
fn a_shadow_rule_is_never_the_first_and_hides_none() {
    let mut gateway = Gateway::new(
        r#"{"apply": "first", "rules": [
            {"name": "new", "mode": "shadow", "limits": [{"requests": 1, "per": "1h"}]},
            {"name": "old", "limits": [{"requests": 2, "per": "1h"}]},
            {"name": "next", "limits": [{"requests": 1, "per": "1h"}]}]}"#,
    );
    assert_eq!(gateway.served(&[]), 2);
}

#[test]
fn a_shadow_rule_counts_and_reports_but_never_denies() {
    let mut gateway = Gateway::new(
        r#"{"rules": [{"name": "new", "mode": "shadow", "limits": [{"requests": 2, "per": "1h"}]}]}"#,
    );
    for _ in 0..2 {
        let decision = gateway.send(&[]);
        assert_eq!(
            gateway.counts(&decision),
            ["requests_total_rule=new_outcome=allow"]
        );
        assert_eq!(decision.log, None);
    }
    for _ in 0..3 {
        let decision = gateway.send(&[]);
        assert!(is_allowed(&decision));
        assert_eq!(fields(decision.clone()), []);
        assert_eq!(
            gateway.counts(&decision),
            ["requests_total_rule=new_outcome=shadow"]
        );
        assert_eq!(decision.log.as_deref(), Some("shadow=new"));
    }
}

#[test]
fn a_shadow_bucket_is_charged_with_what_is_served_and_what_it_would_allow() {
    let mut gateway = Gateway::new(
        r#"{"rules": [
            {"name": "new", "mode": "shadow", "limits": [
                {"requests": 3, "per": "10s"}, {"requests": 100, "per": "1h"}]},
            {"name": "old", "limits": [{"requests": 2, "per": "10s"}]}]}"#,
    );
    for expected in ["allow", "allow"] {
        let decision = gateway.send(&[]);
        let name = format!("requests_total_rule=new_outcome={expected}");
        assert!(gateway.counts(&decision).contains(&name));
    }
    // Denied by the other rule: the new one is neither asked nor charged.
    for _ in 0..5 {
        let decision = gateway.send(&[]);
        assert_eq!(
            gateway.counts(&decision),
            ["requests_total_rule=old_outcome=deny"]
        );
    }
    gateway.wait(5);
    let decision = gateway.send(&[]);
    assert_eq!(
        gateway.counts(&decision),
        [
            "requests_total_rule=old_outcome=allow",
            "requests_total_rule=new_outcome=allow"
        ]
    );
}

#[test]
fn a_missing_part_of_the_key_skips_shares_or_rejects() {
    let json = |missing: &str, mode: &str| {
        format!(
            r#"{{"rules": [{{"name": "user", "key": [{{"header": "x-user"}}, "path"],
                "missing": "{missing}", "mode": "{mode}",
                "limits": [{{"requests": 2, "per": "1m"}}]}}]}}"#
        )
    };
    let path = &[(":path", "/a")];

    let mut skip = Gateway::new(&json("skip", "enforce"));
    for _ in 0..10 {
        let decision = skip.send(path);
        assert!(is_allowed(&decision));
        assert_eq!(
            skip.counts(&decision),
            ["requests_total_rule=user_outcome=skip"]
        );
    }
    assert!(skip.table.is_empty());

    let mut share = Gateway::new(&json("share", "enforce"));
    assert_eq!(share.served(path), 2);
    assert_eq!(
        share.served(&[(":path", "/b")]),
        2,
        "the path is there and counts"
    );
    assert_eq!(share.served(&[(":path", "/a"), ("x-user", "alice")]), 2);

    let mut reject = Gateway::new(&json("reject", "enforce"));
    let decision = reject.send(path);
    assert_eq!(
        reject.counts(&decision),
        ["requests_total_rule=user_outcome=reject"]
    );
    assert_eq!(decision.log.as_deref(), Some("reject=user"));
    let refused = reply(decision);
    assert_eq!(refused.status, 400);
    assert_eq!(refused.details, "rate_limit_key_missing{rule=user}");
    assert_eq!(refused.grpc_status, Some(GrpcStatus::InvalidArgument));

    let mut shadow = Gateway::new(&json("reject", "shadow"));
    let decision = shadow.send(path);
    assert!(is_allowed(&decision));
    assert_eq!(decision.log.as_deref(), Some("shadow=user"));
}

#[test]
fn a_rejected_request_is_charged_nowhere() {
    let mut gateway = Gateway::new(
        r#"{"rules": [{"name": "all", "limits": [{"requests": 1, "per": "1m"}]},
            {"name": "user", "key": [{"header": "x-user"}], "missing": "reject",
             "limits": [{"requests": 9, "per": "1m"}]}]}"#,
    );
    assert_eq!(reply(gateway.send(&[])).status, 400);
    assert!(gateway.table.is_empty());
    assert_eq!(gateway.served(ALICE), 1);
}

#[test]
fn a_first_rule_that_is_skipped_lets_the_next_one_apply() {
    let mut gateway = Gateway::new(
        r#"{"apply": "first", "rules": [
            {"name": "user", "key": [{"header": "x-user"}], "limits": [{"requests": 5, "per": "1m"}]},
            {"name": "anonymous", "limits": [{"requests": 1, "per": "1m"}]}]}"#,
    );
    assert_eq!(gateway.served(&[]), 1);
    assert_eq!(gateway.served(ALICE), 5);
}

#[test]
fn a_cost_takes_several_units() {
    let mut gateway = Gateway::new(
        r#"{"rules": [{"name": "export", "cost": 4, "limits": [{"requests": 10, "per": "1m"}]}]}"#,
    );
    assert_eq!(gateway.served(&[]), 2);
    let denied = gateway.send(&[]);
    // Two units are left, two more come back within twelve seconds.
    assert_eq!(
        field(&denied, "ratelimit").as_deref(),
        Some("\"export\";r=2;t=6")
    );
    assert_eq!(field(&denied, "retry-after").as_deref(), Some("12"));
}

#[test]
fn the_burst_can_be_smaller_or_larger_than_the_rate() {
    let limit = |burst| {
        format!(
            r#"{{"rules": [{{"name": "a", "limits": [
                {{"requests": 60, "per": "1m", "burst": {burst}}}]}}]}}"#
        )
    };
    for burst in [1, 10, 600] {
        let mut gateway = Gateway::new(&limit(burst));
        assert_eq!(gateway.served(&[]), burst);
        gateway.wait(1);
        assert_eq!(gateway.served(&[]), 1);
    }
}

#[test]
fn on_error_allows_or_denies_as_told() {
    let limit = r#""rules": [{"name": "a", "limits": [{"requests": 1, "per": "1m"}]}]"#;
    let allow = Gateway::new(&format!("{{{limit}}}"));
    let decision = allow
        .policy
        .claim(&Request::default())
        .fail(Cause::Contention);
    assert!(is_allowed(&decision));
    assert_eq!(allow.counts(&decision), ["errors_total_cause=contention"]);
    assert_eq!(decision.log.as_deref(), Some("error=contention"));

    let deny = Gateway::new(&format!(r#"{{"on_error": "deny", {limit}}}"#));
    let refused = reply(*deny.policy.claim(&Request::default()).fail(Cause::Host));
    assert_eq!(refused.status, 503);
    assert_eq!(refused.details, "rate_limit_error{cause=host}");
    assert_eq!(refused.grpc_status, Some(GrpcStatus::Unavailable));
}

#[test]
fn a_changed_limit_starts_fresh_and_the_others_go_on() {
    let json = |requests| {
        format!(
            r#"{{"rules": [
                {{"name": "a", "match": {{"paths": [{{"exact": "/a"}}]}}, "limits": [
                    {{"requests": {requests}, "per": "1h"}}, {{"requests": 7, "per": "1d"}}]}},
                {{"name": "b", "match": {{"paths": [{{"exact": "/b"}}]}},
                  "limits": [{{"requests": 3, "per": "1h"}}]}}]}}"#
        )
    };
    let mut gateway = Gateway::new(&json(5));
    assert_eq!(gateway.served(&[(":path", "/a")]), 5);
    assert_eq!(gateway.served(&[(":path", "/b")]), 3);
    gateway.reload(&json(6));
    assert_eq!(gateway.served(&[(":path", "/b")]), 0);
    // The new hour would allow six; the day, which stayed, has two left.
    assert_eq!(gateway.served(&[(":path", "/a")]), 2);
}

#[test]
fn buckets_outlive_changes_that_are_not_about_them() {
    let mut gateway = Gateway::new(LOGIN);
    assert_eq!(gateway.served(ALICE), 3);
    gateway.reload(
        r#"{"headers": "none", "apply": "first", "rules": [
            {"name": "other", "match": {"methods": ["PUT"]}, "limits": [{"requests": 9, "per": "1s"}]},
            {"name": "login", "key": [{"header": "x-user"}], "missing": "share",
             "match": {"headers": {"x-user": "present"}},
             "limits": [{"requests": 3, "per": "30s"}]}]}"#,
    );
    assert_eq!(gateway.served(ALICE), 0);
    assert_eq!(gateway.served(BOB), 3);
}

#[test]
fn another_key_makes_other_buckets() {
    let mut gateway = Gateway::new(LOGIN);
    assert_eq!(gateway.served(ALICE), 3);
    gateway.reload(&LOGIN.replace("x-user", "x-account"));
    assert_eq!(gateway.served(&[("x-account", "alice")]), 3);
}

#[test]
fn a_foreign_value_is_an_empty_set_and_is_counted() {
    let mut gateway = Gateway::new(LOGIN);
    assert_eq!(gateway.served(ALICE), 3);
    for value in gateway.table.values_mut() {
        *value = b"{\"not\": \"ours\"}".to_vec();
    }
    let decision = gateway.send(ALICE);
    assert!(is_allowed(&decision));
    assert!(
        gateway
            .counts(&decision)
            .contains(&"errors_total_cause=foreign".to_owned())
    );
    assert_eq!(gateway.served(ALICE), 2);
}

#[test]
fn a_broken_header_block_is_no_headers_and_is_counted() {
    let mut gateway = Gateway::new(LOGIN);
    let decision = gateway.send_request(&Request {
        headers: Headers::decode(b"\x01\0\0\0garbage"),
        ..Request::default()
    });
    assert!(is_allowed(&decision));
    assert_eq!(
        gateway.counts(&decision),
        [
            "requests_total_rule=login_outcome=skip",
            "errors_total_cause=headers"
        ]
    );
}

#[test]
fn a_full_table_set_is_counted_as_pressure_and_refuses_early() {
    let mut gateway = Gateway::new(
        r#"{"table": {"sets": 1, "ways": 2}, "rules": [{"name": "user",
            "key": [{"header": "x-user"}], "limits": [{"requests": 4, "per": "1m"}]}]}"#,
    );
    assert_eq!(gateway.served(ALICE), 4);
    assert_eq!(gateway.served(BOB), 4);
    let decision = gateway.send(&[("x-user", "carol")]);
    assert!(!is_allowed(&decision));
    assert!(
        gateway
            .counts(&decision)
            .contains(&"table_pressure_total".to_owned())
    );
    gateway.wait(60);
    assert_eq!(gateway.served(&[("x-user", "carol")]), 4);
}

#[test]
fn hostile_values_meet_their_own_bucket_and_no_trap() {
    let mut gateway = Gateway::new(LOGIN);
    let long = vec![0xff; 64 * 1024];
    let longer = [&long[..], b"x"].concat();
    for value in [
        &long[..],
        &longer,
        b"\0",
        b"\xc3\x28",
        b"alice\0",
        b"\r\nx-user: alice",
    ] {
        for expected in [true, true, true, false] {
            let block = Headers::encode([(&b"x-user"[..], value)]);
            let decision = gateway.send_request(&Request {
                headers: Headers::decode(&block),
                ..Request::default()
            });
            assert_eq!(is_allowed(&decision), expected, "{} bytes", value.len());
        }
    }
    assert_eq!(gateway.served(ALICE), 3);
}

#[test]
fn of_a_repeated_header_the_first_value_counts() {
    let mut gateway = Gateway::new(LOGIN);
    assert_eq!(gateway.served(&[("x-user", "alice"), ("x-user", "1")]), 3);
    assert_eq!(gateway.served(&[("x-user", "alice"), ("x-user", "2")]), 0);
}
