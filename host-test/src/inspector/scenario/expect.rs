//! What a recorded request is expected to come to.

use std::fmt::Write as _;

use serde_json::Value as Json;

use super::super::mask::MASKED;

/// What isn't the chain's, or never the same.
const VOLATILE: [&str; 9] = [
    "connection",
    "content-length",
    "date",
    "server",
    "transfer-encoding",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-upstream-service-time",
    "x-request-id",
    ":status",
];

type Pairs = Vec<(String, String)>;

/// Writes the expectations of a request; of one that only comes before the one that is meant, the
/// status.
pub(super) fn write(out: &mut String, detail: &Json, meant: bool) {
    let Some(status) = detail["status"].as_u64() else {
        let _ = writeln!(out, "  expect: {{ status: absent }}");
        return;
    };
    let sent = left_the_chain(detail);
    let by = detail["by"].as_str().unwrap_or_default();
    // An answer of the gateway's own to a request that left the chain is the upstream's here.
    let by_gateway = by == "gateway";
    if !meant {
        let _ = writeln!(out, "  expect: {{ status: {status} }}");
        return;
    }
    let _ = writeln!(out, "  expect:");
    let _ = writeln!(out, "    status: {status}");
    let details = detail["details"].as_str().unwrap_or_default();
    if !details.is_empty() && !by_gateway {
        let _ = writeln!(out, "    details: {}", expected(details));
    }
    match &sent {
        None => {
            let _ = writeln!(out, "    upstream: none");
        }
        Some(sent) if !by_gateway => upstream(out, detail, sent),
        Some(_) => {}
    }
    response(out, detail, by);
}

/// What the filters have made of the request.
fn upstream(out: &mut String, detail: &Json, sent: &Pairs) {
    let came = place(&detail["passages"]["request"], 0);
    let changes = changed(&came.0, sent);
    let _ = writeln!(out, "    upstream:");
    for (field, name) in [("method", ":method"), ("path", ":path")] {
        let value = header(sent, name).unwrap_or_default();
        if !value.contains(MASKED) {
            let _ = writeln!(out, "      {field}: {}", exact(value));
        }
    }
    headers(out, "      ", changes);
}

/// What the filters have made of the response.
fn response(out: &mut String, detail: &Json, by: &str) {
    let points = &detail["passages"]["response"];
    let count = points.as_array().map_or(0, Vec::len);
    if count == 0 {
        return;
    }
    let (left, body) = place(points, count - 1);
    let base = match answer_of_upstream(detail) {
        Some((headers, _)) => headers,
        None => Pairs::new(),
    };
    headers(out, "    ", changed(&base, &left));
    let is_cut = body["cut"].as_bool() == Some(true);
    let is_head = detail["method"] == "HEAD";
    match body["text"].as_str() {
        Some(text) if !is_cut && !is_head && !text.contains(MASKED) => {
            let text = if by == "upstream" || by == "gateway" {
                exact(text)
            } else {
                expected(text)
            };
            let _ = writeln!(out, "    body: {text}");
        }
        _ => {}
    }
}

fn headers(out: &mut String, indent: &str, changes: Pairs) {
    let mut names: Vec<&str> = changes.iter().map(|(name, _)| name.as_str()).collect();
    names.dedup();
    // Several values of one name would need a list; one that comes once says enough.
    let single: Vec<_> = changes
        .iter()
        .filter(|(name, _)| changes.iter().filter(|(other, _)| other == name).count() == 1)
        .collect();
    if single.is_empty() {
        return;
    }
    let _ = writeln!(out, "{indent}headers:");
    for (name, value) in single {
        let _ = writeln!(out, "{indent}  {}: {}", quoted(name), expected(value));
    }
}

