//! Answers made of stored responses: 200, 304, 206 and 416 (RFC 9111 sections 4 and 4.3.2).

use filter_core::headers::Headers;

use crate::conditional;
use crate::decision::{Answer, Outcome};
use crate::policy::Stored;
use crate::range;
use crate::request::{Method, Seen};

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Range {
    /// The stored part doesn't have what is asked for.
    Missing,
}

/// Answers a request with a stored response.
///
/// # Errors
/// What is stored doesn't have the bytes that are asked for.
pub(crate) fn answer(
    seen: &Seen<'_>,
    stored: &Stored<'_>,
    outcome: Outcome,
    now: u64,
) -> Result<Answer, Range> {
    let response = stored.response;
    let fields = response.fields();
    let length = usize::try_from(stored.length).unwrap_or(usize::MAX);
    // "When a stored response is used to satisfy a request without validation, a cache MUST generate
    // an Age header field" (section 4).
    let age = response.age(now).to_string();
    let age = (&b"age"[..], age.as_bytes());
    let make = |status, fields, body| Answer {
        status,
        fields,
        body,
        outcome,
        refresh: false,
    };
    if seen.is_conditional() && conditional::is_not_modified(seen, response) {
        let has_tag = fields.first("etag").is_some();
        let kept = fields
            .iter()
            .filter(|(name, _)| conditional::is_in_304(name, has_tag));
        return Ok(make(304, Headers::encode(kept.chain([age])), None));
    }
    let is_ranged = seen.method == Method::Get && matches!(response.status, 200 | 206);
    let range = seen
        .range
        .filter(|_| is_ranged && conditional::range_applies(seen, response));
    let answered = match (range, response.part) {
        (Some(range), part) => range::Asked::parse(range).answer(part, stored.length),
        (None, None) => range::Answer::Whole,
        (None, Some(_)) => range::Answer::Missing,
    };
    let first_stored = response.part.map_or(0, |part| part.first);
    let total = response.part.map_or(stored.length, |part| part.total);
    match answered {
        range::Answer::Whole => {
            let body = Some((0, length));
            Ok(make(response.status, fields.encode_with(&[age]), body))
        }
        range::Answer::Bytes { first, last } => {
            let line = format!("bytes {first}-{last}/{total}");
            let extra = [age, (&b"content-range"[..], line.as_bytes())];
            let kept = fields.iter().filter(|(name, _)| *name != b"content-range");
            let offset = |at: u64| usize::try_from(at.saturating_sub(first_stored)).ok();
            let body = offset(first).zip(offset(last).and_then(|last| last.checked_add(1)));
            Ok(make(206, Headers::encode(kept.chain(extra)), body))
        }
        range::Answer::Unsatisfiable => {
            let line = format!("bytes */{total}");
            let extra = [age, (&b"content-range"[..], line.as_bytes())];
            let kept = fields
                .iter()
                .filter(|(name, _)| conditional::is_in_304(name, true));
            Ok(make(416, Headers::encode(kept.chain(extra)), None))
        }
        range::Answer::Missing => Err(Range::Missing),
    }
}

/// 504 to a client that wants nothing from upstream and for which nothing is stored ("SHOULD …
/// respond with a 504 (Gateway Timeout) status code", section 5.2.1.7).
pub(crate) fn gateway_timeout() -> Answer {
    Answer {
        status: 504,
        fields: Headers::encode(std::iter::empty()),
        body: None,
        outcome: Outcome::OnlyIfCached,
        refresh: false,
    }
}

/// 502 for a part that doesn't complete the stored one.
pub(crate) fn bad_gateway() -> Answer {
    Answer {
        status: 502,
        fields: Headers::encode(std::iter::empty()),
        body: None,
        outcome: Outcome::Partial,
        refresh: false,
    }
}

/// Adds a field.
pub(crate) fn add(answer: &mut Answer, name: &str, value: &[u8]) {
    let fields = Headers::decode(&answer.fields);
    answer.fields = fields.encode_with(&[(name.as_bytes(), value)]);
}
