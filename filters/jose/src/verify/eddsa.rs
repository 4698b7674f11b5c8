//! Ed25519 signatures (RFC 8032 section 5.1.7, RFC 8037), strictly.
//!
//! Refused although RFC 8032 leaves some of it open: keys and R of small order, with which one
//! signature is right for many texts, and keys that are not written in the one canonical way.

use ed25519_dalek::{Signature, VerifyingKey};

/// A public key.
pub struct EdKey(VerifyingKey);

impl EdKey {
    /// Makes a key; `None` if the bytes are no point, not canonical or of small order.
    pub(super) fn new(bytes: &[u8; 32]) -> Option<Self> {
        let key = VerifyingKey::from_bytes(bytes).ok()?;
        (is_canonical(bytes) && !key.is_weak()).then_some(Self(key))
    }

    /// Checks a signature.
    pub(super) fn verify(&self, text: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature)
            .is_ok_and(|signature| self.0.verify_strict(text, &signature).is_ok())
    }
}

/// Returns whether y is less than 2^255 - 19: the rest is written `ed` or more, `ff` thirty times,
/// `7f` and the sign.
fn is_canonical(bytes: &[u8; 32]) -> bool {
    let [lowest, middle @ .., highest] = bytes;
    *lowest < 0xed || middle.iter().any(|byte| *byte != 0xff) || highest & 0x7f != 0x7f
}
