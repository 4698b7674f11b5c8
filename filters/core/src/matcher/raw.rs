//! The `match` object as it is written, and what makes a [`Matcher`] of it.

use serde::Deserialize;

use super::conditions::RawConditions;
use super::{HostPattern, Matcher, PathPattern};
use crate::config::Place;
use crate::config::fields::HeaderName;
use crate::glob::Glob;
use crate::regex::Regex;

/// Which requests it is about: each condition that is given must hold, and within one any entry is
/// enough. Without conditions it is about every request.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RawMatch {
    /// Hosts, without port: `api.example.com`, or `*.example.com` for all hosts below it.
    pub hosts: Option<Vec<String>>,
    /// Paths, compared without query and as the client sent them (see `normalize_path` of Envoy's
    /// connection manager).
    pub paths: Option<Vec<RawPath>>,
    /// Methods in upper case.
    pub methods: Option<Vec<String>>,
    /// Conditions on request headers by name; all must hold.
    pub headers: RawConditions,
    /// Conditions on decoded query parameters by name; all must hold.
    pub query: RawConditions,
    /// Names of the gateway's routes.
    pub route_names: Option<Vec<String>>,
}

/// A path, or many of them.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RawPath {
    /// This path.
    Exact(String),
    /// All paths that start so.
    Prefix(String),
    /// All paths that end so.
    Suffix(String),
    /// All paths like this: `*` stands for anything within a segment, a segment `**` for any number
    /// of segments, also none.
    Glob(String),
    /// All paths that this regular expression matches as a whole: RE2's syntax without Unicode
    /// classes.
    Regex(String),
}

impl RawMatch {
    /// Makes a matcher, or reports all that is wrong at `place`.
    pub fn check(self, place: &Place<'_>) -> Option<Matcher> {
        let hosts = list(self.hosts, &place.field("hosts"), host);
        let paths = list(self.paths, &place.field("paths"), path);
        let methods = list(self.methods, &place.field("methods"), method);
        let headers = self.headers.check(&place.field("headers"), |name| {
            HeaderName::new(name).map(|name| name.as_str().to_owned())
        });
        let query = self.query.check(&place.field("query"), |name| {
            (!name.is_empty()).then(|| name.to_owned())
        });
        let route_names = list(self.route_names, &place.field("route_names"), some_text);
        Some(Matcher {
            hosts: hosts?,
            paths: paths?,
            methods: methods?,
            headers: headers?,
            query: query?,
            route_names: route_names?,
        })
    }
}

/// Checks all items of an optional list, which has at least one if it is given.
fn list<R, T>(
    raw: Option<Vec<R>>,
    place: &Place<'_>,
    check: impl Fn(R, &Place<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    let Some(raw) = raw else {
        return Some(Vec::new());
    };
    if raw.is_empty() {
        place.refuse("a list with at least one entry, or no such field");
        return None;
    }
    let checked: Vec<_> = raw
        .into_iter()
        .enumerate()
        .map(|(index, item)| check(item, &place.index(index)))
        .collect();
    checked.into_iter().collect()
}

fn host(text: String, place: &Place<'_>) -> Option<HostPattern> {
    let lower = text.to_ascii_lowercase();
    let (bare, pattern) = match lower.strip_prefix("*.") {
        Some(rest) => (rest, HostPattern::Suffix(format!(".{rest}"))),
        None => (&*lower, HostPattern::Exact(lower.clone())),
    };
    let is_literal = bare.starts_with('[') && bare.ends_with(']');
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if bare.is_empty() || bare.ends_with('.') || !(is_literal || bare.chars().all(fits)) {
        place.refuse("a host without port, such as \"api.example.com\" or \"*.example.com\"");
        return None;
    }
    Some(pattern)
}

fn path(raw: RawPath, place: &Place<'_>) -> Option<PathPattern> {
    let rooted = |field, text: String| {
        if !text.starts_with('/') || text.contains(['?', '#']) {
            place
                .field(field)
                .refuse("a path that starts with \"/\", without query");
            return None;
        }
        Some(text)
    };
    Some(match raw {
        RawPath::Exact(text) => PathPattern::Exact(rooted("exact", text)?),
        RawPath::Prefix(text) => PathPattern::Prefix(rooted("prefix", text)?),
        RawPath::Suffix(text) => {
            if text.is_empty() || text.contains(['?', '#']) {
                place
                    .field("suffix")
                    .refuse("the end of a path, without query");
                return None;
            }
            PathPattern::Suffix(text)
        }
        RawPath::Glob(text) => {
            let text = rooted("glob", text)?;
            let Some(glob) = Glob::parse(&text) else {
                place
                    .field("glob")
                    .refuse("\"**\" as a whole segment only, such as \"/api/**\"");
                return None;
            };
            PathPattern::Glob(glob)
        }
        RawPath::Regex(text) => PathPattern::Regex(regex(&text, &place.field("regex"))?),
    })
}

/// Compiles an expression, or reports what is wrong with it.
pub(super) fn regex(text: &str, place: &Place<'_>) -> Option<Regex> {
    let regex = Regex::new(text);
    if let Err(problem) = &regex {
        place.report(problem);
    }
    regex.ok()
}

fn method(text: String, place: &Place<'_>) -> Option<String> {
    let fits = |c: char| c.is_ascii_uppercase() || matches!(c, '-' | '_');
    if text.is_empty() || !text.chars().all(fits) {
        place.refuse("a method in upper case, such as \"GET\"");
        return None;
    }
    Some(text)
}

fn some_text(text: String, place: &Place<'_>) -> Option<String> {
    if text.is_empty() {
        place.refuse("text that is not empty");
        return None;
    }
    Some(text)
}
