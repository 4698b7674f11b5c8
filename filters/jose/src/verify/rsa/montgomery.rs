//! `base ^ exponent mod modulus` for public numbers, fast in wasm.
//!
//! Wasm has no multiplication whose result is longer than 64 bits, which makes the 64-bit limbs of
//! big-number crates slow there (DESIGN.md compares). Here numbers are limbs of 28 bits in 64-bit
//! words, least significant first: a product has 56 bits, and a column takes 256 of them before it
//! overflows, so the inner loop carries nothing. Nothing secret goes in and none of it is done in
//! constant time; don't use it for private keys.

const LIMB_BITS: u32 = 28;
const MASK: u64 = (1 << LIMB_BITS) - 1;
/// Passes of two rows, which add four products to a column, until columns must be carried:
/// 4 × 60 products, a limb and a carry of 36 bits are less than 2^64.
const PASSES_UNTIL_CARRY: usize = 60;

/// Limbs of a number whose square, or whose reduction, adds up without a carry: a column takes one
/// product for each limb.
const LIMBS_UNTIL_CARRY: usize = 240;

/// An odd modulus and what Montgomery's reduction needs of it.
///
/// With R = 2^(28 × limbs) > 4 × modulus, factors below 2 × modulus give products below that again,
/// so that nothing is subtracted until the end.
#[derive(Debug)]
pub(super) struct Modulus {
    /// An even number of limbs.
    limbs: Vec<u64>,
    /// -1 / modulus mod 2^28.
    inverse: u64,
    /// R² mod modulus, or that plus the modulus.
    r_squared: Vec<u64>,
}

impl Modulus {
    /// Prepares an odd modulus of at least two bytes, the first one not zero.
    pub(super) fn new(modulus: &[u8]) -> Self {
        let bits = modulus.len().saturating_mul(8).saturating_add(2);
        let pairs = bits.div_ceil(56);
        let limbs = to_limbs(modulus, pairs.saturating_mul(2));
        // Newton's iteration doubles the correct bits: 3, 6, 12, 24, 48.
        let lowest = limbs.first().copied().unwrap_or_default();
        let inverse = (0..4).fold(lowest, |x, _| {
            x.wrapping_mul(2_u64.wrapping_sub(lowest.wrapping_mul(x)))
        });
        let mut this = Self {
            limbs,
            inverse: inverse.wrapping_neg() & MASK,
            r_squared: Vec::new(),
        };
        this.r_squared = this.square_of_r();
        this
    }

    /// Returns `base ^ exponent mod modulus` in as many bytes as `base` has, which is less than the
    /// modulus and as long. The exponent is odd and not 1.
    pub(super) fn power(&self, base: &[u8], exponent: u64) -> Vec<u8> {
        let mut columns = Vec::new();
        let plain = to_limbs(base, self.limbs.len());
        let mut factor = plain.clone();
        self.multiply(&mut factor, &self.r_squared, &mut columns);
        let mut power = factor.clone();
        let bits = u64::BITS.saturating_sub(exponent.leading_zeros());
        for bit in (1..bits.saturating_sub(1)).rev() {
            self.square(&mut power, &mut columns);
            if (exponent.wrapping_shr(bit)) & 1 == 1 {
                self.multiply(&mut power, &factor, &mut columns);
            }
        }
        self.square(&mut power, &mut columns);
        // The last bit is set, and the base itself instead of base × R takes the R out again.
        self.multiply(&mut power, &plain, &mut columns);
        self.subtract_if_not_less(&mut power);
        to_bytes(&power, base.len())
    }

    /// Sets `a` to a × b / R.
    fn multiply(&self, a: &mut [u64], b: &[u64], columns: &mut Vec<u64>) {
        columns.clear();
        columns.resize(a.len().saturating_mul(2), 0);
        let mut rest = columns.as_mut_slice();
        for (passes, [a0, a1]) in (1..).zip(a.as_chunks().0) {
            self.add_rows(rest, *a0, *a1, b);
            // The two lowest columns are done with; their carries are in the third.
            rest = rest.get_mut(2..).unwrap_or_default();
            if passes % PASSES_UNTIL_CARRY == 0 {
                carry(rest);
            }
        }
        carry(rest);
        a.copy_from_slice(rest);
    }

