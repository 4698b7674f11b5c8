//! Fields of responses: which are stored, how a validation changes them, and what is edited of those
//! that pass.

use std::borrow::Cow;

use filter_core::headers::Headers;

use crate::cache_control::Directives;
use crate::list;

/// The most fields that a stored response has.
const MOST_FIELDS: usize = 500;
/// Bytes of all fields of a stored response at most.
const MOST_BYTES: usize = 64 * 1024;

/// Why fields can't be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// There are too many of them, or they are too long.
    TooMany,
    /// One has a control character in it that would be another line when it is sent again.
    Control,
}

/// Whether a field is about one connection, or about proxies: "The following are not stored" (RFC
/// 9111 section 3.1). What the gateway writes anew isn't either.
fn is_hop_by_hop(name: &[u8]) -> bool {
    matches!(
        name,
        b"connection"
            | b"keep-alive"
            | b"proxy-connection"
            | b"te"
            | b"trailer"
            | b"transfer-encoding"
            | b"upgrade"
            | b"proxy-authenticate"
            | b"proxy-authentication-info"
            | b"proxy-authorization"
            | b"age"
            | b"content-length"
            | b"server"
            | b"x-envoy-upstream-service-time"
    ) || name.starts_with(b":")
}

/// Whether a field stays one when it is sent.
fn is_sendable(name: &[u8], value: &[u8]) -> bool {
    is_one_line(name) && is_one_line(value)
}

fn is_one_line(text: &[u8]) -> bool {
    let ends_it = |byte: &u8| matches!(byte, 0 | b'\r' | b'\n');
    // Eight bytes at a time: what might be one of the three is looked at again.
    let is_suspect = list::words(text).is_none_or(|mut words| words.any(has_low_byte));
    !(is_suspect && text.iter().any(ends_it))
}

/// Whether one of eight bytes is less than 14, and so may be a line's end.
const fn has_low_byte(word: u64) -> bool {
    const ONES: u64 = u64::MAX / 255;
    word.wrapping_sub(ONES * 14) & !word & (ONES * 128) != 0
}

/// Whether fields that were stored elsewhere can be sent as they are.
pub fn are_sendable(fields: &Headers<'_>) -> bool {
    fields.iter().all(|(name, value)| is_sendable(name, value))
}

/// The fields of a response that are stored, in the block of the ABI.
///
/// Those that `Connection` names, those that `no-cache` and `private` name, and what `also` names
/// are left out. Names end up in lower case.
///
/// # Errors
/// See [`Unfit`].
pub fn stored(
    fields: &Headers<'_>,
    directives: &Directives,
    also: &[&str],
) -> Result<Vec<u8>, Unfit> {
    let named: Vec<_> = list::members(fields.all("connection"))
        .map(list::lower)
        .collect();
    let is_kept = |name: &[u8]| {
        let is_named = |names: &[String]| names.iter().any(|other| other.as_bytes() == name);
        !(is_hop_by_hop(name)
            || named.iter().any(|other| **other == *name)
            || is_named(directives.no_cache.fields())
            || is_named(directives.private.fields())
            || also.iter().any(|other| other.as_bytes() == name))
    };
    let mut count: usize = 0;
    let mut is_fit = true;
    // Nearly always they are kept as they are.
    let mut as_they_are = true;
    let block = fields.encode_where(|name, value| {
        let lower = list::lower(name);
        let kept = is_kept(&lower);
        if kept {
            count = count.saturating_add(1);
            is_fit &= is_sendable(name, value);
            as_they_are &= matches!(lower, Cow::Borrowed(_));
            as_they_are &= *name != *b"cache-control" || spaced(value).is_none();
        }
        kept
    });
    if !is_fit {
        return Err(Unfit::Control);
    }
    let block = if as_they_are { block } else { tidied(&block) };
    if count > MOST_FIELDS || block.len().saturating_sub(4) > MOST_BYTES {
        return Err(Unfit::TooMany);
    }
    Ok(block)
}

/// Fields with their names in lower case, and spaces in `Cache-Control`.
fn tidied(block: &[u8]) -> Vec<u8> {
    let tidied = |(name, value)| {
        let name = list::lower(name);
        let is_control = *name == *b"cache-control";
        let spaced = if is_control { spaced(value) } else { None };
        (name, spaced.map_or(Cow::Borrowed(value), Cow::Owned))
    };
    let fields: Vec<_> = Headers::decode(block).iter().map(tidied).collect();
    Headers::encode(fields.iter().map(|(name, value)| (&**name, &**value)))
}

/// Puts the fields of a 304, or of a HEAD's response, over stored ones (section 3.2): each name that
/// it has replaces all stored lines of the name, but for what the stored bytes depend on.
///
/// # Errors
/// See [`Unfit`].
pub fn updated(old: &Headers<'_>, new: &Headers<'_>) -> Result<Vec<u8>, Unfit> {
    let depends = |name: &[u8]| {
        matches!(
            name,
            b"content-encoding" | b"content-range" | b"content-length"
        )
    };
    let new = stored(new, &Directives::default(), &[])?;
    let new = Headers::decode(&new);
    let replaced = |name: &[u8]| new.iter().any(|(other, _)| other == name) && !depends(name);
    let mut kept: Vec<_> = old.iter().filter(|(name, _)| !replaced(name)).collect();
    kept.extend(new.iter().filter(|(name, _)| !depends(name)));
    if kept.len() > MOST_FIELDS {
        return Err(Unfit::TooMany);
    }
    Ok(Headers::encode(kept))
}

