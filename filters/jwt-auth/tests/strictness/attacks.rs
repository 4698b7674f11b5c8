//! What a verifier of tokens must withstand.

use jwt_auth::jose::base64url;
use jwt_auth::jose::keys::{KeySet, Unusable};
use jwt_auth::jose::refusal::Reason;
use jwt_auth::jose::verify::{Material, Weak};
use serde_json::{Value, json};

use crate::signer::Signer;
use crate::{CLAIMS, check, keys};

/// The RSA key of RFC 7515 appendix A.2.
fn rsa_jwk() -> Value {
    let vectors = include_str!("../vectors/rfc.json");
    let vectors: Vec<Value> = serde_json::from_str(vectors).unwrap();
    vectors[1]["key"].clone()
}

/// The order of P-256 (FIPS 186-4 appendix D.1.2.3).
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

#[test]
fn alg_none_in_any_case() {
    let signer = Signer::p256();
    let keys = keys(&[signer.jwk()]);
    for alg in ["none", "None", "NONE", "nOnE", "none ", ""] {
        let header = format!(r#"{{"alg":"{alg}"}}"#);
        for token in [
            signer.token(&header, CLAIMS),
            signer.token_with(&header, CLAIMS, |_| vec![0]),
        ] {
            assert_eq!(check(&keys, &token), Err(Reason::UnsupportedAlg), "{alg}");
        }
        let unsigned = signer.token_with(&header, CLAIMS, |_| Vec::new());
        assert_eq!(check(&keys, &unsigned), Err(Reason::Malformed), "{alg}");
    }
}

#[test]
fn an_rsa_key_used_as_hmac_secret() {
    let jwk = rsa_jwk();
    let modulus = jwk["n"].as_str().unwrap().to_owned();
    let secrets = [
        base64url::decode(modulus.as_bytes()).unwrap(),
        modulus.clone().into_bytes(),
        jwk.to_string().into_bytes(),
        format!("-----BEGIN PUBLIC KEY-----\n{modulus}\n-----END PUBLIC KEY-----\n").into_bytes(),
    ];
    let keys = keys(&[jwk]);
    for secret in secrets {
        let token = Signer::Hmac(secret).claims(CLAIMS);
        assert_eq!(check(&keys, &token), Err(Reason::UnknownKey));
    }
}

#[test]
fn keys_that_the_token_brings_or_points_to() {
    let ours = Signer::p256();
    let theirs = Signer::P256(ecdsa_p256::ecdsa::SigningKey::from_slice(&[9; 32]).unwrap());
    let keys = keys(&[ours.jwk()]);
    for parameter in [
        json!({"jwk": theirs.jwk()}),
        json!({"jku": "http://127.0.0.1/keys"}),
        json!({"x5u": "http://127.0.0.1/certificate"}),
        json!({"x5c": ["MIIB"]}),
        json!({"jwk": "not even a key"}),
    ] {
        let mut header = parameter.clone();
        header["alg"] = json!("ES256");
        let token = theirs.token(&header.to_string(), CLAIMS);
        assert_eq!(
            check(&keys, &token),
            Err(Reason::BadSignature),
            "{parameter}"
        );
        // They are ignored: our own key's signature stays right.
        let token = ours.token(&header.to_string(), CLAIMS);
        assert_eq!(check(&keys, &token), Ok(()), "{parameter}");
    }
}

#[test]
fn a_kid_that_is_a_path_or_sql() {
    let signer = Signer::p256();
    let keys = keys(&[signer.jwk_with(&json!({"kid": "k"}))]);
    let long = "k".repeat(1000);
    for kid in [
        "../../../../dev/null",
        "' UNION SELECT 'k",
        "k\u{0}",
        "K",
        " k",
        "k ",
        &long,
    ] {
        let header = json!({"alg": "ES256", "kid": kid}).to_string();
        let token = signer.token(&header, CLAIMS);
        assert_eq!(check(&keys, &token), Err(Reason::UnknownKey), "{kid}");
    }
    for kid in [
        json!(1),
        json!(null),
        json!(["k"]),
        json!({}),
        json!("k".repeat(1025)),
    ] {
        let header = json!({"alg": "ES256", "kid": kid}).to_string();
        let token = signer.token(&header, CLAIMS);
        assert_eq!(check(&keys, &token), Err(Reason::Malformed), "{kid}");
    }
}

#[test]
fn a_kid_of_a_key_for_another_algorithm() {
    let (ec, ed) = (Signer::p256(), Signer::ed25519());
    let keys = keys(&[
        ec.jwk_with(&json!({"kid": "a"})),
        ed.jwk_with(&json!({"kid": "b"})),
    ]);
    let token = ed.token(r#"{"alg":"EdDSA","kid":"a"}"#, CLAIMS);
    assert_eq!(check(&keys, &token), Err(Reason::KeyMismatch));
    let token = ed.token(r#"{"alg":"EdDSA","kid":"b"}"#, CLAIMS);
    assert_eq!(check(&keys, &token), Ok(()));
}

#[test]
fn a_key_whose_own_alg_is_another() {
    let signer = Signer::Hmac(vec![7; 64]);
    let keys = keys(&[signer.jwk_with(&json!({"alg": "HS512"}))]);
    assert_eq!(
        check(&keys, &signer.claims(CLAIMS)),
        Err(Reason::UnknownKey)
    );
}

#[test]
fn psychic_and_out_of_range_ecdsa_signatures() {
    let signer = Signer::p256();
    let keys = keys(&[signer.jwk()]);
    let right = |s: &[u8]| (s[..32].to_vec(), s[32..].to_vec());
    let changes: [&dyn Fn(Vec<u8>) -> Vec<u8>; 7] = [
        &|_| vec![0; 64],
        &|s| [vec![0; 32], right(&s).1].concat(),
        &|s| [right(&s).0, vec![0; 32]].concat(),
        &|s| [ORDER.to_vec(), right(&s).1].concat(),
        &|s| [right(&s).0, ORDER.to_vec()].concat(),
        &|_| [ORDER, ORDER].concat(),
        &|_| vec![0xff; 64],
    ];
    for change in changes {
        let token = signer.token_with(r#"{"alg":"ES256"}"#, CLAIMS, change);
        assert_eq!(check(&keys, &token), Err(Reason::BadSignature));
    }
}

/// FIPS 186-5 takes s and its negative alike; so nothing may go by the text of a token.
#[test]
fn the_other_s_of_an_ecdsa_signature_is_as_right() {
    let signer = Signer::p256();
    let negate = |s: Vec<u8>| {
        let mut borrow = 0;
        let mut other = s.clone();
        for at in (0..32).rev() {
            let difference = i16::from(ORDER[at]) - i16::from(s[32 + at]) - borrow;
            borrow = i16::from(difference < 0);
            other[32 + at] = difference.rem_euclid(256) as u8;
        }
        other
    };
    let token = signer.token_with(r#"{"alg":"ES256"}"#, CLAIMS, negate);
    assert_ne!(token, signer.claims(CLAIMS));
    assert_eq!(check(&keys(&[signer.jwk()]), &token), Ok(()));
}

#[test]
fn low_order_and_non_canonical_ed25519_keys() {
    let y = |lowest: u8, middle: u8, highest: u8| {
        let mut bytes = [middle; 32];
        (bytes[0], bytes[31]) = (lowest, highest);
        bytes
    };
    // Of order 1, 2 and 4, then y = p and p + 1, which are 0 and 1 in another spelling.
    for bytes in [
        y(1, 0, 0),
        y(0xec, 0xff, 0x7f),
        y(0, 0, 0),
        y(0, 0, 0x80),
        y(0xed, 0xff, 0x7f),
        y(0xee, 0xff, 0x7f),
    ] {
        assert_eq!(
            Material::ed25519(&bytes).err(),
            Some(Weak::NotOnCurve),
            "{bytes:?}"
        );
    }
    // Of order 8.
    let eight = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05";
    let bytes: Vec<u8> = (0..64)
        .step_by(2)
        .map(|at| u8::from_str_radix(&eight[at..at + 2], 16).unwrap())
        .collect();
    assert_eq!(Material::ed25519(&bytes).err(), Some(Weak::NotOnCurve));
}

#[test]
fn an_ed25519_signature_with_s_not_reduced() {
    // The order of the base point, least byte first (RFC 8032 section 5.1).
    let mut order = [0; 32];
    order[..16].copy_from_slice(&0x14de_f9de_a2f7_9cd6_5812_631a_5cf5_d3ed_u128.to_le_bytes());
    order[31] = 0x10;
    let add = |s: Vec<u8>| {
        let mut sum = s.clone();
        let mut carry = 0;
        for at in 0..32 {
            carry += u16::from(s[32 + at]) + u16::from(order[at]);
            sum[32 + at] = carry as u8;
            carry >>= 8;
        }
        sum
    };
    let signer = Signer::ed25519();
    let token = signer.token_with(r#"{"alg":"EdDSA"}"#, CLAIMS, add);
    assert_eq!(
        check(&keys(&[signer.jwk()]), &token),
        Err(Reason::BadSignature)
    );
}

#[test]
fn names_that_occur_twice() {
    let signer = Signer::p256();
    let keys = keys(&[signer.jwk()]);
    for claims in [
        r#"{"exp":1,"exp":1700003600}"#,
        r#"{"exp":1,"\u0065xp":1700003600}"#,
        r#"{"a":{"b":1,"b":2}}"#,
    ] {
        assert_eq!(
            check(&keys, &signer.claims(claims)),
            Err(Reason::Malformed),
            "{claims}"
        );
    }
    let token = signer.token(r#"{"alg":"none","alg":"ES256"}"#, CLAIMS);
    assert_eq!(check(&keys, &token), Err(Reason::Malformed));
    let set = format!(r#"{{"keys":[],"keys":[{}]}}"#, signer.jwk());
    assert!(KeySet::read(set.into_bytes()).is_err());
}

#[test]
fn dates_that_are_no_numbers_or_no_dates() {
    let signer = Signer::p256();
    let keys = keys(&[signer.jwk()]);
    for name in ["exp", "nbf", "iat"] {
        for value in [
            "\"1700003600\"",
            "null",
            "true",
            "[1700003600]",
            "{}",
            "-1",
            "-0.5",
            "1e300",
            "1e400",
            "9223372036854775808",
            "18446744073709551616",
        ] {
            let token = signer.claims(&format!(r#"{{"{name}":{value}}}"#));
            assert_eq!(
                check(&keys, &token),
                Err(Reason::Malformed),
                "{name}: {value}"
            );
        }
        for value in ["NaN", "Infinity", "0x10", "01", "1.", "+1"] {
            let token = signer.claims(&format!(r#"{{"{name}":{value}}}"#));
            assert_eq!(
                check(&keys, &token),
                Err(Reason::Malformed),
                "{name}: {value}"
            );
        }
    }
    let check = |claims: &str| check(&keys, &signer.claims(claims));
    assert_eq!(check(r#"{"exp":1700003600.5}"#), Ok(()));
    assert_eq!(check(r#"{"exp":1.7000036005e9}"#), Ok(()));
    assert_eq!(check(r#"{"exp":9223372036854775807}"#), Ok(()));
    assert_eq!(
        check(r#"{"nbf":9223372036854775807}"#),
        Err(Reason::NotYetValid)
    );
}

#[test]
fn encrypted_tokens_and_other_numbers_of_parts() {
    let signer = Signer::p256();
    let keys = keys(&[signer.jwk()]);
    let token = signer.claims(CLAIMS);
    let parts: Vec<&str> = token.split('.').collect();
    for count in [1, 2, 4, 5, 6] {
        let parts: Vec<&str> = parts.iter().copied().cycle().take(count).collect();
        assert_eq!(
            check(&keys, &parts.join(".")),
            Err(Reason::Malformed),
            "{count}"
        );
    }
}

#[test]
fn a_token_of_a_megabyte() {
    let signer = Signer::p256();
    let token = signer.claims(&format!(r#"{{"sub":"{}"}}"#, "a".repeat(1_000_000)));
    assert_eq!(check(&keys(&[signer.jwk()]), &token), Err(Reason::TooLarge));
}

#[test]
fn deep_json_in_header_and_claims() {
    let signer = Signer::p256();
    let keys = keys(&[signer.jwk()]);
    let deep = format!("{}{}", "[".repeat(2_000), "]".repeat(2_000));
    let token = signer.claims(&format!(r#"{{"a":{deep}}}"#));
    assert_eq!(check(&keys, &token), Err(Reason::Malformed));
    let token = signer.token(&format!(r#"{{"alg":"ES256","a":{deep}}}"#), CLAIMS);
    assert_eq!(check(&keys, &token), Err(Reason::Malformed));
}

#[test]
fn base64_of_the_other_alphabet() {
    let signer = Signer::Hmac(vec![7; 32]);
    let keys = keys(&[signer.jwk()]);
    let token = signer.claims(r#"{"sub":"\u00ff???>>>~~~"}"#);
    assert_eq!(check(&keys, &token), Ok(()));
    let other = token.replace('-', "+").replace('_', "/");
    assert_ne!(other, token);
    assert_eq!(check(&keys, &other), Err(Reason::Malformed));
}

#[test]
fn rsa_keys_that_are_no_keys() {
    let key = rsa_jwk();
    let cause = |members: &Value| {
        let mut key = key.clone();
        key.as_object_mut()
            .unwrap()
            .extend(members.as_object().unwrap().clone());
        keys(&[key]).skipped().first().map(|skipped| skipped.cause)
    };
    let weak = |weak| Some(Unusable::Weak(weak));
    assert_eq!(cause(&json!({})), None);
    // 0, 1, 2, 4, 65536 and 2^33 + 1; 2^32 + 1 has 33 bits.
    for exponent in ["AA", "AQ", "Ag", "BA", "AQAA", "AgAAAAE"] {
        assert_eq!(
            cause(&json!({"e": exponent})),
            weak(Weak::RsaExponent),
            "{exponent}"
        );
    }
    assert_eq!(cause(&json!({"e": "Aw"})), None);
    assert_eq!(cause(&json!({"e": "AQAAAAE"})), None);
    let modulus = |bytes: &[u8]| json!({"n": base64url::encode(bytes)});
    assert_eq!(cause(&modulus(&[0xfe; 256])), weak(Weak::RsaModulusEven));
    assert_eq!(cause(&modulus(&[0x7f; 256])), weak(Weak::RsaModulusSize));
    assert_eq!(
        cause(&modulus(&[0x80 | 1; 1025])),
        weak(Weak::RsaModulusSize)
    );
    assert_eq!(cause(&modulus(&[])), weak(Weak::RsaModulusSize));
    // Zeros before the number don't make it longer.
    assert_eq!(
        cause(&modulus(&[&[0; 128][..], &[0xff; 128]].concat())),
        weak(Weak::RsaModulusSize)
    );
}

#[test]
fn a_set_that_is_fetched_brings_no_secrets() {
    let set = || json!({"keys": [Signer::hmac().jwk(), Signer::p256().jwk()]}).to_string();
    let remote = KeySet::read_remote(set().into_bytes()).unwrap();
    assert_eq!(remote.len(), 1);
    assert_eq!(remote.skipped()[0].cause, Unusable::Secret);
    assert_eq!(
        check(&remote, &Signer::hmac().claims(CLAIMS)),
        Err(Reason::UnknownKey)
    );
    assert_eq!(KeySet::read(set().into_bytes()).unwrap().len(), 2);
}

#[test]
fn a_large_set_costs_a_token_without_kid_no_more_than_16_checks() {
    let others = (0..20).map(|n| {
        let key = ecdsa_p256::ecdsa::SigningKey::from_slice(&[n + 100; 32]).unwrap();
        Signer::P256(key).jwk()
    });
    let ours = Signer::p256();
    let set: Vec<Value> = others
        .chain([ours.jwk_with(&json!({"kid": "ours"}))])
        .collect();
    let keys = keys(&set);
    let token = ours.claims(CLAIMS);
    assert_eq!(check(&keys, &token), Err(Reason::BadSignature));
    let named = ours.token(r#"{"alg":"ES256","kid":"ours"}"#, CLAIMS);
    assert_eq!(check(&keys, &named), Ok(()));
}
