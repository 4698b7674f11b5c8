//! The examples of the RFCs: 7515 appendix A, 8037 appendix A, 7520 section 4, compact forms.
//!
//! What has no compact form (7515 A.6 and A.7, 7520 4.6 to 4.8) isn't a token. Forms that we don't
//! take (not secured, detached, unencoded) are in the file with the reason to refuse them.

use jwt_auth::jose::compact::{Compact, MAX_TOKEN_BYTES};
use jwt_auth::jose::keys::KeySet;
use jwt_auth::jose::refusal::Reason;
use jwt_auth::jose::verify::{Check, Native};

/// Returns the reason to refuse a token, given a set of this one key.
fn refusal(jwk: &serde_json::Value, token: &str) -> Option<Reason> {
    let set = serde_json::json!({ "keys": [jwk] }).to_string();
    let keys = KeySet::read(set.into_bytes()).unwrap();
    assert_eq!(keys.skipped(), []);
    let compact = match Compact::parse(token.as_bytes(), MAX_TOKEN_BYTES) {
        Ok(compact) => compact,
        Err(refusal) => return Some(refusal.reason),
    };
    let alg = compact.header.alg;
    let mut candidates = match keys.candidates(&compact.header) {
        Ok(candidates) => candidates,
        Err(refusal) => return Some(refusal.reason),
    };
    let is_right = candidates.any(|key| {
        let native = Native::default();
        let check = key.check(alg, compact.signing_input, &compact.signature, native);
        check == Check::Decided(true)
    });
    (!is_right).then_some(Reason::BadSignature)
}

#[test]
fn the_examples_of_the_rfcs_are_taken_or_refused_as_they_should() {
    let vectors = include_str!("vectors/rfc.json");
    let vectors: Vec<serde_json::Value> = serde_json::from_str(vectors).unwrap();
    assert_eq!(vectors.len(), 12);
    for vector in &vectors {
        let refused = refusal(&vector["key"], vector["token"].as_str().unwrap());
        let refused = refused.map(Reason::slug);
        assert_eq!(refused, vector["refused"].as_str(), "{}", vector["source"]);
    }
}

#[test]
fn no_bit_of_an_example_can_be_changed() {
    let vectors = include_str!("vectors/rfc.json");
    let vectors: Vec<serde_json::Value> = serde_json::from_str(vectors).unwrap();
    for vector in vectors.iter().filter(|vector| vector["refused"].is_null()) {
        let token = vector["token"].as_str().unwrap();
        for at in (0..token.len()).step_by(7) {
            let mut changed = token.as_bytes().to_vec();
            changed[at] ^= 1;
            let changed = String::from_utf8(changed).unwrap();
            assert!(
                refusal(&vector["key"], &changed).is_some(),
                "{} at {at}",
                vector["source"]
            );
        }
    }
}
