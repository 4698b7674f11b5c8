//! What a change at the origin makes worthless (RFC 9111 section 4.4, RFC 9875).

use filter_core::headers::Headers;

use crate::key;
use crate::request::Seen;
use crate::targeted;

/// The targets that a response to an unsafe request invalidates: the request's own, and those in
/// `Location` and `Content-Location` if they are of the same origin.
///
/// Only "a non-error status code", 2xx or 3xx, invalidates.
pub fn targets(seen: &Seen<'_>, status: u16, fields: &Headers<'_>) -> Vec<Vec<u8>> {
    if !seen.method.invalidates() || !(200..400).contains(&status) {
        return Vec::new();
    }
    let mut targets = vec![seen.target.to_vec()];
    for name in ["location", "content-location"] {
        let target = fields
            .first(name)
            .and_then(|reference| same_origin_target(seen, reference));
        if let Some(target) = target
            && !targets.contains(&target)
        {
            targets.push(target);
        }
    }
    targets
}

/// The groups that a response invalidates, as tags: `Cache-Group-Invalidation` of a response to an
/// unsafe request (RFC 9875 section 3).
pub fn groups(seen: &Seen<'_>, status: u16, fields: &Headers<'_>) -> Vec<Vec<u8>> {
    if !seen.method.invalidates() || !(200..400).contains(&status) {
        return Vec::new();
    }
    let groups = targeted::strings(fields.all("cache-group-invalidation"));
    let groups = groups.unwrap_or_default().into_iter();
    groups.map(|group| group_tag(seen, &group)).collect()
}

/// The tag of a group, which belongs to one origin.
pub fn group_tag(seen: &Seen<'_>, group: &[u8]) -> Vec<u8> {
    let mut tag = b"\0group\0".to_vec();
    tag.extend_from_slice(seen.scheme);
    tag.push(0);
    tag.extend_from_slice(&key::authority(seen.scheme, seen.authority));
    tag.push(0);
    tag.extend_from_slice(group);
    tag
}

/// The target (path and query) that a reference names, resolved against the request's (RFC 3986
/// section 5); `None` if it is of another origin.
pub fn same_origin_target(seen: &Seen<'_>, reference: &[u8]) -> Option<Vec<u8>> {
    let reference = reference.trim_ascii();
    let reference = reference.split(|&byte| byte == b'#').next()?;
    let (authority, rest) = match scheme_end(reference) {
        Some(end) => {
            let (scheme, rest) = reference.split_at_checked(end)?;
            if !scheme.eq_ignore_ascii_case(seen.scheme) {
                return None;
            }
            split_authority(rest.strip_prefix(b":")?.strip_prefix(b"//")?)
        }
        None => match reference.strip_prefix(b"//") {
            Some(rest) => split_authority(rest),
            None => (None, reference),
        },
    };
    if let Some(other) = authority
        && key::authority(seen.scheme, other) != key::authority(seen.scheme, seen.authority)
    {
        return None;
    }
    let base = seen.target.split(|&byte| byte == b'?').next()?;
    Some(match rest.first() {
        None if authority.is_some() => b"/".to_vec(),
        None => seen.target.to_vec(),
        Some(b'?') => {
            let path = if authority.is_some() { b"/" } else { base };
            [path, rest].concat()
        }
        Some(b'/') => without_dots(rest),
        Some(_) => {
            let end = base.iter().rposition(|&byte| byte == b'/')?;
            let folder = base.get(..=end)?;
            without_dots(&[folder, rest].concat())
        }
    })
}

/// Where the scheme ends, if there is one.
fn scheme_end(reference: &[u8]) -> Option<usize> {
    let end = reference
        .iter()
        .position(|byte| !(byte.is_ascii_alphanumeric() || b"+-.".contains(byte)))?;
    (end > 0 && reference.get(end) == Some(&b':')).then_some(end)
}

fn split_authority(text: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let end = text
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?'))
        .unwrap_or(text.len());
    let (authority, rest) = text.split_at_checked(end).unwrap_or((text, &[]));
    (Some(authority), rest)
}

