//! Heads of messages on their way between hyper and the filter chain: what the connection manager
//! and the codec of Envoy take off and put on.

use std::net::{IpAddr, SocketAddr};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri, Version, request, response};

use crate::bootstrap::ConnectionManager;
use crate::headers::Headers;

/// Headers that clients can't set: they steer Envoy.
const INTERNAL: [&str; 17] = [
    "x-envoy-decorator-operation",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-force-trace",
    "x-envoy-hedge-on-per-try-timeout",
    "x-envoy-internal",
    "x-envoy-ip-tags",
    "x-envoy-max-retries",
    "x-envoy-original-path",
    "x-envoy-original-url",
    "x-envoy-retriable-header-names",
    "x-envoy-retriable-status-codes",
    "x-envoy-retry-grpc-on",
    "x-envoy-retry-on",
    "x-envoy-upstream-alt-stat-name",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-rq-timeout-alt-response",
    "x-envoy-upstream-rq-timeout-ms",
];

/// Headers of which Envoy keeps one value: several lines are joined by commas.
const JOINED: [&str; 12] = [
    "accept",
    "accept-encoding",
    "authorization",
    "cache-control",
    "content-type",
    "grpc-timeout",
    "te",
    "user-agent",
    "via",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-request-id",
];

/// Methods that Envoy's codec takes.
const METHODS: [&str; 34] = [
    "ACL",
    "BIND",
    "CHECKOUT",
    "CONNECT",
    "COPY",
    "DELETE",
    "GET",
    "HEAD",
    "LINK",
    "LOCK",
    "M-SEARCH",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MOVE",
    "NOTIFY",
    "OPTIONS",
    "PATCH",
    "POST",
    "PROPFIND",
    "PROPPATCH",
    "PURGE",
    "PUT",
    "REBIND",
    "REPORT",
    "SEARCH",
    "SOURCE",
    "SUBSCRIBE",
    "TRACE",
    "UNBIND",
    "UNLINK",
    "UNLOCK",
    "UNSUBSCRIBE",
];

