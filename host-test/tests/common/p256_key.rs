//! Keys on P-256: the tokens that an issuer signs with one, and proofs that a client has one.

use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use sha2::{Digest, Sha256};

/// A key with a name.
pub(crate) struct Key {
    pub(crate) kid: String,
    key: SigningKey,
}

impl Key {
    /// The key of that name, which must be short.
    pub(crate) fn new(kid: &str) -> Self {
        let mut secret = [7; 32];
        secret[..kid.len()].copy_from_slice(kid.as_bytes());
        let key = SigningKey::from_slice(&secret).expect("a scalar");
        Self {
            kid: kid.to_owned(),
            key,
        }
    }

    /// The public key as a member of a key set.
    pub(crate) fn jwk(&self) -> String {
        let (x, y) = self.coordinates();
        let kid = &self.kid;
        format!(r#"{{"kty":"EC","crv":"P-256","kid":"{kid}","x":"{x}","y":"{y}"}}"#)
    }

    /// The public key with what it must have alone, in the order of RFC 7638.
    pub(crate) fn bare_jwk(&self) -> String {
        let (x, y) = self.coordinates();
        format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#)
    }

    /// The thumbprint that a token is bound by (RFC 7638).
    pub(crate) fn thumbprint(&self) -> String {
        base64url(&Sha256::digest(self.bare_jwk()))
    }

    fn coordinates(&self) -> (String, String) {
        let point = self.key.verifying_key().to_encoded_point(false);
        let part = |part: Option<&p256::FieldBytes>| base64url(part.expect("a point"));
        (part(point.x()), part(point.y()))
    }

    /// Signs a token with these claims.
    pub(crate) fn sign_claims(&self, claims: &str) -> String {
        self.sign(
            &format!(r#"{{"alg":"ES256","kid":"{}"}}"#, self.kid),
            claims,
        )
    }

    /// Signs a header and claims.
    pub(crate) fn sign(&self, header: &str, claims: &str) -> String {
        let input = format!(
            "{}.{}",
            base64url(header.as_bytes()),
            base64url(claims.as_bytes())
        );
        let signature: Signature = self.key.sign(input.as_bytes());
        format!("{input}.{}", base64url(&signature.to_bytes()))
    }

    /// A proof of possession (RFC 9449) with these claims.
    pub(crate) fn prove(&self, claims: &str) -> String {
        let jwk = self.bare_jwk();
        self.sign(
            &format!(r#"{{"typ":"dpop+jwt","alg":"ES256","jwk":{jwk}}}"#),
            claims,
        )
    }
}

/// A key set.
pub(crate) fn jwks(keys: &[&Key]) -> String {
    let keys: Vec<_> = keys.iter().map(|key| key.jwk()).collect();
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}

/// The digest of an access token that a proof names (`ath`).
pub(crate) fn token_digest(token: &str) -> String {
    base64url(&Sha256::digest(token))
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// base64url without padding (RFC 4648 section 5).
pub(crate) fn base64url(bytes: &[u8]) -> String {
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group
            .iter()
            .fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        let bits = bits << (8 * (3 - group.len()));
        for at in 0..=group.len() {
            text.push(char::from(ALPHABET[bits >> (18 - 6 * at) & 63]));
        }
    }
    text
}
