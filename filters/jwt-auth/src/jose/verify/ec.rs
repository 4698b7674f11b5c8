//! ECDSA signatures (FIPS 186-5) as two numbers side by side (RFC 7518 section 3.4).

use ecdsa_p256::ecdsa::signature::hazmat::PrehashVerifier;

use super::digest::Digest;
use super::{Native, der};
use crate::jose::algorithm::Algorithm;

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
    P256(ecdsa_p256::ecdsa::VerifyingKey),
    P384(ecdsa_p384::ecdsa::VerifyingKey),
    P521(ecdsa_p521::ecdsa::VerifyingKey),
    Secp256k1(ecdsa_k256::ecdsa::VerifyingKey),
}

impl Curve {
    /// Returns the curve of a `crv` (RFC 7518 section 6.2.1.1, RFC 8812 section 3.1).
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "P-256" => Some(Self::P256),
            "P-384" => Some(Self::P384),
            "P-521" => Some(Self::P521),
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
            Self::Secp256k1 => Algorithm::Es256K,
        }
    }

    /// Returns the bytes of a coordinate, and of each half of a signature.
    pub const fn size(self) -> usize {
        match self {
            Self::P256 | Self::Secp256k1 => 32,
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
            Curve::P256 => Point::P256(sec1.as_slice().try_into().ok()?),
            Curve::P384 => Point::P384(sec1.as_slice().try_into().ok()?),
            Curve::P521 => Point::P521(sec1.as_slice().try_into().ok()?),
            Curve::Secp256k1 => Point::Secp256k1(sec1.as_slice().try_into().ok()?),
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
            Curve::Secp256k1 => false,
        }
    }

    /// Returns whether a signature is two numbers of full length, each from 1 to the order less 1.
    pub(super) fn is_in_range(&self, signature: &[u8]) -> bool {
        match self.curve {
            Curve::P256 => ecdsa_p256::ecdsa::Signature::try_from(signature).is_ok(),
            Curve::P384 => ecdsa_p384::ecdsa::Signature::try_from(signature).is_ok(),
            Curve::P521 => ecdsa_p521::ecdsa::Signature::try_from(signature).is_ok(),
            Curve::Secp256k1 => ecdsa_k256::ecdsa::Signature::try_from(signature).is_ok(),
        }
    }

    /// Checks a signature with the curve's own hash.
    pub(super) fn verify(&self, text: &[u8], signature: &[u8]) -> bool {
        let digest = Digest::of(self.curve.algorithm().hash(), &[text]);
        match &self.point {
            Point::P256(key) => {
                let signature = ecdsa_p256::ecdsa::Signature::try_from(signature);
                verify(key, digest.bytes(), signature)
            }
            Point::P384(key) => {
                let signature = ecdsa_p384::ecdsa::Signature::try_from(signature);
                verify(key, digest.bytes(), signature)
            }
            Point::P521(key) => {
                let signature = ecdsa_p521::ecdsa::Signature::try_from(signature);
                verify(key, digest.bytes(), signature)
            }
            // k256 follows Bitcoin and takes the lower s alone; RFC 8812 takes either.
            Point::Secp256k1(key) => {
                let signature = ecdsa_k256::ecdsa::Signature::try_from(signature);
                verify(
                    key,
                    digest.bytes(),
                    signature.map(|either| either.normalize_s()),
                )
            }
        }
    }
}

fn verify<S, E>(key: &impl PrehashVerifier<S>, digest: &[u8], signature: Result<S, E>) -> bool {
    signature.is_ok_and(|signature| key.verify_prehash(digest, &signature).is_ok())
}