/// A request that is answered before it has a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// What the codec doesn't take; the details.
    Codec(&'static str),
    /// A path with a fragment.
    Fragment,
    /// The head takes too long to come.
    HeadTimeout,
    /// Too many headers or too large ones; the details.
    HeadersTooLarge(&'static str),
    /// A transfer coding other than chunked.
    TransferEncoding,
    /// `Upgrade` asks for another protocol.
    Upgrade,
    /// HTTP/1.0.
    LowVersion,
    /// There is no `host`.
    MissingHost,
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub(super) remote: SocketAddr,
    pub(super) local: SocketAddr,
    /// Number of the connection within the worker.
    pub(super) id: u64,
}

/// The request as the first filter sees it, and who the client is taken to be.
pub(super) fn request_head(
    parts: &request::Parts,
    manager: &ConnectionManager,
    peer: &Peer,
    request_id: impl FnOnce() -> String,
) -> Result<(Headers, SocketAddr), Refusal> {
    let http2 = parts.version == Version::HTTP_2;
    if parts.version == Version::HTTP_10 {
        return Err(Refusal::LowVersion);
    }
    if !http2 && !manager.custom_methods && !METHODS.contains(&parts.method.as_str()) {
        return Err(Refusal::Codec("http1.codec_error"));
    }
    let path = parts.uri.path_and_query().map(|path| path.as_str());
    if parts.method != Method::CONNECT && !path.is_some_and(str::is_ascii) {
        return Err(Refusal::Codec("http1.codec_error"));
    }
    if let Some(coding) = parts.headers.get(header::TRANSFER_ENCODING)
        && !coding.as_bytes().eq_ignore_ascii_case(b"chunked")
    {
        return Err(Refusal::TransferEncoding);
    }
    // An absolute URI goes before the header, RFC 9112 section 3.2.2.
    let host = match parts.uri.authority() {
        Some(authority) => authority.as_str().as_bytes(),
        None => match parts.headers.get(header::HOST) {
            Some(host) => host.as_bytes(),
            None => return Err(Refusal::MissingHost),
        },
    };
    let nominated = nominated(&parts.headers);
    if parts.headers.contains_key(header::UPGRADE) && nominated.iter().any(|n| n == "upgrade") {
        return Err(Refusal::Upgrade);
    }
    let mut headers = Headers::new();
    headers.append(":authority", host);
    if parts.method != Method::CONNECT {
        headers.append(":path", path.unwrap_or("/"));
    }
    headers.append(":method", parts.method.as_str());
    headers.append(":scheme", "http");
    let repeated = parts.headers.len() != parts.headers.keys_len();
    for (name, value) in &parts.headers {
        if is_hop_by_hop(name) || *name == header::HOST || *name == header::EXPECT {
            continue;
        }
        if *name == header::TE && !has_token(value, "trailers") {
            continue;
        }
        let name = name.as_str();
        // `te` may be nominated and is kept nevertheless.
        if nominated.iter().any(|n| n == name) && name != "te" {
            continue;
        }
        if name.starts_with("x-envoy-") && INTERNAL.contains(&name) {
            continue;
        }
        // Envoy's `SANITIZE`, its default: what a client says of a certificate is nothing.
        if name == "x-forwarded-client-cert" {
            continue;
        }
        match headers.first(name) {
            Some(first) if repeated && JOINED.contains(&name) => {
                let joined = [first, value.as_bytes()].join(&b',');
                headers.set(name, joined);
            }
            // HTTP/2 splits it, RFC 9113 section 8.2.3.
            Some(first) if http2 && name == "cookie" => {
                let joined = [first, value.as_bytes()].join(&b"; "[..]);
                headers.set(name, joined);
            }
            _ => headers.append(name, value),
        }
    }
    let remote = forwarded(&mut headers, manager, peer);
    if manager.use_remote_address || headers.first("x-forwarded-proto").is_none() {
        headers.set("x-forwarded-proto", "http");
    }
    if manager.use_remote_address {
        headers.set("x-envoy-external-address", remote.ip().to_string());
    }
    // At the edge an id of the client's own isn't trusted.
    let given = !manager.use_remote_address && headers.first("x-request-id").is_some();
    if manager.generate_request_id && !given {
        headers.set("x-request-id", request_id());
    }
    Ok((headers, remote))
}

/// Who the client is: who is connected, or who `x-forwarded-for` says was connected to a proxy that
/// is trusted.
fn forwarded(headers: &mut Headers, manager: &ConnectionManager, peer: &Peer) -> SocketAddr {
    let list = headers.text("x-forwarded-for").unwrap_or_default();
    let nth_last = |n: usize| -> Option<SocketAddr> {
        let address: IpAddr = list.rsplit(',').nth(n)?.trim().parse().ok()?;
        Some(SocketAddr::new(address, 0))
    };
    if !manager.use_remote_address {
        return nth_last(manager.trusted_hops).unwrap_or(peer.remote);
    }
    let trusted = match manager.trusted_hops.checked_sub(1) {
        Some(before) => nth_last(before),
        None => None,
    };
    let connected = peer.remote.ip().to_string();
    let appended = if list.is_empty() {
        connected
    } else {
        format!("{list},{connected}")
    };
    headers.set("x-forwarded-for", appended);
    trusted.unwrap_or(peer.remote)
}

/// Names that `connection` lists, in lower case.
fn nominated(headers: &HeaderMap) -> Vec<String> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(|token| String::from_utf8_lossy(token.trim_ascii()).to_ascii_lowercase())
        .collect()
}

fn has_token(value: &HeaderValue, token: &str) -> bool {
    value
        .as_bytes()
        .split(|byte| *byte == b',')
        .any(|part| part.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// Headers of the connection rather than of the message.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::CONNECTION | header::TRANSFER_ENCODING | header::UPGRADE
    ) || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

/// Why a message that left the chain can't be sent; told in Envoy's words.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unsendable {
    /// A header's name isn't one.
    Name(String),
    /// A header's value has a line break or a NUL in it.
    Value(String),
    /// A pseudo-header is missing or isn't what it must be.
    Missing(&'static str),
}

/// The request as it goes upstream. `end` means that it has no body.
pub(super) fn upstream_request<B>(
    headers: &Headers,
    end: bool,
    body: B,
    http2: bool,
) -> Result<Request<B>, Unsendable> {
    let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    let mut request = Request::new(body);
    let method = headers.first(":method");
    let method = method.ok_or(Unsendable::Missing(":method"))?;
    let invalid = |name: &[u8]| Unsendable::Value(text(name));
    *request.method_mut() = Method::from_bytes(method).map_err(|_| invalid(b":method"))?;
    let path = headers.first(":path").unwrap_or(b"/");
    let path = Uri::try_from(path).map_err(|_| invalid(b":path"))?;
    *request.uri_mut() = if http2 {
        *request.version_mut() = Version::HTTP_2;
        let authority = headers.first(":authority").unwrap_or_default();
        Uri::builder()
            .scheme("http")
            .authority(authority)
            .path_and_query(path.path_and_query().map_or("/", |path| path.as_str()))
            .build()
            .map_err(|_| invalid(b":authority"))?
    } else {
        path
    };
    let map = request.headers_mut();
    map.reserve(headers.len());
    if let Some(host) = headers.first(":authority").filter(|_| !http2) {
        let value = HeaderValue::from_bytes(host).map_err(|_| invalid(b":authority"))?;
        map.insert(header::HOST, value);
    }
    for (name, value) in headers.iter().filter(|(name, _)| !name.starts_with(b":")) {
        let header = HeaderName::from_bytes(name).map_err(|_| Unsendable::Name(text(name)))?;
        if is_hop_by_hop(&header) {
            continue;
        }
        let value = HeaderValue::from_bytes(value).map_err(|_| invalid(name))?;
        map.append(header, value);
    }
    // RFC 9110 section 8.6: these methods are expected to have a body.
    let expects_body = matches!(
        *request.method(),
        Method::POST | Method::PUT | Method::PATCH | Method::OPTIONS
    );
    let map = request.headers_mut();
    if http2 || map.contains_key(header::CONTENT_LENGTH) {
        return Ok(request);
    }
    if !end {
        // Said for GET too, whose body hyper would leave out otherwise.
        map.insert(
            header::TRANSFER_ENCODING,
            HeaderValue::from_static("chunked"),
        );
    } else if expects_body {
        map.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    Ok(request)
}

/// The upstream's response as the last filter sees it.
pub(super) fn response_head(parts: &response::Parts) -> Headers {
    let mut headers = Headers::new();
    headers.append(":status", parts.status.as_str());
    for (name, value) in &parts.headers {
        if !is_hop_by_hop(name) {
            headers.append(name, value);
        }
    }
    headers
}

/// Trailers as filters see them.
pub(super) fn trailers(map: &HeaderMap) -> Headers {
    let mut trailers = Headers::new();
    for (name, value) in map {
        trailers.append(name.as_str(), value);
    }
    trailers
}

/// Trailers as they are written; what isn't a header is left out.
pub(super) fn trailer_map(trailers: &Headers) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in trailers.iter() {
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            map.append(name, value);
        }
    }
    map
}

