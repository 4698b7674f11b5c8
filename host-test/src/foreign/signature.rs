//! `verify_signature` and `sign`: RSA with PKCS1 v1.5 padding, ECDSA with DER signatures.

use p256::ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier, RandomizedPrehashSigner};
use p256::elliptic_curve::rand_core::{CryptoRng, Error, RngCore};
use rsa::pkcs1v15::Pkcs1v15Sign;
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

use super::keys::{PrivateKey, PublicKey};
use super::protobuf::{Message, put_bool, put_bytes};
use crate::abi::Status;

/// Verifies; the result says whether the signature is good, and if not why.
pub(crate) fn verify(arguments: &[u8]) -> Result<Vec<u8>, Status> {
    let message = Message::parse(arguments, &[1, 5]).ok_or(Status::BadArgument)?;
    let (der, pem) = (message.bytes(2), message.text(5));
    if der.is_empty() == pem.is_empty() {
        return Err(Status::BadArgument);
    }
    let key = if pem.is_empty() {
        PublicKey::from_der(der)
    } else {
        PublicKey::from_pem(pem)
    };
    let outcome = check(message.text(1), key, message.bytes(3), message.bytes(4));
    let mut result = Vec::new();
    put_bool(&mut result, 1, outcome.is_ok());
    put_bytes(&mut result, 2, outcome.err().unwrap_or_default().as_bytes());
    Ok(result)
}

/// Signs; the result says whether there is a signature, and if not why.
pub(crate) fn sign(arguments: &[u8]) -> Result<Vec<u8>, Status> {
    let message = Message::parse(arguments, &[1, 4]).ok_or(Status::BadArgument)?;
    let (der, pem) = (message.bytes(2), message.text(4));
    if der.is_empty() == pem.is_empty() {
        return Err(Status::BadArgument);
    }
    let key = if pem.is_empty() {
        PrivateKey::from_der(der)
    } else {
        PrivateKey::from_pem(pem)
    };
    let outcome = make(message.text(1), key, message.bytes(3));
    let mut result = Vec::new();
    put_bool(&mut result, 1, outcome.is_ok());
    match outcome {
        Ok(signature) => put_bytes(&mut result, 2, &signature),
        Err(why) => put_bytes(&mut result, 3, why.as_bytes()),
    }
    Ok(result)
}

fn check(hash: &str, key: Option<PublicKey>, signature: &[u8], text: &[u8]) -> Result<(), String> {
    let digest = Hash::named(hash)?.digest(text);
    let good = match key.ok_or("Failed to initialize digest verify.")? {
        PublicKey::Other => return Err("Failed to initialize digest verify.".to_owned()),
        PublicKey::Rsa(key) => key.verify(digest.padding, &digest.bytes, signature).is_ok(),
        PublicKey::P256(key) => p256::ecdsa::Signature::from_der(signature)
            .is_ok_and(|signature| key.verify_prehash(&digest.padded(32), &signature).is_ok()),
        PublicKey::P384(key) => p384::ecdsa::Signature::from_der(signature)
            .is_ok_and(|signature| key.verify_prehash(&digest.padded(48), &signature).is_ok()),
        PublicKey::P521(key) => p521::ecdsa::Signature::from_der(signature)
            .is_ok_and(|signature| key.verify_prehash(&digest.padded(66), &signature).is_ok()),
    };
    match good {
        true => Ok(()),
        false => Err("Failed to verify digest. Error code: 0".to_owned()),
    }
}

fn make(hash: &str, key: Option<PrivateKey>, text: &[u8]) -> Result<Vec<u8>, String> {
    let digest = Hash::named(hash)?.digest(text);
    let key = key.ok_or("Invalid key type: private key required for signing operation.")?;
    let failed = "Failed to create signature.";
    match key {
        PrivateKey::Other => Err("Invalid private key: key data is corrupted or malformed."),
        PrivateKey::Rsa(key) => key.sign(digest.padding, &digest.bytes).map_err(|_| failed),
        PrivateKey::P256(key) => {
            let signed = key.sign_prehash(&digest.padded(32));
            let signed = signed.map(|it: p256::ecdsa::Signature| it.to_der().as_bytes().to_vec());
            signed.map_err(|_| failed)
        }
        PrivateKey::P384(key) => {
            let signed = key.sign_prehash(&digest.padded(48));
            let signed = signed.map(|it: p384::ecdsa::Signature| it.to_der().as_bytes().to_vec());
            signed.map_err(|_| failed)
        }
        PrivateKey::P521(key) => {
            let digest = digest.padded(66);
            let mut nonces = Nonces::new(&key.to_bytes(), &digest);
            let signed = key.sign_prehash_with_rng(&mut nonces, &digest);
            let signed = signed.map(|it: p521::ecdsa::Signature| it.to_der().as_bytes().to_vec());
            signed.map_err(|_| failed)
        }
    }
    .map_err(str::to_owned)
}

