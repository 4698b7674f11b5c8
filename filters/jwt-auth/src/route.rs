//! Which rule a request is about: Envoy's `RouteMatch`.

use filter_core::headers::Headers;
use filter_core::regex::Regex;
use filter_core::uri;

use crate::text::{Folded, TextPattern};

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
    /// As in Envoy 1.40, any one of several values will do.
    fn matches(&self, headers: &Headers<'_>) -> bool {
        let mut values = headers.all(&self.name).peekable();
        let is_there = values.peek().is_some();
        let holds = match &self.test {
            Test::Present(present) => (is_there || self.missing_as_empty) == *present,
            test if is_there => values.any(|value| test.holds(value)),
            test if self.missing_as_empty => test.holds(b""),
            // Inverted or not, there is no value that it could be about.
            _ => return false,
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

/// Returns the path of a request, without query and fragment.
pub(crate) fn path<'h>(headers: &Headers<'h>) -> &'h [u8] {
    headers.target().map(uri::path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Envoy 1.40's jwt_authn did with these.
    #[test]
    fn headers_match_as_in_envoy() {
        let text = |text: &str| Test::Text(TextPattern::exact(text.to_owned(), false));
        let range = || Test::Range { start: 1, end: 5 };
        type Case = (Test, bool, bool, &'static [&'static str], bool);
        let cases: [Case; 18] = [
            (text("b"), false, false, &["b"], true),
            (text("b"), false, false, &["c", "b"], true),
            (text("b"), false, false, &["c,b"], false),
            (text("c,b"), false, false, &["c", "b"], false),
            (text("c,b"), false, false, &["c,b"], true),
            (text("b"), true, false, &[], false),
            (text("b"), true, false, &["b"], false),
            (text("b"), true, false, &["c"], true),
            (text("b"), true, false, &["b", "c"], false),
            (text(""), false, true, &[], true),
            (text(""), false, false, &[], false),
            (Test::Present(true), true, false, &[], true),
            (Test::Present(true), true, false, &["1"], false),
            (range(), true, false, &[], false),
            (range(), true, false, &["3"], false),
            (range(), true, false, &["9"], true),
            (range(), true, false, &["x"], true),
            (range(), false, false, &["5"], false),
        ];
        for (test, invert, missing_as_empty, values, expected) in cases {
            let condition = HeaderCondition {
                name: "x-a".to_owned(),
                test,
                invert,
                missing_as_empty,
            };
            let block = Headers::encode(values.iter().map(|v| (&b"x-a"[..], v.as_bytes())));
            let found = condition.matches(&Headers::decode(&block));
            assert_eq!(found, expected, "{condition:?} {values:?}");
        }
    }
}
