//! RSA signatures (RFC 8017 sections 8.1.2 and 8.2.2) by our own public-key operation.

mod montgomery;
mod padding;

use std::cell::OnceCell;

use self::montgomery::Modulus;
use super::{der, key::Weak};
use crate::algorithm::Hash;

/// Bits of a modulus: fewer are too easily factored (RFC 7518 section 3.3), more take milliseconds.
const MODULUS_BITS: std::ops::RangeInclusive<u32> = 2048..=8192;
/// As in BoringSSL: no key in use has more, and each costs a multiplication.
const MAX_EXPONENT_BITS: u32 = 33;

/// A public key.
pub struct RsaKey {
    /// Without zeros in front.
    modulus: Vec<u8>,
    bits: u32,
    exponent: u64,
    spki: Vec<u8>,
    /// Made for the first signature: it takes as long as checking one.
    prepared: OnceCell<Modulus>,
}

impl RsaKey {
    /// Makes a key of big-endian numbers.
    pub(super) fn new(modulus: &[u8], exponent: &[u8]) -> Result<Self, Weak> {
        let [modulus, exponent] = [modulus, exponent].map(without_zeros);
        let bits = bits(modulus);
        if !MODULUS_BITS.contains(&bits) {
            return Err(Weak::RsaModulusSize);
        }
        if modulus.last().is_none_or(|last| last % 2 == 0) {
            return Err(Weak::RsaModulusEven);
        }
        if self::bits(exponent) > MAX_EXPONENT_BITS {
            return Err(Weak::RsaExponent);
        }
        let number = exponent
            .iter()
            .fold(0_u64, |sum, byte| sum.wrapping_shl(8) | u64::from(*byte));
        if number < 3 || number % 2 == 0 {
            return Err(Weak::RsaExponent);
        }
        Ok(Self {
            spki: der::rsa_key(modulus, exponent),
            modulus: modulus.to_vec(),
            bits,
            exponent: number,
            prepared: OnceCell::new(),
        })
    }

    /// Returns the key as DER SubjectPublicKeyInfo.
    pub(super) fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// Returns whether a signature is as long as the modulus and less than it.
    pub(super) fn is_in_range(&self, signature: &[u8]) -> bool {
        signature.len() == self.modulus.len() && *signature < *self.modulus
    }

    /// Checks a signature of RSASSA-PKCS1-v1_5.
    pub(super) fn verify_pkcs1(&self, hash: Hash, text: &[u8], signature: &[u8]) -> bool {
        let encoded = self.open(signature);
        encoded.is_some_and(|encoded| padding::is_pkcs1(&encoded, hash, text))
    }

    /// Checks a signature of RSASSA-PSS.
    pub(super) fn verify_pss(&self, hash: Hash, text: &[u8], signature: &[u8]) -> bool {
        let encoded = self.open(signature);
        encoded.is_some_and(|encoded| padding::is_pss(&encoded, self.bits, hash, text))
    }

    fn open(&self, signature: &[u8]) -> Option<Vec<u8>> {
        if !self.is_in_range(signature) {
            return None;
        }
        Some(self.prepared().power(signature, self.exponent))
    }

    /// Makes now what would be made for the first signature.
    pub(super) fn prepare(&self) {
        self.prepared();
    }

    fn prepared(&self) -> &Modulus {
        self.prepared.get_or_init(|| Modulus::new(&self.modulus))
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// Returns the bits of a number without zeros in front.
fn bits(number: &[u8]) -> u32 {
    let above = number.first().map_or(0, |first| first.leading_zeros());
    let bytes = u32::try_from(number.len()).unwrap_or(u32::MAX);
    bytes.saturating_mul(8).saturating_sub(above)
}
