//! The Rate Limit Service protocol, `envoy.service.ratelimit.v3`: what is asked, and what is answered.

use filter_core::time::Span;

use super::wire::{Value, fields, put_bytes, put_number};

/// The gRPC service.
pub const SERVICE: &str = "envoy.service.ratelimit.v3.RateLimitService";
/// Its method.
pub const METHOD: &str = "ShouldRateLimit";

/// Headers of an answer that are taken over; more are left out.
const MOST_HEADERS: usize = 32;
/// Bytes of the longest body that is taken over.
const LONGEST_BODY: usize = 16 * 1024;

/// What one descriptor says: names and values in order.
pub type Entries = Vec<(String, String)>;

/// Writes a `RateLimitRequest`: for each descriptor its entries and units.
pub fn request(domain: &str, descriptors: &[(Entries, u64)]) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, 1, domain.as_bytes());
    let most = descriptors.iter().map(|(_, units)| *units).max();
    let most = most.unwrap_or(0);
    for (entries, units) in descriptors {
        let mut descriptor = Vec::new();
        for (key, value) in entries {
            let mut entry = Vec::new();
            put_bytes(&mut entry, 1, key.as_bytes());
            put_bytes(&mut entry, 2, value.as_bytes());
            put_bytes(&mut descriptor, 1, &entry);
        }
        // A descriptor's own number is newer than the request's, and not every service knows it.
        if *units != most {
            let mut wrapped = Vec::new();
            put_number(&mut wrapped, 1, *units);
            put_bytes(&mut descriptor, 3, &wrapped);
        }
        put_bytes(&mut out, 2, &descriptor);
    }
    put_number(
        &mut out,
        3,
        u64::from(u32::try_from(most).unwrap_or(u32::MAX)),
    );
    out
}

/// A `RateLimitResponse`, as far as it is of use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// Whether any descriptor is over its limit.
    pub is_over: bool,
    /// How each descriptor stands, in the order of the request; a service may leave them out.
    pub statuses: Vec<Status>,
    /// Headers for the client.
    pub response_headers: Vec<(String, String)>,
    /// Headers for the upstream.
    pub request_headers: Vec<(String, String)>,
    /// The body for a client that is denied; empty to leave it to the filter.
    pub body: String,
}

/// A `DescriptorStatus`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Whether it is over its limit.
    pub is_over: bool,
    /// The limit, if the service tells it.
    pub limit: Option<Limit>,
    /// Units left.
    pub remaining: u64,
    /// When the window ends, if the service tells it.
    pub reset: Option<Span>,
}

/// A `DescriptorStatus.RateLimit`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// Units in each window.
    pub requests: u64,
    /// Seconds of a window; none if the service doesn't tell.
    pub window: Option<u64>,
}

impl Response {
    /// Reads an answer; `None` if it isn't one, or says neither yes nor no.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut response = Self::default();
        let mut code = None;
        for field in fields(bytes) {
            match field? {
                (1, Value::Varint(number)) => code = Some(number),
                (2, value) => response.statuses.push(Status::read(value.bytes()?)?),
                (3, value) => push_header(&mut response.response_headers, value)?,
                (4, value) => push_header(&mut response.request_headers, value)?,
                (5, value) => {
                    let body = value.bytes()?;
                    let text = std::str::from_utf8(body).ok();
                    let text = text.filter(|text| text.len() <= LONGEST_BODY);
                    response.body = text.unwrap_or_default().to_owned();
                }
                _ => {}
            }
        }
        response.is_over = match code? {
            1 => false,
            2 => true,
            _ => return None,
        };
        Some(response)
    }
}

impl Status {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut status = Self::default();
        for field in fields(bytes) {
            match field? {
                (1, value) => status.is_over = value.number()? == 2,
                (2, value) => status.limit = Some(Limit::read(value.bytes()?)?),
                (3, value) => status.remaining = value.number()?,
                (4, value) => status.reset = Some(duration(value.bytes()?)?),
                _ => {}
            }
        }
        Some(status)
    }
}

impl Limit {
    fn read(bytes: &[u8]) -> Option<Self> {
        const DAY: u64 = 24 * 60 * 60;
        let mut limit = Self::default();
        for field in fields(bytes) {
            match field? {
                (1, value) => limit.requests = value.number()?,
                (2, value) => {
                    limit.window = match value.number()? {
                        1 => Some(1),
                        2 => Some(60),
                        3 => Some(60 * 60),
                        4 => Some(DAY),
                        5 => Some(30 * DAY),
                        6 => Some(365 * DAY),
                        7 => Some(7 * DAY),
                        _ => None,
                    }
                }
                _ => {}
            }
        }
        Some(limit)
    }
}