/// The status of a response that left the chain.
pub(super) fn status(headers: &Headers) -> Result<StatusCode, Unsendable> {
    let status = headers.first(":status").unwrap_or_default();
    match StatusCode::from_bytes(status) {
        Ok(status) if !status.is_informational() => Ok(status),
        _ => Err(Unsendable::Missing(":status")),
    }
}

/// The response as it goes to the client; also tells which headers had to be left out.
///
/// Envoy writes what a filter has set, line breaks and all: a header injection that this gateway
/// doesn't repeat.
pub(super) fn client_response<B>(
    status: StatusCode,
    headers: &Headers,
    body: B,
) -> (Response<B>, Vec<String>) {
    let mut response = Response::new(body);
    let mut dropped = Vec::new();
    *response.status_mut() = status;
    let map = response.headers_mut();
    map.reserve(headers.len());
    for (name, value) in headers.iter().filter(|(name, _)| !name.starts_with(b":")) {
        match (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            (Ok(name), Ok(_)) if is_hop_by_hop(&name) => {}
            (Ok(name), Ok(value)) => {
                map.append(name, value);
            }
            _ => dropped.push(String::from_utf8_lossy(name).into_owned()),
        }
    }
    (response, dropped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrap::RouteTable;

    fn manager(use_remote_address: bool, trusted_hops: usize) -> ConnectionManager {
        ConnectionManager {
            stat_prefix: String::new(),
            server_name: "envoy".into(),
            routes: RouteTable::default(),
            filters: Vec::new(),
            access_logs: Vec::new(),
            use_remote_address,
            trusted_hops,
            generate_request_id: true,
            natives: Vec::new(),
            codec: crate::bootstrap::Codec::Auto,
            trailers: false,
            custom_methods: false,
            max_head_bytes: 1 << 16,
            head_timeout: std::time::Duration::ZERO,
            stream_idle_timeout: std::time::Duration::ZERO,
        }
    }

    fn head(
        manager: &ConnectionManager,
        headers: &[(&str, &str)],
    ) -> Result<(Headers, SocketAddr), Refusal> {
        let mut request = Request::builder().uri("/p?q");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let peer = Peer {
            remote: "9.9.9.9:5000".parse().unwrap(),
            local: "127.0.0.1:80".parse().unwrap(),
            id: 1,
        };
        let (parts, ()) = request.body(()).unwrap().into_parts();
        request_head(&parts, manager, &peer, || "made".into())
    }

    #[test]
    fn the_connections_own_headers_and_those_it_names_stay_behind() {
        let (headers, _) = head(
            &manager(false, 0),
            &[
                ("host", "a"),
                ("connection", "keep-alive, X-Foo"),
                ("x-foo", "1"),
                ("keep-alive", "5"),
                ("proxy-connection", "x"),
                ("te", "gzip"),
                ("expect", "100-continue"),
                ("x-envoy-internal", "true"),
                ("x-envoy-own", "1"),
                ("x-forwarded-client-cert", "By=a"),
                ("accept", "a"),
                ("accept", "b"),
                ("cookie", "a"),
                ("cookie", "b"),
                ("x-request-id", "mine"),
            ],
        )
        .unwrap();
        let expected: Headers = [
            (":authority", "a"),
            (":path", "/p?q"),
            (":method", "GET"),
            (":scheme", "http"),
            ("x-envoy-own", "1"),
            ("accept", "a,b"),
            ("cookie", "a"),
            ("cookie", "b"),
            ("x-request-id", "mine"),
            ("x-forwarded-proto", "http"),
        ]
        .into_iter()
        .collect();
        assert_eq!(headers, expected);
    }

    #[test]
    fn the_client_is_whom_the_trusted_proxies_say() {
        let forwarded = ("x-forwarded-for", "1.1.1.1, 2.2.2.2");
        for (edge, hops, headers, client, sent) in [
            (false, 0, vec![], "9.9.9.9:5000", None),
            (
                false,
                0,
                vec![forwarded],
                "2.2.2.2:0",
                Some("1.1.1.1, 2.2.2.2"),
            ),
            (
                false,
                1,
                vec![forwarded],
                "1.1.1.1:0",
                Some("1.1.1.1, 2.2.2.2"),
            ),
            (
                false,
                0,
                vec![("x-forwarded-for", "z")],
                "9.9.9.9:5000",
                Some("z"),
            ),
            (true, 0, vec![], "9.9.9.9:5000", Some("9.9.9.9")),
            (
                true,
                0,
                vec![forwarded],
                "9.9.9.9:5000",
                Some("1.1.1.1, 2.2.2.2,9.9.9.9"),
            ),
            (
                true,
                1,
                vec![forwarded],
                "2.2.2.2:0",
                Some("1.1.1.1, 2.2.2.2,9.9.9.9"),
            ),
        ] {
            let mut all = vec![("host", "a")];
            all.extend(headers);
            let (headers, remote) = head(&manager(edge, hops), &all).unwrap();
            assert_eq!(remote.to_string(), client);
            assert_eq!(headers.text("x-forwarded-for").as_deref(), sent);
        }
    }

    #[test]
    fn an_id_is_made_unless_an_inner_proxy_may_keep_the_one_it_got() {
        let given = [("host", "a"), ("x-request-id", "mine")];
        let id = |manager, headers: &[_]| {
            let (headers, _) = head(&manager, headers).unwrap();
            headers.text("x-request-id").unwrap().into_owned()
        };
        assert_eq!(id(manager(false, 0), &given), "mine");
        assert_eq!(id(manager(true, 0), &given), "made");
        assert_eq!(id(manager(false, 0), &given[..1]), "made");
    }

    #[test]
    fn upgrades_and_requests_without_a_host_are_refused() {
        let upgrade = [("host", "a"), ("connection", "Upgrade"), ("upgrade", "x")];
        let refused = |headers: &[_]| head(&manager(false, 0), headers).unwrap_err();
        assert_eq!(refused(&upgrade), Refusal::Upgrade);
        assert_eq!(refused(&[]), Refusal::MissingHost);
        assert!(head(&manager(false, 0), &upgrade[..1]).is_ok());
    }

    #[test]
    fn requests_that_no_codec_can_write_are_told_apart() {
        let request = |headers: &[(&str, &str)]| {
            let headers: Headers = headers.iter().copied().collect();
            upstream_request(&headers, true, (), false)
        };
        let sent = request(&[(":method", "PUT"), (":path", "/a"), (":authority", "h")]).unwrap();
        assert_eq!(sent.headers()["host"], "h");
        assert_eq!(sent.headers()["content-length"], "0");
        assert_eq!(request(&[]).unwrap_err(), Unsendable::Missing(":method"));
        let with = |name, value| request(&[(":method", "GET"), (name, value)]).unwrap_err();
        assert_eq!(with("x-a", "1\r\nx-b: 2"), Unsendable::Value("x-a".into()));
        assert_eq!(with("x a", "1"), Unsendable::Name("x a".into()));
    }

    #[test]
    fn response_headers_with_line_breaks_do_not_reach_the_client() {
        let headers: Headers = [
            (":status", "200"),
            ("x-a", "1\r\nx-b: 2"),
            ("connection", "close"),
            ("x-c", "3"),
        ]
        .into_iter()
        .collect();
        let (response, dropped) = client_response(status(&headers).unwrap(), &headers, ());
        assert_eq!(dropped, ["x-a"]);
        assert_eq!(response.headers().len(), 1);
        assert_eq!(response.headers()["x-c"], "3");
    }
}
