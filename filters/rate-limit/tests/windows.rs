//! Fixed and sliding windows against their plain definitions, through the whole policy.

mod common;

use std::collections::BTreeMap;

use common::{Gateway, field, is_allowed};
use filter_core::time::Span;
use proptest::prelude::*;

const MILLIS: u64 = 1_000_000;

/// Counts by user and window, with all numbers exact.
struct Counts {
    requests: u64,
    length: u64,
    sliding: bool,
    used: BTreeMap<(u32, u64), u64>,
}

impl Counts {
    /// What is used now, times the window's length.
    fn used(&self, user: u32, now: u64) -> u128 {
        let used_in = |number| u128::from(*self.used.get(&(user, number)).unwrap_or(&0));
        let number = now / self.length;
        let covered = u128::from(self.length - now % self.length);
        let older = if self.sliding {
            used_in(number - 1) * covered
        } else {
            0
        };
        older + used_in(number) * u128::from(self.length)
    }

    fn has(&self, user: u32, cost: u64, now: u64) -> bool {
        let length = u128::from(self.length);
        self.used(user, now) + u128::from(cost) * length <= u128::from(self.requests) * length
    }

    fn take(&mut self, user: u32, cost: u64, now: u64) {
        *self.used.entry((user, now / self.length)).or_default() += cost;
    }
}

fn algorithm(sliding: bool) -> &'static str {
    if sliding {
        "sliding_window"
    } else {
        "fixed_window"
    }
}

fn config(requests: u64, millis: u64, cost: u64, sliding: bool, ways: u32) -> String {
    let algorithm = algorithm(sliding);
    format!(
        r#"{{"table": {{"sets": 256, "ways": {ways}}}, "rules": [
            {{"name": "a", "key": [{{"header": "x-user"}}], "cost": {cost}, "limits": [
                {{"requests": {requests}, "per": "{millis}ms", "algorithm": "{algorithm}"}}]}}]}}"#
    )
}

fn gap() -> impl Strategy<Value = u64> {
    prop_oneof![2 => Just(0), 3 => 0..50 * MILLIS, 1 => 0..5_000 * MILLIS]
}

