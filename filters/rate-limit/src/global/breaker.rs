//! Stops asking a service that doesn't answer, so that requests don't wait for it in vain.

use std::cell::Cell;

use filter_core::time::{Span, Timestamp};

/// Calls that fail one after the other until the service isn't asked any more.
const FAILURES: u32 = 5;
/// How long it isn't asked then. One request tries it afterwards, the others wait for what comes of
/// that.
const PAUSE: Span = Span::from_secs(1);

/// What is known of a service's health.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: Cell<u32>,
    /// From when on it can be tried again.
    closed_until: Cell<Timestamp>,
}

impl Breaker {
    /// Whether the service may be asked at `now`. Of those that ask after a pause, one may.
    pub(super) fn lets_through(&self, now: Timestamp) -> bool {
        if self.failures.get() < FAILURES {
            return true;
        }
        let is_over = self.closed_until.get() <= now;
        if is_over {
            self.closed_until.set(now.after(PAUSE));
        }
        is_over
    }

    /// Takes down that the service answered.
    pub(super) fn succeeded(&self) {
        self.failures.set(0);
    }

    /// Takes down that it didn't.
    pub(super) fn failed(&self, now: Timestamp) {
        let failures = self.failures.get().saturating_add(1);
        self.failures.set(failures);
        if failures >= FAILURES {
            self.closed_until.set(now.after(PAUSE));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::ZERO.after(Span::from_nanos(millis * 1_000_000))
    }

    fn broken() -> Breaker {
        let breaker = Breaker::default();
        (0..FAILURES).for_each(|_| breaker.failed(at(0)));
        breaker
    }

    #[test]
    fn a_service_that_fails_now_and_then_is_asked_all_the_time() {
        let breaker = Breaker::default();
        for _ in 0..3 {
            (1..FAILURES).for_each(|_| breaker.failed(at(0)));
            assert!(breaker.lets_through(at(0)));
            breaker.succeeded();
        }
    }

    #[test]
    fn one_request_a_second_tries_a_service_that_fails() {
        let breaker = broken();
        assert!(!breaker.lets_through(at(999)));
        assert!(breaker.lets_through(at(1_000)));
        assert!(!breaker.lets_through(at(1_001)));
        assert!(breaker.lets_through(at(2_000)));
        breaker.failed(at(2_010));
        assert!(!breaker.lets_through(at(3_000)));
        assert!(breaker.lets_through(at(3_010)));
    }

    #[test]
    fn a_service_that_answers_again_is_asked_again() {
        let breaker = broken();
        assert!(breaker.lets_through(at(1_000)));
        breaker.succeeded();
        assert!(breaker.lets_through(at(1_001)));
    }
}
