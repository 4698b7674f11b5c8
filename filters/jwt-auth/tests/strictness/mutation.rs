//! Random changes: nothing panics, and no other text than the signed one is accepted.

use jwt_auth::jose::compact::Compact;
use jwt_auth::jose::header::Header;
use jwt_auth::jose::keys::KeySet;
use proptest::prelude::*;
use serde_json::json;

use crate::signer::Signer;
use crate::{CLAIMS, check, keys};

/// Replaces `cut` bytes at a place by others.
fn splice(text: &[u8], at: prop::sample::Index, cut: usize, new: &[u8]) -> Vec<u8> {
    let at = at.index(text.len() + 1);
    let end = (at + cut).min(text.len());
    [&text[..at], new, &text[end..]].concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_changed_token_is_refused(
        at in any::<prop::sample::Index>(),
        cut in 0_usize..4,
        new in "[A-Za-z0-9_.=+/ -]{0,4}",
    ) {
        for signer in [Signer::p256(), Signer::ed25519(), Signer::hmac()] {
            let keys = keys(&[signer.jwk()]);
            let token = signer.claims(CLAIMS);
            let changed = splice(token.as_bytes(), at, cut, new.as_bytes());
            let changed = String::from_utf8(changed).unwrap();
            prop_assert_eq!(check(&keys, &changed).is_ok(), changed == token);
        }
    }

    #[test]
    fn any_bytes_are_no_token(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Compact::parse(&bytes, 100).is_err());
        prop_assert!(Header::read(bytes).is_err());
    }

    #[test]
    fn a_changed_set_of_keys_is_read_or_refused(
        at in any::<prop::sample::Index>(),
        cut in 0_usize..6,
        new in prop::collection::vec(any::<u8>(), 0..6),
    ) {
        let set = json!({"keys": [
            Signer::p256().jwk_with(&json!({"kid": "a", "alg": "ES256", "use": "sig"})),
            Signer::ed25519().jwk_with(&json!({"key_ops": ["verify"]})),
            Signer::hmac().jwk(),
            {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        ]});
        let changed = splice(set.to_string().as_bytes(), at, cut, &new);
        if let Ok(keys) = KeySet::read(changed) {
            prop_assert!(keys.len() <= 3);
        }
    }
}