    /// Sets `a` to a² / R: half of the products occur twice, and are added once, doubled.
    fn square(&self, a: &mut [u64], columns: &mut Vec<u64>) {
        if a.len() > LIMBS_UNTIL_CARRY {
            let b = a.to_vec();
            return self.multiply(a, &b, columns);
        }
        columns.clear();
        columns.resize(a.len().saturating_mul(2), 0);
        add_square(columns, a);
        if a.len() > LIMBS_UNTIL_CARRY / 2 {
            carry(columns);
        }
        let mut rest = columns.as_mut_slice();
        for _ in 0..self.limbs.len() / 4 {
            self.reduce_rows(rest);
            rest = rest.get_mut(4..).unwrap_or_default();
        }
        if self.limbs.len() % 4 == 2 {
            self.add_rows(rest, 0, 0, &self.limbs);
            rest = rest.get_mut(2..).unwrap_or_default();
        }
        carry(rest);
        a.copy_from_slice(rest);
    }

    /// Adds the multiple of the modulus that makes the four lowest columns zero, and carries these.
    fn reduce_rows(&self, columns: &mut [u64]) {
        let ([c0, c1, c2, c3, rest @ ..], [n0, n1, n2, n3, n @ ..]) =
            (columns, self.limbs.as_slice())
        else {
            return;
        };
        let factor = |sum: u64| sum.wrapping_mul(self.inverse) & MASK;
        let product = |m: u64, n: &u64| m.wrapping_mul(*n);
        let m0 = factor(*c0);
        let carry = c0.wrapping_add(product(m0, n0)) >> LIMB_BITS;
        let sum = c1.wrapping_add(carry).wrapping_add(product(m0, n1));
        let m1 = factor(sum);
        let carry = sum.wrapping_add(product(m1, n0)) >> LIMB_BITS;
        let sum = c2
            .wrapping_add(carry)
            .wrapping_add(product(m0, n2))
            .wrapping_add(product(m1, n1));
        let m2 = factor(sum);
        let carry = sum.wrapping_add(product(m2, n0)) >> LIMB_BITS;
        let sum = c3
            .wrapping_add(carry)
            .wrapping_add(product(m0, n3))
            .wrapping_add(product(m1, n2))
            .wrapping_add(product(m2, n1));
        let m3 = factor(sum);
        let mut carry = sum.wrapping_add(product(m3, n0)) >> LIMB_BITS;
        let (mut before, mut before_that, mut before_all) = (*n3, *n2, *n1);
        for (column, n) in rest.iter_mut().zip(n.iter().chain(&[0; 3])) {
            *column = column
                .wrapping_add(carry)
                .wrapping_add(product(m0, n))
                .wrapping_add(m1.wrapping_mul(before))
                .wrapping_add(m2.wrapping_mul(before_that))
                .wrapping_add(m3.wrapping_mul(before_all));
            carry = 0;
            (before, before_that, before_all) = (*n, before, before_that);
        }
    }

    /// Adds a0 × b + 2^28 × a1 × b and the multiple of the modulus that makes the two lowest columns
    /// zero, and carries these two.
    fn add_rows(&self, columns: &mut [u64], a0: u64, a1: u64, b: &[u64]) {
        let ([c0, c1, rest @ ..], [b0, b1, b @ ..], [n0, n1, n @ ..]) =
            (columns, b, self.limbs.as_slice())
        else {
            return;
        };
        let sum = c0.wrapping_add(a0.wrapping_mul(*b0));
        let m0 = sum.wrapping_mul(self.inverse) & MASK;
        let carry = sum.wrapping_add(m0.wrapping_mul(*n0)) >> LIMB_BITS;
        let sum = c1
            .wrapping_add(carry)
            .wrapping_add(a0.wrapping_mul(*b1))
            .wrapping_add(m0.wrapping_mul(*n1))
            .wrapping_add(a1.wrapping_mul(*b0));
        let m1 = sum.wrapping_mul(self.inverse) & MASK;
        let mut carry = sum.wrapping_add(m1.wrapping_mul(*n0)) >> LIMB_BITS;
        let (mut b_before, mut n_before) = (*b1, *n1);
        let ends = b.iter().chain(&[0]).zip(n.iter().chain(&[0]));
        for (column, (b, n)) in rest.iter_mut().zip(ends) {
            *column = column
                .wrapping_add(carry)
                .wrapping_add(a0.wrapping_mul(*b))
                .wrapping_add(m0.wrapping_mul(*n))
                .wrapping_add(a1.wrapping_mul(b_before))
                .wrapping_add(m1.wrapping_mul(n_before));
            carry = 0;
            (b_before, n_before) = (*b, *n);
        }
    }

