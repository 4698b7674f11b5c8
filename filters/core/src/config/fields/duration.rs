//! Durations the way Envoy's users write them: a whole number and a unit.

use std::time::Duration;

use super::text::{Text, impl_text};

/// A duration above zero, up to 366 days: `250ms`, `10s`, `1m`, `1h`, `1d`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct DurationText(Duration);

/// Longest duration: a leap year.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

impl DurationText {
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

/// Reads a duration from zero to the longest.
fn parse(text: &str) -> Option<Duration> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at_checked(unit_at)?;
    let count: u64 = digits.parse().ok()?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let duration = Duration::from_millis(count.checked_mul(milliseconds)?);
    (duration <= LONGEST).then_some(duration)
}
