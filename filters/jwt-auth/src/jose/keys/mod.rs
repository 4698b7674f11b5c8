//! Keys to check signatures with, as JWK sets (RFC 7517 section 5).

mod folded;
mod jwk;
mod set;

pub use jwk::Unusable;
pub use set::{Candidates, InvalidSet, KeySet, Skipped};
