//! Envoy's format strings: text with `%OPERATOR%`s, in access logs and in added headers.
//!
//! This module knows the grammar, `%NAME(ARGUMENT):LENGTH%`, and the operators; what they stand for
//! is filled in where a stream ends.

use super::fields::Problems;
use super::problem::{Fault, Place, Problem, nearest};
use super::yaml::{Meaning, Node, Value};

/// A parsed format string.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    /// Text and operators in order.
    pub pieces: Vec<Piece>,
}

/// A part of a format string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Copied as it is.
    Text(String),
    /// Replaced; cut to the length in bytes if there is one.
    Operator(Operator, Option<usize>),
}

/// What a format string can say of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "the variants are Envoy's operators and documented by it"
)]
pub enum Operator {
    BytesReceived,
    BytesSent,
    ConnectionId,
    DownstreamLocalAddress,
    DownstreamLocalPort,
    DownstreamRemoteAddress,
    DownstreamRemoteAddressWithoutPort,
    DownstreamRemotePort,
    Duration,
    FilterState(String),
    Hostname,
    Protocol,
    /// Header, and the one taken instead if it is absent.
    Request(String, Option<String>),
    RequestDuration,
    /// Header, and the one taken instead if it is absent.
    Response(String, Option<String>),
    ResponseCode,
    ResponseCodeDetails,
    ResponseDuration,
    ResponseFlags,
    RouteName,
    StartTime(Vec<TimePart>),
    StreamId,
    UpstreamCluster,
    UpstreamHost,
    UpstreamTransportFailureReason,
}

/// A part of a `%START_TIME(…)%` format, which is strftime's with `%1f` … `%9f`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "the variants are strftime's conversions and named after them"
)]
pub enum TimePart {
    Text(String),
    Day,
    /// Decimals of the second, 1 to 9 of them.
    Fraction(usize),
    Hour,
    Minute,
    Month,
    Second,
    SecondsSinceEpoch,
    Year,
}

/// A JSON document with format strings in the place of values.
#[derive(Clone, Debug, PartialEq)]
pub enum JsonTemplate {
    /// A list.
    Array(Vec<Self>),
    /// A number, boolean or null, written as it is.
    Literal(serde_json::Value),
    /// Members sorted by name, as Envoy writes them.
    Object(Vec<(String, Self)>),
    /// A string; a lone operator keeps the type of its value.
    Text(Template),
}

/// Operators without an argument that can be filled in.
const PLAIN: [(&str, Operator); 21] = [
    ("BYTES_RECEIVED", Operator::BytesReceived),
    ("BYTES_SENT", Operator::BytesSent),
    ("CONNECTION_ID", Operator::ConnectionId),
    ("DOWNSTREAM_LOCAL_ADDRESS", Operator::DownstreamLocalAddress),
    ("DOWNSTREAM_LOCAL_PORT", Operator::DownstreamLocalPort),
    (
        "DOWNSTREAM_REMOTE_ADDRESS",
        Operator::DownstreamRemoteAddress,
    ),
    (
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
        Operator::DownstreamRemoteAddressWithoutPort,
    ),
    ("DOWNSTREAM_REMOTE_PORT", Operator::DownstreamRemotePort),
    ("DURATION", Operator::Duration),
    ("HOSTNAME", Operator::Hostname),
    ("PROTOCOL", Operator::Protocol),
    ("REQUEST_DURATION", Operator::RequestDuration),
    ("RESPONSE_CODE", Operator::ResponseCode),
    ("RESPONSE_CODE_DETAILS", Operator::ResponseCodeDetails),
    ("RESPONSE_DURATION", Operator::ResponseDuration),
    ("RESPONSE_FLAGS", Operator::ResponseFlags),
    ("ROUTE_NAME", Operator::RouteName),
    ("STREAM_ID", Operator::StreamId),
    ("UPSTREAM_CLUSTER", Operator::UpstreamCluster),
    ("UPSTREAM_HOST", Operator::UpstreamHost),
    (
        "UPSTREAM_TRANSPORT_FAILURE_REASON",
        Operator::UpstreamTransportFailureReason,
    ),
];

/// Operators with an argument that can be filled in.
const WITH_ARGUMENT: [&str; 4] = ["FILTER_STATE", "REQ", "RESP", "START_TIME"];

