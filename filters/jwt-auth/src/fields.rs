//! Answers to requests that are refused: status, `WWW-Authenticate` (RFC 6750 section 3), body.

use filter_core::headers::Headers;
use filter_core::reply::{GrpcStatus, Reply, details};

use crate::config::binding::{Binding, Dpop};
use crate::config::rule::Rule;
use crate::config::{Config, FailureBody};
use crate::decision::Cause;
use crate::jose::refusal::Reason;
use crate::route;
use crate::token::quote;

/// The longest path that is repeated in a realm, as in jwt_authn.
const MOST_PATH: usize = 256;

/// Makes the answer to a refused request.
pub(crate) fn reply(
    config: &Config,
    rule: Option<&Rule>,
    cause: Cause,
    headers: &Headers<'_>,
) -> Reply {
    let name = rule.map_or("", |rule| &rule.name);
    let facts = [("rule", name), ("reason", cause.slug())];
    let facts = facts.get(usize::from(rule.is_none())..).unwrap_or_default();
    let status = status(cause);
    let mut reply = Reply {
        status,
        headers: Vec::new(),
        body: String::new(),
        details: details("jwt_auth_denied", facts),
        grpc_status: Some(match status {
            403 => GrpcStatus::PermissionDenied,
            400 => GrpcStatus::InvalidArgument,
            503 => GrpcStatus::Unavailable,
            _ => GrpcStatus::Unauthenticated,
        }),
    };
    if config.strip_failure_response {
        return reply;
    }
    if let Cause::Token(refusal) = cause
        && status != 503
    {
        for scheme in schemes(config, rule) {
            let challenge = challenge(&scheme, rule, refusal.reason, cause.detail(), headers);
            let header = ("www-authenticate".to_owned(), challenge);
            reply.headers.push(header);
        }
    }
    match config.failure_body {
        FailureBody::Message => message(cause).clone_into(&mut reply.body),
        FailureBody::Json => {
            let json = "application/json".to_owned();
            reply.headers.push(("content-type".to_owned(), json));
            reply.body = format!(
                "{{\"error\":{},\"reason\":{},\"detail\":{}}}",
                quote(error(cause)),
                quote(cause.slug()),
                quote(cause.detail()),
            );
        }
    }
    reply
}

/// Makes the answer to a request that the host kept the filter from deciding about.
#[cfg(target_arch = "wasm32")]
pub(crate) fn host_error() -> Reply {
    Reply {
        status: 503,
        headers: Vec::new(),
        body: "The request could not be checked. Try again.".to_owned(),
        details: details("jwt_auth_error", &[("cause", "host")]),
        grpc_status: Some(GrpcStatus::Unavailable),
    }
}

const fn status(cause: Cause) -> u16 {
    match cause {
        Cause::AmbiguousPath | Cause::Headers => 400,
        Cause::Token(refusal) => match refusal.reason {
            // jwt_authn: 403 for the audience alone.
            Reason::WrongAudience | Reason::InsufficientScope | Reason::ClaimDenied => 403,
            Reason::JwksUnavailable
            | Reason::IntrospectionUnavailable
            | Reason::RevocationsUnavailable => 503,
            _ => 401,
        },
    }
}

/// RFC 6750 section 3.1: the error codes.
const fn error(cause: Cause) -> &'static str {
    match cause {
        Cause::AmbiguousPath | Cause::Headers => "invalid_request",
        Cause::Token(refusal) => match refusal.reason {
            Reason::InsufficientScope | Reason::ClaimDenied => "insufficient_scope",
            Reason::JwksUnavailable
            | Reason::IntrospectionUnavailable
            | Reason::RevocationsUnavailable => "temporarily_unavailable",
            _ => "invalid_token",
        },
    }
}

/// A way in which a rule takes tokens.
struct Scheme {
    name: &'static str,
    /// RFC 9449 section 7.1: the algorithms that proofs may be signed with.
    algorithms: Option<String>,
}

/// Returns the ways in which a rule takes tokens, the better one first.
fn schemes(config: &Config, rule: Option<&Rule>) -> Vec<Scheme> {
    let is_asked = |number: usize| rule.is_none_or(|rule| rule.requirement.asks_of(config, number));
    let asked = config.providers.iter().enumerate();
    let asked = asked.filter(|(number, _)| is_asked(*number));
    let asked: Vec<_> = asked.map(|(_, provider)| provider.dpop.as_ref()).collect();
    let mut schemes = Vec::new();
    if let Some(dpop) = asked.iter().flatten().next() {
        let names = dpop.algorithms.iter().map(|alg| alg.name());
        schemes.push(Scheme {
            name: "DPoP",
            algorithms: Some(names.collect::<Vec<_>>().join(" ")),
        });
    }
    let needs_proof =
        |dpop: &Option<&Dpop>| dpop.is_some_and(|dpop| dpop.tokens == Binding::Required);
    if schemes.is_empty() || !asked.iter().all(needs_proof) {
        schemes.push(Scheme {
            name: "Bearer",
            algorithms: None,
        });
    }
    schemes
}

