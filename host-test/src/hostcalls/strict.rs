//! What Envoy takes without a word and what then hurts: header lines that no one should send.

use super::{Guest, violation};
use crate::headers::Headers;

/// Notes what there is to complain of.
pub(super) fn report(guest: &Guest<'_>, complaint: Option<String>) {
    if let Some(text) = complaint {
        violation(guest, text);
    }
}

/// Looks at all headers that a guest hands over.
pub(super) fn headers(guest: &Guest<'_>, headers: &Headers) {
    for (name, value) in headers.iter() {
        report(guest, complaint(name, value));
    }
}

/// What is wrong with a header that a guest writes.
pub(super) fn complaint(name: &[u8], value: &[u8]) -> Option<String> {
    let shown = name.escape_ascii();
    if !is_token(name.strip_prefix(b":").unwrap_or(name)) {
        return Some(format!(
            "header name \"{shown}\" is none that HTTP allows: Envoy 1.40 writes it into a response \
             as it is, and answers 503 to a request with it"
        ));
    }
    let broken = value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0));
    broken.then(|| {
        format!(
            "header {shown} gets CR, LF or NUL in its value: Envoy 1.40 writes them into a response \
             as they are, so that clients can inject headers, and answers 503 to a request with them"
        )
    })
}

/// RFC 9110, section 5.6.2.
fn is_token(name: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !name.is_empty() && name.iter().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_http_forbids_is_complained_of() {
        let fine: [(&[u8], &[u8]); 4] = [
            (b":path", b"/"),
            (b"X-A_b.c", b""),
            (b"a", b"tab\tand \xff"),
            (b"host", b"a"),
        ];
        for (name, value) in fine {
            assert_eq!(complaint(name, value), None);
        }
        let wrong: [(&[u8], &[u8], &str); 6] = [
            (b"", b"v", "header name \"\" is none"),
            (b":", b"v", "header name \":\" is none"),
            (b"a b", b"v", "header name \"a b\" is none"),
            (b"a\n", b"v", "header name \"a\\n\" is none"),
            (b"a", b"v\r\nb: c", "header a gets CR, LF or NUL"),
            (b"a", b"v\0", "header a gets CR, LF or NUL"),
        ];
        for (name, value, text) in wrong {
            let found = complaint(name, value).unwrap_or_default();
            assert!(found.starts_with(text), "{found}");
        }
    }
}
