//! Requests that take stored responses out: by target, prefix, tag, or all of them.
//!
//! Either with the purge method on the target itself and headers that say what else is meant
//! (`x-purge-scope: prefix`, `x-purge-tag: a b`, `x-purge-soft: 1`), or with `POST` on a path of the
//! configuration and the same in its query (`?url=…`, `?prefix=host/path`, `?tag=a`, `?all=1`,
//! `&soft=1`).

use std::net::IpAddr;

use crate::config::Purge;
use crate::request::{Method, Seen};

/// What a request wants to be purged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// What.
    pub scope: Scope,
    /// Only mark it as stale.
    pub soft: bool,
}

/// What is purged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// What is stored for this target of the request's host.
    Target(Vec<u8>),
    /// What has a name (`host/path?query`) that starts so.
    Prefix(Vec<u8>),
    /// What has one of these tags.
    Tags(Vec<Vec<u8>>),
    /// All that is stored.
    All,
}

/// Why a request is not heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The secret is missing or wrong, or it comes from elsewhere.
    Forbidden,
    /// It doesn't say what to purge.
    Unclear,
}

/// Whether a request is about purging.
pub fn is_purge(purge: &Purge, seen: &Seen<'_>) -> bool {
    seen.method_name == purge.method.as_bytes() || is_on_path(purge, seen)
}

fn is_on_path(purge: &Purge, seen: &Seen<'_>) -> bool {
    let path = seen.target.split(|&byte| byte == b'?').next();
    seen.method == Method::Post && purge.path.as_ref().map(|path| path.as_bytes()) == path
}

/// Reads what a purging request wants.
///
/// # Errors
/// Why it is refused.
pub fn order(purge: &Purge, seen: &Seen<'_>, client: Option<IpAddr>) -> Result<Order, Refused> {
    let knows_secret = purge.secret.as_ref().is_none_or(|secret| {
        let said = seen.headers.first(&purge.header).unwrap_or_default();
        is_same(secret.as_bytes(), said)
    });
    let comes_from_there = purge.addresses.as_ref().is_none_or(|networks| {
        client.is_some_and(|client| networks.iter().any(|network| network.contains(client)))
    });
    if !knows_secret || !comes_from_there {
        return Err(Refused::Forbidden);
    }
    if is_on_path(purge, seen) {
        return from_query(seen);
    }
    let header = |name: &str| seen.headers.first(name).map(<[u8]>::trim_ascii);
    let soft = header("x-purge-soft").is_some_and(|value| value != b"0");
    let tags: Vec<_> = seen.headers.all("x-purge-tag").flat_map(words).collect();
    let scope = match (header("x-purge-scope"), tags.is_empty()) {
        (None, false) => Scope::Tags(tags),
        (None | Some(b"target"), true) => Scope::Target(seen.target.to_vec()),
        (Some(b"prefix"), true) => Scope::Prefix(crate::key::name(seen)),
        (Some(b"all"), true) => Scope::All,
        _ => return Err(Refused::Unclear),
    };
    Ok(Order { scope, soft })
}

fn from_query(seen: &Seen<'_>) -> Result<Order, Refused> {
    let of = |name: &str| {
        let values = seen.headers.query(name);
        values.map(|value| value.into_owned()).collect::<Vec<_>>()
    };
    let is_on = |name: &str| of(name).first().is_some_and(|value| value != b"0");
    let (urls, prefixes, tags) = (of("url"), of("prefix"), of("tag"));
    let scope = match (&*urls, &*prefixes, tags.is_empty(), is_on("all")) {
        ([url], [], true, false) => Scope::Target(
            crate::invalidation::same_origin_target(seen, url).ok_or(Refused::Unclear)?,
        ),
        ([], [prefix], true, false) => Scope::Prefix(prefix.clone()),
        ([], [], false, false) => Scope::Tags(tags.iter().flat_map(|tag| words(tag)).collect()),
        ([], [], true, true) => Scope::All,
        _ => return Err(Refused::Unclear),
    };
    Ok(Order {
        scope,
        soft: is_on("soft"),
    })
}

fn words(text: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    text.split(|byte| matches!(byte, b' ' | b',' | b'\t'))
        .filter(|word| !word.is_empty())
        .map(<[u8]>::to_vec)
}

/// Compares in a time that doesn't tell where the difference is.
fn is_same(secret: &[u8], said: &[u8]) -> bool {
    let pairs = secret.iter().zip(said);
    let different = pairs.fold(0_u8, |different, (a, b)| different | (a ^ b));
    secret.len() == said.len() && different == 0
}

#[cfg(test)]
mod tests {
    use filter_core::cidr::Cidr;
    use filter_core::headers::Headers;

    use super::*;

    const SECRET: &str = "0123456789abcdef";

