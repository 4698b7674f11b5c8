//! Holds what was observed of a request against what was expected of it.

use std::fmt;

use crate::headers::Headers;
use crate::host::Received;
use crate::worker::LogLine;

use super::backend::Exchange;
use super::callouts::{CalloutExpect, CalloutsExpect};
use super::matcher::TextMatch;
use super::model::{ExpectFields, LineMatch, LogLevel, LogsExpect, UpstreamExpect};
use super::numbered;
use super::trace::{callout_lines, shown};

/// One thing that is not as expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mismatch {
    /// What was looked at: `status`, `header retry-after`, `upstream path`, …
    pub what: String,
    /// What was expected of it.
    pub expected: String,
    /// What came.
    pub got: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            expected,
            got,
        } = self;
        write!(f, "{what}: expected {expected}, got {got}")
    }
}

/// Collects mismatches.
struct Against {
    round: Option<u64>,
    found: Vec<Mismatch>,
}

impl Against {
    fn text(&mut self, what: impl Into<String>, expected: &TextMatch, values: &[&[u8]]) {
        let numbered = self.round.map(|n| expected.numbered(n));
        let expected = numbered.as_ref().unwrap_or(expected);
        if !expected.matches(values) {
            self.push(what.into(), expected.to_string(), several(values));
        }
    }

    fn push(&mut self, what: String, expected: String, got: String) {
        self.found.push(Mismatch {
            what,
            expected,
            got,
        });
    }
}

/// What of an exchange is not as expected; `round` takes the place of `{n}`.
pub(super) fn mismatches(
    expect: &ExpectFields,
    exchange: &Exchange,
    round: Option<u64>,
) -> Vec<Mismatch> {
    let mut against = Against {
        round,
        found: Vec::new(),
    };
    let answer = exchange.answer.as_ref();
    if let Some(expected) = &expect.status {
        let status = answer.map(|answer| u64::from(answer.status));
        if !expected.matches(status) {
            let got = status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
            against.push("status".to_owned(), expected.to_string(), got);
        }
    }
    let none = Headers::new();
    let headers = answer.map_or(&none, |answer| &answer.headers);
    for (name, expected) in &expect.headers {
        against.text(format!("header {name}"), expected, &values(headers, name));
    }
    if let Some(expected) = &expect.body {
        let body = answer.map_or(&[][..], |answer| &answer.body);
        against.text("body", expected, &body_values(expected, body));
    }
    if let Some(expected) = &expect.upstream {
        upstream(&mut against, expected, exchange.upstream.as_ref());
    }
    if let Some(expected) = &expect.callouts {
        against.found.extend(callout_mismatches(
            expected,
            &exchange.callouts,
            round,
            true,
        ));
    }
    if let Some(expected) = &expect.details {
        let details = exchange.details.as_bytes();
        against.text("details", expected, &body_values(expected, details));
    }
    for (key, expected) in &expect.filter_state {
        let value: Vec<&[u8]> = exchange
            .filter_state
            .get(key)
            .map(Vec::as_slice)
            .into_iter()
            .collect();
        against.text(format!("filter state {key}"), expected, &value);
    }
    against.found
}

fn upstream(against: &mut Against, expected: &UpstreamExpect, got: Option<&Received>) {
    match (expected, got) {
        (UpstreamExpect::None, None) => {}
        (UpstreamExpect::None, Some(request)) => {
            let got = format!(
                "{} {}",
                shown(request.headers.first(":method").unwrap_or_default()),
                shown(request.headers.first(":path").unwrap_or_default())
            );
            against.push("upstream".to_owned(), "no request".to_owned(), got);
        }
        (UpstreamExpect::Request(_), None) => {
            let (expected, got) = ("a request".to_owned(), "none".to_owned());
            against.push("upstream".to_owned(), expected, got);
        }
        (UpstreamExpect::Request(fields), Some(request)) => {
            for (what, expected, name) in [
                ("upstream method", &fields.method, ":method"),
                ("upstream path", &fields.path, ":path"),
            ] {
                if let Some(expected) = expected {
                    against.text(what, expected, &values(&request.headers, name));
                }
            }
            for (name, expected) in &fields.headers {
                let what = format!("upstream header {name}");
                against.text(what, expected, &values(&request.headers, name));
            }
            if let Some(expected) = &fields.body {
                against.text(
                    "upstream body",
                    expected,
                    &body_values(expected, &request.body),
                );
            }
        }
    }
}

