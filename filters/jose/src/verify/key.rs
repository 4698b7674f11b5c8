//! A key, and the algorithms it may be used with.

use std::fmt;

use super::{Check, Curve, EcKey, EdKey, HmacKey, HostCheck, Native, RsaKey, der};
use crate::algorithm::{Algorithm, Family};

/// A key to check signatures with.
#[derive(Debug)]
pub struct Key {
    kid: Option<String>,
    alg: Option<Algorithm>,
    material: Material,
}

/// The numbers of a key.
pub enum Material {
    /// A point for ECDSA.
    Ec(EcKey),
    /// A point for Ed25519.
    Ed25519(EdKey),
    /// A secret for HMAC.
    Hmac(Box<HmacKey>),
    /// Modulus and exponent.
    Rsa(RsaKey),
}

/// Why numbers make no usable key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weak {
    /// The coordinates are no point of the curve, or not of full length.
    NotOnCurve,
    /// The exponent is even, less than 3 or longer than 33 bits.
    RsaExponent,
    /// The modulus is even.
    RsaModulusEven,
    /// The modulus has less than 2048 or more than 8192 bits.
    RsaModulusSize,
    /// A secret of less than 32 bytes (RFC 7518 section 3.2).
    ShortSecret,
}

impl Key {
    /// Makes a key; `None` if `alg` is for another kind of key.
    pub fn new(kid: Option<String>, alg: Option<Algorithm>, material: Material) -> Option<Self> {
        let key = Self { kid, alg, material };
        alg.is_none_or(|alg| key.fits(alg)).then_some(key)
    }

    /// Returns its name in the set.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Returns whether tokens of this algorithm may be checked with the key: it is of the kind, on
    /// the curve and of the size that the algorithm asks for, and its own `alg`, if it has one, is
    /// the same.
    pub fn fits(&self, alg: Algorithm) -> bool {
        self.alg.is_none_or(|own| own == alg) && self.material.fits(alg)
    }

    /// Returns whether the key is a secret, which a set from elsewhere must not have.
    pub const fn is_secret(&self) -> bool {
        matches!(self.material, Material::Hmac(_))
    }

    /// Does now what would else be done with the first signatures: up to some milliseconds of
    /// preparation that speed up all others. For keys that are known to be in use.
    pub fn prepare(&self) {
        match &self.material {
            Material::Ec(key) => key.prepare(),
            Material::Rsa(key) => key.prepare(),
            Material::Ed25519(_) | Material::Hmac(_) => {}
        }
    }

    /// Checks a signature of `text`, or returns what to ask the host.
    ///
    /// If the host can't be asked after all, the same call with no [`Native`] decides.
    pub fn check<'a>(
        &'a self,
        alg: Algorithm,
        text: &'a [u8],
        signature: &[u8],
        native: Native,
    ) -> Check<'a> {
        if !self.fits(alg) {
            return Check::Decided(false);
        }
        let host = |spki, signature| {
            Check::Host(HostCheck {
                hash: alg.hash(),
                spki,
                signature,
                text,
            })
        };
        match &self.material {
            Material::Ec(key) if key.is_native(native) && key.is_in_range(signature) => {
                host(key.spki(), der::ecdsa_signature(signature))
            }
            Material::Rsa(key) if native.rsa && is_pkcs1(alg) && key.is_in_range(signature) => {
                host(key.spki(), signature.to_vec())
            }
            Material::Ec(key) => Check::Decided(key.verify(text, signature)),
            Material::Ed25519(key) => Check::Decided(key.verify(text, signature)),
            Material::Hmac(key) => Check::Decided(key.verify(alg.hash(), text, signature)),
            Material::Rsa(key) if is_pkcs1(alg) => {
                Check::Decided(key.verify_pkcs1(alg.hash(), text, signature))
            }
            Material::Rsa(key) => Check::Decided(key.verify_pss(alg.hash(), text, signature)),
        }
    }
}

/// Returns whether an algorithm for RSA is RSASSA-PKCS1-v1_5, not RSASSA-PSS.
const fn is_pkcs1(alg: Algorithm) -> bool {
    matches!(alg, Algorithm::Rs256 | Algorithm::Rs384 | Algorithm::Rs512)
}

impl Material {
    /// Makes a key of a point's coordinates, each as long as the curve's field.
    ///
    /// # Errors
    ///
    /// If they are no point of the curve.
    pub fn ec(curve: Curve, x: &[u8], y: &[u8]) -> Result<Self, Weak> {
        let key = EcKey::new(curve, x, y);
        key.map(Self::Ec).ok_or(Weak::NotOnCurve)
    }

    /// Makes a key for Ed25519.
    ///
    /// # Errors
    ///
    /// If the bytes aren't the canonical form of a point, or of one of small order.
    pub fn ed25519(point: &[u8]) -> Result<Self, Weak> {
        let key = point.try_into().ok().and_then(EdKey::new);
        key.map(Self::Ed25519).ok_or(Weak::NotOnCurve)
    }

    /// Makes an HMAC key of a secret.
    ///
    /// # Errors
    ///
    /// If it is too short for any algorithm.
    pub fn hmac(secret: &[u8]) -> Result<Self, Weak> {
        HmacKey::new(secret)
            .map(|key| Self::Hmac(Box::new(key)))
            .ok_or(Weak::ShortSecret)
    }

    /// Makes an RSA key of big-endian numbers.
    ///
    /// # Errors
    ///
    /// If they are too small, too large or even.
    pub fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, Weak> {
        RsaKey::new(modulus, exponent).map(Self::Rsa)
    }

    fn fits(&self, alg: Algorithm) -> bool {
        match self {
            Self::Ec(key) => alg == key.curve().algorithm(),
            Self::Ed25519(_) => alg.family() == Family::Okp,
            Self::Hmac(key) => alg.family() == Family::Hmac && key.suffices_for(alg.hash()),
            Self::Rsa(_) => alg.family() == Family::Rsa,
        }
    }
}

impl fmt::Debug for Material {
    /// Says what kind of key it is and nothing of its numbers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ec(_) => "Ec(..)",
            Self::Ed25519(_) => "Ed25519(..)",
            Self::Hmac(_) => "Hmac(..)",
            Self::Rsa(_) => "Rsa(..)",
        })
    }
}

impl fmt::Display for Weak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotOnCurve => "its coordinates are no point of the curve in full length",
            Self::RsaExponent => "its exponent is even, less than 3 or longer than 33 bits",
            Self::RsaModulusEven => "its modulus is even",
            Self::RsaModulusSize => "its modulus has less than 2048 or more than 8192 bits",
            Self::ShortSecret => "its secret has less than 32 bytes",
        })
    }
}
