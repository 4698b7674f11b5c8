//! Which requests something applies to.
//!
//! A [`Matcher`] is a list of conditions: each that is given must hold, and within one any of its
//! entries is enough. It is made of a [`RawMatch`], the `match` object of a rule.

mod conditions;
mod raw;
mod value;

use crate::glob::Glob;
use crate::regex::Regex;
use crate::request::{Inputs, Looks, Request};

pub use conditions::RawConditions;
pub use raw::{RawMatch, RawPath};
pub use value::RawValue;
use value::ValuePattern;

/// Conditions on a request; none of them make a matcher that everything matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matcher {
    hosts: Vec<HostPattern>,
    paths: Vec<PathPattern>,
    methods: Vec<String>,
    headers: Vec<(String, ValuePattern)>,
    query: Vec<(String, ValuePattern)>,
    route_names: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum HostPattern {
    Exact(String),
    /// `.example.com` of `*.example.com`.
    Suffix(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum PathPattern {
    Exact(String),
    Glob(Glob),
    Prefix(String),
    Regex(Regex),
    Suffix(String),
}

impl Matcher {
    /// Returns what the conditions look at.
    pub fn inputs(&self) -> Inputs {
        let headers = !(self.hosts.is_empty()
            && self.paths.is_empty()
            && self.methods.is_empty()
            && self.headers.is_empty()
            && self.query.is_empty());
        Inputs {
            headers,
            route_name: !self.route_names.is_empty(),
            ..Inputs::NONE
        }
    }

    /// Returns which headers the conditions look at.
    pub fn looks(&self) -> Looks<'_> {
        let if_any = |any: bool, looks| if any { looks } else { Looks::Nothing };
        let has_path = !(self.paths.is_empty() && self.query.is_empty());
        // A host has two names, and a header can be repeated.
        let has_more = !(self.hosts.is_empty() && self.headers.is_empty());
        [
            if_any(!self.methods.is_empty(), Looks::First(":method")),
            if_any(has_path, Looks::First(":path")),
            if_any(has_more, Looks::All),
        ]
        .into_iter()
        .collect()
    }

    /// Whether all conditions hold for the request.
    pub fn matches(&self, request: &Request<'_>) -> bool {
        let headers = &request.headers;
        let method = || headers.method().unwrap_or_default();
        let path = || headers.path().unwrap_or_default();
        let host = || headers.host().unwrap_or_default();
        any_of(&self.methods, method, |expected, method| {
            expected.as_bytes() == *method
        }) && any_of(&self.paths, path, |pattern, path| pattern.matches(path))
            && any_of(&self.hosts, host, |pattern, host| pattern.matches(host))
            && any_of(
                &self.route_names,
                || request.route_name,
                |expected, name| expected.as_bytes() == *name,
            )
            && self
                .headers
                .iter()
                .all(|(name, pattern)| pattern.matches(headers.all(name)))
            && self
                .query
                .iter()
                .all(|(name, pattern)| pattern.matches(headers.query(name)))
    }
}

impl HostPattern {
    fn matches(&self, host: &[u8]) -> bool {
        match self {
            Self::Exact(expected) => expected.as_bytes() == host,
            Self::Suffix(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_bytes()),
        }
    }
}

impl PathPattern {
    fn matches(&self, path: &[u8]) -> bool {
        match self {
            Self::Exact(expected) => expected.as_bytes() == path,
            Self::Glob(glob) => glob.matches(path),
            Self::Prefix(prefix) => path.starts_with(prefix.as_bytes()),
            Self::Regex(regex) => regex.matches(path),
            Self::Suffix(suffix) => path.ends_with(suffix.as_bytes()),
        }
    }
}

/// Whether one of the patterns fits a value, which isn't looked up if there are no patterns.
fn any_of<P, V>(patterns: &[P], value: impl Fn() -> V, fits: impl Fn(&P, &V) -> bool) -> bool {
    if patterns.is_empty() {
        return true;
    }
    let value = value();
    patterns.iter().any(|pattern| fits(pattern, &value))
}
