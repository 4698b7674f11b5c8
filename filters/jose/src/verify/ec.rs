//! ECDSA signatures (FIPS 186-5) as two numbers side by side (RFC 7518 section 3.4).

use std::cell::{Cell, OnceCell};

#[cfg(feature = "es256k")]
use ecdsa_k256::Secp256k1;
use ecdsa_p256::NistP256;
use ecdsa_p256::elliptic_curve::group::Curve as _;
use ecdsa_p256::elliptic_curve::ops::{Invert as _, Reduce};
use ecdsa_p256::elliptic_curve::point::AffineCoordinates as _;
use ecdsa_p256::elliptic_curve::{CurveArithmetic, FieldBytes, NonZeroScalar, Scalar};
use ecdsa_p384::NistP384;
use ecdsa_p521::NistP521;

use super::comb::{self, Comb, Tables};
use super::digest::Digest;
use super::{Native, der};
use crate::algorithm::Algorithm;

/// The curve of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    /// P-256, for ES256.
    P256,
    /// P-384, for ES384.
    P384,
    /// P-521, for ES512.
    P521,
    /// secp256k1, for ES256K.
    #[cfg(feature = "es256k")]
    Secp256k1,
}

/// A public key.
pub struct EcKey {
    curve: Curve,
    point: Point,
    spki: Vec<u8>,
}

/// A point that is on its curve, and not its neutral element.
enum Point {
    P256(Prepared<NistP256>),
    P384(Prepared<NistP384>),
    P521(Prepared<NistP521>),
    #[cfg(feature = "es256k")]
    Secp256k1(Prepared<Secp256k1>),
}

impl Curve {
    /// Returns the curve of a `crv` (RFC 7518 section 6.2.1.1, RFC 8812 section 3.1).
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "P-256" => Some(Self::P256),
            "P-384" => Some(Self::P384),
            "P-521" => Some(Self::P521),
            #[cfg(feature = "es256k")]
            "secp256k1" => Some(Self::Secp256k1),
            _ => None,
        }
    }

    /// Returns the one algorithm that the curve is for.
    pub(super) const fn algorithm(self) -> Algorithm {
        match self {
            Self::P256 => Algorithm::Es256,
            Self::P384 => Algorithm::Es384,
            Self::P521 => Algorithm::Es512,
            #[cfg(feature = "es256k")]
            Self::Secp256k1 => Algorithm::Es256K,
        }
    }

    /// Returns the bytes of a coordinate, and of each half of a signature.
    pub const fn size(self) -> usize {
        match self {
            Self::P256 => 32,
            #[cfg(feature = "es256k")]
            Self::Secp256k1 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    /// Returns the object identifier (RFC 5480 section 2.1.1.1, SEC 2 section A.2.1).
    const fn oid(self) -> &'static [u8] {
        match self {
            Self::P256 => &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
            Self::P384 => &[0x2b, 0x81, 0x04, 0x00, 0x22],
            Self::P521 => &[0x2b, 0x81, 0x04, 0x00, 0x23],
            #[cfg(feature = "es256k")]
            Self::Secp256k1 => &[0x2b, 0x81, 0x04, 0x00, 0x0a],
        }
    }
}

impl EcKey {
    /// Makes a key of two coordinates of full length; `None` if they are no point of the curve.
    pub(super) fn new(curve: Curve, x: &[u8], y: &[u8]) -> Option<Self> {
        if [x.len(), y.len()] != [curve.size(); 2] {
            return None;
        }
        let sec1 = [&[4], x, y].concat();
        let point = match curve {
            Curve::P256 => Point::P256(Prepared::new(x, y)?),
            Curve::P384 => Point::P384(Prepared::new(x, y)?),
            Curve::P521 => Point::P521(Prepared::new(x, y)?),
            #[cfg(feature = "es256k")]
            Curve::Secp256k1 => Point::Secp256k1(Prepared::new(x, y)?),
        };
        Some(Self {
            curve,
            point,
            spki: der::ec_key(curve.oid(), &sec1),
        })
    }

    pub(super) const fn curve(&self) -> Curve {
        self.curve
    }

    /// Returns the key as DER SubjectPublicKeyInfo.
    pub(super) fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// Returns whether the host checks signatures of this curve.
    pub(super) const fn is_native(&self, native: Native) -> bool {
        match self.curve {
            Curve::P256 => native.p256,
            Curve::P384 => native.p384,
            Curve::P521 => native.p521,
            #[cfg(feature = "es256k")]
            Curve::Secp256k1 => false,
        }
    }

