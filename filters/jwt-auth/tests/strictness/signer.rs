//! Whoever makes the tokens.

use ecdsa_p256::ecdsa::signature::Signer as _;
use hmac::{KeyInit, Mac};
use jwt_auth::jose::base64url;
use serde_json::{Value, json};
use sha2_current::Sha256;

/// A key that signs as its kind does, whatever the header says.
pub(crate) enum Signer {
    Ed25519(ed25519_dalek::SigningKey),
    Hmac(Vec<u8>),
    P256(ecdsa_p256::ecdsa::SigningKey),
}

impl Signer {
    pub(crate) fn ed25519() -> Self {
        Self::Ed25519(ed25519_dalek::SigningKey::from_bytes(&[7; 32]))
    }

    pub(crate) fn hmac() -> Self {
        Self::Hmac(vec![7; 32])
    }

    pub(crate) fn p256() -> Self {
        Self::P256(ecdsa_p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap())
    }

    /// The key as a set of keys has it.
    pub(crate) fn jwk(&self) -> Value {
        let encode = base64url::encode;
        match self {
            Self::Ed25519(key) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": encode(key.verifying_key().as_bytes())})
            }
            Self::Hmac(secret) => json!({"kty": "oct", "k": encode(secret)}),
            Self::P256(key) => {
                let point = key.verifying_key().to_sec1_point(false);
                let (x, y) = point.as_bytes()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y)})
            }
        }
    }

    /// The key with another member or two.
    pub(crate) fn jwk_with(&self, members: &Value) -> Value {
        let mut jwk = self.jwk();
        let members = members.as_object().unwrap().clone();
        jwk.as_object_mut().unwrap().extend(members);
        jwk
    }

    pub(crate) fn sign(&self, text: &[u8]) -> Vec<u8> {
        match self {
            Self::Ed25519(key) => key.sign(text).to_bytes().to_vec(),
            Self::Hmac(secret) => {
                let mac = hmac::Hmac::<Sha256>::new_from_slice(secret).unwrap();
                mac.chain_update(text).finalize().into_bytes().to_vec()
            }
            Self::P256(key) => {
                let signature: ecdsa_p256::ecdsa::Signature = key.sign(text);
                signature.to_bytes().to_vec()
            }
        }
    }

    /// The algorithm that it really signs with.
    pub(crate) fn alg(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => "EdDSA",
            Self::Hmac(_) => "HS256",
            Self::P256(_) => "ES256",
        }
    }

    /// Makes a token of this header and these claims.
    pub(crate) fn token(&self, header: &str, claims: &str) -> String {
        self.token_with(header, claims, |signature| signature)
    }

    /// Makes a token with another signature.
    pub(crate) fn token_with(
        &self,
        header: &str,
        claims: &str,
        change: impl Fn(Vec<u8>) -> Vec<u8>,
    ) -> String {
        let [header, claims] = [header, claims].map(|part| base64url::encode(part.as_bytes()));
        self.sign_parts(&header, &claims, change)
    }

    /// Makes a token of two parts that are encoded already.
    pub(crate) fn sign_parts(
        &self,
        header: &str,
        claims: &str,
        change: impl Fn(Vec<u8>) -> Vec<u8>,
    ) -> String {
        let text = format!("{header}.{claims}");
        let signature = change(self.sign(text.as_bytes()));
        format!("{text}.{}", base64url::encode(&signature))
    }

    /// Makes a token whose header has the right `alg`.
    pub(crate) fn claims(&self, claims: &str) -> String {
        self.token(&format!(r#"{{"alg":"{}"}}"#, self.alg()), claims)
    }
}
