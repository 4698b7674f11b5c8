//! Durations the way Envoy's users write them: a whole number and a unit.

use std::fmt;
use std::time::Duration;

use super::text::{Text, impl_text};

/// A duration above zero, up to 366 days: `250ms`, `10s`, `1m`, `1h`, `1d`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct DurationText(Duration);

/// Longest duration: a leap year.
pub(super) const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

impl DurationText {
    /// Makes one of whole seconds, for defaults; the caller sees to the bounds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Makes one of milliseconds, likewise.
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// Returns the duration: more than zero, at most 366 days.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl Text for DurationText {
    const ALLOWED: &'static str =
        "a duration from \"1ms\" to \"366d\", such as \"250ms\", \"10s\", \"1m\", \"1h\" or \"1d\"";

    fn parse(text: &str) -> Option<Self> {
        let duration = parse(text)?;
        (!duration.is_zero()).then_some(Self(duration))
    }
}

impl_text!(DurationText, "Duration", "^0*[1-9][0-9]*(ms|s|m|h|d)$");

/// Units, the longest last: their names and lengths in milliseconds.
const UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

impl fmt::Display for DurationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |length: u64| self.0.as_millis().checked_div(u128::from(length));
        let whole = |length: u64| self.0.as_millis().checked_rem(u128::from(length)) == Some(0);
        for (unit, length) in UNITS.into_iter().rev() {
            if let (true, Some(count)) = (whole(length), count(length)) {
                return write!(f, "{count}{unit}");
            }
        }
        Ok(())
    }
}

/// Reads a duration from zero to the longest.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.find(|c: char| !c.is_ascii_digit())?)?;
    let count: u64 = digits.parse().ok()?;
    let (_, length) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
    let duration = Duration::from_millis(count.checked_mul(length)?);
    (duration <= LONGEST).then_some(duration)
}
