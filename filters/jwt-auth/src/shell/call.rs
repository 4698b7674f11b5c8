//! Calls to other services.
//!
//! By the SDK's own function, alone among its hostcalls: its dispatcher panics at an answer to a call
//! that it doesn't know of, and only that function tells it.

use crate::config::introspection::Introspection;
use crate::config::jwks::Endpoint;
use crate::decision::Question;
use crate::introspection;

/// Asks for what is at an endpoint; `None` if the cluster can't be called.
pub(super) fn get(endpoint: &Endpoint) -> Option<u32> {
    send(endpoint, "GET", &[("accept", "application/json")], None)
}

/// Asks an introspection endpoint about a token; `None` if the cluster can't be called.
pub(super) fn ask(client: &Introspection, question: &Question) -> Option<u32> {
    let credentials = introspection::credentials(client);
    let mut headers = vec![
        ("accept", "application/json"),
        ("authorization", &*credentials),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    headers.extend(question.trace.iter().map(|(name, value)| (*name, &**value)));
    let body = introspection::body(&question.token);
    send(&client.endpoint, "POST", &headers, Some(body.as_bytes()))
}

fn send(
    endpoint: &Endpoint,
    method: &str,
    more: &[(&str, &str)],
    body: Option<&[u8]>,
) -> Option<u32> {
    let mut headers = vec![
        (":method", method),
        (":scheme", &*endpoint.scheme),
        (":authority", &*endpoint.authority),
        (":path", &*endpoint.path),
    ];
    headers.extend(more);
    proxy_wasm::hostcalls::dispatch_http_call(
        &endpoint.cluster,
        headers,
        body,
        Vec::new(),
        endpoint.timeout,
    )
    .ok()
}