/// The block of these fields with one in place of all of its name.
pub fn set(fields: &Headers<'_>, name: &str, value: &[u8]) -> Vec<u8> {
    let others = fields.iter().filter(|(other, _)| *other != name.as_bytes());
    Headers::encode(others.chain([(name.as_bytes(), value)]))
}

/// Leaves a field out of a block.
pub fn without(block: &[u8], name: &str) -> Vec<u8> {
    let fields = Headers::decode(block);
    Headers::encode(fields.iter().filter(|(other, _)| *other != name.as_bytes()))
}

/// A `Cache-Control` with a space after each comma between directives; `None` if it is so already.
/// The gateway joins lines with a comma alone.
pub fn spaced(value: &[u8]) -> Option<Vec<u8>> {
    let tight = value
        .windows(2)
        .any(|pair| matches!(pair, [b',', next] if *next != b' '));
    if !tight {
        return None;
    }
    let members: Vec<_> = list::members([value]).collect();
    let spaced = members.join(&b", "[..]);
    (spaced != value).then_some(spaced)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(fields: &[(&str, &str)]) -> Vec<u8> {
        Headers::encode(fields.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())))
    }

    fn texts(block: &[u8]) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Headers::decode(block)
            .iter()
            .map(|(name, value)| format!("{}: {}", text(name), text(value)))
            .collect()
    }

    fn kept(fields: &[(&str, &str)]) -> Result<Vec<String>, Unfit> {
        let block = block(fields);
        let fields = Headers::decode(&block);
        let directives = Directives::parse(fields.all("cache-control"));
        stored(&fields, &directives, &["x-left-out"]).map(|block| texts(&block))
    }

    #[test]
    fn caches_must_remove_connection_and_the_fields_that_it_names() {
        let fields = [("connection", "a, B"), ("a", "1"), ("b", "2"), ("c", "3")];
        assert_eq!(kept(&fields), Ok(vec!["c: 3".to_owned()]));
    }

    #[test]
    fn fields_of_one_hop_and_of_proxy_authentication_are_not_stored() {
        for name in [
            "connection",
            "keep-alive",
            "proxy-authenticate",
            "proxy-authentication-info",
            "proxy-authorization",
            "proxy-connection",
            "te",
            "transfer-encoding",
            "upgrade",
            "age",
            ":status",
            "X-Left-Out",
        ] {
            assert_eq!(kept(&[(name, "x")]), Ok(Vec::new()), "{name}");
        }
    }

    #[test]
    fn unrecognised_fields_are_stored_and_so_are_cookies_and_content_fields() {
        for name in [
            "test-header",
            "set-cookie",
            "content-range",
            "content-encoding",
            "etag",
        ] {
            assert_eq!(kept(&[(name, "x")]), Ok(vec![format!("{name}: x")]));
        }
    }

    #[test]
    fn fields_named_by_no_cache_and_private_are_not_stored() {
        let control = (
            "cache-control",
            "no-cache=\"a, b\",private=\"C\", max-age=1",
        );
        let fields = [control, ("a", "1"), ("B", "2"), ("c", "3"), ("d", "4")];
        let expected = [
            "cache-control: no-cache=\"a, b\", private=\"C\", max-age=1",
            "d: 4",
        ];
        assert_eq!(kept(&fields), Ok(expected.map(str::to_owned).to_vec()));
    }

    #[test]
    fn values_with_line_ends_are_not_stored() {
        for value in ["a\r\nset-cookie: b", "a\nb", "a\rb", "a\0"] {
            assert_eq!(kept(&[("x", value)]), Err(Unfit::Control), "{value:?}");
            let block = block(&[("a", "b"), ("x", value)]);
            assert!(!are_sendable(&Headers::decode(&block)), "{value:?}");
        }
        assert!(are_sendable(&Headers::decode(&block(&[("x", "a\tb")]))));
    }

    #[test]
    fn a_thousand_fields_are_not_stored() {
        let names: Vec<_> = (0..1000).map(|number| format!("x-{number}")).collect();
        let fields: Vec<_> = names.iter().map(|name| (&**name, "1")).collect();
        assert_eq!(kept(&fields), Err(Unfit::TooMany));
        let long = "a".repeat(70_000);
        assert_eq!(kept(&[("x", &long)]), Err(Unfit::TooMany));
    }

    #[test]
    fn a_validation_replaces_fields_but_those_that_the_stored_bytes_depend_on() {
        let old = block(&[
            ("test", "a"),
            ("kept", "1"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=1"),
            ("content-encoding", "gzip"),
            ("content-range", "x"),
        ]);
        let new = block(&[
            ("Test", "b"),
            ("set-cookie", "a=2"),
            ("content-encoding", "br"),
            ("content-length", "10"),
            ("connection", "close"),
            ("new", "2"),
        ]);
        let (old, new) = (Headers::decode(&old), Headers::decode(&new));
        let block = updated(&old, &new).expect("fit");
        assert_eq!(
            texts(&block),
            [
                "kept: 1",
                "content-encoding: gzip",
                "content-range: x",
                "test: b",
                "set-cookie: a=2",
                "new: 2"
            ]
        );
    }

    #[test]
    fn directives_of_joined_lines_get_their_space_back() {
        let with_space = |text: &str| spaced(text.as_bytes());
        assert_eq!(
            with_space("no-cache=\"a,b\",max-age=1").as_deref(),
            Some(&b"no-cache=\"a,b\", max-age=1"[..])
        );
        assert_eq!(with_space("no-cache=\"a,b\", max-age=1"), None);
        assert_eq!(with_space("max-age=1"), None);
    }
}
