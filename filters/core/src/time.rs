//! Time as plain numbers.
//!
//! The cores never read a clock: the caller passes the moment in. A [`Timestamp`] counts from an
//! unknown start on a clock that never steps back, so two of them can be compared and subtracted
//! but not turned into a date. All arithmetic saturates: a limit of centuries is as good as for
//! ever, and a span never wraps into the past.

use std::time::Duration;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A moment on a monotonic clock, in nanoseconds from an unknown start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The start of the clock.
    pub const ZERO: Self = Self(0);

    /// Makes a timestamp out of a monotonic clock's nanoseconds.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Returns the nanoseconds from the start of the clock.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Returns the moment `span` later, or the last one that can be told.
    pub const fn after(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// Returns the moment `span` earlier, or the start of the clock.
    pub const fn before(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }

    /// Returns the time from `earlier` to this moment; nothing if it isn't earlier.
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

/// A length of time in nanoseconds, up to 584 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(u64);

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// Makes a span of that many nanoseconds.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Makes a span of that many whole seconds, or the longest one.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(NANOS_PER_SECOND))
    }

    /// Makes a span as long as `duration`, or the longest one.
    pub fn from_duration(duration: Duration) -> Self {
        // Not `as_nanos`: 128-bit division is 3 KB of a module.
        let whole = Self::from_secs(duration.as_secs());
        Self(whole.0.saturating_add(u64::from(duration.subsec_nanos())))
    }

    /// Returns the nanoseconds.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Returns the seconds, rounded up: a client that waits so long has waited long enough.
    pub const fn as_secs_rounded_up(self) -> u64 {
        self.0.div_ceil(NANOS_PER_SECOND)
    }

    /// Returns the seconds if they are a whole number.
    pub const fn whole_secs(self) -> Option<u64> {
        if self.0.is_multiple_of(NANOS_PER_SECOND) {
            self.0.checked_div(NANOS_PER_SECOND)
        } else {
            None
        }
    }

    /// Returns both spans together, or the longest one.
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Returns what is left after taking `other` away.
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Returns the span `count` times over, or the longest one.
    pub const fn times(self, count: u64) -> Self {
        Self(self.0.saturating_mul(count))
    }

    /// Returns how often `other` fits in whole; never if `other` is nothing.
    pub const fn divided_by(self, other: Self) -> u64 {
        match self.0.checked_div(other.0) {
            Some(count) => count,
            None => 0,
        }
    }

    /// Returns what is left when `other` was taken out as often as it fits.
    pub const fn remainder_of(self, other: Self) -> Self {
        match self.0.checked_rem(other.0) {
            Some(rest) => Self(rest),
            None => Self::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_rounded_up() {
        assert_eq!(Span::ZERO.as_secs_rounded_up(), 0);
        assert_eq!(Span::from_nanos(1).as_secs_rounded_up(), 1);
        assert_eq!(Span::from_secs(1).as_secs_rounded_up(), 1);
        assert_eq!(Span::from_nanos(1_000_000_001).as_secs_rounded_up(), 2);
    }

    #[test]
    fn whole_seconds_are_told_from_fractions() {
        assert_eq!(Span::from_secs(60).whole_secs(), Some(60));
        assert_eq!(Span::from_nanos(1_500_000_000).whole_secs(), None);
    }

    #[test]
    fn nothing_wraps_around() {
        let last = Timestamp::from_nanos(u64::MAX);
        assert_eq!(last.after(Span::from_secs(1)), last);
        assert_eq!(Timestamp::ZERO.before(Span::from_secs(1)), Timestamp::ZERO);
        assert_eq!(Timestamp::ZERO.since(last), Span::ZERO);
        assert_eq!(
            Span::from_duration(Duration::MAX),
            Span::from_nanos(u64::MAX)
        );
        assert_eq!(Span::from_secs(1).divided_by(Span::ZERO), 0);
    }
}
