//! Sums of multiples of two points, by tables of either.
//!
//! A comb (Lim and Lee, CRYPTO '94): the number is cut into as many parts as the comb has teeth,
//! written in rows below each other; each column of bits stands for a sum of the point times powers
//! of two, which a table has ready. That leaves one doubling per column, and one addition per column
//! and point. A wide comb of eight teeth has a table of 255 sums and 32 columns for a curve of 256
//! bits; a narrow one of four teeth is made for each signature of a key that has no wide one yet,
//! and costs no more doublings in all than the number has bits. Not in constant time: nothing in a
//! signature is secret.

use std::sync::OnceLock;

#[cfg(feature = "es256k")]
use ecdsa_k256::Secp256k1;
use ecdsa_p256::NistP256;
use ecdsa_p256::elliptic_curve::ff::PrimeField as _;
use ecdsa_p256::elliptic_curve::group::{Curve as _, CurveAffine as _, Group as _};
use ecdsa_p256::elliptic_curve::{CurveArithmetic, Scalar};
use ecdsa_p384::NistP384;
use ecdsa_p521::NistP521;

/// As many as a byte has bits: 18 KB for a curve of 256 bits, 36 for P-521.
const WIDE: usize = 8;
const NARROW: usize = 4;

/// The sums of a point.
pub(super) struct Comb<C: CurveArithmetic> {
    /// Bits between two teeth.
    columns: usize,
    /// At n the sum of 2^(columns × t) × point for every bit t of n.
    sums: Vec<C::AffinePoint>,
}

/// The combs of a curve's generator.
pub(super) struct Combs<C: CurveArithmetic> {
    pub(super) narrow: Comb<C>,
    pub(super) wide: Comb<C>,
}

/// A curve that keeps the combs of its generator.
pub(super) trait Tables: CurveArithmetic {
    /// Returns the generator's combs: a constant that takes a millisecond to make, and isn't made
    /// for curves that no token is signed on.
    fn generator_combs() -> &'static Combs<Self>;
}

impl<C: CurveArithmetic> Comb<C> {
    /// Makes a comb for signatures to come.
    pub(super) fn wide(point: C::ProjectivePoint) -> Self {
        Self::new(point, WIDE)
    }

    /// Makes a comb for one signature.
    pub(super) fn narrow(point: C::ProjectivePoint) -> Self {
        Self::new(point, NARROW)
    }

    #[expect(
        clippy::arithmetic_side_effects,
        reason = "points have operators, which don't overflow"
    )]
    fn new(point: C::ProjectivePoint, teeth: usize) -> Self {
        let bits = Scalar::<C>::default().to_repr().len().saturating_mul(8);
        let columns = bits.div_ceil(teeth);
        let mut sums = vec![C::ProjectivePoint::identity()];
        let mut tooth = point;
        for _ in 0..teeth {
            if sums.len() > 1 {
                (0..columns).for_each(|_| tooth = tooth.double());
            }
            let with: Vec<_> = sums.iter().map(|sum| tooth + sum).collect();
            sums.extend(with);
        }
        let mut affine = vec![C::AffinePoint::identity(); sums.len()];
        C::ProjectivePoint::batch_normalize(&sums, &mut affine);
        Self {
            columns,
            sums: affine,
        }
    }

    /// Returns the columns of a number, highest first; bit t of each is tooth t's.
    fn digits(&self, factor: &Scalar<C>) -> Vec<u8> {
        let bytes = factor.to_repr();
        let bits: Vec<u8> = bytes
            .iter()
            .rev()
            .flat_map(|byte| (0..8_u32).map(move |bit| byte.wrapping_shr(bit) & 1))
            .collect();
        let mut digits = vec![0_u8; self.columns];
        for (tooth, row) in (0..).zip(bits.chunks(self.columns.max(1))) {
            for (digit, bit) in digits.iter_mut().rev().zip(row) {
                *digit |= bit.wrapping_shl(tooth);
            }
        }
        digits
    }
}

/// Returns a × A + b × B by combs of equal width.
#[expect(
    clippy::arithmetic_side_effects,
    reason = "points have operators, which don't overflow"
)]
pub(super) fn sum<C: CurveArithmetic>(
    comb_a: &Comb<C>,
    a: &Scalar<C>,
    comb_b: &Comb<C>,
    b: &Scalar<C>,
) -> C::ProjectivePoint {
    debug_assert_eq!(comb_a.columns, comb_b.columns);
    let mut sum = C::ProjectivePoint::identity();
    for (a, b) in comb_a.digits(a).into_iter().zip(comb_b.digits(b)) {
        sum = sum.double();
        for (comb, digit) in [(comb_a, a), (comb_b, b)] {
            let term = comb.sums.get(usize::from(digit));
            // The first sum is nothing.
            if let Some(term) = term.filter(|_| digit != 0) {
                sum += term;
            }
        }
    }
    sum
}

macro_rules! tables {
    ($curve:ty) => {
        impl Tables for $curve {
            fn generator_combs() -> &'static Combs<Self> {
                static COMBS: OnceLock<Combs<$curve>> = OnceLock::new();
                COMBS.get_or_init(|| {
                    let generator = <$curve as CurveArithmetic>::ProjectivePoint::generator();
                    Combs {
                        narrow: Comb::narrow(generator),
                        wide: Comb::wide(generator),
                    }
                })
            }
        }
    };
}

tables!(NistP256);
tables!(NistP384);
tables!(NistP521);
#[cfg(feature = "es256k")]
tables!(Secp256k1);
