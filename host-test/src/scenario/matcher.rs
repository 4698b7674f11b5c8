//! What a scenario may say about a value: exactly this, like this pattern, within this range, or
//! not there at all.
//!
//! A plain YAML scalar is the commonest form. `~` in front makes it a regular expression that has
//! to match somewhere in the value; `absent` says that there must be none. Whoever means such a
//! text literally writes `{exact: absent}`.

use std::fmt;

use regex::bytes::Regex;
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};

/// The word that says that a value must not be there.
const ABSENT: &str = "absent";

/// Why a number with a point is refused where a text is meant: YAML reads 1.0 and 1.00 as one
/// number, but as texts they differ.
pub(super) const POINT: &str = "put quotes around a number with a point";

/// An expectation of a text: a header's value, a body, a log line.
#[derive(Clone, Debug)]
pub enum TextMatch {
    /// There is no such value.
    Absent,
    /// Several values of one name, in this order.
    All(Vec<Self>),
    /// These bytes and no others.
    Exact(String),
    /// A pattern found somewhere in the value.
    Pattern(Pattern),
    /// A decimal number within these bounds.
    Range(Range),
}

/// A regular expression as written; `{n}` in it is filled in where steps are repeated.
#[derive(Clone, Debug)]
pub struct Pattern {
    source: String,
    regex: Regex,
}

/// An expectation of a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NumberMatch {
    /// There is no such number.
    Absent,
    /// This number and no other.
    Exact(u64),
    /// A number within these bounds.
    Range(Range),
}

/// Bounds of a number, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The smallest number that fits; 0 if not given.
    #[serde(default)]
    pub min: u64,
    /// The largest number that fits; no bound if not given.
    #[serde(default = "u64_max")]
    pub max: u64,
}

fn u64_max() -> u64 {
    u64::MAX
}

impl TextMatch {
    /// Whether the values of one name are as expected. Anything but a list looks at the first
    /// value and wants it to be the only one.
    pub fn matches(&self, values: &[&[u8]]) -> bool {
        match (self, values) {
            (Self::Absent, []) => true,
            (Self::All(each), _) => {
                each.len() == values.len()
                    && each
                        .iter()
                        .zip(values)
                        .all(|(one, value)| one.matches(&[value]))
            }
            (Self::Exact(text), [value]) => text.as_bytes() == *value,
            (Self::Pattern(pattern), [value]) => pattern.regex.is_match(value),
            (Self::Range(range), [value]) => str::from_utf8(value)
                .ok()
                .and_then(|text| text.trim().parse().ok())
                .is_some_and(|number| range.contains(number)),
            _ => false,
        }
    }

    /// The same expectation with `{n}` replaced by a number.
    pub fn numbered(&self, n: u64) -> Self {
        match self {
            Self::Exact(text) => Self::Exact(super::numbered(text, n)),
            Self::Pattern(pattern) => Self::Pattern(pattern.numbered(n)),
            Self::All(each) => Self::All(each.iter().map(|one| one.numbered(n)).collect()),
            Self::Absent | Self::Range(_) => self.clone(),
        }
    }

    fn parse<E: de::Error>(text: &str) -> Result<Self, E> {
        match text.strip_prefix('~') {
            Some(source) => Pattern::parse(source).map(Self::Pattern).map_err(|error| {
                let cause = error.to_string();
                let cause = cause.lines().last().unwrap_or_default().trim();
                let cause = cause.strip_prefix("error: ").unwrap_or(cause);
                E::custom(format!("`{source}` is not a regular expression: {cause}"))
            }),
            None if text == ABSENT => Ok(Self::Absent),
            None => Ok(Self::Exact(text.to_owned())),
        }
    }
}

impl Pattern {
    /// Checks and compiles a pattern; the first round's number stands in for `{n}`, which alone
    /// would not be a regular expression.
    fn parse(source: &str) -> Result<Self, regex::Error> {
        Ok(Self {
            regex: Regex::new(&super::numbered(source, 1))?,
            source: source.to_owned(),
        })
    }

    fn numbered(&self, n: u64) -> Self {
        let source = super::numbered(&self.source, n);
        // A number in place of another makes no pattern wrong.
        Self::parse(&source).unwrap_or_else(|_| self.clone())
    }
}

impl NumberMatch {
    /// Whether a number, or its absence, is as expected.
    pub fn matches(&self, number: Option<u64>) -> bool {
        match (self, number) {
            (Self::Absent, None) => true,
            (Self::Exact(expected), Some(number)) => *expected == number,
            (Self::Range(range), Some(number)) => range.contains(number),
            _ => false,
        }
    }
}

impl Range {
    fn contains(self, number: u64) -> bool {
        (self.min..=self.max).contains(&number)
    }
}

impl fmt::Display for TextMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("none"),
            Self::All(each) => {
                f.write_str("[")?;
                for (i, one) in each.iter().enumerate() {
                    let comma = if i == 0 { "" } else { ", " };
                    write!(f, "{comma}{one}")?;
                }
                f.write_str("]")
            }
            Self::Exact(text) => write!(f, "{text:?}"),
            Self::Pattern(pattern) => write!(f, "~{}", pattern.source),
            Self::Range(range) => range.fmt(f),
        }
    }
}

impl fmt::Display for NumberMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("none"),
            Self::Exact(number) => number.fmt(f),
            Self::Range(range) => range.fmt(f),
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.min, self.max) {
            (min, u64::MAX) => write!(f, "at least {min}"),
            (min, max) => write!(f, "{min} to {max}"),
        }
    }
}

impl<'de> Deserialize<'de> for TextMatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

