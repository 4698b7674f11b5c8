//! A request as the page reads it: a row of the list, and all that is known of it.
//!
//! Both are JSON. Times are nanoseconds since the request came, but for `at`, milliseconds of the
//! Unix time. Of a message at the places it passed only the changes are written.

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::mask::Mask;
use crate::headers::Headers;
use crate::trace::detail::{Passages, Point, Sample};
use crate::trace::{Callback, Hostcall, Outcome, Trace, Value, escaped, status};

/// All that was seen of a request.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Milliseconds of the Unix time.
    pub(crate) at: f64,
    pub(crate) took: Duration,
    /// Of the listener, or of the scenario.
    pub(crate) listener: String,
    pub(crate) client: String,
    pub(crate) request: Message,
    pub(crate) status: Option<u16>,
    pub(crate) response: Message,
    /// The plugins' names in the order of the chain.
    pub(crate) filters: Vec<String>,
    pub(crate) details: String,
    pub(crate) flags: String,
    pub(crate) route: String,
    pub(crate) cluster: String,
    pub(crate) upstream: String,
    pub(crate) trace: Trace,
    pub(crate) passages: Option<Box<Passages>>,
    pub(crate) callouts: Vec<Call>,
    pub(crate) violations: Vec<String>,
    /// Whether instructions were counted.
    pub(crate) counted: bool,
}

/// A message at the client's end.
#[derive(Debug, Default)]
pub(crate) struct Message {
    pub(crate) headers: Headers,
    pub(crate) body: Sample,
}

/// A callout.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) cluster: String,
    pub(crate) headers: Headers,
    pub(crate) body: Sample,
    pub(crate) began: Option<Instant>,
    pub(crate) took: Option<Duration>,
    pub(crate) answer: Option<Answer>,
}

/// How a callout ended.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Reset,
    Response(Headers, Sample),
}

/// Row and details of a request with that number.
pub(crate) fn write(id: u64, seen: &Seen, began: Option<Instant>, mask: Mask) -> (Json, Json) {
    let costs = costs(seen);
    let by = answered_by(seen);
    let path = mask
        .text(&seen.request.headers.text(":path").unwrap_or_default())
        .into_owned();
    let text = |name| {
        seen.request
            .headers
            .text(name)
            .unwrap_or_default()
            .into_owned()
    };
    let calls: usize = costs.iter().map(|cost| cost.calls).sum();
    let trapped = seen
        .trace
        .callbacks()
        .iter()
        .any(|callback| matches!(callback.outcome, Outcome::Trapped(_)));
    let summary = json!({
        "id": id,
        "at": seen.at,
        "method": text(":method"),
        "path": path,
        "host": text(":authority"),
        "status": seen.status,
        "by": by,
        "took": nanoseconds(seen.took),
        "calls": calls,
        "filters": costs.iter().map(|cost| json!([cost.name, cost.nanoseconds])).collect::<Vec<_>>(),
        "listener": seen.listener,
        "client": seen.client,
        "wrong": trapped || !seen.violations.is_empty(),
    });
    let mut detail = summary.clone();
    let more = json!({
        "details": mask.text(&seen.details),
        "flags": seen.flags,
        "route": seen.route,
        "cluster": seen.cluster,
        "upstream": seen.upstream,
        "counted": seen.counted,
        "request": message(&seen.request.headers, &seen.request.body, mask),
        "response": message(&seen.response.headers, &seen.response.body, mask),
        "costs": costs.iter().map(Cost::json).collect::<Vec<_>>(),
        "passages": passages(seen.passages.as_deref(), mask),
        "callbacks": callbacks(&seen.trace, began, mask),
        "callouts": seen.callouts.iter().map(|call| callout(call, began, mask)).collect::<Vec<_>>(),
        "violations": seen.violations,
        "more_callbacks": seen.passages.as_ref().map_or(0, |passages| passages.more_callbacks),
    });
    if let (Json::Object(detail), Json::Object(more)) = (&mut detail, more) {
        detail.extend(more);
    }
    (summary, detail)
}

/// Callbacks outside requests, an object each.
pub(crate) fn callbacks(trace: &Trace, began: Option<Instant>, mask: Mask) -> Vec<Json> {
    let each = trace.callbacks().iter();
    each.map(|one| callback(one, began, mask)).collect()
}

/// What a filter cost a request.
struct Cost {
    name: String,
    nanoseconds: u64,
    instructions: u64,
    calls: usize,
    bytes: usize,
}

impl Cost {
    fn json(&self) -> Json {
        json!({
            "filter": self.name,
            "took": self.nanoseconds,
            "instructions": self.instructions,
            "calls": self.calls,
            "bytes": self.bytes,
        })
    }
}

