//! Conditions of clients, answered from a stored response (RFC 9111 section 4.3.2, RFC 9110 section
//! 13), and what a 304 carries.

use filter_core::headers::Headers;

use crate::date;
use crate::freshness::seconds;
use crate::head::Response;
use crate::list;
use crate::request::Seen;

/// Whether a client has the stored response already, so that 304 is its answer.
pub fn is_not_modified(seen: &Seen<'_>, stored: &Response) -> bool {
    // Conditions are about what would be answered with 200.
    if stored.status != 200 && stored.status != 206 {
        return false;
    }
    let fields = stored.fields();
    if seen.if_none_match {
        // It takes precedence: "a recipient MUST ignore If-Modified-Since if the request contains an
        // If-None-Match header field".
        let mut lines = seen.headers.all("if-none-match");
        if lines.any(|line| line.trim_ascii() == b"*") {
            return true;
        }
        let Some(tag) = fields.first("etag") else {
            return false;
        };
        return list::members(seen.headers.all("if-none-match"))
            .any(|asked| weak_match(asked, tag));
    }
    let now = seconds(stored.response_time);
    let Some(since) = seen
        .if_modified_since
        .and_then(|text| date::parse(text, now))
    else {
        return false;
    };
    let modified = fields
        .first("last-modified")
        .and_then(|text| date::parse(text, now));
    // "If … the Last-Modified header field is not present in a stored response, a cache SHOULD use
    // the stored response's Date field value".
    modified.unwrap_or(stored.date) <= since
}

/// Whether a range is to be answered with 206: without `If-Range`, or if the stored response is the
/// one that it names. Strong comparison; a date must be the very same (RFC 9110 section 13.1.5).
pub fn range_applies(seen: &Seen<'_>, stored: &Response) -> bool {
    let Some(text) = seen.if_range.map(<[u8]>::trim_ascii) else {
        return true;
    };
    let fields = stored.fields();
    if text.ends_with(b"\"") {
        let tag = fields.first("etag").map(<[u8]>::trim_ascii);
        return !is_weak(text) && tag == Some(text);
    }
    let now = seconds(stored.response_time);
    let modified = fields
        .first("last-modified")
        .and_then(|text| date::parse(text, now));
    let asked = date::parse(text, now);
    // A date is a strong validator if it is a second or more before that of the response (section
    // 8.8.2.2).
    asked.is_some() && asked == modified && modified < Some(stored.date)
}

/// Weak comparison (RFC 9110 section 8.8.3.2): the opaque tags are the same.
pub fn weak_match(a: &[u8], b: &[u8]) -> bool {
    opaque(a) == opaque(b)
}

/// Whether an entity tag is marked as weak.
pub fn is_weak(tag: &[u8]) -> bool {
    tag.starts_with(b"W/")
}

/// A response's strong validator: its entity tag, unless that is weak.
pub fn strong_tag<'a>(fields: &Headers<'a>) -> Option<&'a [u8]> {
    let tag = fields.first("etag").map(<[u8]>::trim_ascii)?;
    (!is_weak(tag)).then_some(tag)
}

