//! When the remote tier is left alone: after some failures in a row, for a time that doubles.

use crate::store::Millis;

/// Failures in a row after which it isn't asked.
const FAILURES: u32 = 5;
const FIRST_PAUSE: Millis = 1000;
const LONGEST_PAUSE: Millis = 30_000;

/// Whether the remote tier is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    failures: u32,
    pause: Millis,
    /// While it is in the future nothing is asked; when it is past, one request tries.
    open_until: Millis,
}

impl Breaker {
    /// Whether a request may be sent now. Of those after a pause one may, to try; if nothing is told of it
    /// the next one tries after another pause.
    pub fn allows(&mut self, now: Millis) -> bool {
        if self.failures < FAILURES {
            return true;
        }
        if now < self.open_until {
            return false;
        }
        self.open_until = now.saturating_add(self.pause);
        true
    }

    /// Whether nothing is sent for now.
    pub fn is_open(&self, now: Millis) -> bool {
        self.failures >= FAILURES && now < self.open_until
    }

    /// It answered.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// It didn't answer, or not in time, or nonsense.
    pub fn failed(&mut self, now: Millis) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= FAILURES {
            self.pause = self
                .pause
                .saturating_mul(2)
                .clamp(FIRST_PAUSE, LONGEST_PAUSE);
            self.open_until = now.saturating_add(self.pause);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_after_five_failures_in_a_row_and_lets_one_try_after_a_pause() {
        let mut breaker = Breaker::default();
        for _ in 0..4 {
            breaker.failed(0);
        }
        breaker.succeeded();
        for _ in 0..5 {
            assert!(breaker.allows(0));
            breaker.failed(0);
        }
        assert!(!breaker.allows(999) && breaker.is_open(999));
        assert!(breaker.allows(1000));
        assert!(!breaker.allows(1001), "one tries");
        breaker.succeeded();
        assert!(breaker.allows(1002) && breaker.allows(1003));
    }

    #[test]
    fn pauses_double_up_to_half_a_minute() {
        let mut breaker = Breaker::default();
        let mut now = 0;
        let mut pauses = Vec::new();
        for _ in 0..12 {
            breaker.failed(now);
            if breaker.is_open(now) {
                pauses.push(breaker.open_until - now);
                now = breaker.open_until;
            }
        }
        assert_eq!(pauses[..6], [1000, 2000, 4000, 8000, 16_000, 30_000]);
    }
}
