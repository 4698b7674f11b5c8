//! Holds what came of a phase against what was expected of it.

use std::fmt::Write as _;

use super::matcher::{Matcher, quoted};
use super::message::Place;
use super::model::{Expectation, Immediate};
use crate::headers::Headers;
use crate::scenario::Failure;
use crate::vm::LocalReply;
use crate::worker::LogLine;

/// From this size on it is said where two texts begin to differ.
const LONG: usize = 60;

/// What came of a phase.
#[derive(Debug)]
pub(super) struct Outcome {
    /// `request_headers` and so on.
    pub(super) phase: &'static str,
    /// Whether it was a headers callback, whose result has to be Continue.
    pub(super) of_headers: bool,
    /// What the callback returned.
    pub(super) code: i32,
    /// The plugin's own answer.
    pub(super) reply: Option<LocalReply>,
    pub(super) headers: Headers,
    pub(super) body: Vec<u8>,
    pub(super) logs: Vec<LogLine>,
    /// Clusters that callouts were sent to.
    pub(super) callouts: Vec<String>,
    /// The plugin was not asked, since it has answered before.
    pub(super) passed_over: bool,
}

impl Outcome {
    /// What is there before the phase.
    pub(super) fn none(phase: &'static str, of_headers: bool) -> Self {
        Self {
            phase,
            of_headers,
            code: 0,
            reply: None,
            headers: Headers::coalesced(),
            body: Vec::new(),
            logs: Vec::new(),
            callouts: Vec::new(),
            passed_over: false,
        }
    }

    /// All that isn't as it was expected.
    pub(super) fn judge(&self, expected: &Expectation) -> Vec<Failure> {
        let mut wrong = Wrong {
            outcome: self,
            failures: Vec::new(),
        };
        // A reply in a body callback is looked at only if one is expected, as in the original.
        let reply = self
            .reply
            .as_ref()
            .filter(|_| self.of_headers || expected.immediate.is_some());
        let (headers, body) = match reply {
            Some(reply) => (&reply.headers, &reply.body),
            None => (&self.headers, &self.body),
        };
        for (at, key, value) in &expected.has_header {
            let got = headers.first(key);
            if got != Some(value) {
                let got = got.map_or_else(|| "none".to_owned(), quoted);
                wrong.put(
                    *at,
                    format!("header `{key}`: expected {}, got {got}", quoted(value)),
                );
            }
        }
        for (at, key) in &expected.no_header {
            if let Some(got) = headers.first(key) {
                wrong.put(
                    *at,
                    format!("header `{key}`: expected none, got {}", quoted(got)),
                );
            }
        }
        let lines: Vec<Vec<u8>> = headers
            .iter()
            .map(|(name, value)| [name, b": ", value].concat())
            .collect();
        wrong.matches("headers", &expected.headers, &lines);
        wrong.matches("body", &expected.body, &[body]);
        wrong.immediate(expected, reply);
        wrong.logs(expected);
        wrong.in_order()
    }

    /// The same of a phase of which only log lines count.
    pub(super) fn judge_logs(&self, expected: &Expectation) -> Vec<Failure> {
        let mut wrong = Wrong {
            outcome: self,
            failures: Vec::new(),
        };
        wrong.logs(expected);
        wrong.in_order()
    }

    /// A failure of the phase as a whole.
    pub(super) fn failed(&self, place: Option<Place>, cause: impl Into<String>) -> Failure {
        let cause = cause.into();
        // Of a trap, the guest's backtrace belongs to what was observed.
        let (cause, backtrace) = cause.split_once('\n').unwrap_or((&cause, ""));
        let mut trace = self.trace();
        if !backtrace.is_empty() {
            let _ = writeln!(trace, "{backtrace}");
        }
        Failure {
            step: self.phase.to_owned(),
            place,
            causes: vec![cause.to_owned()],
            trace,
        }
    }

