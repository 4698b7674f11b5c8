//! Signatures: whether one is right, or what to ask the host to find out.

mod hmac;
mod key;

pub use key::{Key, Material, Weak};

use crate::jose::algorithm::Hash;

/// Which signatures the host checks for us, faster than a module can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Native {
    /// ECDSA on P-256, P-384 and P-521.
    pub ecdsa: bool,
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
