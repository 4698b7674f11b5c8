//! Matchers of routes: strings, headers, query parameters.

use regex::Regex;

use super::fields::{Fields, Problems};
use super::yaml::Node;

/// Envoy's `StringMatcher`.
#[derive(Clone, Debug)]
pub struct StringMatcher {
    pattern: Pattern,
    ignore_case: bool,
}

#[derive(Clone, Debug)]
enum Pattern {
    Contains(String),
    Exact(String),
    Prefix(String),
    Regex(Regex),
    Suffix(String),
}

/// Envoy's `HeaderMatcher`.
#[derive(Clone, Debug)]
pub struct HeaderMatcher {
    /// Name in lower case.
    pub name: String,
    /// `None`: the header must only be there.
    pub value: Option<StringMatcher>,
    /// Whether the match is turned round.
    pub invert: bool,
}

/// Envoy's `QueryParameterMatcher`.
#[derive(Clone, Debug)]
pub struct QueryMatcher {
    /// Name of the parameter, as it stands in the path.
    pub name: String,
    /// `None`: the parameter must only be there.
    pub value: Option<StringMatcher>,
}

impl StringMatcher {
    /// Whether a string matches. Case is folded for ASCII letters alone, as in Envoy.
    pub fn matches(&self, text: &str) -> bool {
        if let Pattern::Regex(regex) = &self.pattern {
            return regex.is_match(text);
        }
        if self.ignore_case {
            return self.pattern.matches(&text.to_ascii_lowercase());
        }
        self.pattern.matches(text)
    }

    pub(crate) fn read(node: &Node, problems: &Problems) -> Option<Self> {
        let mut fields = Fields::of(node, "a string matcher", problems)?;
        let ignore_case = fields.take("ignore_case");
        let chosen = fields.require_one(&["exact", "prefix", "suffix", "contains", "safe_regex"]);
        fields.finish(&["custom"]);
        let ignore_case = match ignore_case {
            Some(node) => problems.boolean(node, "ignore_case")?,
            None => false,
        };
        let (kind, value, _) = chosen?;
        if kind == "safe_regex" {
            let regex = regex(value, problems)?;
            return Some(Self {
                pattern: Pattern::Regex(regex),
                ignore_case: false,
            });
        }
        let mut text = problems.string(value, kind)?;
        if ignore_case {
            text.make_ascii_lowercase();
        }
        let pattern = match kind {
            "contains" => Pattern::Contains(text),
            "prefix" => Pattern::Prefix(text),
            "suffix" => Pattern::Suffix(text),
            _ => Pattern::Exact(text),
        };
        Some(Self {
            pattern,
            ignore_case,
        })
    }
}

impl Pattern {
    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Contains(part) => text.contains(part),
            Self::Exact(whole) => text == whole,
            Self::Prefix(start) => text.starts_with(start),
            Self::Regex(regex) => regex.is_match(text),
            Self::Suffix(end) => text.ends_with(end),
        }
    }
}

impl HeaderMatcher {
    pub(crate) fn read(node: &Node, problems: &Problems) -> Option<Self> {
        let mut fields = Fields::of(node, "a header matcher", problems)?;
        let name = fields.require("name");
        let invert = fields.take("invert_match");
        let chosen = fields.one_of(&["string_match", "present_match"]);
        fields.finish(&[
            "exact_match",
            "safe_regex_match",
            "range_match",
            "prefix_match",
            "suffix_match",
            "contains_match",
            "treat_missing_header_as_empty",
        ]);
        let mut invert = match invert {
            Some(node) => problems.boolean(node, "invert_match")?,
            None => false,
        };
        let value = match chosen {
            Some(("string_match", value, _)) => Some(StringMatcher::read(value, problems)?),
            Some((name, value, _)) => {
                invert ^= !problems.boolean(value, name)?;
                None
            }
            None => None,
        };
        Some(Self {
            name: problems.string(name?, "name")?.to_ascii_lowercase(),
            value,
            invert,
        })
    }
}

impl QueryMatcher {
    pub(crate) fn read(node: &Node, problems: &Problems) -> Option<Self> {
        let mut fields = Fields::of(node, "a query parameter matcher", problems)?;
        let name = fields.require("name");
        let chosen = fields.one_of(&["string_match", "present_match"]);
        fields.finish(&[]);
        let value = match chosen {
            Some(("string_match", value, _)) => Some(StringMatcher::read(value, problems)?),
            Some((name, value, at)) => {
                if !problems.boolean(value, name)? {
                    problems.unsupported(at, "`present_match: false` is not supported here");
                    return None;
                }
                None
            }
            None => None,
        };
        Some(Self {
            name: problems.string(name?, "name")?,
            value,
        })
    }
}

/// Reads a `RegexMatcher`: the expression has to match the whole text.
pub(crate) fn regex(node: &Node, problems: &Problems) -> Option<Regex> {
    let mut fields = Fields::of(node, "a regular expression", problems)?;
    let regex = fields.require("regex");
    // Deprecated and empty in every bootstrap that has it.
    fields.take("google_re2");
    fields.finish(&[]);
    let text = problems.string(regex?, "regex")?;
    match Regex::new(&format!("^(?:{text})$")) {
        Ok(regex) => Some(regex),
        Err(error) => {
            let error = error.to_string();
            let cause = error.lines().last().unwrap_or_default();
            problems.malformed(regex?.at, format!("`{text}` is not a valid regex: {cause}"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrap::yaml;

    fn string(source: &str) -> StringMatcher {
        let problems = Problems::default();
        let matcher = StringMatcher::read(&yaml::parse(source).unwrap(), &problems);
        assert!(problems.into_inner().is_empty());
        matcher.unwrap()
    }

    #[test]
    fn patterns_match_what_their_names_say() {
        for (source, text, expected) in [
            ("{exact: ab}", "ab", true),
            ("{exact: ab}", "abc", false),
            ("{prefix: ab}", "abc", true),
            ("{suffix: bc}", "abc", true),
            ("{contains: b}", "abc", true),
            ("{contains: x}", "abc", false),
            ("{exact: aB, ignore_case: true}", "Ab", true),
            ("{safe_regex: {regex: a|b}}", "b", true),
            ("{safe_regex: {regex: a|b}}", "ab", false),
        ] {
            assert_eq!(string(source).matches(text), expected, "{source} {text}");
        }
    }

    #[test]
    fn an_invalid_regex_is_named_with_its_cause() {
        let problems = Problems::default();
        let node = yaml::parse("{regex: 'a('}").unwrap();
        assert!(regex(&node, &problems).is_none());
        let found = problems.into_inner();
        assert_eq!(
            found[0].message,
            "`a(` is not a valid regex: error: unclosed group"
        );
    }
}
