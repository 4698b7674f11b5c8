//! Sums of multiples of two known points, fast once tables of them are made.
//!
//! A comb of eight teeth (Lim and Lee, CRYPTO '94): the number is cut into eight parts, written in
//! rows below each other; each column of bits stands for one of 256 sums of the point times powers
//! of two, which a table has ready. That leaves one doubling per column and one addition per column
//! and point, 32 and 64 for a curve of 256 bits, where 256 and about 100 would be needed. Not in
//! constant time: nothing in a signature is secret.

use std::sync::OnceLock;

#[cfg(feature = "es256k")]
use ecdsa_k256::Secp256k1;
use ecdsa_p256::NistP256;
use ecdsa_p256::elliptic_curve::ff::PrimeField as _;
use ecdsa_p256::elliptic_curve::group::{Curve as _, CurveAffine as _, Group as _};
use ecdsa_p256::elliptic_curve::{CurveArithmetic, Scalar};
use ecdsa_p384::NistP384;
use ecdsa_p521::NistP521;

/// Teeth, which are as many as a byte has bits: so there are as many columns as a number has bytes.
const TEETH: usize = 8;

/// The sums of a point.
pub(super) struct Comb<C: CurveArithmetic> {
    /// At n the sum of 2^(columns × t) × point for every bit t of n.
    sums: Vec<C::AffinePoint>,
}

/// A curve that keeps the comb of its generator.
pub(super) trait Tables: CurveArithmetic {
    /// Returns the generator's comb. It is a constant that takes a millisecond to make and 20 to 40
    /// KB, and isn't made for curves that no token is signed on.
    fn generator_comb() -> &'static Comb<Self>;
}

impl<C: CurveArithmetic> Comb<C> {
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "points have operators, which don't overflow"
    )]
    pub(super) fn new(point: C::ProjectivePoint) -> Self {
        let columns = columns::<C>();
        let mut sums = vec![C::ProjectivePoint::identity()];
        let mut tooth = point;
        for _ in 0..TEETH {
            let with: Vec<_> = sums.iter().map(|sum| tooth + sum).collect();
            sums.extend(with);
            for _ in 0..columns {
                tooth = tooth.double();
            }
        }
        let mut affine = vec![C::AffinePoint::identity(); sums.len()];
        C::ProjectivePoint::batch_normalize(&sums, &mut affine);
        Self { sums: affine }
    }
}

/// Returns a × A + b × B.
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
    let [a, b] = [a, b].map(|factor| digits::<C>(factor));
    let mut sum = C::ProjectivePoint::identity();
    for (a, b) in a.iter().zip(&b) {
        sum = sum.double();
        for (comb, digit) in [(comb_a, a), (comb_b, b)] {
            let term = comb.sums.get(usize::from(*digit));
            // The first sum is nothing.
            if let Some(term) = term.filter(|_| *digit != 0) {
                sum += term;
            }
        }
    }
    sum
}

/// Returns the columns of a number, highest first, as bytes whose bit t is tooth t.
fn digits<C: CurveArithmetic>(factor: &Scalar<C>) -> Vec<u8> {
    let columns = columns::<C>();
    let bytes = factor.to_repr();
    let bits = bytes
        .iter()
        .rev()
        .flat_map(|byte| (0..8_u32).map(move |bit| byte.wrapping_shr(bit) & 1));
    let mut digits = vec![0_u8; columns];
    let mut places = 0..columns;
    let mut tooth = 0_u32;
    for bit in bits {
        let place = places.next().unwrap_or_else(|| {
            places = 1..columns;
            tooth = tooth.wrapping_add(1);
            0
        });
        if let Some(digit) = digits.get_mut(place) {
            *digit |= bit.wrapping_shl(tooth);
        }
    }
    digits.reverse();
    digits
}

fn columns<C: CurveArithmetic>() -> usize {
    Scalar::<C>::default().to_repr().len()
}

macro_rules! tables {
    ($($curve:ty),*) => {$(
        impl Tables for $curve {
            fn generator_comb() -> &'static Comb<Self> {
                static COMB: OnceLock<Comb<$curve>> = OnceLock::new();
                COMB.get_or_init(|| {
                    Comb::new(<$curve as CurveArithmetic>::ProjectivePoint::generator())
                })
            }
        }
    )*};
}

tables!(NistP256, NistP384, NistP521);
#[cfg(feature = "es256k")]
tables!(Secp256k1);
