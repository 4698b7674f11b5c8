//! The primary key of a response (RFC 9111 section 2): what it is found by.
//!
//! Parts are written with their lengths, so that no two requests with different parts have one key.

use std::borrow::Cow;

use filter_core::headers::Headers;
use filter_core::uri;

use crate::config::KeyRules;
use crate::list;
use crate::request::Seen;

/// Bytes of the longest key; requests with a longer one are left alone.
pub const LONGEST: usize = 16 * 1024;

/// Which query parameters don't matter, as `No-Vary-Search` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// Their order doesn't.
    pub any_order: bool,
    /// None of them does, but for `but`.
    pub none: bool,
    /// These don't.
    pub not: Vec<Vec<u8>>,
    /// Only these do.
    pub but: Vec<Vec<u8>>,
}

/// The key of a request's target, or of another one (`target`) of the same origin.
///
/// `body` is the request's body where it belongs to the key.
pub fn primary(rules: &KeyRules, seen: &Seen<'_>, target: &[u8], body: Option<&[u8]>) -> Vec<u8> {
    let mut key = Vec::with_capacity(target.len().saturating_add(64));
    // A GET's response answers HEAD too; a body's is found by its method.
    match body {
        None => key.push(b'G'),
        Some(body) => {
            part(seen.method_name, &mut key);
            part(seen.content_type, &mut key);
            part(body, &mut key);
        }
    }
    if !rules.ignore_scheme {
        part(seen.scheme, &mut key);
    }
    if !rules.ignore_host {
        part(&authority(seen.scheme, seen.authority), &mut key);
    }
    let (path, query) = parts(target);
    if rules.normalize_path {
        part(&normalised(path), &mut key);
    } else {
        part(path, &mut key);
    }
    match query {
        Some(query) => part(&searched(rules, query), &mut key),
        None => key.push(0),
    }
    for name in &rules.headers {
        let values: Vec<_> = list::members(seen.headers.all(name)).collect();
        if seen.headers.first(name).is_none() {
            key.push(0);
        } else {
            part(&values.join(&b","[..]), &mut key);
        }
    }
    for name in &rules.cookies {
        match seen.headers.cookie(name) {
            Some(value) => part(value, &mut key),
            None => key.push(0),
        }
    }
    key
}

/// The key of the entry that says how the queries of a path are compared.
pub fn search_entry(rules: &KeyRules, seen: &Seen<'_>) -> Vec<u8> {
    let (path, _) = parts(seen.target);
    let mut key = primary(rules, seen, path, None);
    key.extend_from_slice(b"\0search");
    key
}

/// The key of a request whose query is compared as `search` says.
pub fn searching(rules: &KeyRules, seen: &Seen<'_>, search: &Search, generation: u64) -> Vec<u8> {
    let (path, query) = parts(seen.target);
    let mut key = primary(rules, seen, path, None);
    key.extend_from_slice(&generation.to_le_bytes());
    let mut kept = Vec::new();
    let mut target = b"?".to_vec();
    target.extend_from_slice(&searched(rules, query.unwrap_or_default()));
    for (name, value) in uri::parameters(&target) {
        let listed = |names: &[Vec<u8>]| names.iter().any(|listed| **listed == *name);
        let counts = if search.none {
            listed(&search.but)
        } else {
            !listed(&search.not)
        };
        if counts {
            kept.push((name, value));
        }
    }
    if search.any_order {
        kept.sort_by(|(a, _), (b, _)| a.cmp(b));
    }
    for (name, value) in kept {
        part(&name, &mut key);
        part(&value, &mut key);
    }
    key
}

/// What purging by prefix compares: `host/path?query`.
pub fn name(seen: &Seen<'_>) -> Vec<u8> {
    [&authority(seen.scheme, seen.authority), seen.target].concat()
}

/// The host with its port, in lower case and without the port that the scheme has anyway.
pub fn authority<'a>(scheme: &[u8], authority: &'a [u8]) -> Cow<'a, [u8]> {
    let known: &[u8] = match scheme {
        b"https" => b":443",
        _ => b":80",
    };
    let short = authority.strip_suffix(known).unwrap_or(authority);
    let is_literal = short.contains(&b':') && !short.ends_with(b"]");
    // `[::1]:80` loses its port, an address without brackets never does.
    let short = if is_literal && !short.starts_with(b"[") {
        authority
    } else {
        short
    };
    list::lower(short)
}

/// Path and query of a target; no query isn't an empty one.
fn parts(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    let at = target.iter().position(|&byte| byte == b'?');
    match at.and_then(|at| target.split_at_checked(at)) {
        Some((path, query)) => (path, query.get(1..)),
        None => (target, None),
    }
}

