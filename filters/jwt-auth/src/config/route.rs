//! Envoy's `RouteMatch` as it is written, as far as its own jwt_authn looks at it.

use filter_core::config::Place;
use filter_core::config::fields::HeaderName;
use serde::Deserialize;

use super::text::{RawRegex, RawStringMatcher};
use super::unsupported::Unsupported;
use crate::route::{HeaderCondition, PathCondition, QueryCondition, RouteMatch, Test};
use crate::text::{Folded, TextPattern};

/// Which requests a rule is about: exactly one condition on the path, and any on headers and query
/// parameters, which must all hold. Paths are compared without query.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RawRouteMatch {
    /// The path starts with this text.
    pub prefix: Option<String>,
    /// The path is this text.
    pub path: Option<String>,
    /// All of the path matches this regular expression.
    pub safe_regex: Option<RawRegex>,
    /// The path is this text, or has it and then `/` at its beginning.
    pub path_separated_prefix: Option<String>,
    /// The method is CONNECT.
    pub connect_matcher: Option<RawEmpty>,
    /// Whether the case of the path matters for `prefix`, `path` and `path_separated_prefix`.
    pub case_sensitive: Option<bool>,
    /// Conditions on request headers.
    pub headers: Vec<RawHeaderMatcher>,
    /// Conditions on query parameters.
    pub query_parameters: Vec<RawQueryMatcher>,
    /// Extensions that only the proxy itself can load.
    #[cfg_attr(not(target_arch = "wasm32"), schemars(skip))]
    pub path_match_policy: Option<Unsupported>,
    /// Envoy's jwt_authn ignores it.
    #[cfg_attr(not(target_arch = "wasm32"), schemars(skip))]
    pub runtime_fraction: Option<Unsupported>,
    /// Envoy's jwt_authn ignores it.
    #[cfg_attr(not(target_arch = "wasm32"), schemars(skip))]
    pub grpc: Option<Unsupported>,
    /// Envoy's jwt_authn ignores it.
    #[cfg_attr(not(target_arch = "wasm32"), schemars(skip))]
    pub tls_context: Option<Unsupported>,
    /// Envoy's jwt_authn ignores it.
    #[cfg_attr(not(target_arch = "wasm32"), schemars(skip))]
    pub dynamic_metadata: Option<Unsupported>,
    /// Envoy's jwt_authn ignores it.
    #[cfg_attr(not(target_arch = "wasm32"), schemars(skip))]
    pub cookies: Option<Unsupported>,
    /// Envoy's jwt_authn ignores it.
    #[cfg_attr(not(target_arch = "wasm32"), schemars(skip))]
    pub filter_state: Option<Unsupported>,
}

/// Nothing to be said: `{}`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RawEmpty {}

/// A condition on the values of a header; if it is repeated, any of them will do. At most one
/// kind of condition; without any the header must be there.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawHeaderMatcher {
    /// The header's name; also `:method`, `:authority` and `:path`.
    pub name: String,
    /// Its value is as this says.
    #[serde(default)]
    pub string_match: Option<RawStringMatcher>,
    /// It is there (or, if false, it isn't).
    #[serde(default)]
    pub present_match: Option<bool>,
    /// Its value is an integer from `start` to below `end`.
    #[serde(default)]
    pub range_match: Option<RawRange>,
    /// Old form of `string_match`.
    #[serde(default)]
    pub exact_match: Option<String>,
    /// Old form of `string_match`.
    #[serde(default)]
    pub prefix_match: Option<String>,
    /// Old form of `string_match`.
    #[serde(default)]
    pub suffix_match: Option<String>,
    /// Old form of `string_match`.
    #[serde(default)]
    pub contains_match: Option<String>,
    /// Old form of `string_match`.
    #[serde(default)]
    pub safe_regex_match: Option<RawRegex>,
    /// Whether the condition must not hold.
    #[serde(default)]
    pub invert_match: bool,
    /// Whether a header that isn't there counts as an empty one.
    #[serde(default)]
    pub treat_missing_header_as_empty: bool,
}

/// Integers from `start` to below `end`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RawRange {
    /// The first one.
    pub start: i64,
    /// The one after the last.
    pub end: i64,
}

/// A condition on the first value of a query parameter. Without `string_match` it must be there.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawQueryMatcher {
    /// The parameter's name.
    pub name: String,
    /// Its value is as this says.
    #[serde(default)]
    pub string_match: Option<RawStringMatcher>,
    /// It is there (or, if false, it isn't).
    #[serde(default)]
    pub present_match: Option<bool>,
}

