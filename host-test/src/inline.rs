//! The headers that Envoy keeps once in a map.
//!
//! A second value of one of them is joined to the first with a comma, wherever it comes from: the
//! wire, a guest, a local reply. All others are kept apart. Each kind of map has its own list.

use crate::headers::Headers;

/// The kind of a map, which decides what it keeps once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Response,
    ResponseTrailers,
    /// Request trailers, and all that belongs to callouts.
    Other,
}

/// Adds a header as Envoy does.
pub(crate) fn add(headers: &mut Headers, kind: Kind, name: &[u8], value: &[u8]) {
    if headers.is_coalesced() {
        return headers.append(name, value);
    }
    match headers.first(name) {
        Some(first) if is_kept_once(kind, name) => {
            let joined = [first, b",", value].concat();
            headers.set(name, joined);
        }
        _ => headers.append(name, value),
    }
}

/// A map in which each name of the kind is once.
pub(crate) fn joined(kind: Kind, headers: &Headers) -> Headers {
    let mut all = Headers::new();
    for (name, value) in headers.iter() {
        add(&mut all, kind, name, value);
    }
    all
}

fn is_kept_once(kind: Kind, name: &[u8]) -> bool {
    let names: &[&str] = match kind {
        Kind::Request => &REQUEST,
        Kind::Response => &RESPONSE,
        Kind::ResponseTrailers => &["grpc-message", "grpc-status"],
        Kind::Other => &[],
    };
    names
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// Measured on Envoy 1.40, but for what can't be repeated in HTTP/1.
const REQUEST: [&str; 38] = [
    ":authority",
    ":method",
    ":path",
    ":scheme",
    "accept",
    "accept-encoding",
    "access-control-request-headers",
    "access-control-request-method",
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "grpc-accept-encoding",
    "grpc-timeout",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "origin",
    "pragma",
    "referer",
    "te",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "x-forwarded-client-cert",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-request-id",
];

/// As [`REQUEST`].
const RESPONSE: [&str; 27] = [
    ":status",
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-max-age",
    "age",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "etag",
    "expires",
    "grpc-message",
    "grpc-status",
    "keep-alive",
    "last-modified",
    "location",
    "server",
    "transfer-encoding",
    "upgrade",
    "vary",
    "via",
    "x-request-id",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_once_depends_on_the_kind_of_map() {
        let repeated: Headers = [
            ("Vary", "a"),
            ("vary", "b"),
            ("Origin", "a"),
            ("origin", "b"),
        ]
        .into_iter()
        .collect();
        let values = |kind, name| {
            let joined = joined(kind, &repeated);
            let all: Vec<_> = joined.all(name).map(<[u8]>::to_vec).collect();
            all.join(&b"|"[..])
        };
        assert_eq!(values(Kind::Request, "vary"), b"a|b");
        assert_eq!(values(Kind::Request, "origin"), b"a,b");
        assert_eq!(values(Kind::Response, "vary"), b"a,b");
        assert_eq!(values(Kind::Other, "origin"), b"a|b");
    }
}
