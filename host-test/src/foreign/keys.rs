//! Public and private keys in the forms that Envoy imports: SPKI and PKCS8, as DER or PEM.
//!
//! What follows a DER key is ignored and PEM lines may have any length, as in BoringSSL.

use p256::elliptic_curve::ALGORITHM_OID;
use rsa::pkcs1;
use rsa::pkcs8::der::asn1::ObjectIdentifier;
use rsa::pkcs8::der::{Decode, Document, SliceReader};
use rsa::pkcs8::spki::SubjectPublicKeyInfoRef;
use rsa::pkcs8::{AssociatedOid, PrivateKeyInfo};
use rsa::{BigUint, RsaPrivateKey, RsaPublicKey};

/// BoringSSL's limit for the modulus, in bits.
const MAX_RSA_BITS: usize = 16_384;

/// A key that verifies.
pub(super) enum PublicKey {
    Rsa(RsaPublicKey),
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
    P521(p521::ecdsa::VerifyingKey),
    /// BoringSSL reads it, but no digest goes with it: Ed25519, X25519.
    Other,
}

/// A key that signs.
pub(super) enum PrivateKey {
    Rsa(Box<RsaPrivateKey>),
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
    P521(p521::ecdsa::SigningKey),
    /// As [`PublicKey::Other`].
    Other,
}

impl PublicKey {
    pub(super) fn from_pem(text: &str) -> Option<Self> {
        let document = pem(text, "PUBLIC KEY")?;
        Self::from_der(document.as_bytes())
    }

    pub(super) fn from_der(der: &[u8]) -> Option<Self> {
        let mut reader = SliceReader::new(first_value(der)?).ok()?;
        let info = SubjectPublicKeyInfoRef::decode(&mut reader).ok()?;
        if info.algorithm.oid == pkcs1::ALGORITHM_OID {
            let key = pkcs1::RsaPublicKey::from_der(info.subject_public_key.as_bytes()?).ok()?;
            let modulus = BigUint::from_bytes_be(key.modulus.as_bytes());
            let exponent = BigUint::from_bytes_be(key.public_exponent.as_bytes());
            let key = RsaPublicKey::new_with_max_size(modulus, exponent, MAX_RSA_BITS);
            return key.ok().map(Self::Rsa);
        }
        if info.algorithm.oid != ALGORITHM_OID {
            return is_edwards(info.algorithm.oid).then_some(Self::Other);
        }
        let curve = info.algorithm.parameters_oid().ok()?;
        let point = info.subject_public_key.as_bytes()?;
        match curve {
            p256::NistP256::OID => p256::ecdsa::VerifyingKey::from_sec1_bytes(point)
                .ok()
                .map(Self::P256),
            p384::NistP384::OID => p384::ecdsa::VerifyingKey::from_sec1_bytes(point)
                .ok()
                .map(Self::P384),
            p521::NistP521::OID => p521::ecdsa::VerifyingKey::from_sec1_bytes(point)
                .ok()
                .map(Self::P521),
            _ => None,
        }
    }
}

impl PrivateKey {
    pub(super) fn from_pem(text: &str) -> Option<Self> {
        if let Some(document) = pem(text, "RSA PRIVATE KEY") {
            return Self::rsa(document.as_bytes());
        }
        if let Some(document) = pem(text, "EC PRIVATE KEY") {
            let der = document.as_bytes();
            let p256 = || p256::SecretKey::from_sec1_der(der).ok().map(Self::p256);
            let p384 = || p384::SecretKey::from_sec1_der(der).ok().map(Self::p384);
            let p521 = || {
                p521::SecretKey::from_sec1_der(der)
                    .ok()
                    .and_then(Self::p521)
            };
            return p256().or_else(p384).or_else(p521);
        }
        let document = pem(text, "PRIVATE KEY")?;
        Self::from_der(document.as_bytes())
    }

    pub(super) fn from_der(der: &[u8]) -> Option<Self> {
        let mut reader = SliceReader::new(first_value(der)?).ok()?;
        let info = PrivateKeyInfo::decode(&mut reader).ok()?;
        if info.algorithm.oid == pkcs1::ALGORITHM_OID {
            return Self::rsa(info.private_key);
        }
        if info.algorithm.oid != ALGORITHM_OID {
            return is_edwards(info.algorithm.oid).then_some(Self::Other);
        }
        match info.algorithm.parameters_oid().ok()? {
            p256::NistP256::OID => p256::SecretKey::try_from(info).ok().map(Self::p256),
            p384::NistP384::OID => p384::SecretKey::try_from(info).ok().map(Self::p384),
            p521::NistP521::OID => p521::SecretKey::try_from(info).ok().and_then(Self::p521),
            _ => None,
        }
    }

    fn rsa(pkcs1: &[u8]) -> Option<Self> {
        let key = pkcs1::RsaPrivateKey::from_der(pkcs1).ok()?;
        let number = |value: pkcs1::UintRef<'_>| BigUint::from_bytes_be(value.as_bytes());
        let primes = vec![number(key.prime1), number(key.prime2)];
        let key = RsaPrivateKey::from_components(
            number(key.modulus),
            number(key.public_exponent),
            number(key.private_exponent),
            primes,
        );
        Some(Self::Rsa(Box::new(key.ok()?)))
    }

    fn p256(key: p256::SecretKey) -> Self {
        Self::P256(key.into())
    }

    fn p384(key: p384::SecretKey) -> Self {
        Self::P384(key.into())
    }

    fn p521(key: p521::SecretKey) -> Option<Self> {
        let key = p521::ecdsa::SigningKey::from_bytes(&key.to_bytes());
        key.ok().map(Self::P521)
    }
}

/// Ed25519 or X25519 (RFC 8410).
fn is_edwards(oid: ObjectIdentifier) -> bool {
    ["1.3.101.112", "1.3.101.110"]
        .iter()
        .any(|known| ObjectIdentifier::new_unwrap(known) == oid)
}

/// The first PEM block of that label.
fn pem(text: &str, label: &str) -> Option<Document> {
    let (begin, end) = (
        format!("-----BEGIN {label}-----"),
        format!("-----END {label}-----"),
    );
    let body = text.split_once(&begin)?.1.split_once(&end)?.0;
    let body: Vec<char> = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let lines: String = body
        .chunks(64)
        .map(|line| line.iter().collect::<String>() + "\n")
        .collect();
    let wrapped = format!("{begin}\n{lines}{end}\n");
    let (found, document) = Document::from_pem(&wrapped).ok()?;
    (found == label).then_some(document)
}

/// The first DER value, without what follows it.
fn first_value(der: &[u8]) -> Option<&[u8]> {
    let (&size, rest) = der.get(1..)?.split_first()?;
    let (header, size) = if size < 0x80 {
        (2, usize::from(size))
    } else {
        let count = usize::from(size & 0x7f);
        if count > 4 {
            return None;
        }
        let bytes = rest.get(..count)?;
        let size = bytes
            .iter()
            .fold(0, |size, &byte| size << 8 | usize::from(byte));
        (2 + count, size)
    };
    der.get(..header + size)
}
