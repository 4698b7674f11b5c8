//! Conversions between whole numbers and floating point, in one place.
//!
//! Placement has to come out the same in every gateway, in wasm and natively. IEEE 754 promises that
//! for the four operations, for rounding and for these conversions, but not for logarithms, so
//! [`minus_log2`] is made of the former.

/// Returns the nearest floating point number.
#[expect(
    clippy::as_conversions,
    reason = "there is no From; it rounds to nearest, as wanted"
)]
pub const fn float(number: u64) -> f64 {
    number as f64
}

/// Returns the whole part; 0 for what is negative or no number, the greatest for what is beyond it.
#[expect(
    clippy::as_conversions,
    reason = "there is no TryFrom; it cuts off and saturates, as wanted"
)]
pub const fn whole(number: f64) -> u64 {
    number as u64
}

/// Mixes the bits of a number well: each of its bits changes about half of the result's.
///
/// The finalizer of MurmurHash3, which loses nothing: different numbers stay different.
pub const fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let number = (number ^ (number >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    number ^ (number >> 33)
}

/// Returns `-log2` of the fraction that `hash` is of 2^64: 0 for the highest hash, 64 for the lowest.
pub fn minus_log2(hash: u64) -> f64 {
    /// log2 m = 2/ln 2 · atanh((m - 1) / (m + 1)), and the series of atanh has the odd numbers below.
    const FACTOR: f64 = 2.0 / std::f64::consts::LN_2;
    const SERIES: [f64; 6] = [
        FACTOR / 11.0,
        FACTOR / 9.0,
        FACTOR / 7.0,
        FACTOR / 5.0,
        FACTOR / 3.0,
        FACTOR,
    ];
    let hash = hash.max(1);
    let zeros = hash.leading_zeros();
    // The hash is m · 2^(63 - zeros), with m from 1 up to 2.
    let m = float(hash.checked_shl(zeros).unwrap_or(hash)) / 9_223_372_036_854_775_808.0;
    let (m, whole) = match m > std::f64::consts::SQRT_2 {
        true => (m / 2.0, f64::from(zeros)),
        false => (m, f64::from(zeros) + 1.0),
    };
    // At most 0.172 to either side of 0, so that few terms are enough.
    let x = (m - 1.0) / (m + 1.0);
    let square = x * x;
    let sum = SERIES
        .iter()
        .fold(FACTOR / 13.0, |sum, factor| sum * square + factor);
    whole - x * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_agrees_with_the_usual_one() {
        for hash in [
            1,
            2,
            3,
            1 << 31,
            1 << 52,
            u64::MAX / 3,
            u64::MAX / 2,
            u64::MAX,
        ] {
            let usual = 64.0 - float(hash).log2();
            assert!((minus_log2(hash) - usual).abs() < 1e-11, "{hash}");
        }
        let mut hash = 1;
        for _ in 0..10_000 {
            hash = mixed(hash);
            let usual = 64.0 - float(hash).log2();
            assert!((minus_log2(hash) - usual).abs() < 1e-11, "{hash}");
        }
    }

    #[test]
    fn conversions_saturate() {
        assert_eq!(whole(-1.0), 0);
        assert_eq!(whole(f64::NAN), 0);
        assert_eq!(whole(1e30), u64::MAX);
        assert_eq!(whole(2.9), 2);
    }
}
