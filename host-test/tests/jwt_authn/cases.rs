//! The table.

mod claims;
mod documentation;
mod locations;
mod matching;
mod requirements;
mod strictness;

use serde_json::{Value, json};

use crate::requests::Request;
use crate::token::{self, FUTURE, rs256};
use crate::{Case, Group};

/// A case that both decide alike.
fn case(name: &'static str, request: Request, status: u16) -> Case {
    Case {
        name,
        request,
        native: status,
        ours: None,
    }
}

/// A case where ours decides otherwise.
fn differs(
    name: &'static str,
    request: Request,
    native: u16,
    ours: u16,
    why: &'static str,
) -> Case {
    Case {
        name,
        request,
        native,
        ours: Some((ours, why)),
    }
}

fn get() -> Request {
    Request::get("/")
}

pub(crate) fn groups() -> Vec<Group> {
    let mut groups = documentation::groups();
    groups.extend(requirements::groups());
    groups.extend(locations::groups());
    groups.extend(claims::groups());
    groups.extend(matching::groups());
    groups.extend(strictness::groups());
    groups
}

/// A provider of the whole key set.
fn provider(issuer: &str) -> Value {
    json!({"issuer": issuer, "local_jwks": {"inline_string": token::jwks().to_string()}})
}

/// A provider with more fields.
fn provider_with(issuer: &str, more: &Value) -> Value {
    let mut provider = provider(issuer);
    for (name, value) in more.as_object().into_iter().flatten() {
        provider[name] = value.clone();
    }
    provider
}

/// One provider, `p`, that all requests need.
fn requires_p(provider: &Value) -> Value {
    json!({
        "providers": {"p": provider},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "p"}}],
    })
}

/// A good token of an issuer.
fn of(issuer: &str) -> String {
    rs256(&json!({"iss": issuer, "sub": "ana", "exp": FUTURE}))
}