/// What of the callouts is not as expected: these must be there and no others, in this order unless
/// they may come in any.
pub(super) fn callout_mismatches(
    expect: &CalloutsExpect,
    callouts: &[Received],
    round: Option<u64>,
    in_order: bool,
) -> Vec<Mismatch> {
    let expected: &[CalloutExpect] = match expect {
        CalloutsExpect::None => &[],
        CalloutsExpect::List(expected) => expected,
    };
    let mut rest: Vec<&Received> = callouts.iter().collect();
    let mut missing = Vec::new();
    for one in expected {
        let fits = |callout: &&Received| callout_fields(one, callout, round).is_empty();
        let found = match in_order {
            true => rest.first().is_some_and(fits).then_some(0),
            false => rest.iter().position(fits),
        };
        match found {
            Some(position) => drop(rest.remove(position)),
            // The one that stands in its place tells best what is wrong.
            None => match rest.first().filter(|_| in_order) {
                Some(callout) => {
                    let wrong = callout_fields(one, callout, round);
                    rest.remove(0);
                    missing.extend(wrong);
                }
                None => missing.push(Mismatch {
                    what: "callouts".to_owned(),
                    expected: one.describe(round),
                    got: "none that fits".to_owned(),
                }),
            },
        }
    }
    missing.extend(rest.into_iter().map(|callout| Mismatch {
        what: "callouts".to_owned(),
        expected: "no other".to_owned(),
        got: format!(
            "\n        {}",
            callout_lines(callout).trim_end().replace('\n', "\n        ")
        ),
    }));
    missing
}

/// What of one callout is not as expected.
fn callout_fields(
    CalloutExpect(fields): &CalloutExpect,
    callout: &Received,
    round: Option<u64>,
) -> Vec<Mismatch> {
    let mut against = Against {
        round,
        found: Vec::new(),
    };
    if fields.cluster != callout.cluster {
        against.push(
            "callout's cluster".to_owned(),
            fields.cluster.clone(),
            callout.cluster.clone(),
        );
    }
    for (what, expected, name) in [
        ("callout's method", &fields.method, ":method"),
        ("callout's path", &fields.path, ":path"),
    ] {
        if let Some(expected) = expected {
            against.text(what, expected, &values(&callout.headers, name));
        }
    }
    for (what, expected, got) in [
        ("header", &fields.headers, &callout.headers),
        ("trailer", &fields.trailers, &callout.trailers),
    ] {
        for (name, expected) in expected {
            against.text(
                format!("callout's {what} {name}"),
                expected,
                &values(got, name),
            );
        }
    }
    if let Some(expected) = &fields.body {
        let body = body_values(expected, &callout.body);
        against.text("callout's body", expected, &body);
    }
    against.found
}

/// What of the log lines is not as expected: each line must be there, in this order.
pub(super) fn log_mismatches(
    expect: &LogsExpect,
    lines: &[LogLine],
    round: Option<u64>,
) -> Vec<Mismatch> {
    let got = || match lines {
        [] => "no lines".to_owned(),
        lines => lines
            .iter()
            .map(|line| format!("\n        {}", super::trace::log_line(line)))
            .collect(),
    };
    let mismatch = |expected: String| {
        vec![Mismatch {
            what: "logs".to_owned(),
            expected,
            got: got(),
        }]
    };
    match expect {
        LogsExpect::None if lines.is_empty() => Vec::new(),
        LogsExpect::None => mismatch("none".to_owned()),
        LogsExpect::Lines(expected) => {
            let mut rest = lines.iter();
            for one in expected {
                if !rest.any(|line| one.fits(line, round)) {
                    return mismatch(one.describe(round));
                }
            }
            Vec::new()
        }
    }
}

/// Which expected parts of a refusal are not in the guests' error lines.
pub(super) fn refusal_mismatches(expected: &[TextMatch], lines: &[LogLine]) -> Vec<Mismatch> {
    let errors: Vec<&LogLine> = lines
        .iter()
        .filter(|line| line.level == log::Level::Error)
        .collect();
    expected
        .iter()
        .filter(|part| {
            !errors.iter().any(|line| match part {
                TextMatch::Exact(text) => line.message.contains(text.as_str()),
                other => other.matches(&[line.message.as_bytes()]),
            })
        })
        .map(|part| Mismatch {
            what: "error log".to_owned(),
            expected: part.to_string(),
            got: match errors.as_slice() {
                [] => "no lines".to_owned(),
                errors => errors
                    .iter()
                    .map(|line| format!("\n        {}", line.message))
                    .collect(),
            },
        })
        .collect()
}

