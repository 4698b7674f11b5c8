//! Filling in format strings: what a stream was, as a line of text or of JSON.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use crate::bootstrap::{JsonTemplate, Operator, Piece, Template, TimePart};
use crate::headers::Headers;

/// What format strings can see of a stream.
#[derive(Clone, Copy, Default)]
pub(super) struct View<'v> {
    pub(super) request: Option<&'v Headers>,
    pub(super) response: Option<&'v Headers>,
    /// Since 1970.
    pub(super) start: Duration,
    pub(super) duration: Option<Duration>,
    pub(super) request_duration: Option<Duration>,
    pub(super) response_duration: Option<Duration>,
    pub(super) bytes_received: u64,
    pub(super) bytes_sent: u64,
    pub(super) status: Option<u16>,
    /// `None` if nobody said; a guest may have said nothing.
    pub(super) details: Option<&'v str>,
    pub(super) flags: &'v str,
    pub(super) protocol: &'v str,
    pub(super) route_name: &'v str,
    pub(super) cluster: &'v str,
    pub(super) upstream: Option<SocketAddr>,
    pub(super) upstream_failure: &'v str,
    pub(super) remote: Option<SocketAddr>,
    pub(super) local: Option<SocketAddr>,
    pub(super) connection: u64,
    pub(super) filter_state: Option<&'v BTreeMap<String, Vec<u8>>>,
    pub(super) hostname: &'v str,
}

/// What an operator stands for.
enum Filled<'v> {
    Missing,
    Number(u64),
    Text(Cow<'v, str>),
}

/// A format string filled in; operators without a value become `missing`.
pub(super) fn text(template: &Template, view: &View<'_>, missing: &str) -> String {
    let mut out = String::new();
    write_text(template, view, missing, &mut out);
    out
}

/// Appends a format string filled in.
pub(super) fn write_text(template: &Template, view: &View<'_>, missing: &str, out: &mut String) {
    for piece in &template.pieces {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Operator(operator, length) => {
                let start = out.len();
                match fill(operator, view) {
                    Filled::Missing => out.push_str(missing),
                    Filled::Number(number) => {
                        let _ = write!(out, "{number}");
                    }
                    Filled::Text(text) => out.push_str(&text),
                }
                if let Some(length) = length {
                    truncate(out, start + length);
                }
            }
        }
    }
}

/// Appends a JSON document filled in, on one line.
pub(super) fn write_json(template: &JsonTemplate, view: &View<'_>, out: &mut String) {
    match template {
        JsonTemplate::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_json(item, view, out);
            }
            out.push(']');
        }
        JsonTemplate::Object(members) => {
            out.push('{');
            for (index, (name, value)) in members.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_string(name, out);
                out.push(':');
                write_json(value, view, out);
            }
            out.push('}');
        }
        JsonTemplate::Literal(value) => {
            let _ = write!(out, "{value}");
        }
        JsonTemplate::Text(template) => match template.pieces.as_slice() {
            // A lone operator keeps its type.
            [Piece::Operator(operator, None)] => match fill(operator, view) {
                Filled::Missing => out.push_str("null"),
                Filled::Number(number) => {
                    let _ = write!(out, "{number}");
                }
                Filled::Text(text) => write_string(&text, out),
            },
            _ => write_string(&text(template, view, "-"), out),
        },
    }
}

fn write_string(text: &str, out: &mut String) {
    let _ = write!(out, "{}", serde_json::Value::from(text));
}

/// Cuts at a length in bytes, or before the character that it would split.
fn truncate(out: &mut String, mut length: usize) {
    while length < out.len() && !out.is_char_boundary(length) {
        length -= 1;
    }
    out.truncate(length);
}

fn fill<'v>(operator: &Operator, view: &View<'v>) -> Filled<'v> {
    let word = |text: &'v str| match text {
        "" => Filled::Missing,
        text => Filled::Text(text.into()),
    };
    let milliseconds = |duration: Option<Duration>| match duration {
        Some(duration) => Filled::Number(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
        None => Filled::Missing,
    };
    let address = |address: Option<SocketAddr>| match address {
        Some(address) => Filled::Text(address.to_string().into()),
        None => Filled::Missing,
    };
    let port = |address: Option<SocketAddr>| match address {
        Some(address) => Filled::Number(address.port().into()),
        None => Filled::Missing,
    };
    match operator {
        Operator::BytesReceived => Filled::Number(view.bytes_received),
        Operator::BytesSent => Filled::Number(view.bytes_sent),
        Operator::ConnectionId => Filled::Number(view.connection),
        Operator::DownstreamLocalAddress => address(view.local),
        Operator::DownstreamLocalPort => port(view.local),
        Operator::DownstreamRemoteAddress => address(view.remote),
        Operator::DownstreamRemoteAddressWithoutPort => match view.remote {
            Some(remote) => Filled::Text(remote.ip().to_string().into()),
            None => Filled::Missing,
        },
        Operator::DownstreamRemotePort => port(view.remote),
        Operator::Duration => milliseconds(view.duration),
        Operator::FilterState(key) => match view.filter_state.and_then(|state| state.get(key)) {
            Some(value) => Filled::Text(String::from_utf8_lossy(value)),
            None => Filled::Missing,
        },
        Operator::Hostname => word(view.hostname),
        Operator::Protocol => word(view.protocol),
        Operator::Request(name, alternative) => header(view.request, name, alternative.as_deref()),
        Operator::RequestDuration => milliseconds(view.request_duration),
        Operator::Response(name, alternative) => {
            header(view.response, name, alternative.as_deref())
        }
        // Envoy logs 0 for a stream without a response.
        Operator::ResponseCode => Filled::Number(view.status.unwrap_or(0).into()),
        Operator::ResponseCodeDetails => match view.details {
            Some(details) => Filled::Text(details.into()),
            None => Filled::Missing,
        },
        Operator::ResponseDuration => milliseconds(view.response_duration),
        Operator::ResponseFlags => match view.flags {
            "" => Filled::Text("-".into()),
            flags => Filled::Text(flags.into()),
        },
        Operator::RouteName => word(view.route_name),
        Operator::StartTime(parts) => Filled::Text(time(parts, view.start).into()),
        Operator::StreamId => header(view.request, "x-request-id", None),
        Operator::UpstreamCluster => word(view.cluster),
        Operator::UpstreamHost => address(view.upstream),
        Operator::UpstreamTransportFailureReason => word(view.upstream_failure),
    }
}