fn costs(seen: &Seen) -> Vec<Cost> {
    let cost = |name: &String| {
        let mut cost = Cost {
            name: name.clone(),
            nanoseconds: 0,
            instructions: 0,
            calls: 0,
            bytes: 0,
        };
        let callbacks = seen.trace.callbacks().iter();
        for callback in callbacks.filter(|callback| callback.plugin == *name) {
            let took = callback.detail.as_ref().map(|detail| detail.took);
            cost.nanoseconds += took.map_or(0, nanoseconds);
            cost.instructions += callback.instructions.unwrap_or(0);
            cost.calls += callback.calls.len();
            cost.bytes += callback.calls.iter().map(bytes).sum::<usize>();
        }
        cost
    };
    seen.filters.iter().map(cost).collect()
}

/// Who made the answer: a filter's name, `upstream`, or `gateway`.
fn answered_by(seen: &Seen) -> String {
    if seen.details == "via_upstream" {
        return "upstream".to_owned();
    }
    let answers = |callback: &&Callback| {
        let mut calls = callback.calls.iter();
        calls.any(|call| call.name == "proxy_send_local_response" && call.status == Some(0))
            || matches!(callback.outcome, Outcome::Trapped(_))
    };
    // What comes of a route that answers by itself isn't a filter's, whatever filters asked for.
    let gateways = ["direct_response", "route_not_found"].contains(&seen.details.as_str());
    let answering = seen.trace.callbacks().iter().rev().find(answers);
    match answering {
        Some(callback) if !gateways => callback.plugin.clone(),
        _ => "gateway".to_owned(),
    }
}

fn callback(callback: &Callback, began: Option<Instant>, mask: Mask) -> Json {
    let detail = callback.detail.as_deref();
    let started = detail.and_then(|detail| {
        let since = detail.began.saturating_duration_since(began?);
        Some(nanoseconds(since))
    });
    let mut object = json!({
        "filter": callback.plugin,
        "name": short(callback.name),
        "thread": callback.thread.to_string(),
        "context": callback.context,
        "arguments": callback.arguments.iter()
            .map(|argument| (argument.name, mask.value(&argument.value)))
            .collect::<Vec<_>>(),
        "at": started,
        "took": detail.map(|detail| nanoseconds(detail.took)),
        "instructions": callback.instructions,
        "returned": callback.returned(),
        "calls": callback.calls.iter().map(|call| hostcall(call, mask)).collect::<Vec<_>>(),
    });
    if let Outcome::Trapped(cause) = &callback.outcome {
        object["trapped"] = cause.as_str().into();
    }
    if let Some(detail) = detail {
        if detail.more_calls > 0 {
            object["more_calls"] = detail.more_calls.into();
        }
        let logs = detail.logs.iter();
        object["logs"] = logs
            .map(|line| json!([line.level.as_str().to_lowercase(), mask.text(&line.message)]))
            .collect();
        let metrics = detail.metrics.iter();
        object["metrics"] = metrics
            .map(|change| json!([change.name, change.by, change.recorded]))
            .collect();
    }
    object
}

fn hostcall(call: &Hostcall, mask: Mask) -> Json {
    let mut object = json!({
        "name": short(call.name),
        "arguments": mask.arguments(call, &call.arguments),
        "status": call.status.map_or_else(|| "trap".to_owned(), status),
        "bytes": bytes(call),
    });
    if !call.results.is_empty() {
        object["results"] = json!(mask.arguments(call, &call.results));
    }
    if let Some(timing) = call.timing {
        object["at"] = nanoseconds(timing.at).into();
        object["took"] = nanoseconds(timing.took).into();
    }
    if call.fault {
        object["fault"] = true.into();
    }
    object
}

/// What went over the boundary, but for numbers.
fn bytes(call: &Hostcall) -> usize {
    fn of(value: &Value) -> usize {
        match value {
            Value::Bytes { size, .. } => *size,
            Value::Pairs { head, .. } => head.iter().map(|(a, b)| of(a) + of(b)).sum(),
            Value::Number(_) | Value::Word(_) | Value::Unreadable => 0,
        }
    }
    let values = call.arguments.iter().chain(&call.results);
    values.map(|argument| of(&argument.value)).sum()
}

pub(super) fn callout(call: &Call, began: Option<Instant>, mask: Mask) -> Json {
    let at = call.began.zip(began);
    json!({
        "cluster": call.cluster,
        "at": at.map(|(call, began)| nanoseconds(call.saturating_duration_since(began))),
        "took": call.took.map(nanoseconds),
        "request": message(&call.headers, &call.body, mask),
        "response": match &call.answer {
            None => Json::Null,
            Some(Answer::Reset) => "reset".into(),
            Some(Answer::Response(headers, body)) => message(headers, body, mask),
        },
    })
}

