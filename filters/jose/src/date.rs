//! NumericDate (RFC 7519 section 2): seconds since 1970, perhaps with a fraction, exactly.
//!
//! Read from the digits themselves: through a floating point number 2^53 + 1 would be another
//! second, and 1e400 infinite.

use std::time::Duration;

const NANOS_PER_SECOND: u64 = 1_000_000_000;
/// 10 to the power of the place, for the digits after the point.
const PLACES: [u32; 9] = [
    100_000_000,
    10_000_000,
    1_000_000,
    100_000,
    10_000,
    1_000,
    100,
    10,
    1,
];

/// A moment, from 1970 to beyond all reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NumericDate {
    seconds: u64,
    /// Below a second; less is cut off.
    nanos: u32,
}

impl NumericDate {
    /// Makes a date out of the nanoseconds of a wall clock.
    pub fn from_unix_nanos(nanos: u64) -> Self {
        Self {
            seconds: nanos / NANOS_PER_SECOND,
            nanos: u32::try_from(nanos % NANOS_PER_SECOND).unwrap_or_default(),
        }
    }

    /// Makes a date out of whole seconds.
    pub const fn from_unix_seconds(seconds: u64) -> Self {
        Self { seconds, nanos: 0 }
    }

    /// Reads a JSON number; `None` for a negative one and from 2^63 on.
    pub fn from_number(number: &str) -> Option<Self> {
        Self::from_digits(number).or_else(|| Self::from_any_number(number))
    }

    /// Reads what dates are but for oddities: up to 18 digits and nothing else.
    fn from_digits(number: &str) -> Option<Self> {
        const MOST: usize = 18;
        if number.len() > MOST {
            return None;
        }
        let seconds = number.bytes().try_fold(0_u64, |seconds, digit| {
            let digit = digit.wrapping_sub(b'0');
            (digit < 10).then(|| seconds.wrapping_mul(10).wrapping_add(digit.into()))
        });
        seconds.map(Self::from_unix_seconds)
    }

    fn from_any_number(number: &str) -> Option<Self> {
        let (is_negative, number) = match number.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, number),
        };
        let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = || whole.bytes().chain(fraction.bytes());
        // Where the point is after the exponent has moved it, counted in digits.
        let point = i64::try_from(whole.len())
            .ok()?
            .saturating_add(saturating(exponent)?);
        let mut date = Self::default();
        let mut place: i64 = 0;
        for digit in digits() {
            let digit = u32::from(digit).checked_sub(u32::from(b'0'))?;
            if place < point {
                date.seconds = date.seconds.checked_mul(10)?.checked_add(digit.into())?;
            } else {
                let behind = usize::try_from(place.saturating_sub(point)).unwrap_or(usize::MAX);
                let unit = PLACES.get(behind).copied().unwrap_or_default();
                date.nanos = date.nanos.checked_add(digit.checked_mul(unit)?)?;
            }
            place = place.saturating_add(1);
        }
        while place < point && date.seconds != 0 {
            date.seconds = date.seconds.checked_mul(10)?;
            place = place.saturating_add(1);
        }
        let is_zero = digits().all(|digit| digit == b'0');
        let fits = i64::try_from(date.seconds).is_ok() && (is_zero || !is_negative);
        fits.then_some(date)
    }

    /// Returns the whole seconds since 1970.
    pub const fn as_unix_seconds(self) -> u64 {
        self.seconds
    }

    /// Returns the moment `span` later, or the last one that can be told.
    pub fn after(self, span: Duration) -> Self {
        let length = Duration::new(self.seconds, self.nanos).saturating_add(span);
        Self::from_duration(length)
    }

    /// Returns the moment `span` earlier, or 1970.
    pub fn before(self, span: Duration) -> Self {
        let length = Duration::new(self.seconds, self.nanos).saturating_sub(span);
        Self::from_duration(length)
    }

    /// Returns the time from `earlier` to this moment; nothing if it isn't earlier.
    pub fn since(self, earlier: Self) -> Duration {
        let [later, earlier] = [self, earlier].map(|date| Duration::new(date.seconds, date.nanos));
        later.saturating_sub(earlier)
    }

    const fn from_duration(length: Duration) -> Self {
        Self {
            seconds: length.as_secs(),
            nanos: length.subsec_nanos(),
        }
    }
}

