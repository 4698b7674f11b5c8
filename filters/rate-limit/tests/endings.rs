//! Rules that look at how a request ends: requests in flight, and charges by what the response was.

mod common;

use std::collections::BTreeMap;

use common::{Gateway, Pairs, field, is_allowed};
use filter_core::time::Span;
use proptest::prelude::*;
use rate_limit::decision::Decision;

const OK: Pairs<'static> = &[(":status", "200")];
const MILLIS: u64 = 1_000_000;

fn in_flight(requests: u32, timeout: &str) -> String {
    format!(
        r#"{{"rules": [{{"name": "a", "key": [{{"header": "x-user"}}],
            "concurrent": {{"requests": {requests}, "timeout": "{timeout}"}}}}]}}"#
    )
}

/// A limit of `requests` an hour, charged so.
fn charged(requests: u32, charge: &str) -> String {
    format!(
        r#"{{"rules": [{{"name": "a", "limits": [{{"requests": {requests}, "per": "1h"}}],
            "charge": {{"response": {charge}}}}}]}}"#
    )
}

fn left(gateway: &mut Gateway) -> String {
    let decision = gateway.send(&[]);
    let told = field(&decision, "ratelimit").unwrap_or_default();
    let left = told.split(['=', ';']).nth(2).unwrap_or_default().to_owned();
    // It never began, as far as the buckets are concerned.
    gateway.end(decision, &[], "");
    left
}

#[test]
fn so_many_are_in_flight_and_a_place_is_free_when_one_ends() {
    let mut gateway = Gateway::new(&in_flight(2, "5m"));
    let ana: Pairs<'_> = &[("x-user", "ana")];
    let first = gateway.send(ana);
    assert_eq!(
        field(&first, "ratelimit-policy").as_deref(),
        Some(r#""a/concurrent";q=2;qu="concurrent-requests""#)
    );
    assert_eq!(
        field(&first, "ratelimit").as_deref(),
        Some(r#""a/concurrent";r=1"#)
    );
    let second = gateway.send(ana);
    let denied = gateway.send(ana);
    assert!(is_allowed(&second) && !is_allowed(&denied));
    assert_eq!(field(&denied, "retry-after").as_deref(), Some("1"));
    assert!(denied.dues.is_empty(), "nothing to give back");
    assert!(is_allowed(&gateway.send(&[("x-user", "bo")])));
    gateway.end(first, OK, "");
    assert_eq!(gateway.served(ana), 1);
    gateway.end(second, &[], "");
    assert_eq!(gateway.served(ana), 1);
}

#[test]
fn a_request_that_never_ends_is_forgotten_between_one_and_two_timeouts() {
    let mut gateway = Gateway::new(&in_flight(1, "60s"));
    let ana: Pairs<'_> = &[("x-user", "ana")];
    let lost = gateway.send(ana);
    gateway.wait(60);
    assert!(!is_allowed(&gateway.send(ana)), "it may still run");
    gateway.wait(60);
    let next = gateway.send(ana);
    assert!(is_allowed(&next));
    // It ends after all, and gives back nobody else's place.
    gateway.end(lost, OK, "");
    assert!(!is_allowed(&gateway.send(ana)));
    gateway.end(next, OK, "");
    assert!(is_allowed(&gateway.send(ana)));
}

#[test]
fn requests_in_flight_and_rates_are_charged_together_or_not_at_all() {
    let mut gateway = Gateway::new(
        r#"{"rules": [{"name": "a", "limits": [{"requests": 3, "per": "1h"}],
            "concurrent": {"requests": 1}}]}"#,
    );
    for _ in 0..3 {
        let served = gateway.send(&[]);
        assert!(is_allowed(&served));
        assert!(
            !is_allowed(&gateway.send(&[])),
            "one at a time, and it costs nothing"
        );
        gateway.end(served, OK, "");
    }
    assert!(!is_allowed(&gateway.send(&[])), "three an hour");
    gateway.wait(1_200);
    assert!(
        is_allowed(&gateway.send(&[])),
        "the place was not taken by a refusal"
    );
}