impl CalloutExpect {
    fn describe(&self, round: Option<u64>) -> String {
        let mut text = format!("one to {}", self.0.cluster);
        for expected in [&self.0.method, &self.0.path].into_iter().flatten() {
            text += &format!(" {expected}");
        }
        round.map_or_else(|| text.clone(), |n| numbered(&text, n))
    }
}

impl LineMatch {
    fn fits(&self, line: &LogLine, round: Option<u64>) -> bool {
        let level = self.0.level.is_none_or(|level| level.is(line.level));
        let message = round.map(|n| self.0.message.numbered(n));
        let message = message.as_ref().unwrap_or(&self.0.message);
        level && message.matches(&[line.message.as_bytes()])
    }

    fn describe(&self, round: Option<u64>) -> String {
        let mut text = self.0.message.to_string();
        if let Some(n) = round {
            text = numbered(&text, n);
        }
        match self.0.level {
            Some(level) => format!("{level:?} {text}").to_lowercase(),
            None => text,
        }
    }
}

impl LogLevel {
    fn is(self, level: log::Level) -> bool {
        let same = match self {
            Self::Trace => log::Level::Trace,
            Self::Debug => log::Level::Debug,
            Self::Info => log::Level::Info,
            Self::Warn => log::Level::Warn,
            Self::Error => log::Level::Error,
        };
        same == level
    }
}

fn values<'h>(headers: &'h Headers, name: &str) -> Vec<&'h [u8]> {
    headers.all(name).collect()
}

/// A text that is always there; only `absent` takes an empty one as missing.
fn body_values<'b>(expected: &TextMatch, body: &'b [u8]) -> Vec<&'b [u8]> {
    match expected {
        TextMatch::Absent if body.is_empty() => Vec::new(),
        _ => vec![body],
    }
}

