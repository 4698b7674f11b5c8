//! Signatures: whether one is right, or what to ask the host to find out.
//!
//! Envoy lends its BoringSSL to modules for RSASSA-PKCS1-v1_5 and ECDSA, at native speed; which of
//! these it has is found out at configuration by [`probe`](super::probe). All other algorithms, and on
//! other hosts these too, are checked here. The answers are the same: what the host is lax about
//! is checked before it is asked.

mod comb;
mod der;
mod digest;
mod ec;
mod eddsa;
mod hmac;
mod key;
mod rsa;

pub use ec::{Curve, EcKey};
pub use eddsa::EdKey;
pub use hmac::HmacKey;
pub use key::{Key, Material, Weak};
pub use rsa::RsaKey;

use crate::algorithm::Hash;

/// Which signatures the host checks for us; none by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Native {
    /// ECDSA on P-256.
    pub p256: bool,
    /// ECDSA on P-384.
    pub p384: bool,
    /// ECDSA on P-521.
    pub p521: bool,
    /// RSASSA-PKCS1-v1_5.
    pub rsa: bool,
}

/// What is known about a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check<'a> {
    /// Whether it is right.
    Decided(bool),
    /// It is right if the host says so.
    Host(HostCheck<'a>),
}

/// What to ask Envoy's foreign function `verify_signature`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostCheck<'a> {
    /// The hash of the text.
    pub hash: Hash,
    /// The public key as DER SubjectPublicKeyInfo.
    pub spki: &'a [u8],
    /// The signature: RSA's bytes, or DER for ECDSA.
    pub signature: Vec<u8>,
    /// What was signed.
    pub text: &'a [u8],
}
