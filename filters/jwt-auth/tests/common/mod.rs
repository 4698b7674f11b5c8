//! Tokens and requests for the tests.

#![allow(dead_code, reason = "each test uses a part of it")]

use filter_core::hash::Seed;
use filter_core::headers::Headers;
use hmac::{Hmac, KeyInit, Mac};
use jwt_auth::config::Config;
use jwt_auth::decision::{Decision, Edit, Step};
use jwt_auth::jose::base64url;
use jwt_auth::jose::date::NumericDate;
use jwt_auth::jose::verify::Native;
use jwt_auth::policy::{Circumstances, Policy, Worker};
use sha2_current::Sha256;

/// The time at which the tests take place.
pub(crate) const NOW: u64 = 1_700_000_000;

/// The secret of key `one`.
pub(crate) const SECRET: &[u8; 32] = b"0123456789abcdef0123456789abcdef";
/// The secret of key `two`.
pub(crate) const OTHER: &[u8; 32] = b"fedcba9876543210fedcba9876543210";

/// A key set of one HMAC key.
pub(crate) fn jwks(kid: &str, secret: &[u8]) -> String {
    let k = base64url::encode(secret);
    format!(
        r#"{{\"keys\":[{{\"kty\":\"oct\",\"kid\":\"{kid}\",\"alg\":\"HS256\",\"k\":\"{k}\"}}]}}"#
    )
}

/// A provider of that issuer with key `one` and whatever is given besides.
pub(crate) fn provider(issuer: &str, more: &str) -> String {
    let jwks = jwks("one", SECRET);
    format!(r#"{{"issuer": "{issuer}", "local_jwks": {{"inline_string": "{jwks}"}} {more}}}"#)
}

/// Signs claims with HS256.
pub(crate) fn sign(header: &str, claims: &str, secret: &[u8]) -> String {
    let input = format!(
        "{}.{}",
        base64url::encode(header.as_bytes()),
        base64url::encode(claims.as_bytes())
    );
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    mac.update(input.as_bytes());
    let signature = base64url::encode(&mac.finalize().into_bytes());
    format!("{input}.{signature}")
}

/// A right token of key `one`, unless the claims are wrong.
pub(crate) fn token(claims: &str) -> String {
    sign(r#"{"alg":"HS256","kid":"one"}"#, claims, SECRET)
}

/// A policy at work in one worker.
pub(crate) struct Bench {
    pub(crate) policy: Policy,
    pub(crate) worker: Worker,
    pub(crate) now: u64,
}

impl Bench {
    pub(crate) fn new(config: &str) -> Self {
        let config = Config::read(config.as_bytes()).unwrap_or_else(|errors| panic!("{errors}"));
        let policy = Policy::new(config);
        let worker = policy.worker(Native::default(), Seed::from_bytes([3; 16]));
        Self {
            policy,
            worker,
            now: NOW,
        }
    }

    pub(crate) fn step(&mut self, headers: &[(&str, &str)], may_wait: bool) -> Step {
        let pairs = headers.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes()));
        let block = Headers::encode(pairs);
        let now = NumericDate::from_unix_seconds(self.now);
        let circumstances = Circumstances::at(now, may_wait);
        let headers = Headers::decode(&block);
        self.policy
            .decide(&mut self.worker, &headers, circumstances, &mut |_| None)
    }

    pub(crate) fn decide(&mut self, headers: &[(&str, &str)]) -> Decision {
        match self.step(headers, true) {
            Step::Done(decision) => decision,
            Step::Wait(awaited) => panic!("waits for {awaited:?}"),
        }
    }

    /// Sends `GET path` with more headers; returns the decision.
    pub(crate) fn get(&mut self, path: &str, more: &[(&str, &str)]) -> Decision {
        let mut headers = vec![
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "api.example.com"),
            (":path", path),
        ];
        headers.extend(more);
        self.decide(&headers)
    }

    /// Sends a bearer token; returns the slug of the refusal, or nothing.
    pub(crate) fn bearer(&mut self, token: &str) -> Option<String> {
        let decision = self.get("/", &[("authorization", &format!("Bearer {token}"))]);
        reason(&decision)
    }
}

/// The slug of a refusal.
pub(crate) fn reason(decision: &Decision) -> Option<String> {
    let details = &decision.reply.as_ref()?.details;
    let (_, rest) = details.split_once("reason=")?;
    Some(rest.trim_end_matches('}').to_owned())
}

/// The status of a refusal, or 200.
pub(crate) fn status(decision: &Decision) -> u16 {
    decision.reply.as_ref().map_or(200, |reply| reply.status)
}

/// What a header is upstream, given what was sent.
pub(crate) fn upstream(decision: &Decision, sent: &[(&str, &str)], name: &str) -> Vec<String> {
    let mut headers: Vec<(String, String)> = sent
        .iter()
        .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
        .collect();
    for edit in &decision.edits {
        match edit {
            Edit::Add(name, value) => headers.push((name.clone(), value.clone())),
            Edit::Remove(name) => headers.retain(|(other, _)| other != name),
            Edit::Target(target) => {
                headers.retain(|(other, _)| other != ":path");
                let target = String::from_utf8_lossy(target).into_owned();
                headers.push((":path".to_owned(), target));
            }
        }
    }
    let named = headers.into_iter().filter(|(other, _)| other == name);
    named.map(|(_, value)| value).collect()
}