/// Operators that Envoy 1.40 accepts and this gateway doesn't have.
const UNSUPPORTED: &str = "\
    ACCESS_LOG_TYPE BYTES_RETRANSMITTED CEL CLUSTER_METADATA COMMON_DURATION \
    CONNECTION_TERMINATION_DETAILS CUSTOM_FLAGS DOWNSTREAM_CX_RTT \
    DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT \
    DOWNSTREAM_DETECTED_CLOSE_TYPE DOWNSTREAM_DIRECT_LOCAL_ADDRESS \
    DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT \
    DOWNSTREAM_DIRECT_LOCAL_PORT DOWNSTREAM_DIRECT_REMOTE_ADDRESS \
    DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT DOWNSTREAM_DIRECT_REMOTE_PORT \
    DOWNSTREAM_HANDSHAKE_DURATION DOWNSTREAM_HEADER_BYTES_RECEIVED DOWNSTREAM_HEADER_BYTES_SENT \
    DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT \
    DOWNSTREAM_LOCAL_CLOSE_REASON DOWNSTREAM_LOCAL_DNS_SAN DOWNSTREAM_LOCAL_EMAIL_SAN \
    DOWNSTREAM_LOCAL_IP_SAN DOWNSTREAM_LOCAL_OTHERNAME_SAN DOWNSTREAM_LOCAL_SUBJECT \
    DOWNSTREAM_LOCAL_URI_SAN DOWNSTREAM_PEER_CERT DOWNSTREAM_PEER_CERT_V_END \
    DOWNSTREAM_PEER_CERT_V_START DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1 \
    DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256 DOWNSTREAM_PEER_CHAIN_SERIALS DOWNSTREAM_PEER_DNS_SAN \
    DOWNSTREAM_PEER_EMAIL_SAN DOWNSTREAM_PEER_FINGERPRINT_1 DOWNSTREAM_PEER_FINGERPRINT_256 \
    DOWNSTREAM_PEER_IP_SAN DOWNSTREAM_PEER_ISSUER DOWNSTREAM_PEER_ISSUER_FINGERPRINT_256 \
    DOWNSTREAM_PEER_ISSUER_SERIAL DOWNSTREAM_PEER_OTHERNAME_SAN DOWNSTREAM_PEER_SERIAL \
    DOWNSTREAM_PEER_SUBJECT DOWNSTREAM_PEER_URI_SAN DOWNSTREAM_TLS_CIPHER DOWNSTREAM_TLS_GROUP \
    DOWNSTREAM_TLS_SESSION_ID DOWNSTREAM_TLS_VERSION DOWNSTREAM_TRANSPORT_FAILURE_REASON \
    DOWNSTREAM_WIRE_BYTES_RECEIVED DOWNSTREAM_WIRE_BYTES_SENT DYNAMIC_METADATA EMIT_TIME \
    EMIT_TIME_LOCAL ENVIRONMENT FILTER_CHAIN_NAME GRPC_STATUS GRPC_STATUS_NUMBER LISTENER_NAME \
    LOCAL_REPLY_BODY METADATA PATH QUERY_PARAM QUERY_PARAMS REQUESTED_SERVER_NAME REQUEST_HEADER \
    REQUEST_HEADERS_BYTES REQUEST_TX_DURATION RESPONSE_FLAGS_LONG RESPONSE_HEADER \
    RESPONSE_HEADERS_BYTES RESPONSE_TRAILER RESPONSE_TRAILERS_BYTES RESPONSE_TX_DURATION \
    ROUTE_RESOLUTION_COUNT ROUTE_RESOLUTION_TIME_US SPAN_ID START_TIME_LOCAL STREAM_INFO_REQ \
    TLS_JA3_FINGERPRINT TLS_JA4_FINGERPRINT TRACE_ID TRAILER UNIQUE_ID UPSTREAM_CLUSTER_RAW \
    UPSTREAM_CONNECTION_ID UPSTREAM_CONNECTION_IDS_ATTEMPTED \
    UPSTREAM_CONNECTION_POOL_READY_DURATION UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED \
    UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT UPSTREAM_DETECTED_CLOSE_TYPE UPSTREAM_FILTER_STATE \
    UPSTREAM_HEADER_BYTES_RECEIVED UPSTREAM_HEADER_BYTES_SENT UPSTREAM_HOSTS_ATTEMPTED \
    UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT UPSTREAM_HOST_NAME UPSTREAM_HOST_NAMES_ATTEMPTED \
    UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT UPSTREAM_HOST_NAME_WITHOUT_PORT \
    UPSTREAM_LOCAL_ADDRESS UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT UPSTREAM_LOCAL_CLOSE_REASON \
    UPSTREAM_LOCAL_DNS_SAN UPSTREAM_LOCAL_IP_SAN UPSTREAM_LOCAL_PORT UPSTREAM_LOCAL_URI_SAN \
    UPSTREAM_METADATA UPSTREAM_PEER_CERT UPSTREAM_PEER_CERT_V_END UPSTREAM_PEER_CERT_V_START \
    UPSTREAM_PEER_DNS_SAN UPSTREAM_PEER_IP_SAN UPSTREAM_PEER_ISSUER UPSTREAM_PEER_SUBJECT \
    UPSTREAM_PEER_URI_SAN UPSTREAM_PROTOCOL UPSTREAM_REMOTE_ADDRESS \
    UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT \
    UPSTREAM_REMOTE_PORT UPSTREAM_REQUEST_ATTEMPT_COUNT UPSTREAM_SERVER_NAME UPSTREAM_TLS_CIPHER \
    UPSTREAM_TLS_GROUP UPSTREAM_TLS_SESSION_ID UPSTREAM_TLS_VERSION UPSTREAM_WIRE_BYTES_RECEIVED \
    UPSTREAM_WIRE_BYTES_SENT VIRTUAL_CLUSTER_NAME";

