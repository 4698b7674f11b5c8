//! Tokens that must be refused, and the reasons.

mod attacks;
mod laxness;
mod mutation;
mod signer;

use jwt_auth::jose::checks::Times;
use jwt_auth::jose::claims::Claims;
use jwt_auth::jose::compact::{Compact, MAX_TOKEN_BYTES};
use jwt_auth::jose::date::NumericDate;
use jwt_auth::jose::keys::KeySet;
use jwt_auth::jose::refusal::{Reason, Refusal};
use jwt_auth::jose::verify::{Check, Native};

/// The moment at which tokens are checked.
const NOW: NumericDate = NumericDate::from_unix_seconds(1_700_000_000);
/// Claims of a token that is valid then.
const CLAIMS: &str = r#"{"iss":"https://issuer.example","sub":"alice","exp":1700003600}"#;

/// Makes a set of these keys.
fn keys(jwks: &[serde_json::Value]) -> KeySet {
    let set = serde_json::json!({ "keys": jwks }).to_string();
    KeySet::read(set.into_bytes()).unwrap()
}

/// Checks a token as the filter does, from its text to its signature.
fn check(keys: &KeySet, token: &str) -> Result<(), Reason> {
    verify(keys, token).map_err(|refusal| refusal.reason)
}

fn verify(keys: &KeySet, token: &str) -> Result<(), Refusal> {
    let compact = Compact::parse(token.as_bytes(), MAX_TOKEN_BYTES)?;
    let claims = Claims::read(compact.payload)?;
    Times::default().check(&claims, NOW)?;
    let native = Native::default();
    let is_right = keys.candidates(&compact.header)?.any(|key| {
        let text = compact.signing_input;
        key.check(compact.header.alg, text, &compact.signature, native) == Check::Decided(true)
    });
    if is_right {
        return Ok(());
    }
    Err(Reason::BadSignature.because("no key of the set made this signature"))
}
