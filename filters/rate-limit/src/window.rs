//! Counters by window, each kept in one moment.
//!
//! Time is cut into windows of equal length, the same for all workers: they start at multiples of
//! the length on the monotonic clock. A count is kept as the moment at which it stops to matter,
//! plus one nanosecond for each unit. So a count is a debt like any other: its record is free once
//! its moment has come, and whoever inherits another's moment in a full table set is held to have
//! used at least as much.
//!
//! A fixed window counts until it ends. A sliding window weighs in the units of the window before,
//! by the share of it that a window ending now would still cover; it keeps one count for windows of
//! even and one for windows of odd number. So does a count of requests in flight, which are taken
//! back one by one; should one never be, it is forgotten with its window.

use filter_core::time::{Span, Timestamp};

use crate::gcra::Answer;

/// So many units in each window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    requests: u64,
    length: Span,
}

/// Units that are told apart; more come from another limit's moment, or from nowhere.
const MOST: u64 = 1 << 40;

impl Window {
    /// Makes a window of `requests` units. `None` if a number is zero, or a unit's nanosecond is
    /// more than a thousandth of the time there is for it.
    pub fn new(requests: u64, length: Span) -> Option<Self> {
        let fits = requests > 0 && requests <= length.divided_by(Span::from_nanos(1_000));
        fits.then_some(Self { requests, length })
    }

    /// Returns the two numbers, by which two limits are told apart.
    pub fn numbers(&self) -> [u64; 2] {
        [self.requests, self.length.as_nanos()]
    }

    /// Returns the number of the window that `now` is in.
    pub fn number(&self, now: Timestamp) -> u64 {
        now.since(Timestamp::ZERO).divided_by(self.length)
    }

    /// The time left of the window, above zero.
    fn rest(&self, now: Timestamp) -> Span {
        let gone = now.since(Timestamp::ZERO).remainder_of(self.length);
        self.length.minus(gone)
    }
}

/// A count that starts from nothing in each window.
impl Window {
    /// Charges `cost` units to a window's count.
    pub fn charge_fixed(&self, count: Timestamp, cost: u64, now: Timestamp) -> Answer {
        let wait = self.wait_fixed(count, cost, now);
        if wait > Span::ZERO {
            return Answer::Refuse(wait);
        }
        Answer::Allow(self.force_fixed(count, cost, now))
    }

    /// Returns the count with `cost` units more, whether there is room for them or not.
    pub fn force_fixed(&self, count: Timestamp, cost: u64, now: Timestamp) -> Timestamp {
        let start = now.after(self.rest(now));
        count.max(start).after(Span::from_nanos(cost.min(MOST)))
    }

    /// Returns the units left in the window.
    pub fn remaining_fixed(&self, count: Timestamp, now: Timestamp) -> u64 {
        let used = count.since(now.after(self.rest(now)));
        self.requests.saturating_sub(used.as_nanos())
    }

    /// Returns the time until `cost` units fit.
    pub fn wait_fixed(&self, count: Timestamp, cost: u64, now: Timestamp) -> Span {
        let rest = self.rest(now);
        let room = Span::from_nanos(self.requests.saturating_sub(cost));
        let beyond = count.since(now.after(rest)).minus(room);
        if beyond == Span::ZERO {
            return Span::ZERO;
        }
        // One window on, and as many more as the count reaches into.
        let more = beyond.minus(Span::from_nanos(1)).divided_by(self.length);
        rest.plus(self.length.times(more))
    }
}

/// The counts of two windows, the older one fading.
impl Window {
    /// Charges `cost` units to the current window's count.
    pub fn charge_sliding(&self, counts: Counts, cost: u64, now: Timestamp) -> Answer {
        let used = self.used(counts, now);
        if used.saturating_add(cost) <= self.requests {
            Answer::Allow(self.force_sliding(counts, cost, now))
        } else {
            Answer::Refuse(self.wait_sliding(counts, cost, now))
        }
    }

