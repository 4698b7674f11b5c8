//! The parts of a request's target and authority, split without copying (RFC 3986).
//!
//! The path stays as it was sent: a gateway that wants `/%61` to be `/a` sets `normalize_path` on
//! its connection manager, which comes before any filter. Query parameters are decoded, since
//! nothing before a filter does that.

use std::borrow::Cow;

/// Returns the path of a target, without query and fragment.
pub fn path(target: &[u8]) -> &[u8] {
    before(target, |byte| byte == b'?' || byte == b'#').0
}

/// Returns the names and values of a target's query, both decoded.
///
/// A parameter without `=` has an empty value; empty parameters (`&&`) are left out.
pub fn parameters(target: &[u8]) -> impl Iterator<Item = (Cow<'_, [u8]>, Cow<'_, [u8]>)> {
    let (_, query) = before(target, |byte| byte == b'?');
    let (query, _) = before(query, |byte| byte == b'#');
    query
        .split(|&byte| byte == b'&')
        .filter(|parameter| !parameter.is_empty())
        .map(|parameter| {
            let (name, value) = before(parameter, |byte| byte == b'=');
            (decoded(name), decoded(value))
        })
}

/// Returns the host of an authority: without user, port and closing dot, in lower case.
///
/// An IPv6 literal keeps its brackets.
pub fn host(authority: &[u8]) -> Cow<'_, [u8]> {
    let after_user = authority
        .rsplit(|&byte| byte == b'@')
        .next()
        .unwrap_or(authority);
    let host = if after_user.starts_with(b"[") {
        let inner = before(after_user, |byte| byte == b']').0;
        let end = inner.len().saturating_add(1);
        after_user.get(..end).unwrap_or(after_user)
    } else {
        before(after_user, |byte| byte == b':').0
    };
    let host = host.strip_suffix(b".").unwrap_or(host);
    if host.iter().any(u8::is_ascii_uppercase) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

/// Returns the text with `%XX` and `+` decoded; a `%` that isn't followed by two digits stays.
pub fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.iter().any(|&byte| byte == b'%' || byte == b'+') {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, next)) = rest.split_first() {
        rest = next;
        match (byte, next) {
            (b'+', _) => out.push(b' '),
            (b'%', [high, low, after @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    out.push((high << 4) | low);
                    rest = after;
                }
                _ => out.push(byte),
            },
            _ => out.push(byte),
        }
    }
    Cow::Owned(out)
}

/// Splits at the first byte that `is_end` names; the byte itself is in neither half.
fn before(bytes: &[u8], is_end: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let end = bytes
        .iter()
        .position(|&byte| is_end(byte))
        .unwrap_or(bytes.len());
    let (head, tail) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
    (head, tail.get(1..).unwrap_or_default())
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_ends_at_query_or_fragment() {
        assert_eq!(path(b"/a/b?c=/d"), b"/a/b");
        assert_eq!(path(b"/a#b?c"), b"/a");
        assert_eq!(path(b"/a"), b"/a");
        assert_eq!(path(b""), b"");
    }

    #[test]
    fn hosts_lose_port_user_case_and_closing_dot() {
        for (authority, expected) in [
            ("Example.COM", "example.com"),
            ("example.com:80", "example.com"),
            ("example.com.", "example.com"),
            ("example.com.:80", "example.com"),
            ("user@example.com", "example.com"),
            ("[::1]:8080", "[::1]"),
            ("[::1]", "[::1]"),
            ("[::1", "[::1"),
            ("", ""),
            (":", ""),
        ] {
            assert_eq!(
                *host(authority.as_bytes()),
                *expected.as_bytes(),
                "{authority}"
            );
        }
    }

    #[test]
    fn a_query_splits_into_decoded_parameters() {
        let parameters: Vec<_> = parameters(b"/p?a=1&b&=c&&d=e=f&g=%zz%2&h=+#i=1").collect();
        let expected: [(&[u8], &[u8]); 6] = [
            (b"a", b"1"),
            (b"b", b""),
            (b"", b"c"),
            (b"d", b"e=f"),
            (b"g", b"%zz%2"),
            (b"h", b" "),
        ];
        assert_eq!(parameters.len(), expected.len());
        for ((name, value), expected) in parameters.iter().zip(expected) {
            assert_eq!((&**name, &**value), expected);
        }
    }

    #[test]
    fn text_without_escapes_is_not_copied() {
        assert!(matches!(decoded(b"plain"), Cow::Borrowed(_)));
    }
}