    /// Returns R² mod modulus by doublings and Montgomery squarings of 2^k × R.
    fn square_of_r(&self) -> Vec<u64> {
        let count = self.limbs.len();
        let r_bits = u32::try_from(count)
            .unwrap_or_default()
            .saturating_mul(LIMB_BITS);
        // 2^(bits - 1) is less than the modulus. From there on to R, then along the bits of r_bits,
        // whose first one stands for 2 × R.
        let mut number = vec![0; count];
        let bits = self.bits();
        let top = bits.saturating_sub(1);
        let limb = usize::try_from(top / LIMB_BITS).unwrap_or_default();
        if let Some(limb) = number.get_mut(limb) {
            *limb = 1_u64.wrapping_shl(top % LIMB_BITS);
        }
        for _ in top..r_bits {
            self.double(&mut number);
        }
        self.double(&mut number);
        let mut columns = Vec::new();
        for bit in (0..r_bits.ilog2()).rev() {
            self.square(&mut number, &mut columns);
            if r_bits.wrapping_shr(bit) & 1 == 1 {
                self.subtract_if_not_less(&mut number);
                self.double(&mut number);
            }
        }
        number
    }

    /// Doubles a number below the modulus.
    fn double(&self, number: &mut [u64]) {
        let mut carry = 0;
        for limb in number.iter_mut() {
            let sum = limb.wrapping_shl(1) | carry;
            *limb = sum & MASK;
            carry = sum >> LIMB_BITS;
        }
        self.subtract_if_not_less(number);
    }

    fn subtract_if_not_less(&self, number: &mut [u64]) {
        if number.iter().rev().lt(self.limbs.iter().rev()) {
            return;
        }
        let mut borrow = 0;
        for (limb, minus) in number.iter_mut().zip(&self.limbs) {
            let difference = limb.wrapping_sub(*minus).wrapping_sub(borrow);
            *limb = difference & MASK;
            borrow = difference >> 63;
        }
    }

    fn bits(&self) -> u32 {
        let (limbs, top) = (1..)
            .zip(&self.limbs)
            .filter(|(_, limb)| **limb != 0)
            .last()
            .unwrap_or((1, &0));
        let above: u32 = top.leading_zeros().saturating_sub(u64::BITS - LIMB_BITS);
        LIMB_BITS.saturating_mul(limbs).saturating_sub(above)
    }
}

/// Adds a², two rows in a pass.
fn add_square(mut columns: &mut [u64], mut a: &[u64]) {
    while let ([a0, a1, above @ ..], [c0, c1, c2, ..]) = (a, &mut *columns) {
        let (double0, double1) = (a0.wrapping_shl(1), a1.wrapping_shl(1));
        *c0 = c0.wrapping_add(a0.wrapping_mul(*a0));
        *c1 = c1.wrapping_add(double0.wrapping_mul(*a1));
        *c2 = c2.wrapping_add(a1.wrapping_mul(*a1));
        let rest = columns.get_mut(2..).unwrap_or_default();
        let mut before = 0;
        for (column, a) in rest.iter_mut().zip(above.iter().chain(&[0])) {
            *column = column
                .wrapping_add(double0.wrapping_mul(*a))
                .wrapping_add(double1.wrapping_mul(before));
            before = *a;
        }
        columns = columns.get_mut(4..).unwrap_or_default();
        a = above;
    }
}

