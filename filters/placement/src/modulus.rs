//! Arithmetic modulo the size of a Maglev table, without divisions where many numbers go through it.

/// Arithmetic modulo an odd prime below 2^23.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Modulus {
    size: u32,
    /// What the size has to be multiplied by to be -1 modulo 2^32.
    minus_inverse: u32,
}

impl Modulus {
    pub(crate) fn new(size: u32) -> Self {
        // Newton's iteration: an odd number is its own inverse to three bits, and each round doubles them.
        let mut inverse = size;
        for _ in 0..4 {
            let error = 2_u32.wrapping_sub(size.wrapping_mul(inverse));
            inverse = inverse.wrapping_mul(error);
        }
        Self {
            size,
            minus_inverse: inverse.wrapping_neg(),
        }
    }

    /// The number that times `number` is 1, by Euclid's algorithm.
    pub(crate) fn inverse(self, number: u32) -> u32 {
        let (mut rest, mut next_rest) = (i64::from(self.size), i64::from(number));
        let (mut factor, mut next_factor) = (0_i64, 1_i64);
        while next_rest > 0 {
            let quotient = rest.checked_div(next_rest).unwrap_or(0);
            let less = |from: i64, by: i64| from.wrapping_sub(quotient.wrapping_mul(by));
            (rest, next_rest) = (next_rest, less(rest, next_rest));
            (factor, next_factor) = (next_factor, less(factor, next_factor));
        }
        let factor = factor.rem_euclid(i64::from(self.size).max(1));
        u32::try_from(factor).unwrap_or(0)
    }

    pub(crate) fn times_2_32(self, number: u32) -> u32 {
        remainder(u64::from(number) << 32_u32, self.size)
    }

    /// `one · other / 2^32`, by Montgomery's reduction: two multiplications in place of a division.
    #[inline]
    pub(crate) fn product_by_2_32(self, one: u32, other: u32) -> u32 {
        let product = u64::from(one).wrapping_mul(u64::from(other));
        let low = low_half(product).wrapping_mul(self.minus_inverse);
        // What is added makes the lower half 0. Below 2^46 and 2^55.
        let sum = product.wrapping_add(u64::from(low).wrapping_mul(u64::from(self.size)));
        let result = low_half(sum >> 32_u32);
        result.wrapping_sub(if result >= self.size { self.size } else { 0 })
    }

    #[inline]
    pub(crate) fn difference(self, one: u32, other: u32) -> u32 {
        let difference = one.wrapping_sub(other);
        difference.wrapping_add(if one < other { self.size } else { 0 })
    }
}

#[expect(clippy::as_conversions, reason = "the upper half is to be dropped")]
const fn low_half(number: u64) -> u32 {
    number as u32
}

/// `hash` modulo `size`; 0 if that is 0.
pub(crate) fn remainder(hash: u64, size: u32) -> u32 {
    let rest = hash.checked_rem(u64::from(size)).unwrap_or(0);
    u32::try_from(rest).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::number::mixed;

    #[test]
    fn quotients_are_those_of_long_division() {
        for size in [3_u32, 7, 65_537, 655_373, 5_000_011] {
            let modulus = Modulus::new(size);
            for seed in 0..500 {
                let [one, other] = [mixed(seed), mixed(!seed)].map(|hash| remainder(hash, size));
                let by = one.max(1);
                let inverse = modulus.inverse(by);
                assert_eq!(u64::from(by) * u64::from(inverse) % u64::from(size), 1);
                let quotient = modulus.product_by_2_32(other, modulus.times_2_32(inverse));
                let product = u64::from(quotient) * u64::from(by) % u64::from(size);
                assert_eq!(product, u64::from(other), "{other} / {by} modulo {size}");
                let difference = u64::from(modulus.difference(one, other)) + u64::from(other);
                assert_eq!(difference % u64::from(size), u64::from(one));
            }
        }
    }
}