fn several(values: &[&[u8]]) -> String {
    match values {
        [] => "none".to_owned(),
        [one] => format!("{:?}", shown(one)),
        many => {
            let each: Vec<String> = many.iter().map(|one| format!("{:?}", shown(one))).collect();
            format!("[{}]", each.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::backend::Answered;
    use super::super::load::parse_yaml;
    use super::super::model::Expect;
    use super::*;

    fn exchange() -> Exchange {
        Exchange {
            answer: Some(Answered {
                status: 429,
                headers: [("retry-after", "12"), ("a", "1"), ("a", "2")]
                    .into_iter()
                    .collect(),
                body: b"slow down".to_vec(),
            }),
            upstream: Some(Received {
                cluster: "upstream".to_owned(),
                headers: [(":method", "GET"), (":path", "/a"), ("x", "y")]
                    .into_iter()
                    .collect(),
                body: Default::default(),
                trailers: Headers::new(),
                bare: false,
            }),
            callouts: vec![
                callout("auth", "/one", "question"),
                callout("keys", "/two", ""),
            ],
            details: "rate_limited".to_owned(),
            filter_state: [("decision".to_owned(), b"deny".to_vec())].into(),
            ..Exchange::default()
        }
    }

    fn callout(cluster: &str, path: &str, body: &'static str) -> Received {
        Received {
            cluster: cluster.to_owned(),
            headers: [(":method", "GET"), (":path", path)].into_iter().collect(),
            body: body.into(),
            ..Received::default()
        }
    }

    fn found(yaml: &str, exchange: &Exchange) -> Vec<String> {
        let expect: Expect = parse_yaml(yaml).unwrap();
        mismatches(&expect.0, exchange, Some(3))
            .iter()
            .map(Mismatch::to_string)
            .collect()
    }

    #[test]
    fn what_is_as_expected_is_not_mentioned() {
        let expectations = [
            "429",
            "{status: {min: 400, max: 499}}",
            "{headers: {Retry-After: {min: 1, max: 12}, a: [1, 2], b: absent}}",
            "{body: ~slow}",
            "{upstream: {method: GET, path: /a, headers: {x: y, z: absent}, body: absent}}",
            "{callouts: [auth, keys]}",
            "{callouts: [{cluster: auth, path: ~^/o, body: question}, {cluster: keys, body: absent}]}",
            "{details: rate_limited}",
            "{filter_state: {decision: deny, other: absent}}",
        ];
        for yaml in expectations {
            assert_eq!(found(yaml, &exchange()), Vec::<String>::new(), "{yaml}");
        }
        assert!(found("{status: absent, upstream: none}", &Exchange::default()).is_empty());
    }

    #[test]
    fn what_differs_is_said_with_both_sides() {
        let table = [
            ("200", "status: expected 200, got 429"),
            (
                "{headers: {retry-after: 13}}",
                "header retry-after: expected \"13\", got \"12\"",
            ),
            ("{headers: {b: ~x}}", "header b: expected ~x, got none"),
            (
                "{headers: {a: 1}}",
                "header a: expected \"1\", got [\"1\", \"2\"]",
            ),
            (
                "{headers: {retry-after: 'k{n}'}}",
                "header retry-after: expected \"k3\", got \"12\"",
            ),
            ("{body: absent}", "body: expected none, got \"slow down\""),
            (
                "{upstream: none}",
                "upstream: expected no request, got GET /a",
            ),
            (
                "{upstream: {headers: {x: z}}}",
                "upstream header x: expected \"z\", got \"y\"",
            ),
            (
                "{callouts: [auth, {cluster: keys, path: /three}]}",
                "callout's path: expected \"/three\", got \"/two\"",
            ),
            (
                "{callouts: [auth, keys, {cluster: more, path: '/{n}'}]}",
                "callouts: expected one to more \"/3\", got none that fits",
            ),
            (
                "{callouts: [auth]}",
                "callouts: expected no other, got \n        to keys\n        :method: GET\n        :path: /two",
            ),
            (
                "{details: ok}",
                "details: expected \"ok\", got \"rate_limited\"",
            ),
            (
                "{filter_state: {decision: allow}}",
                "filter state decision: expected \"allow\", got \"deny\"",
            ),
        ];
        for (yaml, sentence) in table {
            assert_eq!(found(yaml, &exchange()), [sentence], "{yaml}");
        }
        let nothing = Exchange::default();
        assert_eq!(
            found("200", &nothing),
            ["status: expected 200, got no answer"]
        );
        assert_eq!(
            found("{upstream: {path: /}}", &nothing),
            ["upstream: expected a request, got none"]
        );
    }

    #[test]
    fn callouts_of_several_workers_are_found_in_any_order() {
        let callouts = exchange().callouts;
        let wrong = |yaml: &str| {
            let expect: CalloutsExpect = parse_yaml(yaml).unwrap();
            callout_mismatches(&expect, &callouts, None, false).len()
        };
        assert_eq!(wrong("[keys, auth]"), 0);
        assert_eq!(wrong("[{cluster: keys, path: /two}, auth]"), 0);
        assert_eq!(wrong("[keys, keys]"), 2, "one too few and one too many");
        assert_eq!(wrong("none"), 2);
    }

    fn line(level: log::Level, message: &str) -> LogLine {
        LogLine {
            level,
            plugin: "p".to_owned(),
            message: message.to_owned(),
        }
    }

    #[test]
    fn log_lines_are_found_in_order_with_others_between() {
        let lines = [
            line(log::Level::Info, "one"),
            line(log::Level::Warn, "two"),
            line(log::Level::Info, "three"),
        ];
        let holds = |yaml: &str| {
            log_mismatches(&parse_yaml::<LogsExpect>(yaml).unwrap(), &lines, Some(1)).is_empty()
        };
        assert!(holds("[one, three]"));
        assert!(holds("[{level: warn, message: ~^t}]"));
        assert!(!holds("[three, one]"));
        assert!(!holds("[{level: error, message: two}]"));
        assert!(!holds("none"));
        assert!(log_mismatches(&LogsExpect::None, &[], None).is_empty());
    }

    #[test]
    fn a_refusal_must_name_every_mistake_at_error_level() {
        let lines = [
            line(
                log::Level::Error,
                "config refused: rules[0].limit: 0 is too small",
            ),
            line(log::Level::Info, "rules[1]: odd"),
        ];
        let parts: Vec<TextMatch> = parse_yaml("['rules[0].limit', ~small$, 'rules[1]']").unwrap();
        let found = refusal_mismatches(&parts, &lines);
        let expected: Vec<_> = found.iter().map(|one| one.expected.as_str()).collect();
        assert_eq!(expected, ["\"rules[1]\""]);
    }
}