fn challenge(
    scheme: &Scheme,
    rule: Option<&Rule>,
    reason: Reason,
    detail: &str,
    headers: &Headers<'_>,
) -> String {
    let realm = rule.and_then(|rule| rule.realm.clone());
    let realm = realm.unwrap_or_else(|| url(headers));
    let mut challenge = format!("{} realm=\"{}\"", scheme.name, quotable(realm.as_bytes()));
    // RFC 6750 section 3.1: no error code for a request without any token.
    if reason != Reason::Missing {
        let error = match (reason, &scheme.algorithms) {
            (Reason::ProofFailed, Some(_)) => "invalid_dpop_proof",
            _ => error(Cause::Token(reason.because(""))),
        };
        let detail = quotable(detail.as_bytes());
        challenge.push_str(&format!(
            ", error=\"{error}\", error_description=\"{detail}\""
        ));
    }
    if let Some(rule) = rule {
        if reason == Reason::InsufficientScope {
            challenge.push_str(&format!(", scope=\"{}\"", rule.scopes.join(" ")));
        }
        if let Some(url) = &rule.resource_metadata {
            let url = quotable(url.as_bytes());
            challenge.push_str(&format!(", resource_metadata=\"{url}\""));
        }
    }
    if let Some(algorithms) = &scheme.algorithms {
        challenge.push_str(&format!(", algs=\"{algorithms}\""));
    }
    challenge
}

/// Scheme and authority of a request's URL, as the client knows them.
pub(crate) fn origin<'h>(headers: &Headers<'h>) -> (&'h [u8], &'h [u8]) {
    let scheme = headers
        .first("x-forwarded-proto")
        .or_else(|| headers.first(":scheme"));
    let host = headers
        .first(":authority")
        .or_else(|| headers.first("host"));
    (scheme.unwrap_or_default(), host.unwrap_or_default())
}

/// The URL of a request without its query, where tokens might be.
fn url(headers: &Headers<'_>) -> String {
    let (scheme, host) = origin(headers);
    let path = route::path(headers);
    let path = path.get(..MOST_PATH).unwrap_or(path);
    let text = String::from_utf8_lossy;
    format!("{}://{}{}", text(scheme), text(host), text(path))
}

/// Makes text fit between quotes in a header, whatever a client put there.
fn quotable(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.push_str(if byte == b'"' { "%22" } else { "%5C" }),
            b' ' => out.push(' '),
            byte if byte.is_ascii_graphic() => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// What jwt_authn answers in the same case, where there is one.
const fn message(cause: Cause) -> &'static str {
    let Cause::Token(refusal) = cause else {
        return "The request can be read in two ways.";
    };
    match refusal.reason {
        Reason::BadSignature => "Jwt verification fails",
        Reason::Expired => "Jwt is expired",
        Reason::JwksUnavailable => "Jwks remote fetch is failed",
        Reason::KeyMismatch | Reason::UnknownKey => {
            "Jwks doesn't have key to match kid or alg from Jwt"
        }
        Reason::Malformed => {
            "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections"
        }
        Reason::Missing => "Jwt is missing",
        Reason::NotYetValid => "Jwt not yet valid",
        Reason::UnknownIssuer | Reason::WrongIssuer => "Jwt issuer is not configured",
        Reason::AlgNotAllowed | Reason::UnsupportedAlg => {
            "Jwt header [alg] field value is not supported"
        }
        Reason::WrongAudience => "Audiences in Jwt are not allowed",
        Reason::WrongSubject => "Subject in Jwt is not allowed",
        _ => refusal.detail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"{
        "providers": {"p": {"remote_jwks": {
            "http_uri": {"uri": "http://a/", "cluster": "c", "timeout": "1s"}}}},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "p"}, "scopes": ["a", "b"],
                   "name": "api", "resource_metadata": "https://x/.well-known/y"}] EXTRA }"#;

    fn answer(reason: Reason, extra: &str) -> Reply {
        let config = Config::read(CONFIG.replace("EXTRA", extra).as_bytes()).unwrap();
        let block = Headers::encode([
            (&b":path"[..], &b"/a\"b\r\n?access_token=secret"[..]),
            (b":authority", b"api.example.com"),
            (b":scheme", b"https"),
        ]);
        let cause = Cause::Token(reason.because("what is wrong"));
        reply(
            &config,
            config.rules.first(),
            cause,
            &Headers::decode(&block),
        )
    }

    fn challenge_of(reply: &Reply) -> &str {
        &reply.headers[0].1
    }

    #[test]
    fn a_missing_token_is_asked_for_without_an_error() {
        let reply = answer(Reason::Missing, "");
        assert_eq!(reply.status, 401);
        assert_eq!(
            challenge_of(&reply),
            "Bearer realm=\"https://api.example.com/a%22b%0D%0A\", \
             resource_metadata=\"https://x/.well-known/y\""
        );
        assert_eq!(reply.body, "Jwt is missing");
        assert_eq!(reply.details, "jwt_auth_denied{rule=api,reason=missing}");
        assert_eq!(reply.grpc_status, Some(GrpcStatus::Unauthenticated));
    }

    #[test]
    fn a_lack_of_scope_says_which_are_needed() {
        let reply = answer(Reason::InsufficientScope, "");
        assert_eq!(reply.status, 403);
        let challenge = challenge_of(&reply);
        assert!(
            challenge.contains("error=\"insufficient_scope\"")
                && challenge.contains(", scope=\"a b\""),
            "{challenge}"
        );
    }

    #[test]
    fn the_body_says_the_reason_by_choice() {
        let reply = answer(Reason::Expired, ", \"failure_body\": \"json\"");
        assert_eq!(
            reply.body,
            r#"{"error":"invalid_token","reason":"expired","detail":"what is wrong"}"#
        );
    }

    #[test]
    fn a_stripped_answer_says_nothing() {
        let reply = answer(Reason::Expired, ", \"strip_failure_response\": true");
        assert_eq!((reply.status, &*reply.body), (401, ""));
        assert!(reply.headers.is_empty());
        assert_eq!(reply.details, "jwt_auth_denied{rule=api,reason=expired}");
    }

    #[test]
    fn keys_that_cannot_be_had_are_not_the_client_s_fault() {
        let reply = answer(Reason::JwksUnavailable, "");
        assert_eq!(reply.status, 503);
        assert!(reply.headers.is_empty());
    }
}
