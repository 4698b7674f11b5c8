//! What clients are told of their limits, in each style.

mod common;

use common::{Gateway, field, fields};

const LOGIN: &str = r#"{"rules": [{"name": "login", "key": [{"header": "x-user"}],
    "limits": [{"requests": 3, "per": "30s"}]}]}"#;

const ALICE: &[(&str, &str)] = &[("x-user", "alice")];

#[test]
fn responses_tell_clients_how_they_stand() {
    let mut gateway = Gateway::new(LOGIN);
    #[rustfmt::skip]
    let expected = [
        (0, "\"login\";r=2;t=10", None),
        (4, "\"login\";r=1;t=6", None),
        (0, "\"login\";r=0;t=6", None),
        (0, "\"login\";r=0;t=6", Some("6")),
        (6, "\"login\";r=0;t=10", None),
        (30, "\"login\";r=2;t=10", None),
    ];
    for (wait, standing, retry_after) in expected {
        gateway.wait(wait);
        let decision = gateway.send(ALICE);
        assert_eq!(field(&decision, "ratelimit").as_deref(), Some(standing));
        assert_eq!(
            field(&decision, "ratelimit-policy").as_deref(),
            Some("\"login\";q=3;w=30")
        );
        assert_eq!(field(&decision, "retry-after").as_deref(), retry_after);
    }
}

#[test]
fn header_styles() {
    #[rustfmt::skip]
    let rows: [(&str, &[&str], &[&str]); 4] = [
        ("standard", &["ratelimit-policy", "ratelimit"], &["retry-after", "ratelimit-policy", "ratelimit"]),
        ("legacy", &["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"],
            &["retry-after", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"]),
        ("all", &["ratelimit-policy", "ratelimit", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"],
            &["retry-after", "ratelimit-policy", "ratelimit", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"]),
        ("none", &[], &["retry-after"]),
    ];
    for (style, on_allow, on_deny) in rows {
        let mut gateway = Gateway::new(&format!(
            r#"{{"headers": "{style}", "rules": [{{"name": "a",
                "limits": [{{"requests": 1, "per": "1m"}}]}}]}}"#
        ));
        for expected in [on_allow, on_deny] {
            let names: Vec<_> = fields(gateway.send(&[]))
                .into_iter()
                .map(|(name, _)| name)
                .collect();
            assert_eq!(names, expected, "{style}");
        }
    }
}

#[test]
fn legacy_headers_are_of_the_limit_that_leaves_least() {
    let mut gateway = Gateway::new(
        r#"{"headers": "legacy", "rules": [{"name": "a", "limits": [
            {"requests": 100, "per": "1m"}, {"requests": 5, "per": "1h"}]}]}"#,
    );
    let decision = gateway.send(&[]);
    let expected = [
        ("x-ratelimit-limit", "5"),
        ("x-ratelimit-remaining", "4"),
        ("x-ratelimit-reset", "720"),
    ];
    for (name, value) in expected {
        assert_eq!(field(&decision, name).as_deref(), Some(value), "{name}");
    }
}

#[test]
fn a_window_below_a_second_has_no_w_and_still_a_retry_after_of_one() {
    let mut gateway =
        Gateway::new(r#"{"rules": [{"name": "a", "limits": [{"requests": 1, "per": "100ms"}]}]}"#);
    gateway.send(&[]);
    let denied = gateway.send(&[]);
    assert_eq!(field(&denied, "retry-after").as_deref(), Some("1"));
    assert_eq!(
        field(&denied, "ratelimit-policy").as_deref(),
        Some("\"a\";q=1")
    );
}
