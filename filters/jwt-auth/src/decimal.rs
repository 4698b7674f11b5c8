//! JSON numbers as floating point numbers, for conditions on claims.
//!
//! The standard way is exact for every number and 15 KB of a module, most of it a table. This one is
//! exact for up to 15 digits and powers of ten up to 22, and within a few units in the last place for
//! all others.

/// Powers of ten up to this one are exact.
const EXACT: i64 = 22;
/// Beyond it everything is zero or infinite.
const MOST: i64 = 400;

/// Reads a number by the grammar of RFC 8259 section 6.
pub(crate) fn parse(number: &str) -> Option<f64> {
    let (is_negative, number) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number),
    };
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut digits: u64 = 0;
    let mut scale = exponent_of(exponent)?;
    for (digit, is_whole) in whole
        .bytes()
        .map(|digit| (digit, true))
        .chain(fraction.bytes().map(|digit| (digit, false)))
    {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        let longer = digits
            .checked_mul(10)
            .and_then(|digits| digits.checked_add(u64::from(digit)));
        match (longer, is_whole) {
            (Some(longer), true) => digits = longer,
            (Some(longer), false) => {
                digits = longer;
                scale = scale.saturating_sub(1);
            }
            // More digits than count; only their number does.
            (None, true) => scale = scale.saturating_add(1),
            (None, false) => {}
        }
    }
    #[expect(clippy::as_conversions, reason = "rounds, as it should")]
    let mut value = digits as f64;
    let mut left = scale.clamp(-MOST, MOST);
    while left != 0 {
        let step = left.clamp(-EXACT, EXACT);
        let power = power_of_ten(step.unsigned_abs());
        value = if step > 0 {
            value * power
        } else {
            value / power
        };
        left = left.saturating_sub(step);
    }
    Some(if is_negative { -value } else { value })
}

fn exponent_of(text: &str) -> Option<i64> {
    let digits = text.trim_start_matches(['+', '-']);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // One that is too long for a number is as good as the longest.
    let size: i64 = digits.parse().unwrap_or(i64::MAX);
    Some(if text.starts_with('-') {
        size.saturating_neg()
    } else {
        size
    })
}

fn power_of_ten(exponent: u64) -> f64 {
    (0..exponent).fold(1.0, |power, _| power * 10.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::parse;

    #[test]
    fn extremes_are_zero_or_infinite() {
        assert_eq!(parse("1e400"), Some(f64::INFINITY));
        assert_eq!(parse("-1e999999999999999999999"), Some(f64::NEG_INFINITY));
        assert_eq!(parse("1e-999999999999999999999"), Some(0.0));
        assert_eq!(parse("0e999999999999999999999"), Some(0.0));
        for no in ["", "-", "e", "1e", "a", "1,5"] {
            assert!(parse(no).is_none_or(|value| value == 0.0), "{no}");
        }
    }

    proptest! {
        #[test]
        fn short_numbers_are_exact(text in "-?(0|[1-9][0-9]{0,9})(\\.[0-9]{1,5})?(e[+-]?1?[0-9])?") {
            let exact: f64 = text.parse().unwrap();
            let close = parse(&text).unwrap();
            let error = (close - exact).abs();
            prop_assert!(error <= exact.abs() * 4.0 * f64::EPSILON, "{text}: {close} {exact}");
            if !text.contains('e') {
                prop_assert!(close == exact, "{text}: {close} {exact}");
            }
        }

        #[test]
        fn long_numbers_are_close(text in "-?[1-9][0-9]{0,40}(\\.[0-9]{0,40})?(e[+-]?[0-9]{1,2})?") {
            let text = text.replace(".e", ".0e");
            let text = if text.ends_with('.') { format!("{text}0") } else { text };
            let exact: f64 = text.parse().unwrap();
            let close = parse(&text).unwrap();
            prop_assert!((close - exact).abs() <= exact.abs() * 1e-14, "{text}: {close} {exact}");
        }
    }
}
