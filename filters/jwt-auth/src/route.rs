//! Which rule a request is about: Envoy's `RouteMatch`.

use filter_core::headers::Headers;
use filter_core::uri;

use crate::text::{Folded, Regex, TextPattern};

/// Conditions on a request, all of which must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteMatch {
    pub(crate) path: PathCondition,
    pub(crate) headers: Vec<HeaderCondition>,
    pub(crate) query: Vec<QueryCondition>,
}

/// A condition on the path without query, or on the method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PathCondition {
    Connect,
    Exact(Folded),
    Prefix(Folded),
    Regex(Regex),
    SeparatedPrefix(Folded),
}

/// A condition on a header's values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeaderCondition {
    pub(crate) name: String,
    pub(crate) test: Test,
    pub(crate) invert: bool,
    pub(crate) missing_as_empty: bool,
}

/// A condition on a query parameter's first value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QueryCondition {
    pub(crate) name: String,
    pub(crate) test: Test,
}

/// A condition on a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Test {
    Present(bool),
    Range { start: i64, end: i64 },
    Text(TextPattern),
}

impl RouteMatch {
    /// Whether a request with this path, in place of its own, is one of those.
    pub fn matches(&self, headers: &Headers<'_>, path: &[u8]) -> bool {
        self.path.matches(headers, path)
            && self.headers.iter().all(|header| header.matches(headers))
            && self.query.iter().all(|query| query.matches(headers))
    }
}

impl PathCondition {
    fn matches(&self, headers: &Headers<'_>, path: &[u8]) -> bool {
        match self {
            Self::Connect => headers.method() == Some(b"CONNECT"),
            Self::Exact(text) => text.is(path),
            Self::Prefix(text) => text.starts(path).is_some(),
            Self::Regex(regex) => regex.matches(path),
            Self::SeparatedPrefix(text) => text
                .starts(path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/")),
        }
    }
}

impl HeaderCondition {
    fn matches(&self, headers: &Headers<'_>) -> bool {
        let value = joined(headers, &self.name);
        let value = match value {
            None if self.missing_as_empty => Some(Vec::new()),
            value => value,
        };
        let holds = match (&self.test, value) {
            (Test::Present(present), value) => value.is_some() == *present,
            // Whatever is said about its value, and inverted or not: it isn't there.
            (_, None) => return false,
            (test, Some(value)) => test.holds(&value),
        };
        holds != self.invert
    }
}

impl QueryCondition {
    fn matches(&self, headers: &Headers<'_>) -> bool {
        let value = headers.query(&self.name).next();
        match (&self.test, value) {
            (Test::Present(present), value) => value.is_some() == *present,
            (_, None) => false,
            (test, Some(value)) => test.holds(&value),
        }
    }
}

impl Test {
    fn holds(&self, value: &[u8]) -> bool {
        match self {
            Self::Present(present) => *present,
            Self::Range { start, end } => {
                let number = str::from_utf8(value).ok().and_then(|v| v.parse().ok());
                number.is_some_and(|number: i64| (*start..*end).contains(&number))
            }
            Self::Text(pattern) => pattern.matches(value),
        }
    }
}

/// Returns the values of a header joined by commas, as Envoy's matchers see them.
fn joined(headers: &Headers<'_>, name: &str) -> Option<Vec<u8>> {
    let mut values = headers.all(name);
    let mut joined = values.next()?.to_vec();
    for value in values {
        joined.push(b',');
        joined.extend_from_slice(value);
    }
    Some(joined)
}

/// Returns the path of a request, without query and fragment.
pub(crate) fn path<'h>(headers: &Headers<'h>) -> &'h [u8] {
    headers.target().map(uri::path).unwrap_or_default()
}
