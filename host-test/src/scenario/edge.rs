//! What stands around a plugin chain in Envoy: its connection manager and its router.
//!
//! The library's host begins and ends where the chain does. Clients, upstreams and guests see what
//! Envoy adds around it, so our own host adds the same headers at the same places.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::headers::Headers;
use crate::host::{Answer, Received};

use super::DEFAULT_AUTHORITY;
use super::model::{ConnectionManager, RequestFields};

/// The port that clients seem to come from.
const CLIENT_PORT: u16 = 40_000;

/// A request as it comes to the first filter, and the address that counts as the client's.
pub(super) fn enter(
    fields: &RequestFields,
    manager: &ConnectionManager,
    number: u64,
) -> (Headers, SocketAddr) {
    let connected = fields.from.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let mut headers = Headers::new();
    headers.append(
        ":authority",
        fields.header("host").unwrap_or(DEFAULT_AUTHORITY),
    );
    headers.append(":path", &fields.path);
    headers.append(":method", &fields.method);
    headers.append(":scheme", "http");
    for (name, value) in &fields.headers.0 {
        if name.eq_ignore_ascii_case("host") {
            continue;
        }
        match headers.first(name) {
            // The one list among the headers that scenarios are likely to repeat.
            Some(first) if name.eq_ignore_ascii_case(FORWARDED_FOR) => {
                let joined = [first, value.as_bytes()].join(&b',');
                headers.set(name, joined);
            }
            _ => headers.append(name, value),
        }
    }
    if !fields.body.is_empty() && fields.header("content-length").is_none() {
        headers.append("content-length", fields.body.len().to_string());
    }
    let client = client(&mut headers, manager, connected);
    if manager.use_remote_address {
        headers.set("x-forwarded-proto", "http");
    } else if headers.first("x-forwarded-proto").is_none() {
        headers.append("x-forwarded-proto", "http");
    }
    if manager.use_remote_address {
        headers.set("x-envoy-external-address", client.ip().to_string());
    }
    // At the edge a client's own identifier isn't trusted.
    if manager.use_remote_address || headers.first("x-request-id").is_none() {
        // A version 4 UUID, as Envoy draws them.
        headers.set(
            "x-request-id",
            format!("00000000-0000-4000-8000-{number:012x}"),
        );
    }
    (headers, client)
}

const FORWARDED_FOR: &str = "x-forwarded-for";

/// Finds the client's address as Envoy does, and adds the connection's to `x-forwarded-for` if
/// Envoy is the edge.
fn client(headers: &mut Headers, manager: &ConnectionManager, connected: IpAddr) -> SocketAddr {
    let list = headers.text(FORWARDED_FOR).unwrap_or_default().into_owned();
    let from_the_right = |n: usize| {
        let address = list.rsplit(',').nth(n)?.trim().parse().ok()?;
        // Envoy knows no port of it.
        Some(SocketAddr::new(address, 0))
    };
    let hops = manager.xff_num_trusted_hops;
    let found = match (manager.use_remote_address, hops.checked_sub(1)) {
        (false, _) => from_the_right(hops),
        (true, Some(before)) => from_the_right(before),
        (true, None) => None,
    };
    if manager.use_remote_address {
        let comma = if list.is_empty() { "" } else { "," };
        headers.set(FORWARDED_FOR, format!("{list}{comma}{connected}"));
    }
    found.unwrap_or(SocketAddr::new(connected, CLIENT_PORT))
}

/// The request as the router writes it.
pub(super) fn to_upstream(request: &Received) -> Received {
    let mut request = request.clone();
    request.headers.remove(":scheme");
    request
        .headers
        .set("x-envoy-expected-rq-timeout-ms", "15000");
    request
}

/// The upstream's answer as the router hands it to the last filter.
pub(super) fn from_upstream(mut answer: Answer) -> Answer {
    if let Answer::Respond { headers, .. } = &mut answer {
        headers.append("x-envoy-upstream-service-time", "0");
    }
    answer
}

/// The answer to a request of that method as the connection manager and its codec write it.
pub(super) fn leave(method: &str, status: u16, headers: &Headers, bare: bool) -> Headers {
    let regular = headers.iter().filter(|(name, _)| !name.starts_with(b":"));
    let mut headers: Headers = regular.collect();
    headers.set("date", "");
    headers.set("server", "envoy");
    let may_have_body = method != "HEAD" && !matches!(status, 204 | 304);
    if bare && may_have_body && headers.first("content-length").is_none() {
        headers.append("content-length", "0");
    }
    headers
}