    /// Returns whether a signature is two numbers of full length, each from 1 to the order less 1.
    pub(super) fn is_in_range(&self, signature: &[u8]) -> bool {
        match self.point {
            Point::P256(_) => numbers::<NistP256>(signature).is_some(),
            Point::P384(_) => numbers::<NistP384>(signature).is_some(),
            Point::P521(_) => numbers::<NistP521>(signature).is_some(),
            #[cfg(feature = "es256k")]
            Point::Secp256k1(_) => numbers::<Secp256k1>(signature).is_some(),
        }
    }

    /// Checks a signature with the curve's own hash.
    pub(super) fn verify(&self, text: &[u8], signature: &[u8]) -> bool {
        let digest = Digest::of(self.curve.algorithm().hash(), &[text]);
        let digest = digest.bytes();
        match &self.point {
            Point::P256(key) => key.verify(digest, signature),
            Point::P384(key) => key.verify(digest, signature),
            Point::P521(key) => key.verify(digest, signature),
            #[cfg(feature = "es256k")]
            Point::Secp256k1(key) => key.verify(digest, signature),
        }
    }

    /// Makes the tables now that would be made after some right signatures.
    pub(super) fn prepare(&self) {
        match &self.point {
            Point::P256(key) => key.prepare(),
            Point::P384(key) => key.prepare(),
            Point::P521(key) => key.prepare(),
            #[cfg(feature = "es256k")]
            Point::Secp256k1(key) => key.prepare(),
        }
    }
}

/// Right signatures of a key after which it gets tables. They take 18 to 36 KB and the time of a few
/// checks; only who has the private key can make us spend them.
const RIGHT_UNTIL_TABLES: u32 = 4;

/// A point and, once it proved to be in use, multiples of it.
struct Prepared<C: Tables> {
    point: C::ProjectivePoint,
    comb: OnceCell<Comb<C>>,
    /// Right signatures so far, as long as there are no tables.
    right: Cell<u32>,
}

impl<C: Tables> Prepared<C> {
    /// Not by way of SEC 1, whose compressed points would add 13 KB to a module.
    fn new(x: &[u8], y: &[u8]) -> Option<Self> {
        let [x, y] = [x, y].map(FieldBytes::<C>::try_from);
        let point = C::AffinePoint::from_coordinates(&x.ok()?, &y.ok()?);
        Some(Self {
            point: point.into_option()?.into(),
            comb: OnceCell::new(),
            right: Cell::new(0),
        })
    }

    fn prepare(&self) {
        C::generator_combs();
        self.comb.get_or_init(|| Comb::wide(self.point));
    }

    /// FIPS 186-5 section 6.4.2.
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "numbers modulo the order don't overflow"
    )]
    fn verify(&self, digest: &[u8], signature: &[u8]) -> bool {
        let Some((r, s)) = numbers::<C>(signature) else {
            return false;
        };
        let mut bytes = FieldBytes::<C>::default();
        // A digest is never longer than the order; P-521's is longer than SHA-512.
        for (to, from) in bytes.iter_mut().rev().zip(digest.iter().rev()) {
            *to = *from;
        }
        let hash: Scalar<C> = Reduce::reduce(&bytes);
        let inverse: Scalar<C> = *s.invert_vartime();
        let factors = (hash * inverse, *r * inverse);
        let generator = C::generator_combs();
        let sum = match self.comb.get() {
            Some(wide) => comb::sum(&generator.wide, &factors.0, wide, &factors.1),
            None => {
                let narrow = Comb::narrow(self.point);
                comb::sum(&generator.narrow, &factors.0, &narrow, &factors.1)
            }
        };
        let x: Scalar<C> = Reduce::reduce(&sum.to_affine().x());
        let is_right = *r == x;
        if is_right && self.comb.get().is_none() {
            self.right.set(self.right.get().saturating_add(1));
            if self.right.get() == RIGHT_UNTIL_TABLES {
                self.prepare();
            }
        }
        is_right
    }
}

/// Reads r and s, each from 1 to the order less 1.
fn numbers<C: CurveArithmetic>(signature: &[u8]) -> Option<(NonZeroScalar<C>, NonZeroScalar<C>)> {
    let (r, s) = signature.split_at_checked(signature.len() / 2)?;
    Some((r.try_into().ok()?, s.try_into().ok()?))
}