impl<'de> Deserialize<'de> for NumberMatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = TextMatch;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, ~REGEX, absent, {exact: TEXT}, {min: N, max: N} or a list of these")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<TextMatch, E> {
        TextMatch::parse(text)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<TextMatch, E> {
        Ok(TextMatch::Exact(number.to_string()))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<TextMatch, E> {
        Ok(TextMatch::Exact(number.to_string()))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<TextMatch, E> {
        Ok(TextMatch::Exact(value.to_string()))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<TextMatch, E> {
        Err(E::custom(POINT))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<TextMatch, A::Error> {
        let mut each = Vec::new();
        while let Some(one) = list.next_element()? {
            if matches!(one, TextMatch::All(_)) {
                return Err(de::Error::custom("a list of values can't hold a list"));
            }
            each.push(one);
        }
        Ok(TextMatch::All(each))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TextMatch, A::Error> {
        let form = Form::deserialize(de::value::MapAccessDeserializer::new(map))?;
        match (form.exact, form.min, form.max) {
            (Some(text), None, None) => Ok(TextMatch::Exact(text)),
            (None, min, max) if min.is_some() || max.is_some() => Ok(TextMatch::Range(Range {
                min: min.unwrap_or_default(),
                max: max.unwrap_or(u64::MAX),
            })),
            _ => Err(de::Error::custom(
                "say either {exact: TEXT} or {min: N, max: N}",
            )),
        }
    }
}

/// The long form of a text expectation.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    exact: Option<String>,
    min: Option<u64>,
    max: Option<u64>,
}

struct NumberVisitor;

impl<'de> Visitor<'de> for NumberVisitor {
    type Value = NumberMatch;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number, absent or {min: N, max: N}")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<NumberMatch, E> {
        Ok(NumberMatch::Exact(number))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<NumberMatch, E> {
        if text == ABSENT {
            return Ok(NumberMatch::Absent);
        }
        Err(E::invalid_value(de::Unexpected::Str(text), &self))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<NumberMatch, A::Error> {
        Range::deserialize(de::value::MapAccessDeserializer::new(map)).map(NumberMatch::Range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(yaml: &str) -> TextMatch {
        super::super::load::parse_yaml(yaml).unwrap()
    }

    #[test]
    fn a_text_expectation_holds_as_the_table_says() {
        let table: &[(&str, &[&[u8]], bool)] = &[
            ("hello", &[b"hello"], true),
            ("hello", &[b"hello "], false),
            ("hello", &[], false),
            ("hello", &[b"hello", b"hello"], false),
            ("12", &[b"12"], true),
            ("012", &[b"012"], true),
            ("-3", &[b"-3"], true),
            ("true", &[b"true"], true),
            ("\"1.0\"", &[b"1.0"], true),
            ("~^h.l+o$", &[b"hello"], true),
            ("~ell", &[b"hello"], true),
            ("~^ell", &[b"hello"], false),
            ("~x", &[], false),
            ("~\"\\xff\"", &[b"\"\xff\""], false),
            ("'~(?-u)\\xff'", &[b"\xff"], true),
            ("absent", &[], true),
            ("absent", &[b"absent"], false),
            ("{exact: absent}", &[b"absent"], true),
            ("{exact: ~hello}", &[b"~hello"], true),
            ("{min: 10, max: 12}", &[b"10"], true),
            ("{min: 10, max: 12}", &[b"12"], true),
            ("{min: 10, max: 12}", &[b"13"], false),
            ("{min: 10, max: 12}", &[b"9"], false),
            ("{min: 10, max: 12}", &[b"ten"], false),
            ("{min: 10}", &[b"99999"], true),
            ("{max: 10}", &[b"0"], true),
            ("[a, ~b]", &[b"a", b"abc"], true),
            ("[a, b]", &[b"b", b"a"], false),
            ("[a]", &[b"a", b"a"], false),
        ];
        for (yaml, values, holds) in table {
            assert_eq!(
                text(yaml).matches(values),
                *holds,
                "{yaml} against {values:?}"
            );
        }
    }

    #[test]
    fn a_number_expectation_holds_as_the_table_says() {
        let table = [
            ("3", Some(3), true),
            ("3", Some(4), false),
            ("0", None, false),
            ("absent", None, true),
            ("absent", Some(0), false),
            ("{min: 2}", Some(2), true),
            ("{min: 2, max: 5}", Some(6), false),
        ];
        for (yaml, number, holds) in table {
            let expectation: NumberMatch = super::super::load::parse_yaml(yaml).unwrap();
            assert_eq!(
                expectation.matches(number),
                holds,
                "{yaml} against {number:?}"
            );
        }
    }

    #[test]
    fn a_wrong_expectation_is_refused_with_a_sentence() {
        let table = [
            ("1.0", "put quotes around a number with a point"),
            ("~(", "`(` is not a regular expression: unclosed group"),
            ("{exact: a, min: 1}", "either {exact: TEXT} or {min: N"),
            ("{}", "either {exact: TEXT} or {min: N"),
            ("[[a]]", "a list of values can't hold a list"),
            ("{exakt: a}", "exakt"),
        ];
        for (yaml, sentence) in table {
            let error = serde_saphyr::from_str::<TextMatch>(yaml).unwrap_err();
            assert!(error.to_string().contains(sentence), "{yaml}: {error}");
        }
    }

    #[test]
    fn a_number_takes_the_place_of_the_placeholder() {
        let shown = |yaml: &str| text(yaml).numbered(7).to_string();
        assert_eq!(shown("key-{n}"), "\"key-7\"");
        assert_eq!(shown("'~^key-{n}$'"), "~^key-7$");
        assert_eq!(shown("[\"{n}\", b]"), "[\"7\", \"b\"]");
        assert_eq!(shown("{min: 3}"), "at least 3");
    }
}
