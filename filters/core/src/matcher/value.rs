//! Conditions on the values of a header or a query parameter.

use serde::Deserialize;

use super::raw::regex;
use crate::config::Place;
use crate::regex::Regex;

/// A condition on a header or a query parameter; one that is repeated fits if any of its values
/// does.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RawValue {
    /// It is there, with any value.
    Present,
    /// It is not there.
    Absent,
    /// Its value is this text.
    Exact(String),
    /// Its value starts with this text.
    Prefix(String),
    /// Its value ends with this text.
    Suffix(String),
    /// Its value has this text in it.
    Contains(String),
    /// This regular expression matches the whole value: RE2's syntax without Unicode classes.
    Regex(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ValuePattern {
    Absent,
    Contains(String),
    Exact(String),
    Prefix(String),
    Present,
    Regex(Regex),
    Suffix(String),
}

impl RawValue {
    /// Makes a pattern, or reports an empty text that says the same as `present`.
    pub(crate) fn check(self, place: &Place<'_>) -> Option<ValuePattern> {
        let text = |field, text: String| {
            if text.is_empty() {
                place
                    .field(field)
                    .report("empty text is part of every value; say \"present\" instead");
                return None;
            }
            Some(text)
        };
        Some(match self {
            Self::Present => ValuePattern::Present,
            Self::Absent => ValuePattern::Absent,
            Self::Exact(value) => ValuePattern::Exact(value),
            Self::Prefix(value) => ValuePattern::Prefix(text("prefix", value)?),
            Self::Suffix(value) => ValuePattern::Suffix(text("suffix", value)?),
            Self::Contains(value) => ValuePattern::Contains(text("contains", value)?),
            Self::Regex(value) => ValuePattern::Regex(regex(&value, &place.field("regex"))?),
        })
    }
}

impl ValuePattern {
    /// Whether any of the values fits, or, for `absent`, whether there is none.
    pub(crate) fn matches<V: AsRef<[u8]>>(&self, mut values: impl Iterator<Item = V>) -> bool {
        match self {
            Self::Absent => values.next().is_none(),
            _ => values.any(|value| self.fits(value.as_ref())),
        }
    }

    fn fits(&self, value: &[u8]) -> bool {
        match self {
            Self::Absent => false,
            Self::Contains(part) => value
                .windows(part.len().max(1))
                .any(|window| window == part.as_bytes()),
            Self::Exact(expected) => value == expected.as_bytes(),
            Self::Prefix(prefix) => value.starts_with(prefix.as_bytes()),
            Self::Present => true,
            Self::Regex(regex) => regex.matches(value),
            Self::Suffix(suffix) => value.ends_with(suffix.as_bytes()),
        }
    }
}
