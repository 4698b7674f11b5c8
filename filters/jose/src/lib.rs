//! JSON Object Signing: what a token says and whether its signature is right. Pure, no clock.
//!
//! Compact JWS (RFC 7515), JWK and JWK sets (7517), algorithms (7518, 8037), the claims of a JWT
//! (7519) and the advice of RFC 8725. In order of cost, which is the order to call them in:
//!
//! 1. [`compact::Compact::parse`] splits a token, decodes its parts and reads its [`header::Header`];
//! 2. [`claims::Claims::read`] scans its payload, [`checks`] compares it with what is expected;
//! 3. [`keys::KeySet::candidates`] finds the keys it may be signed with;
//! 4. [`verify::Key::check`] decides about the signature, or says what to ask the host.
//!
//! Every refusal is a [`refusal::Reason`] with a sentence. Left out: JWE, the JSON serialization,
//! detached payloads (RFC 7797), key material that the token itself brings (`jwk`, `jku`, `x5c`).

#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

pub mod algorithm;
pub mod base64url;
pub mod checks;
pub mod claims;
pub mod compact;
pub mod date;
pub mod header;
pub mod json;
pub mod keys;
pub mod probe;
pub mod refusal;
pub mod thumbprint;
pub mod verify;
