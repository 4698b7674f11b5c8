//! HMAC (RFC 2104, RFC 7518 section 3.2).

use hmac::{Hmac, KeyInit, Mac};
use sha2_current::{Sha256, Sha384, Sha512};

use crate::algorithm::Hash;

/// A secret, hashed into the first block of each function.
pub struct HmacKey {
    length: usize,
    sha256: Hmac<Sha256>,
    sha384: Hmac<Sha384>,
    sha512: Hmac<Sha512>,
}

impl HmacKey {
    /// Makes a key of a secret of at least 32 bytes.
    pub(super) fn new(secret: &[u8]) -> Option<Self> {
        if secret.len() < Hash::Sha256.size() {
            return None;
        }
        Some(Self {
            length: secret.len(),
            sha256: Hmac::new_from_slice(secret).ok()?,
            sha384: Hmac::new_from_slice(secret).ok()?,
            sha512: Hmac::new_from_slice(secret).ok()?,
        })
    }

    /// Returns whether the secret is as long as the function's output, as it must be.
    pub(super) const fn suffices_for(&self, hash: Hash) -> bool {
        self.length >= hash.size()
    }

    /// Checks the whole code, in a time that doesn't depend on where it differs.
    pub(super) fn verify(&self, hash: Hash, text: &[u8], code: &[u8]) -> bool {
        match hash {
            Hash::Sha256 => verify(&self.sha256, text, code),
            Hash::Sha384 => verify(&self.sha384, text, code),
            Hash::Sha512 => verify(&self.sha512, text, code),
        }
    }
}

fn verify(keyed: &(impl Mac + Clone), text: &[u8], code: &[u8]) -> bool {
    keyed.clone().chain_update(text).verify_slice(code).is_ok()
}