/// Carries all columns.
fn carry(columns: &mut [u64]) {
    let mut carry = 0;
    for column in columns {
        let sum = column.wrapping_add(carry);
        *column = sum & MASK;
        carry = sum >> LIMB_BITS;
    }
}

/// Reads a big-endian number.
fn to_limbs(bytes: &[u8], count: usize) -> Vec<u64> {
    let mut limbs = Vec::with_capacity(count);
    let (mut word, mut bits) = (0_u64, 0_u32);
    for byte in bytes.iter().rev() {
        word |= u64::from(*byte).wrapping_shl(bits);
        bits = bits.wrapping_add(8);
        if bits >= LIMB_BITS {
            limbs.push(word & MASK);
            word >>= LIMB_BITS;
            bits = bits.wrapping_sub(LIMB_BITS);
        }
    }
    limbs.push(word);
    limbs.resize(count, 0);
    limbs
}

/// Writes the last `length` bytes of a number, big-endian.
fn to_bytes(limbs: &[u64], length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length);
    let (mut word, mut bits) = (0_u64, 0_u32);
    let mut limbs = limbs.iter();
    for _ in 0..length {
        if bits < 8 {
            word |= limbs.next().copied().unwrap_or_default().wrapping_shl(bits);
            bits = bits.wrapping_add(LIMB_BITS);
        }
        let [byte, ..] = word.to_le_bytes();
        bytes.push(byte);
        word >>= 8;
        bits = bits.wrapping_sub(8);
    }
    bytes.reverse();
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same by 128-bit numbers, bit by bit.
    fn naive(base: u64, exponent: u64, modulus: u64) -> u64 {
        let [mut power, modulus] = [1, modulus].map(u128::from);
        for bit in (0..64).rev() {
            power = power * power % modulus;
            if exponent >> bit & 1 == 1 {
                power = power * u128::from(base) % modulus;
            }
        }
        power as u64
    }

    /// A number of `length` bytes whose first and last bits are set.
    fn odd(length: usize) -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), length).prop_map(|mut bytes| {
            *bytes.first_mut().unwrap() |= 0x80;
            *bytes.last_mut().unwrap() |= 1;
            bytes
        })
    }

    proptest! {
        #[test]
        fn powers_are_those_of_128_bit_numbers(
            modulus in any::<u64>().prop_map(|n| n | 1 << 63 | 1),
            base in any::<u64>(),
            exponent in (1_u64..1 << 33).prop_map(|e| e | 3),
        ) {
            let base = base % modulus;
            let power = Modulus::new(&modulus.to_be_bytes()).power(&base.to_be_bytes(), exponent);
            prop_assert_eq!(power, naive(base, exponent, modulus).to_be_bytes());
        }

        #[test]
        fn squares_are_products_at_every_length(
            number in (1_usize..440).prop_flat_map(odd),
            full in any::<bool>(),
        ) {
            let modulus = Modulus::new(&number);
            // The largest numbers that can occur are just below twice the modulus.
            let mut a = modulus.limbs.clone();
            if full {
                a.iter_mut().for_each(|limb| *limb <<= 1);
                *a.first_mut().unwrap() -= 1;
                carry(&mut a);
            } else {
                a.iter_mut().for_each(|limb| *limb = *limb * 5 / 8);
            }
            let b = a.clone();
            let mut square = a.clone();
            modulus.multiply(&mut a, &b, &mut Vec::new());
            modulus.square(&mut square, &mut Vec::new());
            for number in [&mut a, &mut square] {
                modulus.subtract_if_not_less(number);
            }
            prop_assert_eq!(a, square);
        }

        #[test]
        fn bytes_and_limbs_are_the_same_number(bytes in prop::collection::vec(any::<u8>(), 1..300)) {
            let limbs = to_limbs(&bytes, bytes.len());
            prop_assert!(limbs.iter().all(|limb| *limb <= MASK));
            prop_assert_eq!(to_bytes(&limbs, bytes.len()), bytes);
        }
    }
}
