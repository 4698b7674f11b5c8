//! Keys to check signatures with, as JWK sets (RFC 7517 section 5).

mod jwk;
mod set;

pub use jwk::Unusable;
pub use set::{Candidates, InvalidSet, KeySet, Skipped};

/// Reads one key, as a set would.
pub(crate) fn read_key(jwk: super::json::Value<'_>) -> Result<super::verify::Key, Unusable> {
    jwk::read(jwk)
}
