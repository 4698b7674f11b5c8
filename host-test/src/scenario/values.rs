//! Values with a spelling of their own: header lines, spans of time, and the short forms of
//! requests, replies and expectations.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};

use super::callouts::{
    CalloutExpect, CalloutExpectFields, CalloutFields, CalloutReply, CalloutsExpect,
};
use super::matcher::{NumberMatch, POINT, TextMatch};
use super::model::{
    Advance, AdvanceFields, Expect, ExpectFields, LineFields, LineMatch, LogsExpect, Reply,
    ReplyFields, Request, RequestFields, UpstreamExpect, UpstreamFields,
};

/// Header names and values in the order in which they are written.
#[derive(Clone, Debug, Default)]
pub struct HeaderLines(pub Vec<(String, String)>);

/// A span of time: `250ms`, `60s`, `1m30s`, `2h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl Span {
    /// Reads a span; `None` if the text isn't one.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = text;
        let mut nanos: u64 = 0;
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, tail) = rest.split_at(digits);
            let letters = tail.len() - tail.trim_start_matches(|c: char| c.is_alphabetic()).len();
            let (unit, tail) = tail.split_at(letters);
            let scale: u64 = match unit {
                "ms" => 1_000_000,
                "s" => 1_000_000_000,
                "m" => 60_000_000_000,
                "h" => 3_600_000_000_000,
                _ => return None,
            };
            let part = number.parse::<u64>().ok()?.checked_mul(scale)?;
            nanos = nanos.checked_add(part)?;
            rest = tail;
        }
        (!text.is_empty()).then(|| Self(Duration::from_nanos(nanos)))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            de::Error::custom(format!(
                "`{text}` is not a span of time; write for example 250ms, 60s, 1m30s or 2h"
            ))
        })
    }
}

impl<'de> Deserialize<'de> for HeaderLines {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = HeaderLines;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("headers as `NAME: VALUE` or `NAME: [VALUE, VALUE]`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<HeaderLines, A::Error> {
        let mut lines = Vec::new();
        while let Some((name, values)) = map.next_entry::<String, OneOrMore>()? {
            lines.extend(values.0.into_iter().map(|value| (name.clone(), value)));
        }
        Ok(HeaderLines(lines))
    }
}

/// The values of one header, as they are written.
struct OneOrMore(Vec<String>);

impl<'de> Deserialize<'de> for OneOrMore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrMoreVisitor)
    }
}

struct OneOrMoreVisitor;

impl<'de> Visitor<'de> for OneOrMoreVisitor {
    type Value = OneOrMore;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a header's value or a list of values")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<OneOrMore, E> {
        Ok(OneOrMore(vec![text.to_owned()]))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<OneOrMore, E> {
        Ok(OneOrMore(vec![number.to_string()]))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<OneOrMore, E> {
        Ok(OneOrMore(vec![number.to_string()]))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<OneOrMore, E> {
        Ok(OneOrMore(vec![value.to_string()]))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<OneOrMore, E> {
        Err(E::custom(POINT))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<OneOrMore, A::Error> {
        let mut values = Vec::new();
        while let Some(OneOrMore(each)) = list.next_element()? {
            values.extend(each);
        }
        Ok(OneOrMore(values))
    }
}

/// Implements `Deserialize` for a type with a long form (a mapping) and short ones (scalars).
macro_rules! short_forms {
    ($type:ty, $expecting:literal, map: $map:expr $(; seq: $seq:expr)? $(, $visit:ident($arg:ty): $body:expr)*) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Forms;
                impl<'de> Visitor<'de> for Forms {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }

                    $(fn $visit<E: de::Error>(self, value: $arg) -> Result<Self::Value, E> {
                        let read: fn($arg) -> Option<$type> = $body;
                        read(value).ok_or_else(|| E::custom(format!(
                            "`{value}` is not {}", $expecting
                        )))
                    })*

                    $(fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
                        Deserialize::deserialize(SeqAccessDeserializer::new(list)).map($seq)
                    })?

                    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                        Deserialize::deserialize(MapAccessDeserializer::new(map)).map($map)
                    }
                }
                deserializer.deserialize_any(Forms)
            }
        }
    };
}

impl<'de> Deserialize<'de> for Advance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AdvanceVisitor)
    }
}

struct AdvanceVisitor;

impl<'de> Visitor<'de> for AdvanceVisitor {
    type Value = Advance;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a span of time with its unit, or {by: SPAN, step: SPAN}")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Advance, E> {
        let by = Span::deserialize(de::value::StrDeserializer::new(text))?;
        Ok(Advance(AdvanceFields { by, step: None }))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Advance, A::Error> {
        AdvanceFields::deserialize(MapAccessDeserializer::new(map)).map(Advance)
    }
}

short_forms!(
    Request, "a request: `METHOD /PATH` or a mapping with `path`",
    map: Request,
    visit_str(&str): |text| {
        let (method, path) = text.split_once(' ').unwrap_or(("GET", text));
        path.starts_with('/').then(|| Request(RequestFields {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: HeaderLines::default(),
            body: String::new(),
            from: None,
            worker: None,
        }))
    }
);

