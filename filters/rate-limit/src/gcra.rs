//! The generic cell rate algorithm: a rate limit in two numbers and one moment of state.
//!
//! A bucket is described by the moment at which it is full again (ITU-T I.371 calls it the
//! theoretical arrival time). Every unit served moves that moment one `interval` on, and time does
//! the refilling; a request is refused if the moment would come to lie further ahead than the whole
//! `burst` takes to refill. No timer, no window edge: in any stretch of time at most `burst` +
//! stretch / interval units are served, and a bucket left alone is as good as one never used.

use filter_core::time::{Span, Timestamp};

/// A limit: how fast units come back, and how many can be saved up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gcra {
    /// Time in which one unit comes back.
    interval: Span,
    /// Time in which an empty bucket fills: `interval` × burst.
    capacity: Span,
    /// How long after its moment a unit that was taken ahead can still be used.
    slack: Span,
}

/// What a bucket answers to a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It had the units; it is full again at this moment.
    Allow(Timestamp),
    /// It hasn't the units and will have them after this time, if nobody else takes them.
    Refuse(Span),
}

impl Gcra {
    /// Makes a limit of `requests` per `per` with a bucket of `burst`.
    ///
    /// The interval is rounded up to a nanosecond, so the rate is never higher than asked, and at
    /// most 0.1 % lower for intervals from a microsecond on. `None` if a number is zero, the
    /// interval is shorter than a microsecond or the bucket takes longer than `longest` to fill.
    pub fn new(requests: u64, per: Span, burst: u64, longest: Span) -> Option<Self> {
        let nanos = per.as_nanos().checked_add(requests.checked_sub(1)?)?;
        let interval = nanos.checked_div(requests)?;
        let capacity = Span::from_nanos(interval.checked_mul(burst)?);
        let fits = interval >= 1_000 && burst > 0 && capacity <= longest;
        fits.then_some(Self {
            interval: Span::from_nanos(interval),
            capacity,
            slack: Span::ZERO,
        })
    }

    /// Makes the limit one whose units can be taken ahead: an eighth of the bucket becomes slack.
    ///
    /// A unit is charged at the moment that the bucket was full before, and those moments lie apart
    /// by an interval. Of the units used in a stretch of time none lies further before it than the
    /// slack, and none further after it than the smaller bucket. So there are no more of them than
    /// the whole bucket and the stretch allow, in whatever order they are used.
    pub fn with_slack(self) -> Self {
        let units = self.burst().checked_div(8).unwrap_or(0);
        let slack = self.interval.times(units);
        Self {
            capacity: self.capacity.minus(slack),
            slack,
            ..self
        }
    }

    /// Makes the limit one that can be told in whole units of time so long, and isn't more for it.
    pub(crate) fn in_units_of(self, unit: u64) -> Self {
        let units = self.interval.as_nanos().div_ceil(unit.max(1));
        let interval = Span::from_nanos(units.saturating_mul(unit));
        Self {
            capacity: interval.times(self.burst()),
            interval,
            ..self
        }
    }

    /// Returns how long after its moment a unit that was taken ahead can still be used.
    pub fn slack(&self) -> Span {
        self.slack
    }

    /// Charges `cost` units to a bucket that is full at `full`.
    pub fn charge(&self, full: Timestamp, cost: u64, now: Timestamp) -> Answer {
        let charged = full.max(now).after(self.price(cost));
        let latest = now.after(self.capacity);
        if charged <= latest {
            Answer::Allow(charged)
        } else {
            Answer::Refuse(charged.since(latest))
        }
    }

    /// Charges `cost` units whether there are any or not, up to a debt that ends `longest` from now.
    pub fn force(&self, full: Timestamp, cost: u64, now: Timestamp, longest: Span) -> Timestamp {
        let charged = full.max(now).after(self.price(cost));
        // Never less than it was.
        charged.min(now.after(longest)).max(full)
    }

    /// Returns the units of a full bucket.
    pub fn burst(&self) -> u64 {
        self.capacity.divided_by(self.interval)
    }

    /// Returns the time that `cost` units take to come back.
    pub fn price(&self, cost: u64) -> Span {
        // Most requests cost one, and a product that can't wrap is 50 instructions of wasm.
        if cost == 1 {
            return self.interval;
        }
        self.interval.times(cost)
    }

    /// Returns the whole units left in a bucket that is full at `full`.
    pub fn remaining(&self, full: Timestamp, now: Timestamp) -> u64 {
        self.capacity
            .minus(full.since(now))
            .divided_by(self.interval)
    }

    /// Returns the time until one more whole unit is there; nothing for a full bucket.
    pub fn next_unit(&self, full: Timestamp, now: Timestamp) -> Span {
        let debt = full.since(now);
        let beyond = debt.minus(self.capacity);
        if beyond > Span::ZERO {
            return Span::from_nanos(beyond.as_nanos().saturating_add(self.interval.as_nanos()));
        }
        let started = self.capacity.minus(debt).remainder_of(self.interval);
        self.interval.minus(started).min(debt)
    }