/// Headers of `after` that aren't in `before`, but for what is volatile or masked.
pub(super) fn changed(before: &Pairs, after: &Pairs) -> Pairs {
    let same_name = |name: &str| after.iter().filter(move |(other, _)| other == name).count();
    let after_changes = after.iter().filter(|pair| !before.contains(pair));
    after_changes
        .filter(|(name, value)| {
            let known = VOLATILE.contains(&name.as_str()) || name.starts_with(':');
            !known && !value.contains(MASKED) && same_name(name) == 1
        })
        .cloned()
        .collect()
}

/// The request's headers as they left the chain; `None` if they didn't.
pub(super) fn left_the_chain(detail: &Json) -> Option<Pairs> {
    let filters = detail["filters"].as_array().map_or(0, Vec::len);
    let points = &detail["passages"]["request"];
    (points.as_array()?.len() > filters).then(|| place(points, filters).0)
}

/// What came to the chain from behind, if anything did.
pub(super) fn answer_of_upstream(detail: &Json) -> Option<(Pairs, Json)> {
    let passages = &detail["passages"];
    if passages["replaced"].is_object() {
        let replaced = &passages["replaced"];
        return Some((pairs(&replaced["headers"]), replaced["body"].clone()));
    }
    left_the_chain(detail)?;
    let points = &passages["response"];
    (!points.as_array()?.is_empty()).then(|| place(points, 0))
}

/// Headers and body at a place, which are told only where they change.
fn place(points: &Json, position: usize) -> (Pairs, Json) {
    let points = points.as_array().map_or(&[][..], Vec::as_slice);
    let upto = points.get(..=position).unwrap_or(points);
    let latest = |name: &str| {
        let mut found = upto.iter().rev().filter_map(|point| point.get(name));
        found.next().cloned().unwrap_or(Json::Null)
    };
    (pairs(&latest("headers")), latest("body"))
}

/// The headers of a message.
pub(super) fn headers_of(message: &Json) -> Pairs {
    pairs(&message["headers"])
}

fn pairs(json: &Json) -> Pairs {
    let list = json.as_array().into_iter().flatten();
    list.filter_map(|pair| Some((pair[0].as_str()?.to_owned(), pair[1].as_str()?.to_owned())))
        .collect()
}

/// The first value of a header.
pub(super) fn header<'p>(pairs: &'p [(String, String)], name: &str) -> Option<&'p str> {
    let mut found = pairs.iter().filter(|(known, _)| known == name);
    found.next().map(|(_, value)| value.as_str())
}

/// A text in quotes: JSON's are YAML's.
pub(super) fn quoted(text: &str) -> String {
    Json::from(text).to_string()
}

/// An expectation of just this text.
pub(super) fn exact(text: &str) -> String {
    if text.starts_with('~') || text == "absent" || text == "none" {
        return format!("{{ exact: {} }}", quoted(text));
    }
    quoted(text)
}

/// An expectation of what a filter has written: numbers may be others the next time.
pub(super) fn expected(text: &str) -> String {
    if !text.contains(|c: char| c.is_ascii_digit()) {
        return exact(text);
    }
    let mut pattern = String::from("~^");
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        if digits > 0 {
            pattern.push_str(r"\d+");
            rest = &rest[digits..];
            continue;
        }
        let plain = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        pattern.push_str(&regex::escape(&rest[..plain]));
        rest = &rest[plain..];
    }
    pattern.push('$');
    quoted(&pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_filters_are_expected_by_their_form() {
        assert_eq!(expected("via_upstream"), "\"via_upstream\"");
        assert_eq!(expected("\"a\";r=0;t=10"), r#""~^\"a\";r=\\d+;t=\\d+$""#);
        assert_eq!(expected("1.5"), r#""~^\\d+\\.\\d+$""#);
    }

    #[test]
    fn words_that_mean_something_are_written_as_exact() {
        assert_eq!(exact("absent"), "{ exact: \"absent\" }");
        assert_eq!(exact("~x"), "{ exact: \"~x\" }");
        assert_eq!(exact("x"), "\"x\"");
    }
}
