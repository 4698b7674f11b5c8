//! Tokens and keys. The RSA key is the one of Envoy's documentation, which is RFC 7517's; its
//! private part is in that RFC's appendix A.2. The elliptic one was made by OpenSSL.

use p256::ecdsa::signature::Signer;
use p256::pkcs8::DecodePrivateKey;
use rsa::pkcs1v15::Pkcs1v15Sign;
use rsa::{BigUint, RsaPrivateKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256, Sha384, Sha512};

const N: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
const D: &str = "X4cTteJY_gn4FYPsXB8rdXix5vwsg1FLN5E3EaG6RJoVH-HLLKD9M7dx5oo7GURknchnrRweUkC7hT5fJLM0WbFAKNLWY2vv7B6NqXSzUvxT0_YSfqijwp3RTzlBaCxWp4doFk5N2o8Gy_nHNKroADIkJ46pRUohsXywbReAdYaMwFs9tv8d_cPVY3i07a3t8MN6TNwm0dSawm9v47UiCl3Sk5ZiG7xojPLu4sbg1U2jx4IBTNBznbJSzFHK66jT8bgkuqsk0GjskDJk19Z4qwjwbsnn4j2WBii3RL-Us2lGVkY8fkFzme1z0HbIkfz0Y6mqnOYtqc0X4jfcKoAC8Q";
const P: &str = "83i-7IvMGXoMXCskv73TKr8637FiO7Z27zv8oj6pbWUQyLPQBQxtPVnwD20R-60eTDmD2ujnMt5PoqMrm8RfmNhVWDtjjMmCMjOpSXicFHj7XOuVIYQyqVWlWEh6dN36GVZYk93N8Bc9vY41xy8B9RzzOGVQzXvNEvn7O0nVbfs";
const Q: &str = "3dfOR9cuYq-0S-mkFLzgItgMEfFzB2q3hWehMuG0oCuqnb3vobLyumqjVZQO1dIrdwgTnCdpYzBcOfW5r370AFXjiWft_NGEiovonizhKpo9VVS78TzFgxkIdrecRezsZ-1kYd_s1qDbxtkDEgfAITAG9LUnADun4vIcb6yelxk";

/// The secret of the symmetric key: as long as SHA-512's output, so that it serves all three.
const SECRET: &[u8; 64] = b"a secret of sixty-four bytes, known to the issuer and to us only";

const VECTORS: &str = include_str!("../vectors/signatures.txt");

/// Seconds since 1970 at the start of 2100 and of 2001.
pub(crate) const FUTURE: u64 = 4_102_444_800;
pub(crate) const PAST: u64 = 978_307_200;

/// A key of [`jwks`], or one of nobody's.
#[derive(Clone, Copy)]
pub(crate) enum Key {
    /// kid `2011-04-29`.
    Rsa,
    /// kid `elliptic`.
    P256,
    /// The same, and each half of its signatures has a zero before it.
    P256Padded,
    /// kid `secret`.
    Secret,
    /// In no key set.
    Stranger,
}

/// The key set that configurations hold and the key server answers.
pub(crate) fn jwks() -> Value {
    let point = p256().verifying_key().to_encoded_point(false);
    let coordinate =
        |bytes: Option<_>| encode(bytes.map_or(&[][..], |bytes: &p256::FieldBytes| bytes));
    json!({"keys": [
        rsa_jwk(),
        {"kty": "EC", "crv": "P-256", "kid": "elliptic", "alg": "ES256",
         "x": coordinate(point.x()), "y": coordinate(point.y())},
        {"kty": "oct", "kid": "secret", "k": encode(SECRET)},
    ]})
}