    fn purge() -> Purge {
        Purge {
            method: "PURGE".to_owned(),
            path: Some("/purge".to_owned()),
            secret: Some(SECRET.to_owned()),
            header: "x-purge-secret".to_owned(),
            addresses: None,
        }
    }

    fn ask(purge: &Purge, fields: &[(&str, &str)]) -> Result<Order, Refused> {
        let mut all = vec![
            (":method", "PURGE"),
            (":scheme", "http"),
            (":authority", "a.example"),
            (":path", "/x?y"),
        ];
        all.extend_from_slice(fields);
        // The last of a name counts here.
        let mut named: Vec<(&str, &str)> = Vec::new();
        for (name, value) in all {
            named.retain(|(other, _)| *other != name);
            named.push((name, value));
        }
        let block = Headers::encode(named.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())));
        let seen = Seen::of(Headers::decode(&block));
        assert!(is_purge(purge, &seen));
        order(purge, &seen, "10.0.0.1".parse().ok())
    }

    fn scope(fields: &[(&str, &str)]) -> Result<Scope, Refused> {
        let mut with = vec![("x-purge-secret", SECRET)];
        with.extend_from_slice(fields);
        ask(&purge(), &with).map(|order| order.scope)
    }

    #[test]
    fn only_who_knows_the_secret_may_purge() {
        assert_eq!(ask(&purge(), &[]), Err(Refused::Forbidden));
        for wrong in [
            "",
            "0123456789abcdeF",
            "0123456789abcdef0",
            "0123456789abcde",
        ] {
            let asked = ask(&purge(), &[("x-purge-secret", wrong)]);
            assert_eq!(asked, Err(Refused::Forbidden), "{wrong}");
        }
        assert!(ask(&purge(), &[("x-purge-secret", SECRET)]).is_ok());
    }

    #[test]
    fn only_from_the_networks_that_may() {
        let mut purge = purge();
        purge.secret = None;
        purge.addresses = Cidr::parse("10.0.0.0/8").map(|cidr| vec![cidr]);
        assert!(ask(&purge, &[]).is_ok());
        purge.addresses = Cidr::parse("192.168.0.0/16").map(|cidr| vec![cidr]);
        assert_eq!(ask(&purge, &[]), Err(Refused::Forbidden));
    }

    #[test]
    fn the_method_purges_a_target_a_prefix_tags_or_all() {
        assert_eq!(scope(&[]), Ok(Scope::Target(b"/x?y".to_vec())));
        let prefix = Scope::Prefix(b"a.example/x?y".to_vec());
        assert_eq!(scope(&[("x-purge-scope", "prefix")]), Ok(prefix));
        assert_eq!(scope(&[("x-purge-scope", "all")]), Ok(Scope::All));
        let tags = Scope::Tags(vec![b"a".to_vec(), b"b".to_vec()]);
        assert_eq!(scope(&[("x-purge-tag", "a, b")]), Ok(tags));
        assert_eq!(scope(&[("x-purge-scope", "most")]), Err(Refused::Unclear));
        let both = [("x-purge-scope", "all"), ("x-purge-tag", "a")];
        assert_eq!(scope(&both), Err(Refused::Unclear));
    }

    #[test]
    fn a_post_on_the_path_says_so_in_its_query() {
        let on = |target| scope(&[(":method", "POST"), (":path", target)]);
        assert_eq!(on("/purge?url=/z?q"), Ok(Scope::Target(b"/z?q".to_vec())));
        assert_eq!(
            on("/purge?url=http://a.example/z"),
            Ok(Scope::Target(b"/z".to_vec()))
        );
        assert_eq!(on("/purge?url=http://b.example/z"), Err(Refused::Unclear));
        assert_eq!(on("/purge?prefix=b/c"), Ok(Scope::Prefix(b"b/c".to_vec())));
        assert_eq!(
            on("/purge?tag=a&tag=b"),
            Ok(Scope::Tags(vec![b"a".to_vec(), b"b".to_vec()]))
        );
        assert_eq!(on("/purge?all=1"), Ok(Scope::All));
        assert_eq!(on("/purge"), Err(Refused::Unclear));
        assert_eq!(on("/purge?all=1&tag=a"), Err(Refused::Unclear));
    }

    #[test]
    fn a_soft_purge_marks_as_stale() {
        let with = |fields: &[(&str, &str)]| {
            let mut all = vec![("x-purge-secret", SECRET)];
            all.extend_from_slice(fields);
            ask(&purge(), &all).map(|order| order.soft)
        };
        assert_eq!(with(&[]), Ok(false));
        assert_eq!(with(&[("x-purge-soft", "1")]), Ok(true));
        assert_eq!(
            with(&[(":method", "POST"), (":path", "/purge?all=1&soft=1")]),
            Ok(true)
        );
    }
}
