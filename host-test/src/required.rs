//! What Envoy demands of headers that have left the chain.
//!
//! Filters may write anything. A request without path has no route; what else is missing or
//! malformed in it is found before it is sent upstream, and answered for with a 503. Of a response
//! only the status is looked at: its other headers go to the client as they are, line breaks
//! included.

use crate::headers::Headers;

/// Why a request can't be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) body: String,
    pub(crate) details: String,
}

/// The connection manager sets it, and the router finds no route without it.
pub(crate) const FORWARDED_PROTO: &str = "x-forwarded-proto";

/// Checks a request that is to be sent upstream. `forwarded` tells that it came into the chain with
/// `x-forwarded-proto`, as all do in Envoy.
pub(crate) fn check_request(headers: &Headers, forwarded: bool) -> Result<(), Refused> {
    let unrouted = headers.first(":path").is_none()
        || forwarded && headers.first(FORWARDED_PROTO).is_none_or(<[u8]>::is_empty);
    if unrouted {
        return Err(Refused {
            status: 404,
            body: String::new(),
            details: "route_not_found".to_owned(),
        });
    }
    let cause = if headers.first(":method").is_none() {
        Some("missing required header: :method".to_owned())
    } else {
        headers.iter().find_map(|(name, value)| {
            let wrong = if !is_name(name) {
                "invalid header name:"
            } else if !is_value(value) {
                "invalid header value for:"
            } else {
                return None;
            };
            Some(format!("{wrong} {}", String::from_utf8_lossy(name)))
        })
    };
    match cause {
        None => Ok(()),
        Some(cause) => Err(Refused {
            status: 503,
            details: details("request", &cause),
            body: cause,
        }),
    }
}

/// Checks a response that is to be sent downstream; the error is what it lacks, and the details.
pub(crate) fn check_response(headers: &Headers) -> Result<(), (String, String)> {
    let status = headers.text(":status");
    if status.is_some_and(|status| status.parse::<u64>().is_ok()) {
        return Ok(());
    }
    let cause = "missing required header: :status".to_owned();
    let details = details("response", &cause);
    Err((cause, details))
}

fn details(way: &str, cause: &str) -> String {
    let cause = cause.replace(char::is_whitespace, "_");
    format!("filter_removed_required_{way}_headers{{{cause}}}")
}

/// A token of RFC 9110, after a colon for a pseudo-header. Envoy lets an empty name pass.
fn is_name(name: &[u8]) -> bool {
    let token = name.strip_prefix(b":").unwrap_or(name);
    token
        .iter()
        .fold(true, |valid, &byte| valid & TOKEN[usize::from(byte)])
}

/// The bytes of a token. Every header of every request is looked at.
static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let others = b"!#$%&'*+-.^_`|~";
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    let mut byte = 0_u8;
    while byte < 0x80 {
        table[byte as usize] |= byte.is_ascii_alphanumeric();
        byte += 1;
    }
    table
};

/// No control characters but the tab.
fn is_value(value: &[u8]) -> bool {
    // Without a way out in the middle, so that it becomes a few vector instructions.
    value.iter().fold(true, |valid, byte| {
        valid & (*byte == b'\t' || !byte.is_ascii_control())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_needs_path_and_method_and_clean_names_and_values() {
        let whole = [(":path", "/"), (":method", "GET")];
        let with = |name: &str, value: &str| {
            let mut headers: Headers = whole.into_iter().collect();
            headers.append(name, value);
            check_request(&headers, false).map_err(|refused| refused.body)
        };
        assert_eq!(with("x", "\u{e4}\t"), Ok(()));
        assert_eq!(with("a b", ""), Err("invalid header name: a b".to_owned()));
        assert_eq!(with("", ""), Ok(()));
        assert_eq!(
            with("x", "a\r\nb"),
            Err("invalid header value for: x".to_owned())
        );
        let without = |at: usize| -> Headers { [whole[at]].into_iter().collect() };
        assert_eq!(check_request(&without(1), false).unwrap_err().status, 404);
        assert_eq!(check_request(&without(0), false).unwrap_err().status, 503);
        let clean: Headers = whole.into_iter().collect();
        assert_eq!(check_request(&clean, true).unwrap_err().status, 404);
    }
}