/// A `google.protobuf.Duration`; one below zero is none.
fn duration(bytes: &[u8]) -> Option<Span> {
    let (mut seconds, mut nanos) = (0, 0);
    for field in fields(bytes) {
        match field? {
            (1, value) => seconds = value.number()?,
            (2, value) => nanos = value.number()?,
            _ => {}
        }
    }
    let is_negative = |number: u64| number > u64::MAX >> 1;
    if is_negative(seconds) || is_negative(nanos) {
        return Some(Span::ZERO);
    }
    Some(Span::from_secs(seconds).plus(Span::from_nanos(nanos)))
}

/// Reads a `HeaderValue`. One that can't go over the wire as it is, is left out.
fn push_header(headers: &mut Vec<(String, String)>, value: Value<'_>) -> Option<()> {
    let (mut name, mut text) = (&[][..], &[][..]);
    for field in fields(value.bytes()?) {
        match field? {
            (1, value) => name = value.bytes()?,
            (2 | 3, value) => text = value.bytes()?,
            _ => {}
        }
    }
    // A pseudo-header would be another request, and a line break another header.
    let is_name = !name.is_empty()
        && name
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte));
    let is_ours = [&b"content-length"[..], b"transfer-encoding", b"connection"]
        .iter()
        .any(|taken| name.eq_ignore_ascii_case(taken));
    let text = std::str::from_utf8(text).ok();
    let text = text.filter(|text| !text.chars().any(char::is_control));
    if let (Some(text), Ok(name)) = (text, std::str::from_utf8(name))
        && is_name
        && !is_ours
        && headers.len() < MOST_HEADERS
    {
        headers.push((name.to_ascii_lowercase(), text.to_owned()));
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(pairs: &[(&str, &str)]) -> Entries {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn a_request_is_what_protoc_makes_of_it() {
        // echo 'domain: "d" descriptors {entries {key: "k" value: "v"}} hits_addend: 2' |
        //   protoc --encode=envoy.service.ratelimit.v3.RateLimitRequest …
        let bytes = request("d", &[(entries(&[("k", "v")]), 2)]);
        assert_eq!(
            bytes,
            b"\x0a\x01d\x12\x08\x0a\x06\x0a\x01k\x12\x01v\x18\x02"
        );
    }

    #[test]
    fn descriptors_that_cost_less_say_so() {
        let bytes = request("d", &[(entries(&[]), 1), (entries(&[]), 3)]);
        assert_eq!(bytes, b"\x0a\x01d\x12\x04\x1a\x02\x08\x01\x12\x00\x18\x03");
    }

    #[test]
    fn reads_code_statuses_and_headers() {
        let mut limit = Vec::new();
        put_number(&mut limit, 1, 100);
        put_number(&mut limit, 2, 2);
        let mut reset = Vec::new();
        put_number(&mut reset, 1, 7);
        put_number(&mut reset, 2, 500_000_000);
        let mut status = Vec::new();
        put_number(&mut status, 1, 2);
        put_bytes(&mut status, 2, &limit);
        put_number(&mut status, 3, 4);
        put_bytes(&mut status, 4, &reset);
        let mut bytes = Vec::new();
        put_number(&mut bytes, 1, 2);
        put_bytes(&mut bytes, 2, &status);
        for (name, value) in [
            ("X-Plan", "gold"),
            (":path", "/"),
            ("a", "b\r\nc: d"),
            ("", "x"),
        ] {
            let mut header = Vec::new();
            put_bytes(&mut header, 1, name.as_bytes());
            put_bytes(&mut header, 2, value.as_bytes());
            put_bytes(&mut bytes, 3, &header);
        }
        put_bytes(&mut bytes, 5, b"slow down");
        let response = Response::read(&bytes).unwrap();
        assert!(response.is_over);
        assert_eq!(
            response.statuses,
            [Status {
                is_over: true,
                limit: Some(Limit {
                    requests: 100,
                    window: Some(60)
                }),
                remaining: 4,
                reset: Some(Span::from_nanos(7_500_000_000)),
            }]
        );
        assert_eq!(response.response_headers, entries(&[("x-plan", "gold")]));
        assert_eq!(response.body, "slow down");
    }

    #[test]
    fn an_answer_that_says_neither_yes_nor_no_is_none() {
        for bytes in [
            &b""[..],
            b"\x08\x00",
            b"\x08\x03",
            b"\x08",
            b"\x12\x01\xff\x08\x01",
            b"hello",
        ] {
            assert_eq!(Response::read(bytes), None, "{bytes:?}");
        }
    }
}
