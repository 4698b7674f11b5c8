//! Rules that don't treat all requests alike: exceptions, tiers, costs and roll-out.

mod common;

use common::{Gateway, field, is_allowed, reply};
use filter_core::headers::Headers;
use filter_core::request::Request;

/// A rule by `x-user` with a limit of `requests` an hour, and more fields.
fn by_user(requests: u32, more: &str) -> String {
    format!(
        r#"{{"rules": [{{"name": "user", "key": [{{"header": "x-user"}}],
            "limits": [{{"requests": {requests}, "per": "1h"}}], {more}}}]}}"#
    )
}

#[test]
fn an_allowed_request_is_neither_counted_nor_told_about_limits() {
    let allow = r#""allow": [{"match": {"headers": {"x-probe": "present"}}}]"#;
    let mut gateway = Gateway::new(&by_user(2, allow));
    let probe = gateway.send(&[("x-user", "ana"), ("x-probe", "1")]);
    assert!(is_allowed(&probe) && probe.counts.is_empty());
    assert_eq!(field(&probe, "ratelimit"), None);
    assert!(gateway.table.is_empty());
    assert_eq!(gateway.served(&[("x-user", "ana")]), 2);
    assert!(is_allowed(
        &gateway.send(&[("x-user", "ana"), ("x-probe", "1")])
    ));
}

#[test]
fn addresses_on_the_list_are_the_clients_as_the_key_sees_them() {
    let mut gateway = Gateway::new(
        r#"{"rules": [{"name": "a", "key": [{"client_address": {"trusted_cidrs": ["192.0.2.0/24"]}}],
            "allow": [{"addresses": ["10.0.0.0/8", "2001:db8::/32"]}],
            "limits": [{"requests": 1, "per": "1h"}]}]}"#,
    );
    for inside in ["10.1.2.3", "6.6.6.6, 10.1.2.3", "2001:db8:1::1"] {
        for _ in 0..3 {
            assert!(
                is_allowed(&gateway.send(&[("x-forwarded-for", inside)])),
                "{inside}"
            );
        }
    }
    assert!(gateway.table.is_empty());
    for outside in ["203.0.113.1", "10.0.0.1, 203.0.113.2"] {
        assert_eq!(
            gateway.served(&[("x-forwarded-for", outside)]),
            1,
            "{outside}"
        );
    }
}

#[test]
fn an_address_list_without_a_key_part_takes_the_connections_address() {
    let allow = r#""allow": [{"addresses": ["192.0.2.1"]}]"#;
    let mut gateway = Gateway::new(&by_user(1, allow));
    assert_eq!(gateway.served(&[("x-user", "ana")]), 10_000);
    let block = Headers::encode([(&b"x-user"[..], &b"ana"[..])]);
    let other = Request {
        headers: Headers::decode(&block),
        source_address: b"192.0.2.2:1",
        ..Request::default()
    };
    assert!(is_allowed(&gateway.send_request(&other)));
    assert!(!is_allowed(&gateway.send_request(&other)));
}

#[test]
fn all_conditions_of_an_entry_must_hold() {
    let allow = r#""allow": [{"addresses": ["192.0.2.0/24"], "match": {"methods": ["GET"]}}]"#;
    let mut gateway = Gateway::new(&by_user(1, allow));
    assert_eq!(
        gateway.served(&[(":method", "GET"), ("x-user", "ana")]),
        10_000
    );
    assert_eq!(gateway.served(&[(":method", "PUT"), ("x-user", "ana")]), 1);
}

