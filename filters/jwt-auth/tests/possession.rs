//! Tokens that are bound to their sender: DPoP (RFC 9449) and certificates (RFC 8705).

mod common;

use common::{Bench, NOW, provider, reason, status, token};
use ed25519_dalek::{Signer, SigningKey};
use filter_core::headers::Headers;
use jwt_auth::config::Config;
use jwt_auth::config::binding::Dpop;
use jwt_auth::decision::{Decision, Step};
use jwt_auth::jose::base64url;
use jwt_auth::jose::date::NumericDate;
use jwt_auth::jose::json::Document;
use jwt_auth::jose::thumbprint;
use jwt_auth::jose::verify::Native;
use jwt_auth::policy::Circumstances;
use jwt_auth::proof::{self, Expected};
use serde_json::{Value, json};
use sha2_current::{Digest as _, Sha256};

fn bench(more: &str) -> Bench {
    Bench::new(&format!(
        r#"{{"providers": {{"p": {}}},
             "rules": [{{"match": {{"prefix": "/"}}, "requires": {{"provider_name": "p"}}}}]}}"#,
        provider("i", more)
    ))
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

fn jwk(key: &SigningKey) -> Value {
    let x = base64url::encode(key.verifying_key().as_bytes());
    json!({"kty": "OKP", "crv": "Ed25519", "x": x})
}

fn jkt(key: &SigningKey) -> String {
    let document = Document::read(jwk(key).to_string().into_bytes()).unwrap();
    thumbprint::of(document.root()).unwrap()
}

/// A token that is bound to the key, or to whatever `cnf` is.
fn bound(cnf: &Value) -> String {
    let claims = json!({"iss": "i", "sub": "ana", "exp": NOW + 600, "cnf": cnf});
    token(&claims.to_string())
}

/// The header and claims of a right proof for `GET https://api.example.com/a`.
fn proof_parts(token: &str) -> (Value, Value) {
    let header = json!({"typ": "dpop+jwt", "alg": "EdDSA", "jwk": jwk(&key())});
    let claims = json!({
        "jti": "one", "htm": "GET", "htu": "https://api.example.com/a", "iat": NOW,
        "ath": base64url::encode(&Sha256::digest(token.as_bytes())),
    });
    (header, claims)
}

fn sign(header: &Value, claims: &Value) -> String {
    let encode = |value: &Value| base64url::encode(value.to_string().as_bytes());
    let input = format!("{}.{}", encode(header), encode(claims));
    let signature = key().sign(input.as_bytes()).to_bytes();
    format!("{input}.{}", base64url::encode(&signature))
}

fn proof(token: &str) -> String {
    let (header, claims) = proof_parts(token);
    sign(&header, &claims)
}

fn dpop(bench: &mut Bench, token: &str, proof: &str) -> Decision {
    let authorization = format!("DPoP {token}");
    bench.get(
        "/a?q=1",
        &[("authorization", &authorization), ("dpop", proof)],
    )
}

