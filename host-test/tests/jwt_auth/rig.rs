//! Gateways with the filter, and clients of all their workers.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::client::{Client, Response};
use crate::issuer::Issuer;
use crate::one_filter::OneFilter;
use crate::p256_key::{Key, jwks};
use crate::process::{Gateway, Kind};
use crate::real_envoy::real_envoy;

/// Seconds since 1970 at the start of 2100.
pub(crate) const FUTURE: u64 = 4_102_444_800;

/// The gateways there are.
pub(crate) fn kinds() -> Vec<Kind> {
    [Kind::Ours].into_iter().chain(envoys()).collect()
}

/// The real Envoy, if there is one.
pub(crate) fn envoys() -> Vec<Kind> {
    real_envoy().map(Kind::Envoy).into_iter().collect()
}

/// A gateway that answers 200 to who has a token of this provider. The cluster `idp` leads to the
/// issuer.
pub(crate) fn gateway(kind: &Kind, provider: &Value, issuer: &Issuer) -> Gateway {
    gateway_before(kind, provider, issuer.address)
}

/// The same where the cluster leads there.
pub(crate) fn gateway_before(kind: &Kind, provider: &Value, idp: SocketAddr) -> Gateway {
    let config = config(provider);
    let clusters = [("idp", idp)];
    let gateway = OneFilter {
        filter: "jwt_auth",
        config: &config,
        clusters: &clusters,
        transport_socket: None,
        manager: json!({}),
    };
    Gateway::start(kind, &gateway.bootstrap())
}

/// The filter's configuration with this provider alone.
pub(crate) fn config(provider: &Value) -> Value {
    json!({
        "providers": {"p": provider},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "p"}}],
        "failure_body": "json",
    })
}

/// A provider with these keys and, besides, that.
pub(crate) fn with_keys(keys: &[&Key], more: Value) -> Value {
    let mut provider = json!({"issuer": "i", "local_jwks": {"inline_string": jwks(keys)}});
    for (name, value) in more.as_object().expect("fields") {
        provider[name] = value.clone();
    }
    provider
}

/// Where the issuer has something.
pub(crate) fn http_uri(path: &str) -> Value {
    let uri = format!("https://idp.example.com{path}");
    json!({"uri": uri, "cluster": "idp", "timeout": "20s"})
}

/// A token of issuer `i`, with these claims besides.
pub(crate) fn token(key: &Key, more: Value) -> String {
    let mut claims = json!({"iss": "i", "sub": "ana", "exp": FUTURE});
    for (name, value) in more.as_object().expect("fields") {
        claims[name] = value.clone();
    }
    key.sign_claims(&claims.to_string())
}

/// What came of a request: its status, and why it was refused, if it was.
pub(crate) fn outcome(response: &Response) -> (u16, String) {
    outcome_of(response.status, &response.body)
}

/// The same of a status and a body.
pub(crate) fn outcome_of(status: u16, body: &str) -> (u16, String) {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let reason = body["reason"].as_str().unwrap_or_default();
    (status, reason.to_owned())
}

pub(crate) fn passes() -> (u16, String) {
    (200, String::new())
}

pub(crate) fn refuses(status: u16, reason: &str) -> (u16, String) {
    (status, reason.to_owned())
}

/// Sends a token over this connection.
pub(crate) fn bearer(client: &mut Client, token: &str) -> (u16, String) {
    let response = client.get("/", &format!("authorization: Bearer {token}\r\n"));
    outcome(&response)
}

/// Connections that reach all workers: the chance that one of two has none of so many is 1 in
/// 30,000.
pub(crate) struct Clients(Vec<Client>);

impl Clients {
    pub(crate) fn connect(gateway: &Gateway) -> Self {
        let address = gateway.address("main");
        Self((0..16).map(|_| Client::connect(address)).collect())
    }

    /// Sends a token over each; the outcome, if it is the same for all.
    pub(crate) fn bearer(&mut self, token: &str) -> Option<(u16, String)> {
        let outcomes = self.0.iter_mut().map(|client| bearer(client, token));
        let mut outcomes: Vec<_> = outcomes.collect();
        outcomes.dedup();
        match &outcomes[..] {
            [one] => Some(one.clone()),
            _ => None,
        }
    }

    /// Has each do something.
    pub(crate) fn each<T>(&mut self, act: impl FnMut(&mut Client) -> T) -> Vec<T> {
        self.0.iter_mut().map(act).collect()
    }
}