#[test]
fn the_first_override_that_fits_replaces_the_limits() {
    let overrides = r#""overrides": [
        {"match": {"headers": {"x-plan": {"exact": "gold"}}}, "limits": [{"requests": 5, "per": "1h"}]},
        {"match": {"headers": {"x-plan": "present"}}, "limits": [
            {"requests": 3, "per": "1s"}, {"requests": 4, "per": "1h"}]}]"#;
    let mut gateway = Gateway::new(&by_user(1, overrides));
    assert_eq!(gateway.served(&[("x-user", "ana"), ("x-plan", "gold")]), 5);
    assert_eq!(gateway.served(&[("x-user", "bo"), ("x-plan", "silver")]), 3);
    gateway.wait(1);
    let told = gateway.send(&[("x-user", "bo"), ("x-plan", "silver")]);
    let policy = r#""user/3-per-1s";q=3;w=1, "user/4-per-1h";q=4;w=3600"#;
    assert_eq!(field(&told, "ratelimit-policy").as_deref(), Some(policy));
    assert_eq!(gateway.served(&[("x-user", "bo"), ("x-plan", "silver")]), 0);
    assert_eq!(gateway.served(&[("x-user", "cy")]), 1);
}

#[test]
fn a_header_says_what_a_request_costs_within_bounds() {
    let cost = r#""cost": 2, "cost_header": {"name": "x-units", "max": 50}"#;
    let mut gateway = Gateway::new(&by_user(100, cost));
    let mut left = |units: &str| {
        let decision = gateway.send(&[("x-user", "ana"), ("x-units", units)]);
        let told = field(&decision, "ratelimit").unwrap();
        let number = told.split(['=', ';']).nth(2).unwrap();
        (is_allowed(&decision), number.parse::<u64>().unwrap())
    };
    assert_eq!(left("10"), (true, 90));
    assert_eq!(left(" 7 "), (true, 83));
    assert_eq!(left("0"), (true, 82), "at least one");
    assert_eq!(
        left("99999999999999999999999"),
        (true, 32),
        "at most what is allowed"
    );
    for nonsense in ["", "-1", "1.5", "ten", "+3", "1e3"] {
        let before = left("1").1;
        assert_eq!(left(nonsense), (true, before - 2), "{nonsense:?}");
    }
    assert_eq!(left("15"), (false, 14));
}

#[test]
fn a_share_of_keys_is_enforced_and_the_same_in_every_gateway() {
    let enforced = |percent: u32| -> Vec<u32> {
        let config = by_user(1, &format!(r#""percent": {percent}"#));
        let mut gateway = Gateway::new(&config);
        let users = 0..1_000;
        users
            .filter(|user| {
                let name = user.to_string();
                gateway.send(&[("x-user", &name)]);
                let second = gateway.send(&[("x-user", &name)]);
                let outcome = if is_allowed(&second) {
                    "shadow"
                } else {
                    "deny"
                };
                let counter = format!("requests_total_rule=user_outcome={outcome}");
                assert_eq!(gateway.counts(&second), [counter]);
                !is_allowed(&second)
            })
            .collect()
    };
    assert!(enforced(0).is_empty());
    assert_eq!(enforced(100).len(), 1_000);
    let (few, more) = (enforced(10), enforced(40));
    assert!((70..130).contains(&few.len()), "{}", few.len());
    assert!((340..460).contains(&more.len()), "{}", more.len());
    assert!(few.iter().all(|user| more.contains(user)));
}

#[test]
fn a_property_is_a_part_of_a_key() {
    let mut gateway = Gateway::new(
        r#"{"rules": [{"name": "a", "key": [{"property": ["filter_state", "wasm.tenant"]}],
            "missing": "reject", "limits": [{"requests": 1, "per": "1h"}]}]}"#,
    );
    assert_eq!(gateway.policy.properties(), ["filter_state\0wasm.tenant"]);
    let mut send = |tenant: &str| {
        let properties = [("filter_state\0wasm.tenant".to_owned(), tenant.into())];
        gateway.send_request(&Request {
            properties: &properties,
            ..Request::default()
        })
    };
    assert!(is_allowed(&send("ana")));
    assert!(!is_allowed(&send("ana")));
    assert!(is_allowed(&send("bo")));
    assert_eq!(reply(send("")).status, 400);
}
