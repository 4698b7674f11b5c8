//! What stands around a plugin chain in Envoy: its connection manager and its router.
//!
//! The library's host begins and ends where the chain does. Clients, upstreams and guests see what
//! Envoy adds around it, so our own host adds the same headers at the same places.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::headers::Headers;
use crate::host::{Answer, Received};
use crate::inline::{self, Kind};

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
        inline::add(
            &mut headers,
            Kind::Request,
            name.as_bytes(),
            value.as_bytes(),
        );
    }
    // Of TE only the consent to trailers is kept.
    if let Some(te) = headers.text("te").map(Cow::into_owned) {
        headers.remove("te");
        if te.split(',').any(|one| one.trim() == "trailers") {
            headers.append("te", "trailers");
        }
    }
    // Envoy's `SANITIZE`, its default: what a client says of a certificate is nothing.
    headers.remove("x-forwarded-client-cert");
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
    found.unwrap_or_else(|| SocketAddr::new(connected, CLIENT_PORT))
}

/// The request as the router and its codec write it.
pub(super) fn to_upstream(request: &Received) -> Received {
    let mut request = request.clone();
    request.headers.remove(":scheme");
    request
        .headers
        .set("x-envoy-expected-rq-timeout-ms", "15000");
    tell_length(&mut request.headers, request.bare);
    request
}

/// A request without a body is told to have none, unless its method says so.
fn tell_length(headers: &mut Headers, bare: bool) {
    let bodyless = headers
        .text(":method")
        .is_some_and(|method| matches!(&*method, "GET" | "HEAD" | "DELETE" | "TRACE" | "CONNECT"));
    if bare && !bodyless && headers.first("content-length").is_none() {
        headers.append("content-length", "0");
    }
}

/// The upstream's answer as the router hands it to the last filter.
pub(super) fn from_upstream(mut answer: Answer) -> Answer {
    if let Answer::Respond { headers, .. } = &mut answer {
        *headers = inline::joined(Kind::Response, headers);
        headers.append("x-envoy-upstream-service-time", "0");
    }
    answer
}

/// A callout as the router and its codec write it.
pub(super) fn to_service(request: &Received, timeout: Option<Duration>) -> Received {
    let mut request = request.clone();
    request.headers.remove(":scheme");
    request.headers.set("x-envoy-internal", "true");
    if let Some(timeout) = timeout {
        let milliseconds = timeout.as_millis().to_string();
        request
            .headers
            .set("x-envoy-expected-rq-timeout-ms", milliseconds);
    }
    tell_length(&mut request.headers, request.body.is_empty());
    request
}

/// A service's answer as the router hands it to the guest.
pub(super) fn from_service(mut answer: Answer) -> Answer {
    // Of an answer to a request that isn't over no time is told.
    if let Answer::Break { headers, .. } | Answer::Respond { headers, .. } = &mut answer {
        *headers = inline::joined(Kind::Response, headers);
        headers.append("x-envoy-upstream-service-time", "0");
    }
    answer
}

/// The answer to a request of that method as the connection manager and its codec write it.
pub(super) fn leave(method: &str, status: u16, headers: &Headers, bare: bool) -> Headers {
    let regular = headers.iter().filter(|(name, _)| !name.starts_with(b":"));
    let mut headers = Headers::new();
    for (name, value) in regular {
        write(&mut headers, name, value);
    }
    headers.set("date", "");
    headers.set("server", "envoy");
    let may_have_body = method != "HEAD" && !matches!(status, 204 | 304);
    if bare && may_have_body && headers.first("content-length").is_none() {
        headers.append("content-length", "0");
    }
    headers
}

/// A header as the client reads it: Envoy writes line breaks as they are, and what follows one is a
/// header of its own.
fn write(headers: &mut Headers, name: &[u8], value: &[u8]) {
    let Some(at) = value.windows(2).position(|two| two == b"\r\n") else {
        headers.append(name, value);
        return;
    };
    headers.append(name, &value[..at]);
    for line in value[at + 2..].split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if let Some(colon) = line.iter().position(|byte| *byte == b':') {
            headers.append(&line[..colon], line[colon + 1..].trim_ascii());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::parse_yaml;
    use super::super::model::Request;
    use super::*;

    /// What the first filter sees: the client's address, and some header.
    fn seen(request: &str, manager: &str, header: &str) -> (String, Option<String>) {
        let request: Request = parse_yaml(request).unwrap();
        let manager: ConnectionManager = parse_yaml(manager).unwrap();
        let (headers, client) = enter(&request.0, &manager, 7);
        let value = headers.text(header).map(Cow::into_owned);
        (client.to_string(), value)
    }

    #[test]
    fn the_clients_address_is_found_as_envoy_finds_it() {
        let forwarded =
            "{path: /, from: 127.0.0.9, headers: {x-forwarded-for: '192.0.2.1, 192.0.2.2'}}";
        let table = [
            ("{path: /, from: 127.0.0.9}", "{}", "127.0.0.9:40000", None),
            (forwarded, "{}", "192.0.2.2:0", Some("192.0.2.1, 192.0.2.2")),
            (
                forwarded,
                "{xff_num_trusted_hops: 1}",
                "192.0.2.1:0",
                Some("192.0.2.1, 192.0.2.2"),
            ),
            (
                forwarded,
                "{use_remote_address: true}",
                "127.0.0.9:40000",
                Some("192.0.2.1, 192.0.2.2,127.0.0.9"),
            ),
            (
                forwarded,
                "{use_remote_address: true, xff_num_trusted_hops: 2}",
                "192.0.2.1:0",
                Some("192.0.2.1, 192.0.2.2,127.0.0.9"),
            ),
            (
                "{path: /, headers: {x-forwarded-for: nonsense}}",
                "{}",
                "127.0.0.1:40000",
                Some("nonsense"),
            ),
        ];
        for (request, manager, client, list) in table {
            let expected = (client.to_owned(), list.map(str::to_owned));
            assert_eq!(
                seen(request, manager, FORWARDED_FOR),
                expected,
                "{request} {manager}"
            );
        }
    }

    #[test]
    fn an_identifier_of_the_client_is_kept_behind_the_edge_and_replaced_at_it() {
        let request = "{path: /, headers: {x-request-id: mine}}";
        let id = |manager| seen(request, manager, "x-request-id").1.unwrap();
        assert_eq!(id("{}"), "mine");
        assert_eq!(
            id("{use_remote_address: true}"),
            "00000000-0000-4000-8000-000000000007"
        );
    }

    #[test]
    fn what_a_client_says_of_a_certificate_does_not_reach_the_filters() {
        let name = "x-forwarded-client-cert";
        let request = "{path: /, headers: {X-Forwarded-Client-Cert: 'By=a;Hash=00'}}";
        assert_eq!(seen(request, "{}", name).1, None);
    }

    #[test]
    fn a_bare_answer_gets_a_length_unless_it_may_have_no_body() {
        let length = |method, status| {
            let headers = leave(method, status, &Headers::new(), true);
            headers.text("content-length").map(Cow::into_owned)
        };
        assert_eq!(length("GET", 503).as_deref(), Some("0"));
        assert_eq!(length("GET", 204), None);
        assert_eq!(length("GET", 304), None);
        assert_eq!(length("HEAD", 200), None);
    }
}