/// The RSA key as Envoy's documentation has it.
pub(crate) fn rsa_jwk() -> Value {
    json!({"kty": "RSA", "n": N, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"})
}

/// A signed token.
pub(crate) fn sign(key: Key, header: &Value, claims: &Value) -> String {
    sign_text(key, &header.to_string(), &claims.to_string())
}

/// A signed token whose parts need not be JSON.
pub(crate) fn sign_text(key: Key, header: &str, claims: &str) -> String {
    let text = format!(
        "{}.{}",
        encode(header.as_bytes()),
        encode(claims.as_bytes())
    );
    let signature = signature(key, header, text.as_bytes());
    format!("{text}.{}", encode(&signature))
}

/// A token of the RSA key, RS256.
pub(crate) fn rs256(claims: &Value) -> String {
    sign(
        Key::Rsa,
        &json!({"alg": "RS256", "kid": "2011-04-29"}),
        claims,
    )
}

fn signature(key: Key, header: &str, text: &[u8]) -> Vec<u8> {
    match key {
        Key::Rsa => rsa_signature(&rsa(), header, text),
        Key::Stranger => rsa_signature(&stranger(), header, text),
        Key::P256 => {
            let signature: p256::ecdsa::Signature = p256().sign(text);
            signature.to_bytes().to_vec()
        }
        Key::P256Padded => {
            let signature = signature(Key::P256, header, text);
            let halves = signature.chunks(32).flat_map(|half| [&[0], half].concat());
            halves.collect()
        }
        Key::Secret if header.contains("HS512") => hmac::<Sha512>(128, text),
        Key::Secret if header.contains("HS384") => hmac::<Sha384>(128, text),
        Key::Secret => hmac::<Sha256>(64, text),
    }
}

fn rsa_signature(key: &RsaPrivateKey, header: &str, text: &[u8]) -> Vec<u8> {
    let signed = if header.contains("RS512") {
        key.sign(Pkcs1v15Sign::new::<Sha512>(), &Sha512::digest(text))
    } else if header.contains("RS384") {
        key.sign(Pkcs1v15Sign::new::<Sha384>(), &Sha384::digest(text))
    } else {
        key.sign(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(text))
    };
    signed.expect("the key is sound")
}

/// HMAC (RFC 2104) with [`SECRET`], which is no longer than a block.
fn hmac<D: Digest>(block: usize, text: &[u8]) -> Vec<u8> {
    let pad = |with: u8| {
        let mut key = SECRET.to_vec();
        key.resize(block, 0);
        key.iter_mut().for_each(|byte| *byte ^= with);
        key
    };
    let inner = D::new()
        .chain_update(pad(0x36))
        .chain_update(text)
        .finalize();
    D::new()
        .chain_update(pad(0x5c))
        .chain_update(inner)
        .finalize()
        .to_vec()
}

fn rsa() -> RsaPrivateKey {
    let number = |text: &str| BigUint::from_bytes_be(&decode(text));
    let primes = vec![number(P), number(Q)];
    RsaPrivateKey::from_components(number(N), BigUint::from(65_537_u32), number(D), primes)
        .expect("RFC 7517's key")
}

fn stranger() -> RsaPrivateKey {
    RsaPrivateKey::from_pkcs8_der(&vector("rsa")).expect("PKCS8")
}

fn p256() -> p256::ecdsa::SigningKey {
    p256::ecdsa::SigningKey::from_pkcs8_der(&vector("p256")).expect("PKCS8")
}

fn vector(key: &str) -> Vec<u8> {
    let line = VECTORS
        .lines()
        .find_map(|line| line.strip_prefix(&format!("private {key} - ")));
    let hex = line.expect("in the vectors");
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
    (0..hex.len()).step_by(2).map(byte).collect()
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// base64url without padding (RFC 4648 section 5).
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let number = (0..3).fold(0, |sum, at| {
            sum << 8 | u32::from(*group.get(at).unwrap_or(&0))
        });
        for at in 0..=group.len() {
            let digit = number >> (18 - 6 * at) & 63;
            text.push(char::from(ALPHABET[digit as usize]));
        }
    }
    text
}

fn decode(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text
        .bytes()
        .map(|byte| {
            ALPHABET
                .iter()
                .position(|it| *it == byte)
                .expect("base64url") as u32
        })
        .collect();
    let mut bytes = Vec::new();
    for group in digits.chunks(4) {
        let number = (0..4).fold(0, |sum, at| sum << 6 | group.get(at).unwrap_or(&0));
        bytes.extend((0..group.len() - 1).map(|at| (number >> (16 - 8 * at)) as u8));
    }
    bytes
}