    /// Returns the current window's count with `cost` units more, whether there is room or not.
    pub fn force_sliding(&self, counts: Counts, cost: u64, now: Timestamp) -> Timestamp {
        let start = now.after(self.rest(now)).after(self.length);
        let charged = counts.current.max(start);
        charged.after(Span::from_nanos(cost.min(MOST)))
    }

    /// Returns the units left.
    pub fn remaining_sliding(&self, counts: Counts, now: Timestamp) -> u64 {
        self.requests.saturating_sub(self.used(counts, now))
    }

    /// Returns the time until `cost` units fit, if nobody takes any before; above zero.
    pub fn wait_sliding(&self, counts: Counts, cost: u64, now: Timestamp) -> Span {
        let rest = self.rest(now);
        let [current, previous] = self.counted(counts, now);
        let room = self.requests.saturating_sub(cost);
        let length = self.length.as_nanos();
        if current.max(previous) >= length {
            // Another limit's moment, inherited: it has come by then at the latest.
            return counts.current.max(counts.previous).since(now);
        }
        let least = Span::from_nanos(1);
        if let Some(share) = room.checked_sub(current) {
            // As soon as the older window counts for no more than what is left.
            let covered = times_over(share, length, previous).0;
            return rest.minus(Span::from_nanos(covered)).max(least);
        }
        // In the next window, as soon as this one counts for little enough.
        let covered = times_over(room, length, current).0;
        rest.plus(self.length).minus(Span::from_nanos(covered))
    }

    /// Units that count now, those of the older window rounded up.
    fn used(&self, counts: Counts, now: Timestamp) -> u64 {
        let [current, previous] = self.counted(counts, now);
        let rest = self.rest(now).as_nanos();
        let (whole, part) = times_over(previous, rest, self.length.as_nanos());
        current
            .saturating_add(whole)
            .saturating_add(u64::from(part > 0))
    }

    /// Charges `cost` units that stay until they are taken back, or until two windows have begun.
    pub fn charge_in_flight(&self, counts: Counts, cost: u64, now: Timestamp) -> Answer {
        if self.in_flight(counts, now).saturating_add(cost) <= self.requests {
            Answer::Allow(self.force_sliding(counts, cost, now))
        } else {
            // Nobody knows when the next one ends.
            Answer::Refuse(Span::from_secs(1))
        }
    }

    /// Returns the units that were charged and not taken back.
    pub fn in_flight(&self, counts: Counts, now: Timestamp) -> u64 {
        let [current, previous] = self.counted(counts, now);
        current.saturating_add(previous)
    }

    fn counted(&self, counts: Counts, now: Timestamp) -> [u64; 2] {
        let end = now.after(self.rest(now));
        let current = counts.current.since(end.after(self.length));
        let previous = counts.previous.since(end);
        [current, previous].map(|count| count.as_nanos().min(MOST))
    }
}

/// The moments that two windows' counts are kept in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The current window's.
    pub current: Timestamp,
    /// That of the window before.
    pub previous: Timestamp,
}

