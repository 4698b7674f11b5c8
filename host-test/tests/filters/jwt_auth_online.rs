//! jwt-auth as a module: what it asks other services for. Discovery, introspection, revocation, and
//! proofs that all workers remember.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use host_test::host::{Answer, Host, HostBuilder};
use host_test::reply::Reply;

use crate::jwt_auth::{NOW, reason};
use crate::module::plugin;
use crate::p256_key::{Key, jwks, token_digest};

/// Services by their paths: what they answer, and the bodies they were sent.
#[derive(Clone, Default)]
struct Services {
    answers: Rc<RefCell<BTreeMap<String, Option<String>>>>,
    asked: Rc<RefCell<Vec<(String, String)>>>,
    is_silent: Rc<Cell<bool>>,
}

impl Services {
    fn put(&self, path: &str, answer: impl Into<Option<String>>) {
        self.answers
            .borrow_mut()
            .insert(path.to_owned(), answer.into());
    }

    /// How often a path was asked for.
    fn count(&self, path: &str) -> usize {
        let asked = self.asked.borrow();
        asked.iter().filter(|(other, _)| other == path).count()
    }

    fn serve(&self, host: HostBuilder) -> HostBuilder {
        let services = self.clone();
        host.callouts(move |request| {
            let path = request
                .headers
                .text(":path")
                .unwrap_or_default()
                .into_owned();
            let body = String::from_utf8_lossy(&request.body).into_owned();
            services.asked.borrow_mut().push((path.clone(), body));
            match services.answers.borrow().get(&path) {
                _ if services.is_silent.get() => Answer::Never,
                Some(Some(answer)) => Answer::status(200, answer.clone()),
                _ => Answer::status(503, "no"),
            }
        })
    }
}

fn host(services: &Services, provider: &str, workers: usize) -> Host {
    let config = format!(
        r#"{{"providers": {{"p": {{"forward": true, {provider}}}}},
             "rules": [{{"match": {{"prefix": "/"}}, "requires": {{"provider_name": "p"}}}}]}}"#
    );
    let builder = Host::builder().plugin(plugin("jwt_auth").config_json(&config));
    let builder = services.serve(builder.cluster("idp"));
    builder.workers(workers).build().expect("starts")
}

fn bearer(host: &Host, token: &str) -> Reply {
    let authorization = format!("Bearer {token}");
    host.get("/").header("authorization", authorization).send()
}

fn issued_by(key: &Key, issuer: &str) -> String {
    key.sign_claims(&format!(
        r#"{{"iss":"{issuer}","sub":"ana","jti":"t1","exp":{}}}"#,
        NOW + 100_000
    ))
}

const DOCUMENT: &str = "/realm/.well-known/openid-configuration";
const DISCOVERY: &str =
    r#""discovery": {"issuer": "https://idp.example.com/realm", "cluster": "idp"}"#;

fn document(issuer: &str, jwks_uri: &str, algorithms: &str) -> String {
    format!(
        r#"{{"issuer": "{issuer}", "jwks_uri": "{jwks_uri}",
            "id_token_signing_alg_values_supported": [{algorithms}]}}"#
    )
}