impl Template {
    /// Parses a format string of the file.
    pub(crate) fn read(node: &Node, what: &str, problems: &Problems) -> Option<Self> {
        let text = problems.string(node, what)?;
        Self::read_text(&text, node.at, problems)
    }

    /// Parses a format string that stands at a place.
    pub(crate) fn read_text(text: &str, at: Place, problems: &Problems) -> Option<Self> {
        match Self::parse(text) {
            Ok(template) => Some(template),
            Err(mistakes) => {
                for (fault, message) in mistakes {
                    problems.push(Problem { at, fault, message });
                }
                None
            }
        }
    }

    /// The text, if there is no operator in it.
    pub fn as_text(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    fn parse(text: &str) -> Result<Self, Vec<(Fault, String)>> {
        let mut mistakes = Vec::new();
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(start) = rest.find('%') {
            plain.push_str(&rest[..start]);
            rest = &rest[start + 1..];
            if let Some(after) = rest.strip_prefix('%') {
                plain.push('%');
                rest = after;
                continue;
            }
            let operator = match operator(rest) {
                Ok(operator) => operator,
                Err(mistake) => {
                    // Where the next operator would begin is anybody's guess.
                    mistakes.push(mistake);
                    return Err(mistakes);
                }
            };
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            rest = operator.rest;
            match resolve(operator.name, operator.argument) {
                Ok(resolved) => pieces.push(Piece::Operator(resolved, operator.length)),
                Err(mistake) => mistakes.push(mistake),
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        if mistakes.is_empty() {
            Ok(Self { pieces })
        } else {
            Err(mistakes)
        }
    }
}

impl JsonTemplate {
    /// Reads a `json_format`.
    pub(crate) fn read(node: &Node, problems: &Problems) -> Option<Self> {
        match &node.value {
            Value::Sequence(items) => {
                let items = items.iter().filter_map(|item| Self::read(item, problems));
                Some(Self::Array(items.collect()))
            }
            Value::Mapping(entries) => {
                let mut members: Vec<_> = entries
                    .iter()
                    .filter_map(|entry| {
                        Some((entry.key.clone(), Self::read(&entry.value, problems)?))
                    })
                    .collect();
                members.sort_by(|a, b| a.0.cmp(&b.0));
                Some(Self::Object(members))
            }
            Value::Scalar(scalar) => match scalar.meaning() {
                Meaning::Bool(value) => Some(Self::Literal(value.into())),
                Meaning::Integer(value) if i32::try_from(value).is_ok() => {
                    Some(Self::Literal(value.into()))
                }
                Meaning::Null => Some(Self::Literal(serde_json::Value::Null)),
                Meaning::Integer(_) | Meaning::Text(_) => {
                    Template::read(node, "a format string", problems).map(Self::Text)
                }
            },
        }
    }
}

/// An operator as written.
struct Written<'t> {
    name: &'t str,
    argument: Option<&'t str>,
    length: Option<usize>,
    /// What follows it.
    rest: &'t str,
}

/// Parses an operator after its first `%`.
fn operator(text: &str) -> Result<Written<'_>, (Fault, String)> {
    let malformed = |message: String| (Fault::Malformed, message);
    let name_end = text
        .find(|c: char| !c.is_ascii_uppercase() && c != '_' && !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (name, rest) = text.split_at(name_end);
    if name.is_empty() {
        let shown: String = text.chars().take(20).collect();
        return Err(malformed(format!(
            "`%{shown}` is not an operator; write `%%` for a percent sign"
        )));
    }
    let (argument, rest) = match rest.strip_prefix('(') {
        // A time format holds percent signs and may hold parentheses: its end is `)%` or `):`.
        Some(rest) => {
            let end = [")%", "):"].iter().filter_map(|end| rest.find(end)).min();
            let end = end.ok_or_else(|| malformed(format!("`%{name}(` is not closed by `)%`")))?;
            (Some(&rest[..end]), &rest[end + 1..])
        }
        None => (None, rest),
    };
    let (length, rest) = match rest.strip_prefix(':') {
        Some(rest) => {
            let end = rest.find('%').unwrap_or(rest.len());
            let length = rest[..end]
                .parse()
                .map_err(|_| malformed(format!("`{}` is not a length", &rest[..end])))?;
            (Some(length), &rest[end..])
        }
        None => (None, rest),
    };
    let rest = rest
        .strip_prefix('%')
        .ok_or_else(|| malformed(format!("`%{name}` is not closed by `%`")))?;
    Ok(Written {
        name,
        argument,
        length,
        rest,
    })
}

/// Finds the operator of a name.
fn resolve(name: &str, argument: Option<&str>) -> Result<Operator, (Fault, String)> {
    if let Some((_, operator)) = PLAIN.iter().find(|(known, _)| *known == name) {
        return match argument {
            None => Ok(operator.clone()),
            Some(_) => Err((
                Fault::Malformed,
                format!("`%{name}%` takes no argument in parentheses"),
            )),
        };
    }
    match (name, argument) {
        ("START_TIME", argument) => time_format(argument.unwrap_or("")).map(Operator::StartTime),
        ("REQ", Some(argument)) => {
            let (header, alternative) = headers(argument);
            Ok(Operator::Request(header, alternative))
        }
        ("RESP", Some(argument)) => {
            let (header, alternative) = headers(argument);
            Ok(Operator::Response(header, alternative))
        }
        ("FILTER_STATE", Some(argument)) => match argument.split_once(':') {
            Some((key, "PLAIN")) => Ok(Operator::FilterState(key.to_owned())),
            _ => Err((
                Fault::Unsupported,
                format!("`%FILTER_STATE({argument})%` is supported with `:PLAIN` alone"),
            )),
        },
        _ if WITH_ARGUMENT.contains(&name) => Err((
            Fault::Malformed,
            format!("`%{name}%` needs an argument in parentheses"),
        )),
        _ => Err(unknown(name)),
    }
}

fn unknown(name: &str) -> (Fault, String) {
    let mut names: Vec<&str> = PLAIN.iter().map(|(name, _)| *name).collect();
    names.extend(WITH_ARGUMENT);
    names.sort_unstable();
    let list = names.join(", ");
    if UNSUPPORTED.split(' ').any(|other| other == name) {
        let message =
            format!("operator `%{name}%` is not supported by this gateway; supported: {list}");
        return (Fault::Unsupported, message);
    }
    let hint = nearest(name, &names)
        .map(|name| format!(" did you mean `{name}`?"))
        .unwrap_or_default();
    let message = format!("`%{name}%` is not an operator;{hint} supported: {list}");
    (Fault::Malformed, message)
}

/// Splits `NAME?ALTERNATIVE`.
fn headers(argument: &str) -> (String, Option<String>) {
    let lower = argument.to_ascii_lowercase();
    match lower.split_once('?') {
        Some((name, alternative)) => (name.to_owned(), Some(alternative.to_owned())),
        None => (lower, None),
    }
}

fn time_format(format: &str) -> Result<Vec<TimePart>, (Fault, String)> {
    let format = if format.is_empty() {
        "%Y-%m-%dT%H:%M:%S.%3fZ"
    } else {
        format
    };
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        let conversion = chars.next();
        let part = match conversion {
            Some('%') => {
                text.push('%');
                continue;
            }
            Some('Y') => TimePart::Year,
            Some('m') => TimePart::Month,
            Some('d') => TimePart::Day,
            Some('H') => TimePart::Hour,
            Some('M') => TimePart::Minute,
            Some('S') => TimePart::Second,
            Some('s') => TimePart::SecondsSinceEpoch,
            Some('f') => TimePart::Fraction(9),
            Some(digit @ '1'..='9') if chars.as_str().starts_with('f') => {
                chars.next();
                TimePart::Fraction(digit.to_digit(10).map_or(9, |digits| digits as usize))
            }
            other => {
                let other = other.map(String::from).unwrap_or_default();
                return Err((
                    Fault::Unsupported,
                    format!(
                        "`%{other}` of %START_TIME% is not supported by this gateway; \
                         supported: %Y %m %d %H %M %S %s %f %1f to %9f %%"
                    ),
                ));
            }
        };
        if !text.is_empty() {
            parts.push(TimePart::Text(std::mem::take(&mut text)));
        }
        parts.push(part);
    }
    if !text.is_empty() {
        parts.push(TimePart::Text(text));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Vec<Piece> {
        Template::parse(text).unwrap().pieces
    }

    #[test]
    fn text_and_operators_alternate() {
        assert_eq!(
            parse("a%%b %RESPONSE_CODE% %REQ(X-A?:Path):8% %REQ(b)%"),
            [
                Piece::Text("a%b ".into()),
                Piece::Operator(Operator::ResponseCode, None),
                Piece::Text(" ".into()),
                Piece::Operator(
                    Operator::Request("x-a".into(), Some(":path".into())),
                    Some(8)
                ),
                Piece::Text(" ".into()),
                Piece::Operator(Operator::Request("b".into(), None), None),
            ]
        );
    }

    #[test]
    fn a_time_format_may_hold_percent_signs() {
        assert_eq!(
            parse("%START_TIME(%s.%3f)%"),
            [Piece::Operator(
                Operator::StartTime(vec![
                    TimePart::SecondsSinceEpoch,
                    TimePart::Text(".".into()),
                    TimePart::Fraction(3)
                ]),
                None
            )]
        );
    }

    #[test]
    fn every_operator_that_is_not_there_is_told() {
        let mistakes = Template::parse("%CEL(a)% %DURATION% %NONE%").unwrap_err();
        assert_eq!(mistakes.len(), 2);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, fault, start) in [
            ("100%", Fault::Malformed, "`%` is not an operator"),
            ("%REQ%", Fault::Malformed, "`%REQ%` needs an argument"),
            ("%REQ(a", Fault::Malformed, "`%REQ(` is not closed"),
            ("%DURATION", Fault::Malformed, "`%DURATION` is not closed"),
            ("%DURATION(x)%", Fault::Malformed, "`%DURATION%` takes no"),
            (
                "%DURATON%",
                Fault::Malformed,
                "`%DURATON%` is not an operator; did you mean `DURATION`?",
            ),
            (
                "%GRPC_STATUS%",
                Fault::Unsupported,
                "operator `%GRPC_STATUS%` is not supported",
            ),
            (
                "%FILTER_STATE(a)%",
                Fault::Unsupported,
                "`%FILTER_STATE(a)%` is supported with",
            ),
            (
                "%START_TIME(%B)%",
                Fault::Unsupported,
                "`%B` of %START_TIME%",
            ),
            ("%REQ(a):x%", Fault::Malformed, "`x` is not a length"),
        ] {
            let (found, message) = Template::parse(text).unwrap_err().remove(0);
            assert_eq!(found, fault, "{text}");
            assert!(message.starts_with(start), "{text}: {message}");
        }
    }
}
