//! What tells one cached response from another, as it is written and checked.

use filter_core::config::Place;
use filter_core::config::fields::HeaderName;
use serde::Deserialize;

/// What tells one cached response from another: method, scheme, host, path and query by default.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    derive(schemars::JsonSchema, serde::Serialize)
)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RawKey {
    /// Leaves the host out, for one site under many names.
    pub ignore_host: bool,
    /// Leaves the scheme out.
    pub ignore_scheme: bool,
    /// Writes escapes of the path in one way (RFC 3986 section 6.2.2): `%7e`, `%7E` and `~` are the
    /// same.
    pub normalize_path: bool,
    /// What of the query counts.
    pub query: RawQuery,
    /// Request headers that count.
    pub headers: Vec<HeaderName>,
    /// Cookies that count.
    pub cookies: Vec<String>,
}

/// What of the query counts.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    derive(schemars::JsonSchema, serde::Serialize)
)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RawQuery {
    /// Sorts parameters by their names; those of one name stay in their order.
    pub sort: bool,
    /// Parameters that don't count: `fbclid`, or `utm_*` for all that start so.
    pub ignore: Vec<String>,
    /// The only parameters that count, likewise.
    pub keep: Option<Vec<String>>,
}

/// A parameter's name, or the start of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamePattern {
    /// This name.
    Exact(Vec<u8>),
    /// All names that start so.
    Prefix(Vec<u8>),
}

/// How keys are made, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRules {
    /// The host doesn't count.
    pub ignore_host: bool,
    /// The scheme doesn't count.
    pub ignore_scheme: bool,
    /// Escapes of the path are normalised.
    pub normalize_path: bool,
    /// Parameters are sorted.
    pub sort: bool,
    /// Parameters that don't count.
    pub ignore: Vec<NamePattern>,
    /// The only parameters that count.
    pub keep: Option<Vec<NamePattern>>,
    /// Request headers that count.
    pub headers: Vec<String>,
    /// Cookies that count.
    pub cookies: Vec<String>,
}

impl NamePattern {
    /// Whether it is about a parameter of that decoded name.
    pub fn matches(&self, name: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => exact == name,
            Self::Prefix(prefix) => name.starts_with(prefix),
        }
    }
}

impl RawKey {
    /// Makes rules, or reports all that is wrong at `place`.
    pub(super) fn check(self, place: &Place<'_>) -> Option<KeyRules> {
        let at = place.field("query");
        let ignore = patterns(self.query.ignore, &at.field("ignore"));
        let keep = self
            .query
            .keep
            .map(|keep| patterns(keep, &at.field("keep")));
        let at = place.field("cookies");
        for (index, name) in self.cookies.iter().enumerate() {
            if name.is_empty() {
                at.index(index).refuse("text that is not empty");
            }
        }
        Some(KeyRules {
            ignore_host: self.ignore_host,
            ignore_scheme: self.ignore_scheme,
            normalize_path: self.normalize_path,
            sort: self.query.sort,
            ignore: ignore?,
            keep: match keep {
                Some(keep) => Some(keep?),
                None => None,
            },
            headers: self
                .headers
                .iter()
                .map(|name| name.as_str().to_owned())
                .collect(),
            cookies: self.cookies,
        })
    }
}

fn patterns(names: Vec<String>, place: &Place<'_>) -> Option<Vec<NamePattern>> {
    let checked: Vec<_> = names
        .into_iter()
        .enumerate()
        .map(|(index, name)| match name.strip_suffix('*') {
            Some(prefix) if !prefix.contains('*') => {
                Some(NamePattern::Prefix(prefix.as_bytes().to_vec()))
            }
            None if !name.is_empty() && !name.contains('*') => {
                Some(NamePattern::Exact(name.into_bytes()))
            }
            _ => {
                place
                    .index(index)
                    .refuse("a parameter's name, or the start of one and \"*\": \"utm_*\"");
                None
            }
        })
        .collect();
    checked.into_iter().collect()
}