#[test]
fn keys_are_discovered_once_for_all_workers() {
    let (key, services) = (Key::new("one"), Services::default());
    let issuer = "https://idp.example.com/realm";
    services.put(
        DOCUMENT,
        document(issuer, "https://idp.example.com/keys", r#""ES256""#),
    );
    services.put("/keys", jwks(&[&key]));
    let host = host(&services, DISCOVERY, 3);
    host.advance(Duration::from_millis(300));
    for worker in 1..=3 {
        let authorization = format!("Bearer {}", issued_by(&key, issuer));
        let request = host.get("/").worker(worker);
        let reply = request.header("authorization", authorization).send();
        assert_eq!(reply.status(), Some(200), "worker {worker}");
    }
    assert_eq!((services.count(DOCUMENT), services.count("/keys")), (1, 1));
    assert_eq!(host.violations(), [""; 0]);
}

#[test]
fn a_document_of_another_issuer_or_with_keys_elsewhere_brings_no_keys() {
    let key = Key::new("one");
    let issuer = "https://idp.example.com/realm";
    for (said, jwks_uri) in [
        ("https://evil.example.com", "https://idp.example.com/keys"),
        (issuer, "https://evil.example.com/keys"),
        (issuer, "http://idp.example.com/keys"),
    ] {
        let services = Services::default();
        services.put(DOCUMENT, document(said, jwks_uri, r#""ES256""#));
        services.put("/keys", jwks(&[&key]));
        let host = host(&services, DISCOVERY, 1);
        host.advance(Duration::from_millis(300));
        let reply = bearer(&host, &issued_by(&key, issuer));
        assert_eq!(reason(&reply), "jwks_unavailable", "{said} {jwks_uri}");
        assert_eq!(services.count("/keys"), 0);
    }
}

#[test]
fn an_algorithm_that_the_document_does_not_name_is_not_taken() {
    let (key, services) = (Key::new("one"), Services::default());
    let issuer = "https://idp.example.com/realm";
    services.put(
        DOCUMENT,
        document(issuer, "https://idp.example.com/keys", r#""RS256""#),
    );
    services.put("/keys", jwks(&[&key]));
    let host = host(&services, DISCOVERY, 1);
    host.advance(Duration::from_millis(300));
    assert_eq!(
        reason(&bearer(&host, &issued_by(&key, issuer))),
        "alg_not_allowed"
    );
}

const INTROSPECTION: &str = r#""introspection": {
    "http_uri": {"uri": "https://idp.example.com/introspect", "cluster": "idp", "timeout": "2s"},
    "client_id": "gateway", "client_secret": "hush", "max_held_requests": 60}"#;

#[test]
fn an_opaque_token_is_introspected_and_then_costs_no_more_than_another() {
    let services = Services::default();
    services.put(
        "/introspect",
        r#"{"active": true, "sub": "ana"}"#.to_owned(),
    );
    let host = host(&services, INTROSPECTION, 1);
    assert_eq!(bearer(&host, "opaque+/=").status(), Some(200));
    assert_eq!(
        services.asked.borrow()[0].1,
        "token=opaque%2B%2F%3D&token_type_hint=access_token"
    );
    let again = bearer(&host, "opaque+/=");
    assert_eq!(again.status(), Some(200));
    assert_eq!(
        again.hostcalls().values().sum::<u64>(),
        4,
        "{:?}",
        again.hostcalls()
    );
    assert_eq!(services.count("/introspect"), 1);
    services.put("/introspect", r#"{"active": false}"#.to_owned());
    assert_eq!(reason(&bearer(&host, "another")), "inactive");
    services.put("/introspect", None);
    let unavailable = bearer(&host, "third");
    assert_eq!(
        (unavailable.status(), &*reason(&unavailable)),
        (Some(503), "introspection_unavailable")
    );
    let logs = host.take_logs();
    assert!(
        !logs
            .iter()
            .any(|line| line.message.contains("hush") || line.message.contains("opaque"))
    );
    assert_eq!(host.violations(), [""; 0]);
}

#[test]
fn fifty_requests_with_one_unknown_token_ask_once_and_the_hold_is_bounded() {
    let services = Services::default();
    services.is_silent.set(true);
    let host = host(&services, INTROSPECTION, 1);
    let start = |token: &str| {
        let authorization = format!("Bearer {token}");
        host.get("/").header("authorization", authorization).start()
    };
    let flights: Vec<_> = (0..50).map(|_| start("opaque")).collect();
    assert!(flights.iter().all(|flight| flight.is_paused()));
    assert_eq!(services.count("/introspect"), 1);
    // Ten more may wait; the rest is refused.
    let more: Vec<_> = (0..20).map(|n| start(&format!("other-{n}"))).collect();
    assert_eq!(more.iter().filter(|flight| flight.is_over()).count(), 10);
    let waiting = host.waiting_callouts();
    host.answer(&waiting[0], Answer::status(200, r#"{"active": true}"#))
        .expect("waits");
    host.advance(Duration::from_millis(100));
    for flight in flights {
        assert_eq!(flight.finish().status(), Some(200));
    }
    host.advance(Duration::from_secs(5));
    for flight in more {
        assert_eq!(flight.finish().status(), Some(503));
    }
    assert_eq!(host.violations(), [""; 0]);
}

#[test]
fn a_question_that_dies_with_its_request_is_asked_anew() {
    let services = Services::default();
    services.is_silent.set(true);
    let host = host(&services, INTROSPECTION, 1);
    let start = || {
        host.get("/")
            .header("authorization", "Bearer opaque")
            .start()
    };
    let (gone, stays) = (start(), start());
    assert_eq!(services.count("/introspect"), 1);
    drop(gone);
    host.advance(Duration::from_millis(100));
    assert_eq!(services.count("/introspect"), 2);
    let waiting = host.waiting_callouts();
    let last = waiting.last().expect("one waits");
    host.answer(last, Answer::status(200, r#"{"active": true}"#))
        .expect("waits");
    host.advance(Duration::from_millis(100));
    assert_eq!(stays.finish().status(), Some(200));
    assert_eq!(host.violations(), [""; 0]);
}

fn revocable(key: &Key) -> String {
    let text = jwks(&[key]).replace('"', "\\\"");
    format!(
        r#""issuer": "i", "local_jwks": {{"inline_string": "{text}"}}, "revocation": {{
            "http_uri": {{"uri": "https://idp.example.com/revoked", "cluster": "idp", "timeout": "2s"}},
            "poll_interval": "10s"}}"#
    )
}

#[test]
fn revoked_tokens_are_refused_by_all_workers_and_one_of_them_asks() {
    let (key, services) = (Key::new("one"), Services::default());
    services.put("/revoked", "{}".to_owned());
    let host = host(&services, &revocable(&key), 4);
    host.advance(Duration::from_millis(300));
    let token = issued_by(&key, "i");
    let statuses = || -> Vec<_> {
        let send = |worker| {
            let request = host.get("/").worker(worker);
            let reply = request
                .header("authorization", format!("Bearer {token}"))
                .send();
            reply.status()
        };
        (1..=4).map(send).collect()
    };
    assert_eq!(statuses(), [Some(200); 4]);
    assert_eq!(services.count("/revoked"), 1);
    services.put("/revoked", r#"{"jti": ["t1"]}"#.to_owned());
    host.advance(Duration::from_secs(10));
    assert_eq!(statuses(), [Some(401); 4]);
    assert_eq!(reason(&bearer(&host, &token)), "revoked");
    // The last good list counts, whatever comes after it.
    for odd in [
        None,
        Some("no".to_owned()),
        Some(r#"{"jti": "t2"}"#.to_owned()),
    ] {
        services.put("/revoked", odd);
        host.advance(Duration::from_secs(30));
        assert_eq!(statuses(), [Some(401); 4]);
    }
    let asked = services.count("/revoked");
    assert!(
        asked <= 2 + 100,
        "{asked} in 100 s: at most one a second while it fails"
    );
    services.put("/revoked", "{}".to_owned());
    host.advance(Duration::from_secs(2));
    assert_eq!(statuses(), [Some(200); 4]);
}

#[test]
fn without_any_list_nobody_passes_unless_configured() {
    let key = Key::new("one");
    for (more, expected) in [("", 503), (r#", "on_unavailable": "allow""#, 200)] {
        let provider = revocable(&key).replace(r#""10s"}"#, &format!(r#""10s"{more}}}"#));
        let host = host(&Services::default(), &provider, 1);
        host.advance(Duration::from_millis(300));
        let reply = bearer(&host, &issued_by(&key, "i"));
        assert_eq!(reply.status(), Some(expected), "{more}");
    }
}

/// A proof of possession for `GET http://localhost/` with this token.
fn proof(key: &Key, token: &str, id: &str) -> String {
    let ath = token_digest(token);
    key.prove(&format!(
        r#"{{"jti":"{id}","htm":"GET","htu":"http://localhost/","iat":{NOW},"ath":"{ath}"}}"#
    ))
}

#[test]
fn a_proof_is_good_once_over_all_workers() {
    let (issuer, client) = (Key::new("one"), Key::new("client"));
    let token = issuer.sign_claims(&format!(
        r#"{{"iss":"i","exp":{},"cnf":{{"jkt":"{}"}}}}"#,
        NOW + 100_000,
        client.thumbprint()
    ));
    let text = jwks(&[&issuer]).replace('"', "\\\"");
    let provider =
        format!(r#""issuer": "i", "local_jwks": {{"inline_string": "{text}"}}, "dpop": {{}}"#);
    let host = host(&Services::default(), &provider, 2);
    let send = |worker, id: &str| {
        let request = host.get("/").worker(worker);
        let request = request.header("authorization", format!("DPoP {token}"));
        request.header("dpop", proof(&client, &token, id)).send()
    };
    let first = send(1, "a");
    assert_eq!(first.status(), Some(200), "{}", first.details());
    for worker in [1, 2] {
        let replayed = send(worker, "a");
        assert_eq!(
            (replayed.status(), &*reason(&replayed)),
            (Some(401), "proof_failed")
        );
        let challenge = replayed.header("www-authenticate").unwrap_or_default();
        assert!(
            challenge.starts_with("DPoP ")
                && challenge.contains("error=\"invalid_dpop_proof\"")
                && challenge.contains("algs=\"EdDSA ES256"),
            "{challenge}"
        );
    }
    let other = send(2, "b");
    assert_eq!(other.status(), Some(200), "{}", other.details());
    // Remembered: headers, time, two counters; the proof: its signature, the time, its slot twice.
    assert_eq!(send(2, "c").hostcalls().values().sum::<u64>(), 4 + 4);
    assert_eq!(host.violations(), [""; 0]);
}

#[test]
fn without_a_certificate_a_token_that_is_bound_to_one_is_refused() {
    let key = Key::new("one");
    let text = jwks(&[&key]).replace('"', "\\\"");
    let provider = format!(
        r#""issuer": "i", "local_jwks": {{"inline_string": "{text}"}}, "certificate_bound": {{}}"#
    );
    let host = host(&Services::default(), &provider, 1);
    let token = key.sign_claims(&format!(
        r#"{{"iss":"i","exp":{},"cnf":{{"x5t#S256":"Ro7TO-dO7mVW2QwBScEwnpumHWQlMDRDwHSKAt2N5og"}}}}"#,
        NOW + 100_000
    ));
    let refused = bearer(&host, &token);
    assert_eq!(reason(&refused), "proof_failed");
    assert_eq!(refused.hostcalls()["proxy_get_property"], 1);
}