    /// Returns the two numbers, by which two limits are told apart.
    pub fn numbers(&self) -> [u64; 2] {
        [self.interval.as_nanos(), self.capacity.as_nanos()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Span = Span::from_secs(24 * 60 * 60);

    fn limit(requests: u64, seconds: u64, burst: u64) -> Gcra {
        Gcra::new(requests, Span::from_secs(seconds), burst, DAY).unwrap()
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO.after(Span::from_secs(seconds))
    }

    /// Sends single requests at one moment until one is refused; returns how many passed.
    fn drain(limit: &Gcra, full: &mut Timestamp, now: Timestamp) -> u64 {
        let mut passed = 0;
        while let Answer::Allow(charged) = limit.charge(*full, 1, now) {
            *full = charged;
            passed += 1;
        }
        passed
    }

    #[test]
    fn serves_the_burst_at_once_and_then_the_rate() {
        let limit = limit(60, 60, 10);
        let mut full = Timestamp::ZERO;
        assert_eq!(drain(&limit, &mut full, at(1000)), 10);
        assert_eq!(drain(&limit, &mut full, at(1001)), 1);
        assert_eq!(drain(&limit, &mut full, at(1006)), 5);
        assert_eq!(drain(&limit, &mut full, at(5000)), 10);
    }

    #[test]
    fn a_refusal_says_how_long_to_wait_and_that_is_enough() {
        let limit = limit(5, 60, 5);
        let mut full = Timestamp::ZERO;
        drain(&limit, &mut full, at(100));
        let Answer::Refuse(wait) = limit.charge(full, 1, at(103)) else {
            panic!("should be empty");
        };
        assert_eq!(wait, Span::from_secs(9));
        let early = at(103).after(wait).before(Span::from_nanos(1));
        assert!(matches!(limit.charge(full, 1, early), Answer::Refuse(_)));
        assert!(matches!(limit.charge(full, 1, at(112)), Answer::Allow(_)));
    }

    #[test]
    fn a_cost_takes_several_units_or_none() {
        let limit = limit(10, 10, 10);
        let Answer::Allow(full) = limit.charge(Timestamp::ZERO, 7, at(50)) else {
            panic!("should have 10 units");
        };
        assert_eq!(limit.remaining(full, at(50)), 3);
        assert_eq!(
            limit.charge(full, 4, at(50)),
            Answer::Refuse(Span::from_secs(1))
        );
        assert!(matches!(limit.charge(full, 3, at(50)), Answer::Allow(_)));
    }

    #[test]
    fn remaining_and_next_unit_follow_the_refill() {
        let limit = limit(6, 60, 3);
        let mut full = Timestamp::ZERO;
        assert_eq!(limit.remaining(full, at(100)), 3);
        assert_eq!(limit.next_unit(full, at(100)), Span::ZERO);
        drain(&limit, &mut full, at(100));
        assert_eq!(limit.remaining(full, at(100)), 0);
        assert_eq!(limit.next_unit(full, at(100)), Span::from_secs(10));
        assert_eq!(limit.next_unit(full, at(104)), Span::from_secs(6));
        assert_eq!(limit.remaining(full, at(110)), 1);
        assert_eq!(limit.next_unit(full, at(110)), Span::from_secs(10));
        assert_eq!(limit.next_unit(full, at(129)), Span::from_secs(1));
        assert_eq!(limit.remaining(full, at(130)), 3);
    }

    #[test]
    fn a_bucket_in_foreign_debt_waits_for_all_of_it() {
        // A newcomer to a full table set starts at another bucket's moment.
        let limit = limit(6, 60, 3);
        assert_eq!(limit.remaining(at(200), at(100)), 0);
        assert_eq!(limit.next_unit(at(200), at(100)), Span::from_secs(80));
        assert_eq!(
            limit.charge(at(200), 1, at(100)),
            Answer::Refuse(Span::from_secs(80))
        );
    }

    #[test]
    fn the_rate_is_rounded_down_never_up() {
        let limit = limit(7, 60, 7);
        let [interval, _] = limit.numbers();
        assert_eq!(interval, 8_571_428_572);
    }

    #[test]
    fn numbers_that_make_no_limit_are_refused() {
        let second = Span::from_secs(1);
        assert_eq!(Gcra::new(0, second, 1, DAY), None);
        assert_eq!(Gcra::new(1, Span::ZERO, 1, DAY), None);
        assert_eq!(Gcra::new(1, second, 0, DAY), None);
        assert_eq!(
            Gcra::new(1_000_001, second, 1, DAY).map(|g| g.numbers()[0]),
            Some(1_000)
        );
        assert_eq!(Gcra::new(2_000_000, second, 1, DAY), None);
        assert_eq!(Gcra::new(1, second, 86_401, DAY), None);
        assert_eq!(Gcra::new(1, second, u64::MAX, DAY), None);
    }
}
