//! The 36 tokens that jwt_authn of Envoy 1.40 accepts and a strict verifier doesn't.
//!
//! Sent to the native filter one by one (DESIGN.md); 34 of them are about the token and are here.
//! The other two, `Authorization: Basic x` before a second value and `Basic x Bearer <token>`, are
//! about finding it.

use jwt_auth::jose::base64url;
use jwt_auth::jose::refusal::Reason;
use serde_json::json;

use crate::signer::Signer;
use crate::{CLAIMS, check, keys};

/// Signs with one key and says that it was another algorithm.
fn mislabelled(signer: &Signer, alg: &str) -> Result<(), Reason> {
    let keys = keys(&[signer.jwk()]);
    assert_eq!(check(&keys, &signer.claims(CLAIMS)), Ok(()));
    let header = format!(r#"{{"alg":"{alg}"}}"#);
    check(&keys, &signer.token(&header, CLAIMS))
}

#[test]
fn refuses_01_rs256_on_an_ec_key() {
    assert_eq!(
        mislabelled(&Signer::p256(), "RS256"),
        Err(Reason::UnknownKey)
    );
}

#[test]
fn refuses_02_hs256_on_an_ec_key() {
    assert_eq!(
        mislabelled(&Signer::p256(), "HS256"),
        Err(Reason::UnknownKey)
    );
}

#[test]
fn refuses_03_eddsa_on_an_ec_key() {
    assert_eq!(
        mislabelled(&Signer::p256(), "EdDSA"),
        Err(Reason::UnknownKey)
    );
}

#[test]
fn refuses_04_rs256_on_an_oct_key() {
    assert_eq!(
        mislabelled(&Signer::hmac(), "RS256"),
        Err(Reason::UnknownKey)
    );
}

#[test]
fn refuses_05_es256_on_an_oct_key() {
    assert_eq!(
        mislabelled(&Signer::hmac(), "ES256"),
        Err(Reason::UnknownKey)
    );
}

#[test]
fn refuses_06_rs256_on_an_okp_key() {
    assert_eq!(
        mislabelled(&Signer::ed25519(), "RS256"),
        Err(Reason::UnknownKey)
    );
}

#[test]
fn refuses_07_es384_on_p256() {
    assert_eq!(
        mislabelled(&Signer::p256(), "ES384"),
        Err(Reason::UnknownKey)
    );
}

#[test]
fn refuses_08_es512_on_p256() {
    assert_eq!(
        mislabelled(&Signer::p256(), "ES512"),
        Err(Reason::UnknownKey)
    );
}

/// Signs with a key that the set has for something else.
fn with_key_for(members: &serde_json::Value) -> Result<(), Reason> {
    let signer = Signer::p256();
    let keys = keys(&[signer.jwk_with(members)]);
    assert_eq!(keys.skipped().len(), 1);
    check(&keys, &signer.claims(CLAIMS))
}

#[test]
fn refuses_09_a_key_for_encryption() {
    assert_eq!(
        with_key_for(&json!({"use": "enc"})),
        Err(Reason::UnknownKey)
    );
}

#[test]
fn refuses_10_a_key_whose_operations_lack_verify() {
    assert_eq!(
        with_key_for(&json!({"key_ops": ["encrypt"]})),
        Err(Reason::UnknownKey)
    );
}

/// Signs with these header parameters beside `alg`.
fn with_header(parameters: &str) -> Result<(), Reason> {
    let signer = Signer::p256();
    let header = format!(r#"{{"alg":"ES256",{parameters}}}"#);
    check(&keys(&[signer.jwk()]), &signer.token(&header, CLAIMS))
}

#[test]
fn refuses_11_an_unknown_critical_extension() {
    assert_eq!(
        with_header(r#""crit":["x"],"x":1"#),
        Err(Reason::UnsupportedCrit)
    );
}

#[test]
fn refuses_12_an_empty_list_of_critical_extensions() {
    assert_eq!(with_header(r#""crit":[]"#), Err(Reason::UnsupportedCrit));
}

#[test]
fn refuses_13_b64_as_critical_extension() {
    assert_eq!(
        with_header(r#""crit":["b64"],"b64":false"#),
        Err(Reason::UnsupportedCrit)
    );
}

#[test]
fn refuses_14_b64_false_that_is_not_critical() {
    assert_eq!(with_header(r#""b64":false"#), Err(Reason::UnsupportedCrit));
}

/// Signs, and changes the signature's bytes.
fn with_signature(change: impl Fn(Vec<u8>) -> Vec<u8>) -> Result<(), Reason> {
    let signer = Signer::p256();
    let token = signer.token_with(r#"{"alg":"ES256"}"#, CLAIMS, change);
    check(&keys(&[signer.jwk()]), &token)
}

#[test]
fn refuses_15_a_zero_before_each_half_of_an_ecdsa_signature() {
    let pad = |half: &[u8]| [&[0], half].concat();
    let change = |s: Vec<u8>| [pad(&s[..32]), pad(&s[32..])].concat();
    assert_eq!(with_signature(change), Err(Reason::BadSignature));
}

#[test]
fn refuses_16_an_ecdsa_signature_of_65_bytes() {
    let change = |s: Vec<u8>| [&s[..32], &[0], &s[32..]].concat();
    assert_eq!(with_signature(change), Err(Reason::BadSignature));
    let change = |s: Vec<u8>| [&s[..], &[0]].concat();
    assert_eq!(with_signature(change), Err(Reason::BadSignature));
}

#[test]
fn refuses_17_an_ecdsa_signature_padded_to_128_bytes() {
    let pad = |half: &[u8]| [&[0; 32], half].concat();
    let change = |s: Vec<u8>| [pad(&s[..32]), pad(&s[32..])].concat();
    assert_eq!(with_signature(change), Err(Reason::BadSignature));
}

#[test]
fn refuses_18_an_rsa_key_of_1024_bits() {
    let modulus = base64url::encode(&[0xff; 128]);
    let keys = keys(&[json!({"kty": "RSA", "n": modulus, "e": "AQAB"})]);
    assert!(keys.is_empty());
    let cause = keys.skipped()[0].cause.to_string();
    assert_eq!(
        cause,
        "its modulus has less than 2048 or more than 8192 bits"
    );
}

#[test]
fn refuses_19_an_hmac_secret_of_one_byte() {
    let signer = Signer::Hmac(vec![7]);
    let keys = keys(&[signer.jwk()]);
    assert!(keys.is_empty());
    assert_eq!(
        check(&keys, &signer.claims(CLAIMS)),
        Err(Reason::UnknownKey)
    );
}

/// Signs, and changes the token's text.
fn with_text(change: impl Fn(&str) -> String) -> Result<(), Reason> {
    let signer = Signer::p256();
    let keys = keys(&[signer.jwk()]);
    let token = signer.claims(CLAIMS);
    assert_eq!(check(&keys, &token), Ok(()));
    check(&keys, &change(&token))
}

#[test]
fn refuses_20_padding_after_the_signature() {
    assert_eq!(
        with_text(|token| format!("{token}==")),
        Err(Reason::Malformed)
    );
}

#[test]
fn refuses_21_a_space_in_the_signature() {
    let change = |token: &str| {
        let (text, signature) = token.rsplit_once('.').unwrap();
        let (head, tail) = signature.split_at(4);
        format!("{text}.{head} {tail}")
    };
    assert_eq!(with_text(change), Err(Reason::Malformed));
}

#[test]
fn refuses_22_a_tab_in_the_signature() {
    let change = |token: &str| {
        let (head, tail) = token.split_at(token.len() - 8);
        format!("{head}\t{tail}")
    };
    assert_eq!(with_text(change), Err(Reason::Malformed));
}

#[test]
fn refuses_23_a_space_at_the_end() {
    assert_eq!(
        with_text(|token| format!("{token} ")),
        Err(Reason::Malformed)
    );
}

#[test]
fn refuses_24_unused_bits_that_are_set() {
    // 64 bytes take 86 characters; the last one has four bits over.
    let change = |token: &str| {
        let (head, last) = token.split_at(token.len() - 1);
        let next = char::from(last.as_bytes()[0] + 1);
        format!("{head}{next}")
    };
    assert_eq!(with_text(change), Err(Reason::Malformed));
}

#[test]
fn refuses_25_a_dot_at_the_end() {
    assert_eq!(
        with_text(|token| format!("{token}.")),
        Err(Reason::Malformed)
    );
}

#[test]
fn refuses_26_a_dot_at_the_start() {
    assert_eq!(
        with_text(|token| format!(".{token}")),
        Err(Reason::Malformed)
    );
}

#[test]
fn refuses_27_two_dots_together() {
    let double = |token: &str| token.replacen('.', "..", 1);
    assert_eq!(with_text(double), Err(Reason::Malformed));
}

/// Signs this payload.
fn with_claims(claims: &str) -> Result<(), Reason> {
    let signer = Signer::p256();
    check(&keys(&[signer.jwk()]), &signer.claims(claims))
}

#[test]
fn refuses_28_single_quotes_in_claims() {
    assert_eq!(with_claims("{'iss':'a'}"), Err(Reason::Malformed));
}

#[test]
fn refuses_29_names_without_quotes_in_claims() {
    assert_eq!(with_claims(r#"{iss:"a"}"#), Err(Reason::Malformed));
}

#[test]
fn refuses_30_a_comma_after_the_last_claim() {
    assert_eq!(with_claims(r#"{"iss":"a",}"#), Err(Reason::Malformed));
}

#[test]
fn refuses_31_exp_zero() {
    assert_eq!(with_claims(r#"{"exp":0}"#), Err(Reason::Expired));
}

#[test]
fn refuses_32_exp_minus_zero() {
    assert_eq!(with_claims(r#"{"exp":-0}"#), Err(Reason::Expired));
}

#[test]
fn refuses_33_a_token_of_40_kilobytes() {
    let claims = format!(r#"{{"sub":"{}"}}"#, "a".repeat(30_000));
    assert_eq!(with_claims(&claims), Err(Reason::TooLarge));
}

#[test]
fn refuses_34_a_token_within_a_token() {
    assert_eq!(with_header(r#""cty":"JWT""#), Err(Reason::WrongType));
}
