//! Tokens that users get by logging in: the authorization code flow with PKCE (RFC 6749 section 4.1,
//! RFC 7636), and what else the provider offers for them: discovery, introspection, revocation, proofs.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::browser::Browser;
use crate::client::Client;
use crate::p256_key::{Key, token_digest};
use crate::provider::{Provider, access_token, form};
use crate::until::until;
use crate::{API, OPAQUE, http_uri, kinds, requires, start, status};

/// The token that a user gets for a service, by a browser that has no cookies yet.
fn log_in(provider: &Provider, user: &str, resource: &str) -> String {
    let code = Browser::new(provider).authorize(user, resource);
    access_token(&provider.post("/token", "", &code.exchange(resource)))
}

#[test]
fn a_user_who_logged_in_and_consented_is_let_through_by_keys_that_were_discovered() {
    for kind in kinds() {
        let mut provider = Provider::start();
        let mut config = requires(json!({
            "audiences": [API],
            "token_types": ["at+jwt"],
            "discovery": {"issuer": provider.issuer, "cluster": "idp"},
        }));
        config["rules"][0]["scopes"] = json!(["read"]);
        config["rules"][0]["claims"] = json!({"claim": "sub", "equals": "ana"});
        let gateway = start(&kind, &provider, &config);
        let mut client = Client::connect(gateway.address("main"));
        assert_eq!(status(&mut client, &log_in(&provider, "ana", API)), 200);
        // Another user, and a token that the provider signed for the client to read.
        assert_eq!(status(&mut client, &log_in(&provider, "bo", API)), 403);
        let code = Browser::new(&provider).authorize("ana", API);
        let answer = provider.post("/token", "", &code.exchange(API));
        let answer: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
        let identity = answer["id_token"].as_str().expect("scope openid brings it");
        assert_eq!(status(&mut client, identity), 401, "{kind:?}");
        let fetches = provider.tell("fetches");
        assert_eq!(fetches, json!({"keys": 1, "discovery": 1}), "{kind:?}");
    }
}

#[test]
fn a_code_without_its_verifier_gets_no_token() {
    let provider = Provider::start();
    let code = Browser::new(&provider).authorize("ana", API);
    let stolen = code.exchange_with(&"another-verifier-".repeat(3), API);
    let answer = provider.post("/token", "", &stolen);
    assert_eq!(answer.status, 400, "{}", answer.body);
}

#[test]
fn an_opaque_token_passes_until_the_provider_revokes_it() {
    for kind in kinds() {
        let provider = Provider::start();
        let config = requires(json!({
            "issuer": provider.issuer,
            "audiences": [OPAQUE],
            "introspection": {
                "http_uri": http_uri(&provider, "/token/introspection"),
                "client_id": "service",
                "client_secret": "the service's own secret, for tests",
                "cache_duration": "1s",
            },
        }));
        let gateway = start(&kind, &provider, &config);
        let mut client = Client::connect(gateway.address("main"));
        let (token, other) = (
            log_in(&provider, "ana", OPAQUE),
            log_in(&provider, "ana", OPAQUE),
        );
        assert_eq!(status(&mut client, &token), 200, "{kind:?}");
        let invented = token.replace(|letter: char| letter.is_ascii_lowercase(), "x");
        assert_eq!(status(&mut client, &invented), 401, "{kind:?}");
        for token in [&token, &other] {
            let revocation = form(&[("client_id", "shop"), ("token", token)]);
            let answer = provider.post("/token/revocation", "", &revocation);
            assert_eq!(answer.status, 200, "{}", answer.body);
        }
        // One that the gateway hasn't seen, and one that it remembers for a second.
        assert_eq!(status(&mut client, &other), 401, "{kind:?}");
        until("the revoked token is refused", || {
            status(&mut client, &token) == 401
        });
    }
}

#[test]
fn a_token_that_the_provider_bound_to_a_key_passes_with_proofs_of_that_key_alone() {
    for kind in kinds() {
        let provider = Provider::start();
        let config = requires(json!({
            "audiences": [API],
            "discovery": {"issuer": provider.issuer, "cluster": "idp"},
            "dpop": {},
        }));
        let gateway = start(&kind, &provider, &config);
        let mut client = Client::connect(gateway.address("main"));
        let (own, other) = (Key::new("own"), Key::new("other"));
        let code = Browser::new(&provider).authorize("ana", API);
        let url = format!("{}/token", provider.issuer);
        let header = format!("dpop: {}\r\n", prove(&own, "POST", &url, None, "1"));
        let token = access_token(&provider.post("/token", &header, &code.exchange(API)));
        let mut send = |key: &Key, id: &str| {
            let proof = prove(key, "GET", "http://a.example/", Some(&token), id);
            let headers = format!("authorization: DPoP {token}\r\ndpop: {proof}\r\n");
            client.get("/", &headers).status
        };
        assert_eq!(send(&own, "2"), 200, "{kind:?}");
        assert_eq!(send(&own, "2"), 401, "{kind:?}: used before");
        assert_eq!(send(&other, "3"), 401, "{kind:?}: another key");
        assert_eq!(send(&own, "4"), 200, "{kind:?}");
        assert_eq!(status(&mut client, &token), 401, "{kind:?}: no proof");
        // A token that isn't bound to any.
        let unbound = provider.token();
        assert_eq!(status(&mut client, &unbound), 401, "{kind:?}");
    }
}

/// A proof for a request, by which a token gets or is bound to a key.
fn prove(key: &Key, method: &str, url: &str, token: Option<&str>, id: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("after 1970").as_secs();
    let mut claims = json!({"jti": id, "htm": method, "htu": url, "iat": now});
    if let Some(token) = token {
        claims["ath"] = json!(token_digest(token));
    }
    key.prove(&claims.to_string())
}