short_forms!(
    Expect, "an expectation: a status or a mapping with `status`, `headers`, `body`, …",
    map: Expect,
    visit_u64(u64): |status| Some(Expect(ExpectFields {
        status: Some(NumberMatch::Exact(status)),
        ..ExpectFields::default()
    }))
);

short_forms!(
    Reply, "a reply: a status, `reset`, `never` or a mapping with `status`, `headers`, `body`",
    map: Reply::Respond,
    visit_u64(u64): |status| Some(Reply::Respond(ReplyFields {
        status: u16::try_from(status).ok()?,
        headers: HeaderLines::default(),
        body: String::new(),
    })),
    visit_str(&str): |word| match word {
        "reset" => Some(Reply::Reset),
        "never" => Some(Reply::Never),
        _ => None,
    }
);

short_forms!(
    CalloutReply,
    "a reply: a status, `reset`, `refused`, `no_host`, `never` or a mapping with `status`, `headers`, `body`, …",
    map: CalloutReply::Respond,
    visit_u64(u64): |status| Some(CalloutReply::Respond(CalloutFields {
        status: u16::try_from(status).ok()?,
        headers: HeaderLines::default(),
        body: String::new(),
        trailers: HeaderLines::default(),
        then: None,
    })),
    visit_str(&str): |word| match word {
        "never" => Some(CalloutReply::Never),
        "no_host" => Some(CalloutReply::NoHost),
        "refused" => Some(CalloutReply::Refused),
        "reset" => Some(CalloutReply::Reset),
        _ => None,
    }
);

short_forms!(
    CalloutExpect, "a callout: a cluster or a mapping with `cluster`, `path`, …",
    map: CalloutExpect,
    visit_str(&str): |cluster| Some(CalloutExpect(CalloutExpectFields {
        cluster: cluster.to_owned(),
        ..CalloutExpectFields::default()
    }))
);

short_forms!(
    CalloutsExpect, "`none` or a list of callouts",
    map: |one: CalloutExpectFields| CalloutsExpect::List(vec![CalloutExpect(one)]);
    seq: CalloutsExpect::List,
    visit_str(&str): |word| match word {
        "none" => Some(CalloutsExpect::None),
        _ => None,
    }
);

short_forms!(
    UpstreamExpect, "`none` or a mapping with `method`, `path`, `headers`, `body`",
    map: |fields: UpstreamFields| UpstreamExpect::Request(fields),
    visit_str(&str): |word| (word == "none").then_some(UpstreamExpect::None)
);

short_forms!(
    LogsExpect, "`none` or a list of log lines",
    map: |line: LineFields| LogsExpect::Lines(vec![LineMatch(line)]);
    seq: LogsExpect::Lines,
    visit_str(&str): |word| (word == "none").then_some(LogsExpect::None)
);

impl<'de> Deserialize<'de> for LineMatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LineVisitor)
    }
}

struct LineVisitor;

impl<'de> Visitor<'de> for LineVisitor {
    type Value = LineMatch;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a log line: a text, ~REGEX or {level: LEVEL, message: …}")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<LineMatch, E> {
        let message = TextMatch::deserialize(de::value::StrDeserializer::new(text))?;
        Ok(LineMatch(LineFields {
            level: None,
            message,
        }))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<LineMatch, A::Error> {
        LineFields::deserialize(MapAccessDeserializer::new(map)).map(LineMatch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_read_with_its_units() {
        let table = [
            ("250ms", Some(250)),
            ("60s", Some(60_000)),
            ("1m30s", Some(90_000)),
            ("2h", Some(7_200_000)),
            ("0s", Some(0)),
            ("", None),
            ("60", None),
            ("s", None),
            ("1.5s", None),
            ("-1s", None),
            ("1 s", None),
            ("99999999999999h", None),
        ];
        for (text, millis) in table {
            let span = millis.map(|ms| Span(Duration::from_millis(ms)));
            assert_eq!(Span::parse(text), span, "{text}");
        }
    }

    #[test]
    fn header_lines_keep_their_order_and_their_spelling() {
        let lines: HeaderLines =
            serde_saphyr::from_str("{b: 1, a: [x, ~y], c: absent, D: 'true'}").unwrap();
        let pairs = [
            ("b", "1"),
            ("a", "x"),
            ("a", "~y"),
            ("c", "absent"),
            ("D", "true"),
        ];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(lines.0, pairs);
    }

    #[test]
    fn a_request_has_a_short_form() {
        let request: Request = serde_saphyr::from_str("POST /a b").unwrap();
        assert_eq!(
            (request.0.method.as_str(), request.0.path.as_str()),
            ("POST", "/a b")
        );
        let request: Request = serde_saphyr::from_str("/a").unwrap();
        assert_eq!(
            (request.0.method.as_str(), request.0.path.as_str()),
            ("GET", "/a")
        );
        let error = serde_saphyr::from_str::<Request>("POST").unwrap_err();
        assert!(
            error.to_string().contains("`POST` is not a request"),
            "{error}"
        );
    }
}