/// Resolves `.` and `..` in the path of a target (RFC 3986 section 5.2.4).
fn without_dots(target: &[u8]) -> Vec<u8> {
    let at = target.iter().position(|&byte| byte == b'?');
    let (path, query) = target
        .split_at_checked(at.unwrap_or(target.len()))
        .unwrap_or((target, &[]));
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut segments = path.split(|&byte| byte == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            b"." if is_last => kept.push(b""),
            b"." => {}
            b".." => {
                kept.pop();
                if is_last {
                    kept.push(b"");
                }
            }
            other => kept.push(other),
        }
    }
    let mut out = vec![b'/'];
    out.extend_from_slice(&kept.join(&b"/"[..]));
    out.extend_from_slice(query);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(fields: &[(&str, &str)]) -> Vec<u8> {
        Headers::encode(fields.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())))
    }

    fn request(method: &str) -> Vec<u8> {
        block(&[
            (":method", method),
            (":scheme", "http"),
            (":authority", "example.com"),
            (":path", "/a/b?c"),
        ])
    }

    fn invalidated(method: &str, status: u16, fields: &[(&str, &str)]) -> Vec<String> {
        let (request, fields) = (request(method), block(fields));
        let seen = Seen::of(Headers::decode(&request));
        let targets = targets(&seen, status, &Headers::decode(&fields));
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        targets.into_iter().map(text).collect()
    }

    #[test]
    fn a_cache_must_invalidate_the_target_when_an_unsafe_method_succeeds() {
        for method in ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH"] {
            for status in [200, 201, 204, 303] {
                assert_eq!(invalidated(method, status, &[]), ["/a/b?c"], "{method}");
            }
        }
    }

    #[test]
    fn an_error_invalidates_nothing() {
        for status in [400, 404, 409, 500, 503] {
            assert!(invalidated("POST", status, &[("location", "/x")]).is_empty());
        }
    }

    #[test]
    fn safe_methods_invalidate_nothing() {
        for method in ["GET", "HEAD", "OPTIONS", "TRACE", "QUERY"] {
            assert!(invalidated(method, 200, &[]).is_empty());
        }
    }

    #[test]
    fn location_and_content_location_of_the_same_origin_are_invalidated_too() {
        let fields = [
            ("location", "/moved"),
            ("content-location", "http://EXAMPLE.com:80/c?d#e"),
        ];
        assert_eq!(
            invalidated("PUT", 201, &fields),
            ["/a/b?c", "/moved", "/c?d"]
        );
    }

    #[test]
    fn a_cache_must_not_invalidate_under_another_origin() {
        for other in [
            "http://example.org/x",
            "https://example.com/x",
            "http://example.com:8080/x",
            "//example.org/x",
            "urn:x",
        ] {
            assert_eq!(
                invalidated("POST", 200, &[("location", other)]),
                ["/a/b?c"],
                "{other}"
            );
        }
    }

    #[test]
    fn references_are_resolved_against_the_target() {
        for (reference, expected) in [
            ("x", "/a/x"),
            ("./x", "/a/x"),
            ("../x?y", "/x?y"),
            ("../../../x", "/x"),
            ("?q", "/a/b?q"),
            ("", "/a/b?c"),
            ("/x/./y/../z", "/x/z"),
            ("..", "/"),
            ("http://example.com", "/"),
            ("http://example.com?q", "/?q"),
            ("/x#f", "/x"),
            ("x:y", ""),
        ] {
            let request = request("POST");
            let seen = Seen::of(Headers::decode(&request));
            let target = same_origin_target(&seen, reference.as_bytes());
            let expected = (!expected.is_empty()).then(|| expected.as_bytes().to_vec());
            assert_eq!(target, expected, "{reference}");
        }
    }

    #[test]
    fn a_group_belongs_to_its_origin() {
        let fields = block(&[("cache-group-invalidation", "\"a\", \"b\"")]);
        let fields = Headers::decode(&fields);
        let request = request("POST");
        let seen = Seen::of(Headers::decode(&request));
        let other = Seen {
            authority: b"example.org",
            ..seen.clone()
        };
        let tags = groups(&seen, 200, &fields);
        assert_eq!(tags, [group_tag(&seen, b"a"), group_tag(&seen, b"b")]);
        assert_ne!(tags[0], group_tag(&other, b"a"));
        assert!(groups(&seen, 400, &fields).is_empty());
    }
}
