//! A trace as JSON, an object per callback and line.

use serde_json::{Map, Value as Json, json};

use super::text::{escaped, status};
use super::{Argument, Callback, Hostcall, Outcome, Trace, Value};

pub(super) fn render(trace: &Trace) -> String {
    trace
        .callbacks()
        .iter()
        .map(|one| format!("{}\n", callback(one)))
        .collect()
}

fn callback(callback: &Callback) -> Json {
    let mut object = json!({
        "number": callback.number,
        "nanoseconds": u64::try_from(callback.at.as_nanos()).unwrap_or(u64::MAX),
        "thread": callback.thread.to_string(),
        "plugin": callback.plugin,
        "context": callback.context,
        "callback": callback.name,
        "arguments": arguments(&callback.arguments),
        "calls": callback.calls.iter().map(hostcall).collect::<Vec<_>>(),
    });
    match &callback.outcome {
        Outcome::Returned(Some(code)) => object["returned"] = (*code).into(),
        Outcome::Returned(None) => {}
        Outcome::Trapped(cause) => object["trapped"] = cause.as_str().into(),
    }
    if let Some(instructions) = callback.instructions {
        object["instructions"] = instructions.into();
    }
    object
}

fn hostcall(call: &Hostcall) -> Json {
    let mut object = json!({
        "call": call.name,
        "arguments": arguments(&call.arguments),
        "status": call.status.map_or_else(|| "trap".to_owned(), status),
    });
    if !call.results.is_empty() {
        object["results"] = arguments(&call.results);
    }
    if call.fault {
        object["fault"] = true.into();
    }
    object
}

fn arguments(list: &[Argument]) -> Json {
    let map: Map<String, Json> = list
        .iter()
        .map(|Argument { name, value }| ((*name).to_owned(), json(value)))
        .collect();
    map.into()
}

/// Text as text; bytes that aren't text, and whatever was cut, with size.
fn json(value: &Value) -> Json {
    match value {
        Value::Number(number) => (*number).into(),
        Value::Word(word) => (*word).into(),
        Value::Unreadable => Json::Null,
        Value::Bytes { head, size } => match str::from_utf8(head) {
            Ok(text) if head.len() == *size => text.into(),
            _ => json!({"head": escaped(head, head.len() < *size), "size": size}),
        },
        Value::Pairs { head, count } => {
            let pairs: Vec<Json> = head
                .iter()
                .map(|(name, value)| json!([json(name), json(value)]))
                .collect();
            json!({"count": count, "pairs": pairs})
        }
    }
}
