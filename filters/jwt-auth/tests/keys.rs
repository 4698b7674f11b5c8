//! Sets of keys: what is read, what is left out and why, and which keys a token is tried with.

use jwt_auth::jose::algorithm::Algorithm;
use jwt_auth::jose::base64url;
use jwt_auth::jose::header::Header;
use jwt_auth::jose::keys::KeySet;
use jwt_auth::jose::refusal::Reason;
use proptest::prelude::*;
use serde_json::{Value, json};

fn read(keys: &[Value]) -> KeySet {
    let set = json!({ "keys": keys }).to_string();
    KeySet::read(set.into_bytes()).unwrap()
}

/// Says why the one key of a set is left out.
fn cause(key: Value) -> String {
    let set = read(&[key]);
    assert!(set.is_empty());
    set.skipped()[0].cause.to_string()
}

fn p256() -> Value {
    // RFC 7515 appendix A.3.
    json!({
        "kty": "EC",
        "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    })
}

fn rsa() -> Value {
    json!({"kty": "RSA", "n": base64url::encode(&[0xff; 256]), "e": "AQAB"})
}

fn oct(length: usize) -> Value {
    json!({"kty": "oct", "k": base64url::encode(&vec![1; length])})
}

fn with(mut key: Value, members: Value) -> Value {
    let Value::Object(members) = members else {
        panic!("not an object");
    };
    key.as_object_mut().unwrap().extend(members);
    key
}

fn header(alg: Algorithm, kid: Option<&str>) -> Header {
    Header {
        alg,
        kid: kid.map(str::to_owned),
        typ: None,
    }
}

#[test]
fn what_is_no_set_is_told_as_a_whole() {
    let error = |text: &str| {
        KeySet::read(text.into())
            .err()
            .map(|error| error.to_string())
    };
    let shape = "the JWK set isn't an object with a list `keys`";
    for text in [
        "{}",
        "[]",
        "null",
        r#"{"keys":{}}"#,
        r#"{"keys":null}"#,
        r#"{"Keys":[]}"#,
    ] {
        assert_eq!(error(text).as_deref(), Some(shape), "{text}");
    }
    assert_eq!(
        error("<html>").as_deref(),
        Some("the JWK set isn't strict JSON: expected a value at byte 0")
    );
    assert_eq!(
        error(r#"{"keys":[{"kty":"oct","kty":"oct"}]}"#).as_deref(),
        Some("the JWK set isn't strict JSON: a name occurs twice at byte 23")
    );
    assert_eq!(error(r#"{"keys":[],"more":{}}"#), None);
}

#[test]
fn keys_that_cannot_be_used_are_left_out_and_the_rest_is_kept() {
    let set = read(&[
        json!({"kty": "PQC"}),
        p256(),
        json!(7),
        with(rsa(), json!({"use": "enc"})),
        rsa(),
    ]);
    assert_eq!(set.len(), 2);
    let skipped: Vec<_> = set
        .skipped()
        .iter()
        .map(|skipped| (skipped.index, skipped.cause.to_string()))
        .collect();
    assert_eq!(
        skipped,
        [
            (0, "`kty` isn't known".to_owned()),
            (2, "a key isn't a JSON object".to_owned()),
            (
                3,
                "`use` or `key_ops` isn't for checking signatures".to_owned()
            ),
        ]
    );
}

#[test]
fn a_key_that_is_left_out_says_why() {
    let missing = "a number of the key is missing";
    let not_base64 = "a number of the key isn't base64url without padding";
    let off_curve = "its coordinates are no point of the curve in full length";
    for (key, why) in [
        (json!({}), "`kty` is missing"),
        (json!({"kty": 1}), "`kty` isn't a string"),
        (json!({"kty": "ec"}), "`kty` isn't known"),
        (json!({"kty": "EC"}), "`crv` is missing"),
        (with(p256(), json!({"crv": "P-192"})), "`crv` isn't known"),
        (with(p256(), json!({"crv": "p-256"})), "`crv` isn't known"),
        (with(p256(), json!({"crv": "P-384"})), off_curve),
        (with(p256(), json!({"crv": "secp256k1"})), off_curve),
        (
            with(p256(), json!({"y": base64url::encode(&[7; 32])})),
            off_curve,
        ),
        (
            with(p256(), json!({"x": base64url::encode(&[0; 32])})),
            off_curve,
        ),
        (
            with(p256(), json!({"x": base64url::encode(&[0xff; 32])})),
            off_curve,
        ),
        (
            with(p256(), json!({"x": base64url::encode(&[7; 31])})),
            off_curve,
        ),
        (with(p256(), json!({"x": ""})), off_curve),
        (with(p256(), json!({"x": null})), missing),
        (with(p256(), json!({"y": "x_FE="})), not_base64),
        (
            json!({"kty": "OKP", "crv": "X25519", "x": "AA"}),
            "`crv` isn't known",
        ),
        (
            json!({"kty": "OKP", "crv": "Ed25519", "x": "AA"}),
            off_curve,
        ),
        (json!({"kty": "RSA", "e": "AQAB"}), missing),
        (json!({"kty": "RSA", "n": "AQAB"}), missing),
        (
            with(rsa(), json!({"n": "AQAB"})),
            "its modulus has less than 2048 or more than 8192 bits",
        ),
        (
            with(rsa(), json!({"e": "AQ"})),
            "its exponent is even, less than 3 or longer than 33 bits",
        ),
        (json!({"kty": "oct"}), missing),
        (oct(31), "its secret has less than 32 bytes"),
        (
            with(p256(), json!({"alg": "ES384"})),
            "`alg` isn't for this kind of key",
        ),
        (
            with(p256(), json!({"alg": "HS256"})),
            "`alg` isn't for this kind of key",
        ),
        (
            with(oct(32), json!({"alg": "HS512"})),
            "`alg` isn't for this kind of key",
        ),
        (with(rsa(), json!({"alg": "RSA-OAEP"})), "`alg` isn't known"),
        (with(rsa(), json!({"alg": 256})), "`alg` isn't a string"),
        (with(rsa(), json!({"kid": 1})), "`kid` isn't a string"),
    ] {
        assert_eq!(cause(key.clone()), why, "{key}");
    }
}

#[test]
fn use_and_key_ops_must_be_for_checking_signatures() {
    for members in [
        json!({}),
        json!({"use": "sig"}),
        json!({"key_ops": ["verify"]}),
        json!({"use": "sig", "key_ops": ["sign", "verify"]}),
    ] {
        assert_eq!(read(&[with(rsa(), members)]).len(), 1);
    }
    for members in [
        json!({"use": "enc"}),
        json!({"use": "SIG"}),
        json!({"use": null}),
        json!({"key_ops": []}),
        json!({"key_ops": ["sign"]}),
        json!({"key_ops": "verify"}),
        json!({"use": "sig", "key_ops": ["encrypt"]}),
        json!({"use": "enc", "key_ops": ["verify"]}),
    ] {
        assert_eq!(
            cause(with(rsa(), members)),
            "`use` or `key_ops` isn't for checking signatures"
        );
    }
}

#[test]
fn long_numbers_may_be_folded() {
    let modulus = base64url::encode(&[0xff; 256]);
    let (head, tail) = modulus.split_at(60);
    let set = format!(
        "{{\"keys\": [{{\"kty\": \"RSA\", \"n\": \"{head}\n\t  {tail}\", \"e\": \"AQ\\nAB\"}}]}}"
    );
    assert_eq!(KeySet::read(set.clone().into_bytes()).unwrap().len(), 1);
    assert_eq!(KeySet::read_remote(set.into_bytes()).unwrap().len(), 1);
}

#[test]
fn certificates_beside_a_key_are_not_looked_at() {
    let set = read(&[with(
        rsa(),
        json!({"x5c": ["!"], "x5t": 1, "x5u": "http://evil/"}),
    )]);
    assert_eq!(set.len(), 1);
}

#[test]
fn each_key_fits_its_own_algorithms() {
    let fitting = |key: Value| {
        let set = read(&[key]);
        let key = set.keys().next().unwrap();
        let all = Algorithm::ALL.into_iter();
        all.filter(|alg| key.fits(*alg))
            .map(Algorithm::name)
            .collect::<Vec<_>>()
    };
    assert_eq!(fitting(p256()), ["ES256"]);
    assert_eq!(
        fitting(rsa()),
        ["PS256", "PS384", "PS512", "RS256", "RS384", "RS512"]
    );
    assert_eq!(fitting(with(rsa(), json!({"alg": "PS256"}))), ["PS256"]);
    assert_eq!(fitting(oct(32)), ["HS256"]);
    assert_eq!(fitting(oct(48)), ["HS256", "HS384"]);
    assert_eq!(fitting(oct(64)), ["HS256", "HS384", "HS512"]);
    // RFC 8037 appendix A.2.
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    assert_eq!(
        fitting(json!({"kty": "OKP", "crv": "Ed25519", "x": x})),
        ["EdDSA"]
    );
}

#[test]
fn a_kid_finds_its_keys_and_then_those_without_one() {
    let set = read(&[
        with(rsa(), json!({"kid": "b"})),
        rsa(),
        with(rsa(), json!({"kid": "a", "alg": "RS512"})),
        with(p256(), json!({"kid": "b"})),
        with(rsa(), json!({"kid": ""})),
        with(rsa(), json!({"kid": "b", "alg": "RS256"})),
    ]);
    let kids = |alg, kid| {
        let candidates = set.candidates(&header(alg, kid));
        candidates.map_err(|refusal| refusal.reason).map(|keys| {
            keys.map(|key| key.kid().unwrap_or("-").to_owned())
                .collect::<Vec<_>>()
                .join(" ")
        })
    };
    assert_eq!(kids(Algorithm::Rs256, Some("b")).as_deref(), Ok("b b - -"));
    assert_eq!(kids(Algorithm::Es256, Some("b")).as_deref(), Ok("b"));
    assert_eq!(kids(Algorithm::Rs256, Some("c")).as_deref(), Ok("- -"));
    assert_eq!(kids(Algorithm::Rs256, Some("a")).as_deref(), Ok("- -"));
    assert_eq!(kids(Algorithm::Rs256, None).as_deref(), Ok("- - b b"));
    assert_eq!(kids(Algorithm::Es256, Some("a")), Err(Reason::KeyMismatch));
    assert_eq!(kids(Algorithm::Es256, Some("c")), Err(Reason::UnknownKey));
    assert_eq!(kids(Algorithm::EdDsa, None), Err(Reason::UnknownKey));
}

#[test]
fn nothing_of_a_key_is_printed() {
    let set = read(&[with(oct(32), json!({"kid": "k"})), rsa()]);
    let printed = format!("{set:?}");
    assert!(
        printed.contains("Hmac(..)") && printed.contains("Rsa(..)"),
        "{printed}"
    );
    assert!(
        !printed.contains("255, 255") && !printed.contains("1, 1"),
        "{printed}"
    );
}

proptest! {
    #[test]
    fn candidates_are_what_a_search_of_the_whole_set_finds(
        kids in prop::collection::vec(prop::option::of("[ab]{0,2}"), 0..12),
        wanted in prop::option::of("[ab]{1,2}"),
    ) {
        let named = |kid: &Option<String>| match kid {
            Some(kid) => with(rsa(), json!({ "kid": kid })),
            None => rsa(),
        };
        let set = read(&kids.iter().map(named).collect::<Vec<_>>());
        let candidates = set.candidates(&header(Algorithm::Rs256, wanted.as_deref()));
        let found = candidates.map_or(0, Iterator::count);
        let is_candidate = |kid: &&Option<String>| {
            wanted.is_none() || kid.as_deref().unwrap_or("").is_empty() || **kid == wanted
        };
        prop_assert_eq!(found, kids.iter().filter(is_candidate).count());
    }
}
