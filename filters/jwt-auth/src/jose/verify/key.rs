//! A key, and the algorithms it may be used with.

use std::fmt;

use super::hmac::HmacKey;
use super::{Check, Native};
use crate::jose::algorithm::{Algorithm, Family};

/// A key to check signatures with.
#[derive(Debug)]
pub struct Key {
    kid: Option<String>,
    alg: Option<Algorithm>,
    material: Material,
}

/// The numbers of a key.
pub enum Material {
    /// A secret for HMAC.
    Hmac(HmacKey),
}

/// Why numbers make no usable key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weak {
    /// An HMAC secret of less than 32 bytes (RFC 7518 section 3.2).
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

    /// Checks a signature of `text`, or returns what to ask the host.
    ///
    /// What the host is lax about (lengths, ranges, sizes) is checked before it is asked.
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
        let _ = native;
        match &self.material {
            Material::Hmac(key) => Check::Decided(key.verify(alg.hash(), text, signature)),
        }
    }
}

impl Material {
    /// Makes an HMAC key of a secret.
    ///
    /// # Errors
    ///
    /// If it is too short for any algorithm.
    pub fn hmac(secret: &[u8]) -> Result<Self, Weak> {
        HmacKey::new(secret)
            .map(Self::Hmac)
            .ok_or(Weak::ShortSecret)
    }

    fn fits(&self, alg: Algorithm) -> bool {
        match self {
            Self::Hmac(key) => alg.family() == Family::Hmac && key.suffices_for(alg.hash()),
        }
    }
}

impl fmt::Debug for Material {
    /// Says what kind of key it is and nothing of its numbers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hmac(_) => "Hmac(..)",
        })
    }
}
