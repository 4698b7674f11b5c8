//! Shows an exchange as text: what the client sent and got, what the upstream saw, what was logged.

use std::fmt::Write as _;

use crate::headers::Headers;
use crate::host::Received;
use crate::worker::LogLine;

use super::backend::Exchange;
use super::model::RequestFields;

/// More of a body than this is cut.
const BODY_SHOWN: usize = 500;

/// Bytes as text, with what isn't printable escaped.
pub(super) fn shown(bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        Ok(text)
            if !text
                .chars()
                .any(|c| c.is_control() && c != '\n' && c != '\t') =>
        {
            text.to_owned()
        }
        _ => bytes.escape_ascii().to_string(),
    }
}

/// A log line as reports show it.
pub(super) fn log_line(line: &LogLine) -> String {
    let level = line.level.to_string().to_lowercase();
    format!("{level} {}: {}", line.plugin, line.message)
}

/// All that is known of a request, a line per thing.
pub(super) fn render(request: &RequestFields, exchange: &Exchange) -> String {
    let mut out = String::new();
    let mut put = |mark: &str, text: &str| {
        for line in text.lines() {
            let _ = writeln!(out, "{mark} {line}");
        }
    };
    put(">", &format!("{} {}", request.method, request.path));
    for (name, value) in &request.headers.0 {
        put(">", &format!("{name}: {value}"));
    }
    put(">", &body(request.body.as_bytes()));
    match &exchange.upstream {
        None => put("  upstream", "got no request"),
        Some(received) => {
            put("  upstream", &header_lines(&received.headers));
            put("  upstream", &body(&received.body));
        }
    }
    for callout in &exchange.callouts {
        put("  callout", &callout_lines(callout));
    }
    for line in &exchange.logs {
        put("  log", &log_line(line));
    }
    match &exchange.answer {
        None => put("<", "no answer"),
        Some(answer) => {
            put("<", &answer.status.to_string());
            put("<", &header_lines(&answer.headers));
            put("<", &body(&answer.body));
        }
    }
    put("  details", &exchange.details);
    for (key, value) in &exchange.filter_state {
        put("  filter state", &format!("{key}: {}", shown(value)));
    }
    out
}

/// What a service received, as reports show it.
pub(super) fn callout_lines(callout: &Received) -> String {
    let Received {
        cluster,
        headers,
        body: bytes,
        trailers,
        ..
    } = callout;
    let (headers, trailers) = (header_lines(headers), header_lines(trailers));
    format!("to {cluster}\n{headers}{}\n{trailers}", body(bytes))
}

fn header_lines(headers: &Headers) -> String {
    headers
        .iter()
        .fold(String::new(), |mut out, (name, value)| {
            let _ = writeln!(
                out,
                "{}: {}",
                shown(name),
                shown(value).replace('\n', "\\n")
            );
            out
        })
}

fn body(bytes: &[u8]) -> String {
    match bytes.get(..BODY_SHOWN) {
        Some(head) => format!("{} … ({} bytes)", shown(head), bytes.len()),
        None => shown(bytes),
    }
}
