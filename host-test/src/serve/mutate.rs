//! What the router changes in messages: rewrites, added and removed headers, redirects.

use std::borrow::Cow;

use crate::bootstrap::{
    AppendAction, Forward, Mutation, PathMatch, Redirect, RedirectPath, RouteMatch, Template,
};
use crate::headers::Headers;

/// Applies mutations in order; `fill` fills in the values that are format strings.
pub(super) fn apply<'m>(
    mutations: impl Iterator<Item = &'m Mutation>,
    headers: &mut Headers,
    fill: impl Fn(&Template, &Headers) -> String,
) {
    for mutation in mutations.filter(|mutation| !mutation.is_empty()) {
        for name in &mutation.remove {
            headers.remove(name);
        }
        for add in &mutation.add {
            let value: Cow<'_, str> = match add.value.as_text() {
                Some(text) => text.into(),
                None => fill(&add.value, headers).into(),
            };
            if value.is_empty() && !add.keep_empty {
                continue;
            }
            let exists = headers.first(&add.name).is_some();
            match add.action {
                AppendAction::AddIfAbsent if exists => {}
                AppendAction::OverwriteIfExists if !exists => {}
                AppendAction::Append | AppendAction::AddIfAbsent => {
                    headers.append(&add.name, value.as_bytes());
                }
                AppendAction::Overwrite | AppendAction::OverwriteIfExists => {
                    headers.set(&add.name, value.as_bytes());
                }
            }
        }
    }
}

/// Rewrites path and host of a request that goes upstream, and notes what they were.
pub(super) fn rewrite(forward: &Forward, matched: &RouteMatch, request: &mut Headers) {
    if let Some(host) = &forward.host_rewrite {
        let original = request.first(":authority").unwrap_or_default().to_vec();
        if original != host.as_bytes() {
            request.set("x-envoy-original-host", original);
        }
        request.set(":authority", host);
    }
    if let Some(prefix) = &forward.prefix_rewrite {
        let original = request.text(":path").unwrap_or_default().into_owned();
        let rewritten = replace_prefix(&original, matched, prefix);
        request.set("x-envoy-original-path", &original);
        request.set(":path", rewritten);
    }
}

/// Replaces what a route matched of a path; a whole path keeps its query.
fn replace_prefix(path: &str, matched: &RouteMatch, prefix: &str) -> String {
    let length = match &matched.path {
        PathMatch::Prefix(start) | PathMatch::SeparatedPrefix(start) => start.len(),
        PathMatch::Exact(_) | PathMatch::Regex(_) => path.find('?').unwrap_or(path.len()),
    };
    format!("{prefix}{}", path.get(length..).unwrap_or_default())
}

/// The `location` of a redirect.
pub(super) fn location(redirect: &Redirect, matched: &RouteMatch, request: &Headers) -> String {
    let old_scheme = request.text(":scheme").unwrap_or_else(|| "http".into());
    let scheme = redirect.scheme.as_deref().unwrap_or(&old_scheme);
    let authority = request.text(":authority").unwrap_or_default();
    let host = match &redirect.host {
        Some(host) => host,
        None => own_host(&authority, &old_scheme, scheme, redirect.port.is_some()),
    };
    let port = redirect.port.map(|port| format!(":{port}"));
    let port = port.as_deref().unwrap_or_default();
    let old_path = request.text(":path").unwrap_or_default();
    let (bare, query) = match old_path.find('?') {
        Some(at) => old_path.split_at(at),
        None => (&*old_path, ""),
    };
    let query = if redirect.strip_query { "" } else { query };
    let path = match &redirect.path {
        RedirectPath::Keep => format!("{bare}{query}"),
        RedirectPath::Path(path) if path.contains('?') => path.clone(),
        RedirectPath::Path(path) => format!("{path}{query}"),
        RedirectPath::Prefix(prefix) => {
            format!("{}{query}", replace_prefix(bare, matched, prefix))
        }
    };
    format!("{scheme}://{host}{port}{path}")
}