/// Reads an exponent; one that is too long for a number is as good as the longest.
fn saturating(exponent: &str) -> Option<i64> {
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, exponent.strip_prefix('+').unwrap_or(exponent)),
    };
    digits.bytes().try_fold(0_i64, |sum, digit| {
        let digit = i64::from(digit.checked_sub(b'0')?);
        Some(
            sum.saturating_mul(10)
                .saturating_add(digit.saturating_mul(sign)),
        )
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(number: &str) -> Option<(u64, u32)> {
        NumericDate::from_number(number).map(|date| (date.seconds, date.nanos))
    }

    #[test]
    fn whole_numbers_and_fractions_are_exact() {
        assert_eq!(parts("0"), Some((0, 0)));
        assert_eq!(parts("1300819380"), Some((1_300_819_380, 0)));
        assert_eq!(parts("1300819380.5"), Some((1_300_819_380, 500_000_000)));
        assert_eq!(parts("0.0000000019"), Some((0, 1)));
        assert_eq!(parts("9007199254740993"), Some((9_007_199_254_740_993, 0)));
        assert_eq!(parts("9223372036854775807"), Some((i64::MAX as u64, 0)));
    }

    #[test]
    fn exponents_move_the_point() {
        assert_eq!(parts("1.3008193805e9"), Some((1_300_819_380, 500_000_000)));
        assert_eq!(parts("13E+08"), Some((1_300_000_000, 0)));
        assert_eq!(parts("13008193805e-1"), Some((1_300_819_380, 500_000_000)));
        assert_eq!(parts("5e-9"), Some((0, 5)));
        assert_eq!(parts("5e-10"), Some((0, 0)));
        assert_eq!(parts("0e400"), Some((0, 0)));
        assert_eq!(parts("1e-99999999999999999999999999"), Some((0, 0)));
    }

    #[test]
    fn numbers_that_are_no_date_are_refused() {
        for number in [
            "-1",
            "-0.1",
            "-1e-400",
            "1e400",
            "1e300",
            "1e99999999999999999999999",
            "9223372036854775808",
            "18446744073709551615",
            "18446744073709551616",
            "1e19",
        ] {
            assert_eq!(parts(number), None, "{number}");
        }
        assert_eq!(parts("-0"), Some((0, 0)));
        assert_eq!(parts("-0.0e5"), Some((0, 0)));
    }

    #[test]
    fn sums_stop_at_the_ends() {
        let now = NumericDate::from_unix_seconds(100);
        assert_eq!(now.before(Duration::from_secs(101)), NumericDate::default());
        assert!(now.after(Duration::MAX) > NumericDate::from_unix_seconds(i64::MAX as u64));
        assert_eq!(NumericDate::default().since(now), Duration::ZERO);
        assert_eq!(
            NumericDate::from_unix_nanos(1_500_000_000).since(NumericDate::from_unix_seconds(1)),
            Duration::from_millis(500)
        );
    }

    proptest! {
        #[test]
        fn digits_alone_are_read_as_all_numbers_are(number in "(0|[1-9][0-9]{0,20})") {
            let expected = NumericDate::from_any_number(&number);
            prop_assert_eq!(NumericDate::from_number(&number), expected);
        }

        #[test]
        fn agrees_with_a_float_as_far_as_that_goes(number in 0.0..1e15_f64) {
            let text = serde_json::to_string(&number).unwrap();
            let date = NumericDate::from_number(&text).unwrap();
            let ours = date.seconds as f64 + f64::from(date.nanos) / 1e9;
            prop_assert!((ours - number).abs() <= number * 1e-15 + 2e-9, "{text}: {ours}");
        }

        #[test]
        fn any_text_is_read_or_refused(number in "-?[0-9]{0,30}(\\.[0-9]{0,30})?(e[+-]?[0-9]{0,25})?") {
            let _ = NumericDate::from_number(&number);
        }
    }
}
