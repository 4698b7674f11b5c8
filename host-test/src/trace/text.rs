//! A trace as text: a line per callback and per hostcall, and what came of each.

use std::fmt::Write as _;

use super::{Argument, Callback, Hostcall, Outcome, Trace, Value};
use crate::abi::Status;

pub(super) fn render(trace: &Trace, timed: bool) -> String {
    let mut out = String::new();
    for callback in trace.callbacks() {
        put(&mut out, callback, timed);
    }
    out
}

fn put(out: &mut String, callback: &Callback, timed: bool) {
    if timed {
        let _ = write!(out, "{:.3}s ", callback.at.as_secs_f64());
    }
    let Callback {
        thread,
        plugin,
        context,
        ..
    } = callback;
    let _ = writeln!(
        out,
        "{thread}, {plugin}, context {context}: {}({})",
        short(callback.name),
        arguments(&callback.arguments)
    );
    for call in &callback.calls {
        let _ = writeln!(out, "  {}", line(call));
    }
    let cost = callback
        .instructions
        .filter(|_| timed)
        .map(|count| format!("{count} instructions"));
    let outcome = match &callback.outcome {
        Outcome::Returned(_) => callback.returned(),
        Outcome::Trapped(cause) => Some(format!("trap: {cause}")),
    };
    let ends: Vec<String> = outcome.into_iter().chain(cost).collect();
    if !ends.is_empty() {
        let _ = writeln!(out, "  = {}", ends.join(", "));
    }
}

fn line(call: &Hostcall) -> String {
    let mut line = format!("{}({})", short(call.name), arguments(&call.arguments));
    let _ = match call.status {
        Some(0) => write!(line, " ok"),
        Some(number) => write!(line, " {}", status(number)),
        None => write!(line, " trap"),
    };
    if !call.results.is_empty() {
        let _ = write!(line, " {}", arguments(&call.results));
    }
    if call.fault {
        line.push_str(" (fault)");
    }
    line
}

/// The name of a status, or its number.
pub(crate) fn status(number: i32) -> String {
    Status::from_number(number).map_or_else(|| number.to_string(), |status| status.name().into())
}

fn short(name: &str) -> &str {
    name.strip_prefix("proxy_").unwrap_or(name)
}

fn arguments(list: &[Argument]) -> String {
    let each: Vec<String> = list
        .iter()
        .map(|Argument { name, value }| format!("{name}={}", shown(value)))
        .collect();
    each.join(", ")
}

/// A value as text.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::Number(number) => number.to_string(),
        Value::Word(word) => (*word).to_owned(),
        Value::Unreadable => "unreadable".to_owned(),
        Value::Bytes { head, size } => {
            let cut = head.len() < *size;
            let text = format!("\"{}\"", escaped(head, cut));
            match cut {
                true => format!("{text}… ({size} bytes)"),
                false => text,
            }
        }
        Value::Pairs { head, count } => {
            let pairs = head
                .iter()
                .map(|(name, value)| format!("{}: {}", shown(name), shown(value)));
            let more = (head.len() < *count).then(|| format!("… ({count} pairs)"));
            let each: Vec<String> = pairs.chain(more).collect();
            format!("{{{}}}", each.join(", "))
        }
    }
}

/// Text with what isn't printable escaped; bytes that aren't text are all escaped. A character
/// that was cut in two doesn't make bytes of a text.
pub(crate) fn escaped(bytes: &[u8], cut: bool) -> String {
    let text = match str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) if cut && error.error_len().is_none() => bytes
            .get(..error.valid_up_to())
            .and_then(|bytes| str::from_utf8(bytes).ok()),
        Err(_) => None,
    };
    match text {
        Some(text) => text.escape_debug().to_string().replace("\\'", "'"),
        None => bytes.escape_ascii().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_readable_and_on_one_line() {
        let table: [(&[u8], &str); 5] = [
            (b"ana's", r#""ana's""#),
            ("gr\u{fc}n".as_bytes(), "\"grün\""),
            (b"a\nb\"c", r#""a\nb\"c""#),
            (b"\xff\x00a", r#""\xff\x00a""#),
            (b"", "\"\""),
        ];
        for (bytes, text) in table {
            assert_eq!(shown(&Value::bytes(bytes)), text);
        }
        let long = "ü".repeat(40);
        let text = shown(&Value::bytes(&long.as_bytes()[1..]));
        assert!(text.ends_with("… (79 bytes)"), "{text}");
        let text = shown(&Value::bytes(format!("a{long}").as_bytes()));
        assert_eq!(text, format!("\"a{}\"… (81 bytes)", "ü".repeat(31)));
    }
}