fn passages(passages: Option<&Passages>, mask: Mask) -> Json {
    let Some(passages) = passages else {
        return Json::Null;
    };
    let side = |points: &[Point]| -> Vec<Json> {
        let mut before: Option<&Point> = None;
        let mut list = Vec::new();
        for point in points {
            list.push(changed(point, before, mask));
            before = Some(point);
        }
        list
    };
    json!({
        "request": side(&passages.request),
        "response": side(&passages.response),
        "replaced": passages.replaced.as_ref().map(|point| changed(point, None, mask)),
    })
}

/// A place without what is as it was at the place before: `null` for what didn't come here, and
/// nothing for what is the same.
fn changed(point: &Point, before: Option<&Point>, mask: Mask) -> Json {
    let same = |a: &Headers, b: &Headers| a.iter().eq(b.iter());
    let mut object = json!({});
    let known = before.and_then(|before| before.headers.as_ref());
    match (&point.headers, known) {
        (Some(new), Some(old)) if same(new, old) => {}
        (new, _) => object["headers"] = new.as_ref().map_or(Json::Null, |h| headers(h, mask)),
    }
    let old = before.map(|before| &before.body);
    if old.is_none_or(|old| old.size != point.body.size || old.head != point.body.head) {
        object["body"] = body(&point.body, mask);
    }
    if let Some(trailers) = &point.trailers {
        object["trailers"] = headers(trailers, mask);
    }
    object
}

fn message(map: &Headers, sample: &Sample, mask: Mask) -> Json {
    json!({"headers": headers(map, mask), "body": body(sample, mask)})
}

fn headers(map: &Headers, mask: Mask) -> Json {
    let pair = |(name, value): (&[u8], &[u8])| {
        let text = match str::from_utf8(name) {
            Ok(name) => name.to_owned(),
            Err(_) => escaped(name, false),
        };
        json!([text, mask.header(name, value)])
    };
    map.iter().map(pair).collect()
}

/// A text as text, though its last character may have been cut in two; bytes in hexadecimal.
fn body(sample: &Sample, mask: Mask) -> Json {
    let mut object = json!({"size": sample.size});
    let cut = !sample.is_whole();
    if cut {
        object["cut"] = true.into();
    }
    let text = match str::from_utf8(&sample.head) {
        Ok(text) => Some(text),
        Err(error) if cut && error.error_len().is_none() => sample
            .head
            .get(..error.valid_up_to())
            .and_then(|head| str::from_utf8(head).ok()),
        Err(_) => None,
    };
    match text {
        Some("") => {}
        Some(text) => object["text"] = mask.text(text).into(),
        None => object["hex"] = hexadecimal(&sample.head).into(),
    }
    object
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn short(name: &str) -> &str {
    name.strip_prefix("proxy_").unwrap_or(name)
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(bytes: &[u8], limit: usize) -> Sample {
        let mut sample = Sample::default();
        sample.push(bytes, limit);
        sample
    }

    #[test]
    fn bodies_are_text_where_they_can_be_and_tell_what_is_missing() {
        let as_json = |bytes: &[u8], limit| body(&sample(bytes, limit), Mask::On);
        assert_eq!(as_json(b"", 9), json!({"size": 0}));
        assert_eq!(as_json(b"abc", 9), json!({"size": 3, "text": "abc"}));
        assert_eq!(as_json(b"a\xff", 9), json!({"size": 2, "hex": "61ff"}));
        let cut = json!({"size": 4, "cut": true, "text": "gr"});
        assert_eq!(as_json("grü".as_bytes(), 3), cut);
    }

    #[test]
    fn what_is_the_same_at_the_next_place_is_not_written_again() {
        let mut map = Headers::new();
        map.append("a", "1");
        let point = |headers: &Headers, body: &[u8]| Point {
            headers: Some(headers.clone()),
            body: sample(body, 9),
            trailers: None,
        };
        let first = point(&map, b"x");
        let second = point(&map, b"y");
        map.append("b", "2");
        let third = point(&map, b"y");
        let changes = |new, old| changed(new, Some(old), Mask::On);
        assert_eq!(
            changes(&second, &first),
            json!({"body": {"size": 1, "text": "y"}})
        );
        assert_eq!(
            changes(&third, &second),
            json!({"headers": [["a", "1"], ["b", "2"]]})
        );
        let never = changes(&Point::default(), &third);
        assert_eq!(never, json!({"headers": null, "body": {"size": 0}}));
    }
}