/// The request's own host; its port goes if another is set or if it was the old scheme's default.
fn own_host<'a>(authority: &'a str, old: &str, new: &str, port_set: bool) -> &'a str {
    let Some((host, port)) = authority.rsplit_once(':') else {
        return authority;
    };
    // `[::1]` has colons and no port.
    if port.contains(']') {
        return authority;
    }
    let default =
        (old, new, port) == ("http", "https", "80") || (old, new, port) == ("https", "http", "443");
    if port_set || default { host } else { authority }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bootstrap::{AddHeader, Piece};

    fn matched(path: PathMatch) -> RouteMatch {
        RouteMatch {
            path,
            headers: Vec::new(),
            query: Vec::new(),
            case_sensitive: true,
        }
    }

    fn request(path: &str) -> Headers {
        [
            (":scheme", "http"),
            (":authority", "a.example:80"),
            (":path", path),
        ]
        .into_iter()
        .collect()
    }

    #[test]
    fn a_rewrite_replaces_what_was_matched_and_notes_the_original() {
        let forward = Forward {
            clusters: Vec::new(),
            prefix_rewrite: Some("/new".into()),
            host_rewrite: Some("b.example".into()),
            timeout: Duration::ZERO,
            cluster_header: None,
            not_found_status: 503,
            retry: None,
            hash: Vec::new(),
        };
        let regex = regex::Regex::new("/old.*").unwrap();
        for (path, rewritten) in [
            (PathMatch::Prefix("/old".into()), "/new/x?q=1"),
            (PathMatch::SeparatedPrefix("/old".into()), "/new/x?q=1"),
            (PathMatch::Exact("/old/x".into()), "/new?q=1"),
            (PathMatch::Regex(regex), "/new?q=1"),
        ] {
            let mut headers = request("/old/x?q=1");
            rewrite(&forward, &matched(path), &mut headers);
            assert_eq!(headers.text(":path").unwrap(), rewritten);
            assert_eq!(headers.text(":authority").unwrap(), "b.example");
            let original = |name| headers.text(name).unwrap();
            assert_eq!(original("x-envoy-original-path"), "/old/x?q=1");
            assert_eq!(original("x-envoy-original-host"), "a.example:80");
        }
    }

    #[test]
    fn locations_are_built_as_envoy_builds_them() {
        let keep = Redirect {
            scheme: None,
            host: None,
            port: None,
            path: RedirectPath::Keep,
            status: 301,
            strip_query: false,
        };
        let https = Redirect {
            scheme: Some("https".into()),
            ..keep.clone()
        };
        let port = Redirect {
            port: Some(99),
            ..keep.clone()
        };
        let host = Redirect {
            host: Some("h".into()),
            strip_query: true,
            ..keep.clone()
        };
        let path = |path| Redirect {
            path,
            ..keep.clone()
        };
        for (redirect, expected) in [
            (&keep, "http://a.example:80/p/x?q=1"),
            (&https, "https://a.example/p/x?q=1"),
            (&port, "http://a.example:99/p/x?q=1"),
            (&host, "http://h/p/x"),
            (
                &path(RedirectPath::Path("/n".into())),
                "http://a.example:80/n?q=1",
            ),
            (
                &path(RedirectPath::Path("/n?z".into())),
                "http://a.example:80/n?z",
            ),
            (
                &path(RedirectPath::Prefix("/n".into())),
                "http://a.example:80/n/x?q=1",
            ),
        ] {
            let matched = matched(PathMatch::Prefix("/p".into()));
            assert_eq!(location(redirect, &matched, &request("/p/x?q=1")), expected);
        }
    }

    #[test]
    fn removals_come_before_additions_and_actions_mind_what_is_there() {
        let add = |name: &str, value: &str, action| AddHeader {
            name: name.into(),
            value: Template {
                pieces: vec![Piece::Text(value.into())],
            },
            action,
            keep_empty: false,
        };
        let mutation = Mutation {
            remove: vec!["a".into()],
            add: vec![
                add("a", "2", AppendAction::Append),
                add("b", "2", AppendAction::Append),
                add("c", "2", AppendAction::AddIfAbsent),
                add("d", "2", AppendAction::Overwrite),
                add("e", "2", AppendAction::OverwriteIfExists),
                add("f", "", AppendAction::Append),
            ],
        };
        let mut headers: Headers = [("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")]
            .into_iter()
            .collect();
        apply([&mutation].into_iter(), &mut headers, |_, _| String::new());
        let expected: Headers = [("b", "1"), ("c", "1"), ("d", "2"), ("a", "2"), ("b", "2")]
            .into_iter()
            .collect();
        assert_eq!(headers, expected);
    }
}