#[test]
fn a_token_with_a_proof_of_its_key_is_let_through() {
    let mut bench = bench(r#", "dpop": {}"#);
    let token = bound(&json!({"jkt": jkt(&key())}));
    for _ in 0..2 {
        let decision = dpop(&mut bench, &token, &proof(&token));
        assert_eq!(reason(&decision), None);
        assert_eq!(
            decision.proofs.len(),
            1,
            "remembered or not, the proof is used up"
        );
        assert_eq!(decision.proofs[0].until, NOW + 60);
    }
}

#[test]
fn each_part_of_a_proof_counts() {
    let mut bench = bench(r#", "dpop": {}"#);
    let token = bound(&json!({"jkt": jkt(&key())}));
    let ed = jwk(&SigningKey::from_bytes(&[8; 32]));
    let private = json!({"kty": "OKP", "crv": "Ed25519", "x": jwk(&key())["x"], "d": "AAAA"});
    let spaced = json!({"kty": "OKP", "crv": "Ed25519", "x": format!("{} ", jwk(&key())["x"].as_str().unwrap())});
    let of_header = [
        ("typ", json!("JWT")),
        ("typ", Value::Null),
        ("alg", json!("HS256")),
        ("alg", json!("none")),
        ("alg", json!("ES256")),
        ("jwk", Value::Null),
        ("jwk", ed),
        ("jwk", private),
        ("jwk", spaced),
        (
            "jwk",
            json!({"kty": "oct", "k": base64url::encode(common::SECRET)}),
        ),
        ("crit", json!(["x"])),
    ];
    let of_claims = [
        ("jti", Value::Null),
        ("jti", json!("")),
        ("jti", json!("x".repeat(257))),
        ("jti", json!(1)),
        ("htm", json!("POST")),
        ("htm", json!("get")),
        ("htm", Value::Null),
        ("htu", json!("https://api.example.com/b")),
        ("htu", json!("http://api.example.com/a")),
        ("htu", json!("https://evil.example.com/a")),
        ("htu", json!("https://api.example.com.evil/a")),
        ("htu", json!("https://api.example.com/a/")),
        ("htu", json!("/a")),
        ("htu", Value::Null),
        ("iat", json!(NOW - 61)),
        ("iat", json!(NOW + 61)),
        ("iat", Value::Null),
        ("iat", json!("now")),
        ("exp", json!(NOW)),
        ("ath", json!("")),
        ("ath", Value::Null),
        ("ath", json!(base64url::encode(&Sha256::digest(b"another")))),
    ];
    let (header, claims) = proof_parts(&token);
    let changed = |value: &Value, name: &str, to: &Value| {
        let mut value = value.clone();
        match to {
            Value::Null => drop(value.as_object_mut().unwrap().remove(name)),
            to => value[name] = to.clone(),
        }
        value
    };
    for (name, value) in of_header {
        let proof = sign(&changed(&header, name, &value), &claims);
        let decision = dpop(&mut bench, &token, &proof);
        assert_eq!(
            reason(&decision).as_deref(),
            Some("proof_failed"),
            "{name} {value}"
        );
    }
    for (name, value) in of_claims {
        let proof = sign(&header, &changed(&claims, name, &value));
        let decision = dpop(&mut bench, &token, &proof);
        assert_eq!(
            reason(&decision).as_deref(),
            Some("proof_failed"),
            "{name} {value}"
        );
    }
    for url in [
        "https://api.example.com/a?other=1#x",
        "HTTPS://API.EXAMPLE.COM/a",
        "https://api.example.com:443/a",
    ] {
        let proof = sign(&header, &changed(&claims, "htu", &json!(url)));
        assert_eq!(reason(&dpop(&mut bench, &token, &proof)), None, "{url}");
    }
}

#[test]
fn no_bit_of_a_proof_can_be_changed() {
    let mut bench = bench(r#", "dpop": {}"#);
    let token = bound(&json!({"jkt": jkt(&key())}));
    let right = proof(&token);
    for at in 0..right.len() {
        let mut wrong = right.clone().into_bytes();
        wrong[at] = if wrong[at] == b'A' { b'B' } else { b'A' };
        let wrong = String::from_utf8(wrong).unwrap();
        let decision = dpop(&mut bench, &token, &wrong);
        assert_eq!(reason(&decision).as_deref(), Some("proof_failed"), "{at}");
    }
}

#[test]
fn a_bound_token_is_no_bearer_token_and_a_bearer_token_no_bound_one() {
    let (bound, free) = (bound(&json!({"jkt": jkt(&key())})), bound(&json!({})));
    let mut strict = bench(r#", "dpop": {}"#);
    let mut lax = bench(r#", "dpop": {"tokens": "if_bound"}"#);
    let send = |bench: &mut Bench, scheme: &str, token: &str| {
        let authorization = format!("{scheme} {token}");
        let proof = proof(token);
        reason(&bench.get("/a", &[("authorization", &authorization), ("dpop", &proof)]))
    };
    let failed = Some("proof_failed".to_owned());
    assert_eq!(send(&mut strict, "Bearer", &bound), failed);
    assert_eq!(send(&mut lax, "Bearer", &bound), failed);
    assert_eq!(send(&mut strict, "Bearer", &free), failed);
    assert_eq!(send(&mut lax, "Bearer", &free), None);
    assert_eq!(send(&mut strict, "DPoP", &free), failed);
    assert_eq!(send(&mut lax, "DPoP", &free), failed);
    assert_eq!(send(&mut strict, "dpop", &bound), None);
    assert_eq!(send(&mut lax, "DPoP", &bound), None);
}

#[test]
fn a_request_has_exactly_one_proof() {
    let mut bench = bench(r#", "dpop": {}"#);
    let token = bound(&json!({"jkt": jkt(&key())}));
    let authorization = format!("DPoP {token}");
    let (one, none) = (proof(&token), [("authorization", &*authorization)]);
    assert_eq!(
        reason(&bench.get("/a", &none)).as_deref(),
        Some("proof_failed")
    );
    let two = [none[0], ("dpop", &*one), ("dpop", &*one)];
    assert_eq!(
        reason(&bench.get("/a", &two)).as_deref(),
        Some("proof_failed")
    );
}

#[test]
fn a_proof_that_was_used_is_refused() {
    let mut bench = bench(r#", "dpop": {}"#);
    let token = bound(&json!({"jkt": jkt(&key())}));
    let (authorization, proof) = (format!("DPoP {token}"), proof(&token));
    let headers = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "api.example.com"),
        (":path", "/a"),
        ("authorization", &*authorization),
        ("dpop", &*proof),
    ];
    let block = Headers::encode(headers.map(|(n, v)| (n.as_bytes(), v.as_bytes())));
    let circumstances = Circumstances {
        replayed: true,
        ..Circumstances::at(NumericDate::from_unix_seconds(NOW), true)
    };
    let headers = Headers::decode(&block);
    let step = bench
        .policy
        .decide(&mut bench.worker, &headers, circumstances, &mut |_| None);
    let Step::Done(decision) = step else {
        panic!("{step:?}")
    };
    assert_eq!(reason(&decision).as_deref(), Some("proof_failed"));
}

#[test]
fn the_challenge_names_the_scheme_and_its_algorithms() {
    let challenges = |bench: &mut Bench| -> Vec<String> {
        let decision = bench.get("/a", &[]);
        let reply = decision.reply.unwrap();
        assert_eq!(reply.status, 401);
        let headers = reply.headers.into_iter();
        headers.map(|(_, value)| value).collect()
    };
    let mut strict = bench(r#", "dpop": {"algorithms": ["ES256", "EdDSA"]}"#);
    let expected = "DPoP realm=\"https://api.example.com/a\", algs=\"ES256 EdDSA\"";
    assert_eq!(challenges(&mut strict), [expected]);
    let mut lax = bench(r#", "dpop": {"tokens": "if_bound", "algorithms": ["ES256", "EdDSA"]}"#);
    let bearer = "Bearer realm=\"https://api.example.com/a\"";
    assert_eq!(challenges(&mut lax), [expected, bearer]);
    let token = bound(&json!({"jkt": jkt(&key())}));
    let decision = dpop(&mut strict, &token, "x");
    let challenge = &decision.reply.unwrap().headers[0].1;
    assert!(
        challenge.contains("error=\"invalid_dpop_proof\""),
        "{challenge}"
    );
}

#[test]
fn the_gateway_s_name_may_be_another_than_the_request_s() {
    let mut bench = bench(r#", "dpop": {"origin": "https://public.example.com"}"#);
    let token = bound(&json!({"jkt": jkt(&key())}));
    assert_eq!(
        reason(&dpop(&mut bench, &token, &proof(&token))).as_deref(),
        Some("proof_failed")
    );
    let (header, mut claims) = proof_parts(&token);
    claims["htu"] = json!("https://public.example.com/a");
    assert_eq!(
        reason(&dpop(&mut bench, &token, &sign(&header, &claims))),
        None
    );
}

fn settings() -> Dpop {
    let config = format!(
        r#"{{"providers": {{"p": {}}}}}"#,
        provider("i", r#", "dpop": {}"#)
    );
    let mut config = Config::read(config.as_bytes()).unwrap();
    config.providers.remove(0).dpop.unwrap()
}

/// RFC 9449 figure 13: a request with its token and proof; figure 5's thumbprint of the key.
const TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
const PROOF: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
const JKT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";

#[test]
fn the_example_of_rfc_9449_is_a_right_proof() {
    let expected = Expected {
        method: b"GET",
        origin: (b"https", b"resource.example.org"),
        path: b"/protectedresource",
        token: TOKEN.as_bytes(),
        key: JKT,
        now: NumericDate::from_unix_seconds(1_562_262_618),
    };
    let check = |expected: &Expected<'_>| {
        let settings = settings();
        proof::check(
            PROOF.as_bytes(),
            &settings,
            expected,
            Native::default(),
            &mut |_| None,
        )
    };
    let proof = check(&expected).unwrap();
    assert_eq!(proof.until.as_unix_seconds(), 1_562_262_678);
    for wrong in [
        Expected {
            method: b"POST",
            ..expected
        },
        Expected {
            origin: (b"http", b"resource.example.org"),
            ..expected
        },
        Expected {
            path: b"/",
            ..expected
        },
        Expected {
            token: b"another",
            ..expected
        },
        Expected {
            key: "another",
            ..expected
        },
        Expected {
            now: NumericDate::from_unix_seconds(1_562_262_700),
            ..expected
        },
    ] {
        assert!(check(&wrong).is_err(), "{wrong:?}");
    }
}

const DIGEST: &str = "468ed33be74eee6556d90c0149c1309e9ba61d6425303443c0748a02dd8de688";
const X5T: &str = "Ro7TO-dO7mVW2QwBScEwnpumHWQlMDRDwHSKAt2N5og";

fn certified(bench: &mut Bench, token: &str, digest: &str) -> u16 {
    let authorization = format!("Bearer {token}");
    let headers = [
        (":method", "GET"),
        (":authority", "a"),
        (":path", "/"),
        ("authorization", &*authorization),
    ];
    let block = Headers::encode(headers.map(|(n, v)| (n.as_bytes(), v.as_bytes())));
    let circumstances = Circumstances {
        certificate: digest.as_bytes(),
        ..Circumstances::at(NumericDate::from_unix_seconds(NOW), true)
    };
    let headers = Headers::decode(&block);
    match bench
        .policy
        .decide(&mut bench.worker, &headers, circumstances, &mut |_| None)
    {
        Step::Done(decision) => status(&decision),
        step => panic!("{step:?}"),
    }
}

#[test]
fn a_token_is_good_with_the_certificate_that_it_is_bound_to() {
    let mut strict = bench(r#", "certificate_bound": {}"#);
    assert!(strict.policy.needs_certificate());
    let mut lax = bench(r#", "certificate_bound": {"tokens": "if_bound"}"#);
    let (ours, free) = (bound(&json!({"x5t#S256": X5T})), bound(&json!({})));
    for _ in 0..2 {
        assert_eq!(certified(&mut strict, &ours, DIGEST), 200);
        assert_eq!(certified(&mut strict, &ours, &DIGEST.to_uppercase()), 200);
        assert_eq!(
            certified(&mut strict, &ours, &DIGEST.replace('4', "5")),
            401
        );
        assert_eq!(certified(&mut strict, &ours, ""), 401);
        assert_eq!(certified(&mut strict, &free, DIGEST), 401);
        assert_eq!(certified(&mut lax, &free, ""), 200);
        assert_eq!(certified(&mut lax, &ours, ""), 401);
    }
}

#[test]
fn the_certificate_may_be_told_by_the_proxy_before_this_one() {
    let mut bench = bench(r#", "certificate_bound": {"source": "forwarded_header"}"#);
    assert!(!bench.policy.needs_certificate());
    let authorization = format!("Bearer {}", bound(&json!({"x5t#S256": X5T})));
    let mut send = |forwarded: &[&str]| {
        let mut headers = vec![("authorization", &*authorization)];
        headers.extend(
            forwarded
                .iter()
                .map(|value| ("x-forwarded-client-cert", *value)),
        );
        status(&bench.get("/", &headers))
    };
    let ours = format!("By=a;Hash={DIGEST};Subject=\"CN=x\"");
    assert_eq!(send(&[&ours]), 200);
    assert_eq!(send(&[]), 401);
    assert_eq!(send(&[&ours, &ours]), 401);
    assert_eq!(
        send(&[&format!("{ours},By=b;Hash={}", DIGEST.replace('4', "5"))]),
        401
    );
}
