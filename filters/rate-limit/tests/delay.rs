//! Requests that are held until their units have come back.

mod common;

use common::{Gateway, is_allowed};
use filter_core::request::Request;
use filter_core::table::Set;
use filter_core::time::Span;
use proptest::prelude::*;

const MILLIS: u64 = 1_000_000;

fn config(delay: &str) -> String {
    format!(
        r#"{{"rules": [{{"name": "a", "delay_up_to": "{delay}", "limits": [
            {{"requests": 10, "per": "1s", "burst": 2}}]}}]}}"#
    )
}

#[test]
fn requests_queue_up_at_the_rate_until_the_wait_is_too_long() {
    let mut gateway = Gateway::new(&config("250ms"));
    let holds: Vec<_> = (0..6)
        .map(|_| {
            let decision = gateway.send(&[]);
            is_allowed(&decision).then(|| decision.hold.as_nanos() / MILLIS)
        })
        .collect();
    assert_eq!(holds, [Some(0), Some(0), Some(100), Some(200), None, None]);
    // A tenth of a second later one more fits behind them.
    gateway.now = gateway.now.after(Span::from_nanos(100 * MILLIS));
    let decision = gateway.send(&[]);
    assert_eq!(decision.hold, Span::from_nanos(200 * MILLIS));
    assert_eq!(
        gateway.counts(&decision),
        ["requests_total_rule=a_outcome=delay"]
    );
    assert_eq!(decision.log.as_deref(), Some("delay=a"));
}

#[test]
fn without_room_to_hold_it_a_request_is_denied_and_not_charged() {
    let mut gateway = Gateway::new(&config("250ms"));
    assert!(is_allowed(&gateway.send(&[])) && is_allowed(&gateway.send(&[])));
    let mut claim = gateway.policy.claim(&Request::default());
    claim.without_delay();
    let mut sets: Vec<_> = claim
        .sets()
        .iter()
        .map(|number| {
            Set::read(
                gateway.table.get(number).cloned(),
                gateway.policy.geometry(),
            )
        })
        .collect();
    assert!(!is_allowed(&claim.decide(gateway.now, &mut sets)));
    assert!(!sets.iter().any(Set::is_changed));
    assert_eq!(gateway.send(&[]).hold, Span::from_nanos(100 * MILLIS));
}

#[test]
fn a_rule_that_does_not_hold_requests_still_denies_them() {
    let mut gateway = Gateway::new(
        r#"{"rules": [
            {"name": "patient", "delay_up_to": "1s", "limits": [{"requests": 10, "per": "1s", "burst": 1}]},
            {"name": "strict", "limits": [{"requests": 2, "per": "1m", "algorithm": "fixed_window"}]}]}"#,
    );
    assert_eq!(gateway.send(&[]).hold, Span::ZERO);
    let held = gateway.send(&[]);
    assert_eq!(held.hold, Span::from_nanos(100 * MILLIS));
    assert_eq!(
        gateway.counts(&held),
        [
            "requests_total_rule=patient_outcome=delay",
            "requests_total_rule=strict_outcome=allow"
        ]
    );
    let denied = gateway.send(&[]);
    assert!(!is_allowed(&denied));
    assert!(
        gateway
            .counts(&denied)
            .contains(&"requests_total_rule=strict_outcome=deny".to_owned())
    );
}

proptest! {
    #[test]
    fn what_goes_on_late_keeps_every_limit_too(
        gaps in prop::collection::vec(prop_oneof![Just(0), 0..300 * MILLIS], 1..200),
        users in prop::collection::vec(0_u32..3, 200),
        delay in 1_u64..2_000,
    ) {
        let mut gateway = Gateway::new(&format!(
            r#"{{"rules": [
                {{"name": "all", "delay_up_to": "{delay}ms", "limits": [
                    {{"requests": 20, "per": "1s", "burst": 7}}]}},
                {{"name": "user", "key": [{{"header": "x-user"}}], "delay_up_to": "{delay}ms", "limits": [
                    {{"requests": 10, "per": "1s", "burst": 3}},
                    {{"requests": 100, "per": "20s", "burst": 9}}]}}]}}"#
        ));
        let mut served = vec![Vec::new(); 4];
        for (gap, user) in gaps.into_iter().zip(users) {
            gateway.now = gateway.now.after(Span::from_nanos(gap));
            let name = user.to_string();
            let decision = gateway.send(&[("x-user", &name)]);
            if is_allowed(&decision) {
                prop_assert!(decision.hold <= Span::from_nanos(delay * MILLIS));
                let goes_on = gateway.now.after(decision.hold).as_nanos();
                served[user as usize].push(goes_on);
                served[3].push(goes_on);
            }
        }
        for times in &mut served {
            times.sort_unstable();
        }
        prop_assert!(is_within(&served[3], 7, 50 * MILLIS));
        for times in &served[..3] {
            prop_assert!(is_within(times, 3, 100 * MILLIS));
            prop_assert!(is_within(times, 9, 200 * MILLIS));
        }
    }
}

/// Whether in any stretch of time no more was served than burst + stretch / interval.
fn is_within(served: &[u64], burst: u64, interval: u64) -> bool {
    served.iter().enumerate().all(|(first, from)| {
        served[first..]
            .iter()
            .zip(1_u64..)
            .all(|(to, count)| count <= burst + (to - from) / interval)
    })
}