/// A query as the rules leave it.
fn searched<'a>(rules: &KeyRules, query: &'a [u8]) -> Cow<'a, [u8]> {
    if !rules.sort && rules.ignore.is_empty() && rules.keep.is_none() {
        return Cow::Borrowed(query);
    }
    let name = |parameter: &'a [u8]| {
        let name = parameter.split(|&byte| byte == b'=').next();
        uri::decoded(name.unwrap_or_default())
    };
    let mut kept: Vec<_> = query
        .split(|&byte| byte == b'&')
        .filter(|parameter| !parameter.is_empty())
        .filter(|parameter| {
            let name = name(parameter);
            let is_kept = rules
                .keep
                .as_ref()
                .is_none_or(|keep| keep.iter().any(|pattern| pattern.matches(&name)));
            is_kept && !rules.ignore.iter().any(|pattern| pattern.matches(&name))
        })
        .collect();
    if rules.sort {
        kept.sort_by(|a, b| name(a).cmp(&name(b)));
    }
    Cow::Owned(kept.join(&b"&"[..]))
}

/// A path with its escapes written in one way: those of unreserved characters resolved, the digits
/// of others in upper case (RFC 3986 sections 6.2.2.1 and 6.2.2.2).
fn normalised(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, next)) = rest.split_first() {
        rest = next;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        match (byte, next) {
            (b'%', [high, low, after @ ..]) if digit(*high).is_some() && digit(*low).is_some() => {
                rest = after;
                let value = digit(*high).zip(digit(*low));
                let value = value.and_then(|(h, l)| u8::try_from(h << 4 | l).ok());
                match value {
                    Some(value) if value.is_ascii_alphanumeric() || b"-._~".contains(&value) => {
                        out.push(value);
                    }
                    _ => {
                        out.push(b'%');
                        out.push(high.to_ascii_uppercase());
                        out.push(low.to_ascii_uppercase());
                    }
                }
            }
            _ => out.push(byte),
        }
    }
    out
}

fn part(text: &[u8], key: &mut Vec<u8>) {
    key.push(1);
    let len = u64::try_from(text.len()).unwrap_or(u64::MAX);
    key.extend_from_slice(&len.to_le_bytes());
    key.extend_from_slice(text);
}

/// Reads `No-Vary-Search`; `None` if there is none, or what it says can't be read: every parameter
/// counts then.
pub fn search(fields: &Headers<'_>) -> Option<Search> {
    let mut lines = fields.all("no-vary-search").peekable();
    lines.peek()?;
    search_of(&lines.collect::<Vec<_>>().join(&b","[..]))
}

/// Reads a `No-Vary-Search` as it was written: `key-order, params, except=("a")`, or
/// `params=("b" "c")`.
pub fn search_of(text: &[u8]) -> Option<Search> {
    let mut found = Search::default();
    for member in list::members([text]) {
        match member {
            b"key-order" | b"key-order=?1" => found.any_order = true,
            b"params" | b"params=?1" => found.none = true,
            b"key-order=?0" | b"params=?0" => {}
            _ => {
                let at = member.iter().position(|&byte| byte == b'=')?;
                let (name, list) = member.split_at_checked(at)?;
                let names = inner_list(list.get(1..)?)?;
                match name {
                    b"params" => found.not = names,
                    b"except" => found.but = names,
                    _ => {}
                }
            }
        }
    }
    // "except" without "params" is an error.
    (found.none || found.but.is_empty()).then_some(())?;
    (found != Search::default()).then_some(found)
}