/// A hash function by Envoy's name for it.
#[derive(Clone, Copy)]
enum Hash {
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

/// A digest and the padding that RSA puts before it.
struct Hashed {
    bytes: Vec<u8>,
    padding: Pkcs1v15Sign,
}

impl Hash {
    fn named(name: &str) -> Result<Self, String> {
        Ok(match name.to_ascii_lowercase().as_str() {
            "sha1" => Self::Sha1,
            "sha224" => Self::Sha224,
            "sha256" => Self::Sha256,
            "sha384" => Self::Sha384,
            "sha512" => Self::Sha512,
            _ => return Err(format!("{name} is not supported.")),
        })
    }

    fn digest(self, text: &[u8]) -> Hashed {
        let (bytes, padding) = match self {
            Self::Sha1 => (Sha1::digest(text).to_vec(), Pkcs1v15Sign::new::<Sha1>()),
            Self::Sha224 => (Sha224::digest(text).to_vec(), Pkcs1v15Sign::new::<Sha224>()),
            Self::Sha256 => (Sha256::digest(text).to_vec(), Pkcs1v15Sign::new::<Sha256>()),
            Self::Sha384 => (Sha384::digest(text).to_vec(), Pkcs1v15Sign::new::<Sha384>()),
            Self::Sha512 => (Sha512::digest(text).to_vec(), Pkcs1v15Sign::new::<Sha512>()),
        };
        Hashed { bytes, padding }
    }
}

impl Hashed {
    /// The digest as a number of at least `size` bytes: the crates refuse digests of less than half
    /// the curve's size, which leading zeros don't change as a number.
    fn padded(&self, size: usize) -> Vec<u8> {
        let mut padded = vec![0; size.saturating_sub(self.bytes.len())];
        padded.extend_from_slice(&self.bytes);
        padded
    }
}

/// The nonce of a P-521 signature, drawn from key and digest: the crate has no RFC 6979 for this
/// curve, and equal input must give equal output. Each block is SHA-512 of key, digest and number.
struct Nonces {
    seed: Sha512,
    block: u64,
}

impl Nonces {
    fn new(key: &[u8], digest: &[u8]) -> Self {
        let seed = Sha512::new_with_prefix(key).chain_update(digest);
        Self { seed, block: 0 }
    }
}

impl RngCore for Nonces {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill_bytes(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_bytes(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(64) {
            self.block += 1;
            let block = self.seed.clone().chain_update(self.block.to_be_bytes());
            chunk.copy_from_slice(&block.finalize()[..chunk.len()]);
        }
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(out);
        Ok(())
    }
}

impl CryptoRng for Nonces {}

#[cfg(test)]
mod tests {
    use super::*;

    const VECTORS: &str = include_str!("../../tests/vectors/signatures.txt");

    fn vector(start: &str) -> Vec<u8> {
        let hex = VECTORS.lines().find_map(|line| line.strip_prefix(start));
        let digits = hex.expect("there is such a vector").trim().as_bytes();
        let byte = |pair: &[u8]| {
            let pair = std::str::from_utf8(pair).expect("ASCII");
            u8::from_str_radix(pair, 16).expect("hexadecimal")
        };
        digits.chunks(2).map(byte).collect()
    }

    fn arguments(fields: &[(u8, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        for (number, value) in fields {
            put_bytes(&mut out, *number, value);
        }
        out
    }

    #[test]
    fn what_an_ecdsa_key_signs_verifies_and_is_the_same_each_time() {
        for curve in ["p256", "p384", "p521"] {
            for hash in ["sha1", "sha224", "sha256", "sha384", "sha512"] {
                let private = vector(&format!("private {curve} - "));
                let signing = arguments(&[(1, hash.as_bytes()), (2, &private), (3, b"text")]);
                let signed = sign(&signing).expect("well-formed");
                assert_eq!(sign(&signing), Ok(signed.clone()));
                let signature = Message::parse(&signed, &[]).expect("well-formed").bytes(2);
                let public = vector(&format!("public {curve} - "));
                let mut verifying = vec![
                    (1, hash.as_bytes()),
                    (2, &public),
                    (3, signature),
                    (4, b"text"),
                ];
                let good = verify(&arguments(&verifying));
                assert_eq!(good, Ok(vec![8, 1]), "{curve} {hash}");
                verifying[3].1 = b"another text";
                assert_ne!(verify(&arguments(&verifying)), good);
            }
        }
    }

    #[test]
    fn an_elliptic_key_in_the_older_pem_form_signs() {
        let pem = vector("private_sec1_pem p256 - ");
        let signed = sign(&arguments(&[(1, b"sha256"), (4, &pem), (3, b"text")]));
        assert_eq!(signed.expect("well-formed")[..2], [8, 1]);
    }
}
