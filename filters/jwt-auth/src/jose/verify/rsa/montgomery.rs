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
            if passes % PASSES_UNTIL_CARRY == 0 {
                carry(rest);
            }
            rest = rest.get_mut(2..).unwrap_or_default();
        }
        carry(rest);
        a.copy_from_slice(rest);
    }

    fn square(&self, a: &mut [u64], columns: &mut Vec<u64>) {
        let copy = a.to_vec();
        self.multiply(a, &copy, columns);
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
