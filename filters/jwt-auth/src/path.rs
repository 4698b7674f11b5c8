//! How else a request can be read: `//admin`, `/%61dmin`, `/public/..;/admin`, `get`, `A.EXAMPLE.COM`.
//!
//! Rules are matched on the path, method and host as the client sent them, as Envoy's own filter does.
//! Servers behind a gateway often decode, collapse and resolve first, and compare hosts without case,
//! so a rule could be walked round by a spelling that only the server understands. [`canonical`] and
//! [`recased`] read a request the way the most forgiving server would; the policy refuses a request
//! where that reading selects another rule.

use std::borrow::Cow;

use filter_core::headers::Headers;

/// Rounds of percent-decoding: a path can be encoded twice for two servers in a row.
const MOST_ROUNDS: usize = 3;

/// Returns a path without query, decoded, with `\` as `/`, without parameters of segments (`;a=b`),
/// empty and dot segments.
///
/// A closing slash stays, and an opening one is put where there is none. A path that needs none of
/// this comes back as it is; so does `*`.
pub fn canonical(path: &[u8]) -> Cow<'_, [u8]> {
    if is_plain(path) {
        return Cow::Borrowed(path);
    }
    let mut decoded = Cow::Borrowed(path);
    for _ in 0..MOST_ROUNDS {
        match decode(&decoded) {
            Some(next) => decoded = Cow::Owned(next),
            None => break,
        }
    }
    Cow::Owned(resolve(&decoded))
}

/// Returns the block of a request's headers with the method in upper and the host in lower case;
/// nothing if they are so already.
pub(crate) fn recased(headers: &Headers<'_>) -> Option<Vec<u8>> {
    let method = headers.method().unwrap_or_default();
    let host = headers.first(":authority").unwrap_or_default();
    if !method.iter().any(u8::is_ascii_lowercase) && !host.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    let (method, host) = (method.to_ascii_uppercase(), host.to_ascii_lowercase());
    let pairs = headers.iter().map(|(name, value)| match name {
        b":method" => (name, &*method),
        b":authority" => (name, &*host),
        _ => (name, value),
    });
    Some(Headers::encode(pairs))
}

fn is_plain(path: &[u8]) -> bool {
    let mut before = 0;
    let is_plain = path.iter().all(|&byte| {
        let is_odd_pair = before == b'/' && matches!(byte, b'/' | b'.');
        before = byte;
        !is_odd_pair && !matches!(byte, b'%' | b'\\' | b';')
    });
    is_plain && (path.starts_with(b"/") || path == b"*")
}

/// Decodes all `%XX` once; `None` if there is none.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut changed = false;
    let mut rest = text;
    while let Some((&byte, next)) = rest.split_first() {
        rest = next;
        if let (b'%', [high, low, after @ ..]) = (byte, next)
            && let (Some(high), Some(low)) = (digit(*high), digit(*low))
        {
            out.push((high << 4) | low);
            rest = after;
            changed = true;
        } else {
            out.push(byte);
        }
    }
    changed.then_some(out)
}

fn digit(byte: u8) -> Option<u8> {
    let value = char::from(byte).to_digit(16)?;
    u8::try_from(value).ok()
}

fn resolve(path: &[u8]) -> Vec<u8> {
    let mut segments: Vec<&[u8]> = Vec::new();
    let mut closing = false;
    for segment in path.split(|byte| matches!(byte, b'/' | b'\\')) {
        let name = segment.split(|&byte| byte == b';').next();
        closing = false;
        match name.unwrap_or_default() {
            b"" | b"." => closing = true,
            b".." => {
                segments.pop();
                closing = true;
            }
            name => segments.push(name),
        }
    }
    let mut out = Vec::with_capacity(path.len());
    for segment in &segments {
        out.push(b'/');
        out.extend_from_slice(segment);
    }
    if closing || segments.is_empty() {
        out.push(b'/');
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(path: &str) -> String {
        String::from_utf8_lossy(&canonical(path.as_bytes())).into_owned()
    }

    #[test]
    fn every_spelling_of_a_path_is_read_as_the_same() {
        for path in [
            "/admin",
            "//admin",
            "///admin",
            "/%61dmin",
            "/%2561dmin",
            "/./admin",
            "/%2e/admin",
            "/x/../admin",
            "/x/%2e%2E/admin",
            "/x/..%2fadmin",
            "/x/..%5cadmin",
            "/x/..\\admin",
            "\\admin",
            "/x/..;/admin",
            "/x/..;a=b/admin",
            "/admin;x=1",
            "/;a/admin",
            "/../../admin",
            "/x/%252e%252e/admin",
        ] {
            assert_eq!(shown(path), "/admin", "{path}");
        }
        assert_eq!(shown("/admin/..;/"), "/");
        assert_eq!(shown("/admin//"), "/admin/");
        assert_eq!(shown("/admin/."), "/admin/");
        assert_eq!(shown("/a/b/.."), "/a/");
        assert_eq!(shown("/%zz%6"), "/%zz%6");
    }

    #[test]
    fn a_path_without_its_slash_is_one_with_it() {
        assert_eq!(shown("admin"), "/admin");
        assert_eq!(shown(""), "/");
        assert_eq!(shown("*"), "*");
    }

    #[test]
    fn a_plain_path_is_not_copied() {
        assert!(matches!(canonical(b"/a/b.c/d"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn what_comes_out_has_only_one_reading(path in "(/|[a-c.;%\\\\]|%2[ef5]){0,24}") {
            let path = format!("/{path}");
            let once = shown(&path);
            prop_assert!(once.starts_with('/'));
            let odd = |segment: &str| segment == "." || segment == "..";
            prop_assert!(!once.split('/').any(odd), "{} -> {}", path, once);
            prop_assert!(!once.contains("//") && !once.contains('\\') && !once.contains(';'));
        }
    }
}