fn header<'v>(headers: Option<&'v Headers>, name: &str, alternative: Option<&str>) -> Filled<'v> {
    let Some(headers) = headers else {
        return Filled::Missing;
    };
    let value = headers.text(name);
    let value = value.or_else(|| headers.text(alternative?));
    value.map_or(Filled::Missing, Filled::Text)
}

/// A point in time since 1970, in UTC.
fn time(parts: &[TimePart], at: Duration) -> String {
    let seconds = at.as_secs();
    let (day, of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, date) = civil(day);
    let mut out = String::with_capacity(24);
    for part in parts {
        let _ = match part {
            TimePart::Text(text) => write!(out, "{text}"),
            TimePart::Day => write!(out, "{date:02}"),
            TimePart::Fraction(digits) => {
                let nanoseconds = format!("{:09}", at.subsec_nanos());
                write!(out, "{}", &nanoseconds[..(*digits).min(9)])
            }
            TimePart::Hour => write!(out, "{:02}", of_day / 3600),
            TimePart::Minute => write!(out, "{:02}", of_day / 60 % 60),
            TimePart::Month => write!(out, "{month:02}"),
            TimePart::Second => write!(out, "{:02}", of_day % 60),
            TimePart::SecondsSinceEpoch => write!(out, "{seconds}"),
            TimePart::Year => write!(out, "{year:04}"),
        };
    }
    out
}

/// Year, month and day of a day since 1970, in the Gregorian calendar.
fn civil(day: u64) -> (u64, u64, u64) {
    // Days since 0000-03-01: the leap day is then the last of its year.
    let day = day + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let date = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, date)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(operator: Operator, length: Option<usize>) -> Template {
        Template {
            pieces: vec![Piece::Operator(operator, length)],
        }
    }

    #[test]
    fn days_fall_on_their_dates() {
        for (day, date) in [
            (0, (1970, 1, 1)),
            (58, (1970, 2, 28)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (19_722, (2023, 12, 31)),
            (20_779, (2026, 11, 22)),
        ] {
            assert_eq!(civil(day), date);
        }
    }

    #[test]
    fn times_are_written_part_by_part() {
        let parts = [
            TimePart::Year,
            TimePart::Text("-".into()),
            TimePart::Month,
            TimePart::Text("-".into()),
            TimePart::Day,
            TimePart::Text("T".into()),
            TimePart::Hour,
            TimePart::Minute,
            TimePart::Second,
            TimePart::Text(".".into()),
            TimePart::Fraction(3),
        ];
        let at = Duration::from_nanos(1_795_359_703_468_999_999);
        assert_eq!(time(&parts, at), "2026-11-22T150143.468");
    }

    #[test]
    fn text_is_cut_to_its_length_between_characters() {
        let headers: Headers = [("a", "ééé")].into_iter().collect();
        let view = View {
            request: Some(&headers),
            ..View::default()
        };
        let cut = template(Operator::Request("a".into(), None), Some(3));
        assert_eq!(text(&cut, &view, "-"), "é");
    }

    #[test]
    fn a_missing_header_gives_way_to_its_alternative_and_then_to_a_dash() {
        let headers: Headers = [(":path", "/a")].into_iter().collect();
        let view = View {
            request: Some(&headers),
            ..View::default()
        };
        let request = |alternative| Operator::Request("x".into(), alternative);
        let found = template(request(Some(":path".into())), None);
        assert_eq!(text(&found, &view, "-"), "/a");
        let missing = template(request(None), None);
        assert_eq!(text(&missing, &view, "-"), "-");
        assert_eq!(text(&missing, &view, ""), "");
    }

    #[test]
    fn json_keeps_the_type_of_a_lone_operator() {
        let view = View {
            status: Some(200),
            ..View::default()
        };
        let mixed = Template {
            pieces: vec![
                Piece::Text("\"".into()),
                Piece::Operator(Operator::ResponseCode, None),
            ],
        };
        let object = JsonTemplate::Object(vec![
            (
                "code".into(),
                JsonTemplate::Text(template(Operator::ResponseCode, None)),
            ),
            ("mixed".into(), JsonTemplate::Text(mixed)),
            (
                "route".into(),
                JsonTemplate::Text(template(Operator::RouteName, None)),
            ),
            (
                "list".into(),
                JsonTemplate::Array(vec![JsonTemplate::Literal(1.into())]),
            ),
        ]);
        let mut out = String::new();
        write_json(&object, &view, &mut out);
        assert_eq!(
            out,
            r#"{"code":200,"mixed":"\"200","route":null,"list":[1]}"#
        );
    }
}