fn inner_list(text: &[u8]) -> Option<Vec<Vec<u8>>> {
    let inner = text.strip_prefix(b"(")?.strip_suffix(b")")?;
    list::split(inner, b' ')
        .filter(|item| !item.is_empty())
        .map(|item| {
            item.starts_with(b"\"").then_some(())?;
            let text = list::unquoted(item)?;
            Some(uri::decoded(&text).into_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::NamePattern;

    fn block(target: &str, more: &[(&str, &str)]) -> Vec<u8> {
        let fields = [
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "Example.com:80"),
            (":path", target),
        ];
        let fields = fields.iter().chain(more);
        Headers::encode(fields.map(|(n, v)| (n.as_bytes(), v.as_bytes())))
    }

    fn key(rules: &KeyRules, target: &str, more: &[(&str, &str)]) -> Vec<u8> {
        let block = block(target, more);
        let seen = Seen::of(Headers::decode(&block));
        primary(rules, &seen, seen.target, None)
    }

    fn plain(target: &str) -> Vec<u8> {
        key(&KeyRules::default(), target, &[])
    }

    #[test]
    fn by_default_scheme_host_path_and_query_count() {
        assert_eq!(plain("/a?b=1"), plain("/a?b=1"));
        for other in ["/a?b=2", "/a", "/a?", "/A?b=1", "/a?b=1&", "/b?b=1"] {
            assert_ne!(plain(other), plain("/a?b=1"), "{other}");
        }
        let rules = KeyRules::default();
        let with = |name, value| key(&rules, "/a", &[(name, value)]);
        assert_ne!(with(":scheme", "https"), plain("/a"));
        assert_ne!(with(":authority", "other"), plain("/a"));
        assert_eq!(
            with(":authority", "EXAMPLE.com"),
            plain("/a"),
            "the default port"
        );
        assert_eq!(with("cookie", "a=b"), plain("/a"));
    }

    #[test]
    fn parts_are_not_mixed_up() {
        let rules = KeyRules {
            headers: vec!["a".to_owned(), "b".to_owned()],
            ..KeyRules::default()
        };
        let with = |a, b| key(&rules, "/", &[("a", a), ("b", b)]);
        assert_ne!(with("x", "yz"), with("xy", "z"));
        assert_ne!(key(&rules, "/", &[]), with("", ""));
    }

    #[test]
    fn queries_can_be_sorted_and_parameters_ignored_or_kept() {
        let pattern = |text: &str| NamePattern::Exact(text.as_bytes().to_vec());
        let mut rules = KeyRules {
            sort: true,
            ignore: vec![NamePattern::Prefix(b"utm_".to_vec()), pattern("fbclid")],
            ..KeyRules::default()
        };
        let expected = key(&rules, "/?a=1&b=2", &[]);
        for target in [
            "/?b=2&a=1",
            "/?b=2&utm_source=x&a=1&fbclid=2",
            "/?%75tm_x&a=1&&b=2",
        ] {
            assert_eq!(key(&rules, target, &[]), expected, "{target}");
        }
        // The order of values of one name counts.
        assert_ne!(key(&rules, "/?a=1&a=2", &[]), key(&rules, "/?a=2&a=1", &[]));
        rules.keep = Some(vec![pattern("a")]);
        assert_eq!(key(&rules, "/?b=2&a=1", &[]), key(&rules, "/?a=1&c=4", &[]));
    }

    #[test]
    fn escapes_can_be_normalised() {
        let rules = KeyRules {
            normalize_path: true,
            ..KeyRules::default()
        };
        let of = |target| key(&rules, target, &[]);
        assert_eq!(of("/%7euser/%2f%c3"), of("/~user/%2F%C3"));
        assert_ne!(of("/a%2Fb"), of("/a/b"), "a reserved character stays");
        assert_eq!(of("/%zz%4"), of("/%zz%4"));
    }

    #[test]
    fn host_scheme_headers_and_cookies_by_choice() {
        let rules = KeyRules {
            ignore_host: true,
            ignore_scheme: true,
            cookies: vec!["plan".to_owned()],
            ..KeyRules::default()
        };
        let with = |name, value| key(&rules, "/", &[(name, value)]);
        assert_eq!(with(":authority", "x"), with(":scheme", "https"));
        assert_ne!(with("cookie", "plan=a"), with("cookie", "plan=b"));
        assert_eq!(with("cookie", "plan=a; x=1"), with("cookie", "plan=a"));
    }

    #[test]
    fn a_body_in_the_key_is_told_from_others_by_method_type_and_bytes() {
        let rules = KeyRules::default();
        let with = |method, kind, body: &[u8]| {
            let block = block("/graphql", &[(":method", method), ("content-type", kind)]);
            let seen = Seen::of(Headers::decode(&block));
            primary(&rules, &seen, seen.target, Some(body))
        };
        let expected = with("POST", "application/json", b"{}");
        assert_eq!(with("POST", "application/json", b"{}"), expected);
        assert_ne!(with("POST", "application/json", b"{ }"), expected);
        assert_ne!(with("POST", "text/plain", b"{}"), expected);
        assert_ne!(with("QUERY", "application/json", b"{}"), expected);
    }

    #[test]
    fn what_the_configuration_ignores_is_ignored_beside_no_vary_search_too() {
        let rules = KeyRules {
            sort: true,
            ignore: vec![NamePattern::Prefix(b"utm_".to_vec())],
            ..KeyRules::default()
        };
        let search = search_of(b"params=(\"session\")").expect("one");
        let of = |target: &str| {
            let block = block(target, &[]);
            let seen = Seen::of(Headers::decode(&block));
            searching(&rules, &seen, &search, 1)
        };
        assert_eq!(of("/?b=2&a=1&utm_x=3"), of("/?session=4&a=1&b=2"));
        assert_ne!(of("/?b=2&a=1"), of("/?b=3&a=1"));
    }

    #[test]
    fn no_vary_search_says_which_parameters_count() {
        let read = |text: &str| search_of(text.as_bytes());
        let rules = KeyRules::default();
        let of = |search: &Search, target: &str| {
            let block = block(target, &[]);
            let seen = Seen::of(Headers::decode(&block));
            searching(&rules, &seen, search, 1)
        };
        let order = read("key-order").expect("one");
        assert_eq!(of(&order, "/?a=1&b=2"), of(&order, "/?b=2&a=1"));
        assert_ne!(of(&order, "/?a=1&b=2"), of(&order, "/?a=1"));
        let some = read("params=(\"utm\" \"x+y\")").expect("one");
        assert_eq!(of(&some, "/?a=1&utm=2"), of(&some, "/?x%20y=3&a=1"));
        assert_eq!(of(&some, "/?utm=2"), of(&some, "/"));
        assert_ne!(of(&some, "/?a=1"), of(&some, "/?a=2"));
        let but = read("params, except=(\"q\"), key-order").expect("one");
        assert_eq!(of(&but, "/?q=1&a=2"), of(&but, "/?q=1"));
        assert_ne!(of(&but, "/?q=1"), of(&but, "/?q=2"));
        for text in [
            "",
            "except=(\"a\")",
            "params=(a)",
            "params=\"a\"",
            "params=?0",
            "params=(\"a\"",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