fn opaque(tag: &[u8]) -> &[u8] {
    let tag = tag.trim_ascii();
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// Whether a 304 carries a field of the stored response: all but metadata of the representation,
/// which "the sender SHOULD NOT generate" (RFC 9110 section 15.4.5).
pub fn is_in_304(name: &[u8], has_tag: bool) -> bool {
    match name {
        b"content-location" | b"content-security-policy" => true,
        b"last-modified" => !has_tag,
        _ => !name.starts_with(b"content-"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_910_400;

    fn block(fields: &[(&str, &str)]) -> Vec<u8> {
        Headers::encode(fields.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())))
    }

    fn stored(fields: &[(&str, &str)]) -> Response {
        Response {
            status: 200,
            date: NOW,
            response_time: NOW * 1_000,
            fields: block(fields),
            ..Response::default()
        }
    }

    fn unchanged(request: &[(&str, &str)], response: &[(&str, &str)]) -> bool {
        let block = block(request);
        is_not_modified(&Seen::of(Headers::decode(&block)), &stored(response))
    }

    #[test]
    fn if_none_match_is_compared_weakly_with_every_member() {
        let asked = |text: &str, tag: &str| unchanged(&[("if-none-match", text)], &[("etag", tag)]);
        for text in [
            "\"abc\"",
            "W/\"abc\"",
            "\"abc\", \"1\", \"2\"",
            "\"1\", \"abc\", \"2\"",
            "\"1\", \"2\", \"abc\"",
            "*",
        ] {
            assert!(asked(text, "\"abc\""), "{text}");
            assert!(asked(text, "W/\"abc\""), "{text}");
        }
        for text in ["\"ab\"", "\"1, abc\"", "", "\"abcd\""] {
            assert!(!asked(text, "\"abc\""), "{text}");
        }
        assert!(asked("\"a,b\"", "\"a,b\""), "a comma in a tag");
        assert!(!unchanged(&[("if-none-match", "\"abc\"")], &[]));
    }

    #[test]
    fn if_none_match_takes_precedence_over_if_modified_since() {
        let (old, new) = (date::format(NOW - 5_000), date::format(NOW - 1));
        let response = [("etag", "\"abc\""), ("last-modified", &*old)];
        let request = [("if-none-match", "\"x\""), ("if-modified-since", &*new)];
        assert!(!unchanged(&request, &response));
        let request = [("if-none-match", "\"abc\""), ("if-modified-since", &*old)];
        assert!(unchanged(
            &request,
            &[("etag", "\"abc\""), ("last-modified", &*new)]
        ));
    }

    #[test]
    fn a_response_that_is_no_newer_than_if_modified_since_is_not_modified() {
        let modified = date::format(NOW - 3_000);
        let response = [("last-modified", &*modified)];
        let asked = |at: u64| unchanged(&[("if-modified-since", &date::format(at))], &response);
        assert!(asked(NOW - 3_000) && asked(NOW - 2_000));
        assert!(!asked(NOW - 3_001));
        assert!(!unchanged(&[("if-modified-since", "soon")], &response));
    }

    #[test]
    fn without_last_modified_the_date_of_the_stored_response_is_used() {
        let asked = |at: u64| unchanged(&[("if-modified-since", &date::format(at))], &[]);
        assert!(asked(NOW));
        assert!(!asked(NOW - 3_000));
    }

    #[test]
    fn conditions_are_about_successful_responses() {
        let block = block(&[("if-none-match", "*")]);
        let seen = Seen::of(Headers::decode(&block));
        let mut response = stored(&[("etag", "\"a\"")]);
        response.status = 404;
        assert!(!is_not_modified(&seen, &response));
    }

    #[test]
    fn if_range_is_compared_strongly() {
        let asked = |text: &str, fields: &[(&str, &str)]| {
            let block = block(&[("if-range", text)]);
            range_applies(&Seen::of(Headers::decode(&block)), &stored(fields))
        };
        assert!(asked("\"a\"", &[("etag", "\"a\"")]));
        assert!(!asked("W/\"a\"", &[("etag", "W/\"a\"")]));
        assert!(!asked("\"b\"", &[("etag", "\"a\"")]));
        let modified = date::format(NOW - 60);
        assert!(asked(&modified, &[("last-modified", &modified)]));
        assert!(!asked(
            &date::format(NOW - 59),
            &[("last-modified", &modified)]
        ));
        let now = date::format(NOW);
        assert!(!asked(&now, &[("last-modified", &now)]), "a weak date");
        assert!(!asked("x", &[("last-modified", &now)]));
    }

    #[test]
    fn a_304_has_no_metadata_but_what_guides_caches() {
        for name in [
            "etag",
            "date",
            "vary",
            "cache-control",
            "expires",
            "content-location",
        ] {
            assert!(is_in_304(name.as_bytes(), true), "{name}");
        }
        for name in [
            "content-type",
            "content-length",
            "content-encoding",
            "last-modified",
        ] {
            assert!(!is_in_304(name.as_bytes(), true), "{name}");
        }
        assert!(is_in_304(b"last-modified", false));
    }
}