/// Returns `count` × `factor` / `divisor`, rounded down, and the remainder.
///
/// `count` is up to 2^41, the others below 2^62. By bits, because division of 128-bit numbers is
/// 3 KB of a module; exact all the same.
fn times_over(count: u64, factor: u64, divisor: u64) -> (u64, u64) {
    let mut quotient: u64 = 0;
    let mut rest: u64 = 0;
    let (Some(whole), Some(part)) = (factor.checked_div(divisor), factor.checked_rem(divisor))
    else {
        return (u64::MAX, 0);
    };
    let bits = u64::BITS.saturating_sub(count.leading_zeros());
    for bit in (0..bits).rev() {
        quotient = quotient.saturating_mul(2);
        rest = rest.saturating_mul(2);
        if count >> bit & 1 == 1 {
            quotient = quotient.saturating_add(whole);
            rest = rest.saturating_add(part);
        }
        while rest >= divisor {
            rest = rest.saturating_sub(divisor);
            quotient = quotient.saturating_add(1);
        }
    }
    (quotient, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO.after(Span::from_secs(seconds))
    }

    fn window(requests: u64, seconds: u64) -> Window {
        Window::new(requests, Span::from_secs(seconds)).unwrap()
    }

    fn allowed(answer: Answer) -> Timestamp {
        match answer {
            Answer::Allow(moment) => moment,
            Answer::Refuse(wait) => panic!("refused for {wait:?}"),
        }
    }

    #[test]
    fn a_fixed_window_serves_its_number_and_starts_anew() {
        let window = window(3, 60);
        let mut count = Timestamp::ZERO;
        for left in (0..3).rev() {
            count = allowed(window.charge_fixed(count, 1, at(130)));
            assert_eq!(window.remaining_fixed(count, at(130)), left);
        }
        let wait = Answer::Refuse(Span::from_secs(50));
        assert_eq!(window.charge_fixed(count, 1, at(130)), wait);
        assert_eq!(window.remaining_fixed(count, at(180)), 3);
        allowed(window.charge_fixed(count, 3, at(180)));
    }

    #[test]
    fn a_fixed_window_in_foreign_debt_waits_for_the_window_that_has_room() {
        // Another limit's moment, 130 s beyond the window's end at 180.
        let window = window(3, 60);
        let wait = window.wait_fixed(at(310), 1, at(130));
        assert_eq!(wait, Span::from_secs(50 + 120));
        assert!(window.wait_fixed(at(310), 1, at(299)) > Span::ZERO);
        assert_eq!(window.wait_fixed(at(310), 1, at(300)), Span::ZERO);
    }

    #[test]
    fn a_sliding_window_forgets_the_one_before_little_by_little() {
        let window = window(10, 60);
        let mut counts = Counts::default();
        for _ in 0..10 {
            counts.current = allowed(window.charge_sliding(counts, 1, at(130)));
        }
        let refused = window.charge_sliding(counts, 1, at(130));
        // Until 180 the window lasts; a tenth of the next one on, nine tenths of ten count.
        assert_eq!(refused, Answer::Refuse(Span::from_secs(50 + 6)));
        counts = Counts {
            current: Timestamp::ZERO,
            previous: counts.current,
        };
        assert_eq!(window.remaining_sliding(counts, at(180)), 0);
        assert_eq!(window.remaining_sliding(counts, at(186)), 1);
        assert_eq!(window.remaining_sliding(counts, at(210)), 5);
        assert_eq!(window.remaining_sliding(counts, at(239)), 9);
        counts = Counts {
            current: Timestamp::ZERO,
            previous: Timestamp::ZERO,
        };
        assert_eq!(window.remaining_sliding(counts, at(240)), 10);
    }

    #[test]
    fn forced_units_count_though_there_is_no_room() {
        let window = window(3, 60);
        let count = window.force_fixed(Timestamp::ZERO, 50, at(130));
        assert_eq!(window.remaining_fixed(count, at(130)), 0);
        assert_eq!(window.remaining_fixed(count, at(180)), 3);
    }

    #[test]
    fn windows_that_can_not_be_counted_in_are_refused() {
        assert_eq!(Window::new(0, Span::from_secs(1)), None);
        assert_eq!(Window::new(1_000_001, Span::from_secs(1)), None);
        assert!(Window::new(1_000_000, Span::from_secs(1)).is_some());
        assert_eq!(Window::new(1, Span::ZERO), None);
    }

    #[test]
    fn division_by_bits_is_division() {
        for (count, factor, divisor) in [
            (0, 5, 3),
            (7, 5, 3),
            (1 << 40, 31_622_400_000_000_000, 31_622_400_000_000_000),
            (
                4_294_967_295,
                31_622_399_999_999_999,
                31_622_400_000_000_000,
            ),
            (12, 31_622_400_000_000_000, 7),
        ] {
            let product = u128::from(count) * u128::from(factor);
            let expected = (product / u128::from(divisor), product % u128::from(divisor));
            let (quotient, rest) = times_over(count, factor, divisor);
            assert_eq!((u128::from(quotient), u128::from(rest)), expected);
        }
    }
}
