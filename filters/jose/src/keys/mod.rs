//! Keys to check signatures with, as JWK sets (RFC 7517 section 5).

mod jwk;
mod set;

pub use jwk::Unusable;
pub use set::{Candidates, InvalidSet, KeySet, Skipped};

/// Reads one key, as a set would.
///
/// # Errors
/// Why it can't be used.
pub fn read_key(jwk: crate::json::Value<'_>) -> Result<crate::verify::Key, Unusable> {
    jwk::read(jwk)
}
