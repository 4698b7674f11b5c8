//! Envoy's `StringMatcher` and `RegexMatcher` as they are written.

use filter_core::config::Place;
use filter_core::regex::Regex;
use serde::Deserialize;

use super::unsupported::Unsupported;
use crate::text::TextPattern;

/// A condition on a text: exactly one of `exact`, `prefix`, `suffix`, `contains` and `safe_regex`.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RawStringMatcher {
    /// It is this text.
    pub exact: Option<String>,
    /// It starts with this text.
    pub prefix: Option<String>,
    /// It ends with this text.
    pub suffix: Option<String>,
    /// It has this text in it.
    pub contains: Option<String>,
    /// All of it matches this regular expression.
    pub safe_regex: Option<RawRegex>,
    /// Whether the case of ASCII letters doesn't matter; without meaning for `safe_regex`.
    pub ignore_case: bool,
    /// Extensions that only the proxy itself can load.
    #[cfg_attr(not(target_arch = "wasm32"), schemars(skip))]
    pub custom: Option<Unsupported>,
}

/// A regular expression in RE2's syntax, without Unicode classes.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawRegex {
    /// The expression. The whole text must match it.
    pub regex: String,
    /// Envoy's choice of its engine; ignored.
    #[cfg_attr(not(target_arch = "wasm32"), schemars(skip))]
    #[serde(default)]
    pub google_re2: Option<Unsupported>,
}

impl RawStringMatcher {
    /// Makes a pattern, or reports what is wrong at `place`.
    pub(crate) fn check(self, place: &Place<'_>) -> Option<TextPattern> {
        let custom = "custom matchers are extensions of Envoy that a module can't call; use another \
                      kind of match";
        if !Unsupported::refuse(place, &[(self.custom, "custom", custom)]) {
            return None;
        }
        let fold = self.ignore_case;
        let texts = [
            self.exact.map(|text| TextPattern::exact(text, fold)),
            self.prefix.map(|text| TextPattern::prefix(text, fold)),
            self.suffix.map(|text| TextPattern::suffix(text, fold)),
            self.contains.map(|text| TextPattern::contains(text, fold)),
        ];
        let mut given = texts.into_iter().flatten();
        match (given.next(), given.next(), self.safe_regex) {
            (Some(pattern), None, None) => Some(pattern),
            (None, None, Some(regex)) => {
                let regex = regex.check(&place.field("safe_regex"))?;
                Some(TextPattern::Regex(regex))
            }
            _ => {
                place.report(
                    "must have exactly one of: exact, prefix, suffix, contains, safe_regex",
                );
                None
            }
        }
    }
}

impl RawRegex {
    /// Compiles the expression, or reports what is wrong with it.
    pub(crate) fn check(self, place: &Place<'_>) -> Option<Regex> {
        let regex = Regex::new(&self.regex);
        if let Err(problem) = &regex {
            place.field("regex").report(problem);
        }
        regex.ok()
    }
}