impl RawRouteMatch {
    /// Makes a matcher, or reports all that is wrong at `place`.
    pub(crate) fn check(self, place: &Place<'_>) -> Option<RouteMatch> {
        const IGNORED: &str = "Envoy's jwt_authn ignores this condition, so the rule would apply to \
                               more requests than it says; leave it out";
        let policy = "path templates are extensions of Envoy that a module can't call; use \
                      safe_regex";
        let supported = Unsupported::refuse(
            place,
            &[
                (self.path_match_policy, "path_match_policy", policy),
                (self.runtime_fraction, "runtime_fraction", IGNORED),
                (self.grpc, "grpc", IGNORED),
                (self.tls_context, "tls_context", IGNORED),
                (self.dynamic_metadata, "dynamic_metadata", IGNORED),
                (self.cookies, "cookies", IGNORED),
                (self.filter_state, "filter_state", IGNORED),
            ],
        );
        let fold = !self.case_sensitive.unwrap_or(true);
        let folded = |text| Folded::new(text, fold);
        let regex = self.safe_regex.map(|raw| {
            let regex = raw.check(&place.field("safe_regex"))?;
            Some(PathCondition::Regex(regex))
        });
        let separated = self.path_separated_prefix.map(|text| {
            // Envoy asks for the same.
            if !text.starts_with('/') || text.ends_with('/') || text.contains(['?', '#']) {
                place
                    .field("path_separated_prefix")
                    .refuse("a path that starts with \"/\" and doesn't end with it");
                return None;
            }
            Some(PathCondition::SeparatedPrefix(folded(text)))
        });
        let paths = [
            self.prefix
                .map(|text| Some(PathCondition::Prefix(folded(text)))),
            self.path
                .map(|text| Some(PathCondition::Exact(folded(text)))),
            regex,
            separated,
            self.connect_matcher.map(|_| Some(PathCondition::Connect)),
        ];
        let mut given = paths.into_iter().flatten();
        let path = match (given.next(), given.next()) {
            (Some(path), None) => path,
            _ => {
                if supported {
                    place.report(
                        "must have exactly one of: prefix, path, safe_regex, \
                         path_separated_prefix, connect_matcher",
                    );
                }
                None
            }
        };
        let at = place.field("headers");
        let headers = super::each(self.headers, &at, RawHeaderMatcher::check);
        let at = place.field("query_parameters");
        let query = super::each(self.query_parameters, &at, RawQueryMatcher::check);
        Some(RouteMatch {
            path: path?,
            headers: headers?,
            query: query?,
        })
        .filter(|_| supported)
    }
}

impl RawHeaderMatcher {
    fn check(self, place: &Place<'_>) -> Option<HeaderCondition> {
        let name = match self.name.strip_prefix(':') {
            Some(pseudo) => HeaderName::new(pseudo).map(|name| format!(":{name}")),
            None => HeaderName::new(&self.name).map(|name| name.to_string()),
        };
        if name.is_none() {
            place.field("name").refuse("a header's name");
        }
        let regex = self.safe_regex_match.map(|raw| {
            let regex = raw.check(&place.field("safe_regex_match"))?;
            Some(Test::Text(TextPattern::Regex(regex)))
        });
        let text = |pattern: fn(String, bool) -> TextPattern| {
            move |text: String| Some(Test::Text(pattern(text, false)))
        };
        let tests = [
            self.string_match
                .map(|raw| raw.check(&place.field("string_match")).map(Test::Text)),
            self.present_match
                .map(|present| Some(Test::Present(present))),
            self.range_match.map(|range| {
                Some(Test::Range {
                    start: range.start,
                    end: range.end,
                })
            }),
            self.exact_match.map(text(TextPattern::exact)),
            self.prefix_match.map(text(TextPattern::prefix)),
            self.suffix_match.map(text(TextPattern::suffix)),
            self.contains_match.map(text(TextPattern::contains)),
            regex,
        ];
        let mut given = tests.into_iter().flatten();
        let test = given.next().unwrap_or(Some(Test::Present(true)));
        if given.next().is_some() {
            place.report("must have at most one kind of condition");
            return None;
        }
        Some(HeaderCondition {
            name: name?,
            test: test?,
            invert: self.invert_match,
            missing_as_empty: self.treat_missing_header_as_empty,
        })
    }
}

impl RawQueryMatcher {
    fn check(self, place: &Place<'_>) -> Option<QueryCondition> {
        if self.name.is_empty() {
            place.field("name").refuse("text that is not empty");
            return None;
        }
        let test = match (self.string_match, self.present_match) {
            (Some(raw), None) => Test::Text(raw.check(&place.field("string_match"))?),
            (None, present) => Test::Present(present.unwrap_or(true)),
            (Some(_), Some(_)) => {
                place.report("must have at most one kind of condition");
                return None;
            }
        };
        Some(QueryCondition {
            name: self.name,
            test,
        })
    }
}