    /// What was observed, line by line.
    fn trace(&self) -> String {
        let mut out = String::new();
        let put_headers = |out: &mut String, headers: &Headers| {
            for (name, value) in headers.iter() {
                let (name, value) = (
                    String::from_utf8_lossy(name),
                    String::from_utf8_lossy(value),
                );
                let _ = writeln!(out, "{name}: {value}");
            }
        };
        put_headers(&mut out, &self.headers);
        if !self.body.is_empty() {
            let _ = writeln!(out, "body {}", quoted(&self.body));
        }
        if let Some(reply) = &self.reply {
            let _ = writeln!(out, "answered {} by the plugin", reply.status);
            put_headers(&mut out, &reply.headers);
            if !reply.body.is_empty() {
                let _ = writeln!(out, "body {}", quoted(&reply.body));
            }
        }
        for line in &self.logs {
            let level = line.level.as_str().to_ascii_lowercase();
            let _ = writeln!(out, "log {level}: {}", line.message);
        }
        out
    }
}

/// The failures of an outcome.
struct Wrong<'o> {
    outcome: &'o Outcome,
    failures: Vec<Failure>,
}

impl Wrong<'_> {
    /// In the order of the suite, with the trace below the last.
    fn in_order(mut self) -> Vec<Failure> {
        self.failures.sort_by_key(|failure| failure.place);
        let all_but_last = self.failures.len().saturating_sub(1);
        for failure in self.failures.iter_mut().take(all_but_last) {
            failure.trace.clear();
        }
        self.failures
    }

    fn put(&mut self, at: Place, cause: impl Into<String>) {
        let failure = self.outcome.failed(Some(at), cause);
        self.failures.push(failure);
    }

    fn matches<T: AsRef<[u8]>>(&mut self, what: &str, expected: &[Matcher], texts: &[T]) {
        for matcher in expected.iter().filter(|matcher| !matcher.accepts(texts)) {
            let got: Vec<String> = texts.iter().map(|text| quoted(text.as_ref())).collect();
            let mut got = match got.as_slice() {
                [] => "none".to_owned(),
                got => got.join(", "),
            };
            if let [text] = texts
                && text.as_ref().len() >= LONG
                && let Some(at) = matcher.difference(text.as_ref())
            {
                let _ = write!(got, ", which differs from byte {at} on");
            }
            self.put(matcher.at, format!("{what}: expected {matcher}, got {got}"));
        }
    }

    fn logs(&mut self, expected: &Expectation) {
        let lines: Vec<&str> = self
            .outcome
            .logs
            .iter()
            .map(|line| line.message.as_str())
            .collect();
        self.matches("log", &expected.log, &lines);
    }

    fn immediate(&mut self, expected: &Expectation, reply: Option<&LocalReply>) {
        match (&expected.immediate, reply) {
            (Some(wanted), Some(reply)) => self.reply(wanted, reply),
            (Some(wanted), None) => {
                let got = self.returned();
                self.put(wanted.at, format!("immediate: expected a response, {got}"));
            }
            (None, Some(reply)) => {
                let (status, body) = (reply.status, quoted(&reply.body));
                let cause = format!("immediate: expected none, got {status} with body {body}");
                self.put(expected.at, cause);
            }
            (None, None) if self.outcome.of_headers && !matches!(self.outcome.code, 0 | 2) => {
                let got = self.returned();
                self.put(expected.at, format!("expected the headers to go on, {got}"));
            }
            (None, None) => {}
        }
    }

    fn reply(&mut self, wanted: &Immediate, reply: &LocalReply) {
        if let Some(status) = wanted.http_status.filter(|status| *status != reply.status) {
            let cause = format!("http_status: expected {status}, got {}", reply.status);
            self.put(wanted.at, cause);
        }
        let got = reply.grpc_status.map_or(u32::MAX, i32::cast_unsigned);
        if let Some(status) = wanted.grpc_status.filter(|status| *status != got) {
            self.put(
                wanted.at,
                format!("grpc_status: expected {status}, got {got}"),
            );
        }
        if let Some(details) = wanted
            .details
            .as_ref()
            .filter(|text| **text != reply.details)
        {
            let got = &reply.details;
            self.put(
                wanted.at,
                format!("details: expected {details:?}, got {got:?}"),
            );
        }
    }

    /// What the plugin did instead of answering.
    fn returned(&self) -> String {
        let mut text = match self.outcome.code {
            _ if self.outcome.passed_over => {
                "but this is passed over: the plugin has answered before".to_owned()
            }
            0 | 2 => "got Continue".to_owned(),
            code => format!("got a pause ({code})"),
        };
        for cluster in &self.outcome.callouts {
            let _ = write!(
                text,
                "; it called the cluster {cluster:?}, which no one answers here: a scenario can"
            );
        }
        text
    }
}