#[test]
fn only_responses_of_these_statuses_are_charged() {
    let mut gateway = Gateway::new(&charged(3, r#"{"statuses": ["401", "5xx"]}"#));
    let mut send = |status: &str| {
        let decision = gateway.send(&[]);
        let allowed = is_allowed(&decision);
        gateway.end(decision, &[(":status", status)], "");
        allowed
    };
    for status in ["200", "404", "403", "400"] {
        assert!(send(status) && send(status), "{status}");
    }
    assert!(send("401") && send("500") && send("599"));
    assert!(!send("200"), "three failures, and nothing more");
}

#[test]
fn a_response_header_says_how_much() {
    let mut gateway = Gateway::new(&charged(100, r#"{"cost_header": "x-units"}"#));
    let mut end = |units: &str| {
        let decision = gateway.send(&[]);
        gateway.end(decision, &[(":status", "200"), ("x-units", units)], "");
        left(&mut gateway)
    };
    assert_eq!(end("30"), "70");
    assert_eq!(end("0"), "70");
    assert_eq!(end("none"), "69");
}

#[test]
fn a_client_without_response_is_charged_nothing() {
    let mut gateway = Gateway::new(&charged(1, "{}"));
    for _ in 0..3 {
        let decision = gateway.send(&[]);
        assert!(is_allowed(&decision));
        gateway.end(decision, &[], "");
    }
}

#[test]
fn tokens_are_charged_beyond_what_was_left_and_paid_back_over_time() {
    let mut gateway = Gateway::new(&charged(3600, r#"{"usage": ["usage.total_tokens"]}"#));
    let ask = |gateway: &mut Gateway, body: &str| {
        let decision = gateway.send(&[]);
        let allowed = is_allowed(&decision);
        if allowed {
            gateway.end(decision, OK, body);
        }
        allowed
    };
    assert!(ask(&mut gateway, r#"{"usage": {"total_tokens": 3500}}"#));
    assert_eq!(left(&mut gateway), "100");
    let events = "data: {\"usage\": null}\n\ndata: {\"usage\": {\"total_tokens\": 400}}\n\n";
    assert!(
        ask(&mut gateway, events),
        "something is left, so it may begin"
    );
    assert!(!ask(&mut gateway, ""));
    gateway.wait(300);
    assert!(!ask(&mut gateway, ""), "in debt until 301 s");
    gateway.wait(1);
    assert!(ask(&mut gateway, "no usage in it"), "costs one");
    assert!(!ask(&mut gateway, ""));
}

#[test]
fn no_sum_makes_a_debt_that_is_forgiven_for_its_size() {
    for algorithm in ["gcra", "fixed_window", "sliding_window"] {
        let mut gateway = Gateway::new(&format!(
            r#"{{"rules": [{{"name": "a", "limits": [
                {{"requests": 10, "per": "1h", "algorithm": "{algorithm}"}}],
                "charge": {{"response": {{"cost_header": "x-units"}}}}}}]}}"#
        ));
        for _ in 0..2 {
            let first = gateway.send(&[]);
            let second = gateway.send(&[]);
            for decision in [first, second] {
                let units = u64::MAX.to_string();
                gateway.end(decision, &[(":status", "200"), ("x-units", &units)], "");
            }
            assert!(!is_allowed(&gateway.send(&[])), "{algorithm}");
        }
    }
}

#[test]
fn a_rule_in_shadow_mode_keeps_its_dues_too() {
    let mut gateway = Gateway::new(
        r#"{"rules": [{"name": "a", "mode": "shadow", "concurrent": {"requests": 1}}]}"#,
    );
    let first = gateway.send(&[]);
    let second = gateway.send(&[]);
    assert_eq!(
        gateway.counts(&second),
        ["requests_total_rule=a_outcome=shadow"]
    );
    assert!(second.dues.is_empty());
    gateway.end(first, OK, "");
    let third = gateway.send(&[]);
    assert_eq!(
        gateway.counts(&third),
        ["requests_total_rule=a_outcome=allow"]
    );
}

proptest! {
    /// Requests begin and end in any order; each ends within the timeout.
    #[test]
    fn no_more_are_in_flight_than_allowed_and_no_place_is_lost(
        requests in 1_u32..5,
        steps in prop::collection::vec((0_u32..3, any::<bool>(), 0_u64..20_000), 1..300),
        ways in prop_oneof![Just(2_u32), Just(16)],
    ) {
        const TIMEOUT: u64 = 100_000;
        let config = in_flight(requests, "100s");
        let table = format!(r#"{{"table": {{"sets": 1, "ways": {ways}}}, "#);
        let mut gateway = Gateway::new(&config.replacen('{', &table, 1));
        let mut running: BTreeMap<u32, Vec<(u64, Decision)>> = BTreeMap::new();
        for (user, begin, gap) in steps {
            gateway.now = gateway.now.after(Span::from_nanos(gap * MILLIS));
            let now = gateway.now.as_nanos() / MILLIS;
            for list in running.values_mut() {
                for (_, decision) in list.extract_if(.., |(since, _)| now - *since >= TIMEOUT) {
                    gateway.end(decision, OK, "");
                }
            }
            let list = running.entry(user).or_default();
            if begin {
                let name = user.to_string();
                let decision = gateway.send(&[("x-user", &name)]);
                if is_allowed(&decision) {
                    list.push((now, decision));
                    prop_assert!(list.len() <= requests as usize);
                } else if ways == 16 {
                    prop_assert_eq!(list.len(), requests as usize, "refused only when full");
                }
            } else if let Some((_, decision)) = list.pop() {
                gateway.end(decision, OK, "");
            }
        }
    }
}