proptest! {
    #[test]
    fn a_window_serves_what_its_definition_says(
        requests in 1_u64..30,
        length in 30_u64..3_000,
        cost in 1_u64..4,
        sliding in any::<bool>(),
        traffic in prop::collection::vec((0..4_u32, gap()), 1..300),
    ) {
        let requests = requests.max(cost);
        let mut gateway = Gateway::new(&config(requests, length, cost, sliding, 16));
        let length = length * MILLIS;
        let mut counts = Counts { requests, length, sliding, used: BTreeMap::new() };
        for (user, gap) in traffic {
            gateway.now = gateway.now.after(Span::from_nanos(gap));
            let now = gateway.now.as_nanos();
            let expected = counts.has(user, cost, now);
            if expected {
                counts.take(user, cost, now);
            }
            let user_name = user.to_string();
            let decision = gateway.send(&[("x-user", &user_name)]);
            prop_assert_eq!(is_allowed(&decision), expected);
            let left = u128::from(requests) * u128::from(length) - counts.used(user, now);
            let remaining = format!("r={}", left / u128::from(length));
            let told = field(&decision, "ratelimit").unwrap_or_default();
            prop_assert!(told.contains(&remaining), "{} {}", told, remaining);
        }
    }

    #[test]
    fn a_refusal_says_how_long_to_wait_to_the_second(
        requests in 1_u64..30,
        length in 1_000_u64..100_000,
        sliding in any::<bool>(),
        gaps in prop::collection::vec(gap(), 1..100),
    ) {
        let mut gateway = Gateway::new(&config(requests, length, 1, sliding, 16));
        let length = length * MILLIS;
        let mut counts = Counts { requests, length, sliding, used: BTreeMap::new() };
        for gap in gaps {
            gateway.now = gateway.now.after(Span::from_nanos(gap));
            let now = gateway.now.as_nanos();
            let decision = gateway.send(&[("x-user", "1")]);
            if is_allowed(&decision) {
                counts.take(1, 1, now);
                continue;
            }
            let wait: u64 = field(&decision, "retry-after").unwrap().parse().unwrap();
            prop_assert!(wait >= 1);
            prop_assert!(counts.has(1, 1, now + wait * 1_000 * MILLIS), "long enough");
            let too_early = (wait - 1) * 1_000 * MILLIS;
            prop_assert!(!counts.has(1, 1, now + too_early), "and no second longer than that");
        }
    }

    #[test]
    fn in_a_table_without_room_no_window_serves_more(
        sliding in any::<bool>(),
        ways in 2_u32..4,
        traffic in prop::collection::vec((0..12_u32, gap()), 1..400),
    ) {
        let crowded = config(5, 2_000, 1, sliding, ways).replace("256", "1");
        let mut gateway = Gateway::new(&crowded);
        let mut counts = Counts {
            requests: 5,
            length: 2_000 * MILLIS,
            sliding,
            used: BTreeMap::new(),
        };
        for (user, gap) in traffic {
            gateway.now = gateway.now.after(Span::from_nanos(gap));
            let now = gateway.now.as_nanos();
            let user_name = user.to_string();
            if is_allowed(&gateway.send(&[("x-user", &user_name)])) {
                prop_assert!(counts.has(user, 1, now));
                counts.take(user, 1, now);
            }
        }
    }

    #[test]
    fn windows_and_buckets_of_one_rule_are_charged_all_or_none(
        gaps in prop::collection::vec(gap(), 1..300),
    ) {
        let mut gateway = Gateway::new(
            r#"{"rules": [{"name": "a", "limits": [
                {"requests": 5, "per": "1s", "algorithm": "fixed_window"},
                {"requests": 12, "per": "10s", "algorithm": "sliding_window"},
                {"requests": 30, "per": "1m"}]}]}"#,
        );
        let window = |requests, length, sliding| Counts {
            requests,
            length,
            sliding,
            used: BTreeMap::new(),
        };
        let mut windows =
            [window(5, 1_000 * MILLIS, false), window(12, 10_000 * MILLIS, true)];
        // 30 at once and one every two seconds.
        let mut full = 0;
        for gap in gaps {
            gateway.now = gateway.now.after(Span::from_nanos(gap));
            let now = gateway.now.as_nanos();
            let charged = full.max(now) + 2_000 * MILLIS;
            let expected = charged <= now + 60_000 * MILLIS
                && windows.iter().all(|window| window.has(0, 1, now));
            if expected {
                full = charged;
                windows.iter_mut().for_each(|window| window.take(0, 1, now));
            }
            prop_assert_eq!(is_allowed(&gateway.send(&[])), expected);
        }
    }
}

#[test]
fn a_changed_limit_starts_fresh_and_the_others_go_on() {
    for sliding in [false, true] {
        let algorithm = algorithm(sliding);
        let config = |requests: u32| {
            format!(
                r#"{{"rules": [
                {{"name": "a", "limits": [{{"requests": {requests}, "per": "1h", "algorithm": "{algorithm}"}}]}},
                {{"name": "b", "match": {{"headers": {{"x-b": "present"}}}}, "limits": [{{"requests": 3, "per": "1h"}}]}}]}}"#
            )
        };
        let mut gateway = Gateway::new(&config(2));
        assert_eq!(gateway.served(&[("x-b", "1")]), 2);
        gateway.reload(&config(2));
        assert_eq!(gateway.served(&[]), 0, "the same limit goes on");
        gateway.reload(&config(9));
        // One unit of b is left.
        assert_eq!(gateway.served(&[("x-b", "1")]), 1);
        assert_eq!(gateway.served(&[]), 8);
    }
}
