//! Patterns that the texts of a request are compared with: Envoy's `StringMatcher`.

use filter_core::regex::Regex;

/// A condition on a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextPattern {
    /// It has this in it.
    Contains(Folded),
    /// It is this.
    Exact(Folded),
    /// It starts so.
    Prefix(Folded),
    /// All of it matches.
    Regex(Regex),
    /// It ends so.
    Suffix(Folded),
}

/// A text that is compared with or without regard to the case of ASCII letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folded {
    text: Vec<u8>,
    fold: bool,
}

impl Folded {
    pub(crate) fn new(text: String, fold: bool) -> Self {
        let text = text.into_bytes();
        Self { text, fold }
    }

    fn equals(&self, part: &[u8]) -> bool {
        match self.fold {
            true => self.text.eq_ignore_ascii_case(part),
            false => self.text == part,
        }
    }

    /// Whether a text is this.
    pub(crate) fn is(&self, text: &[u8]) -> bool {
        self.equals(text)
    }

    /// Whether a text starts so; what follows it.
    pub(crate) fn starts<'t>(&self, text: &'t [u8]) -> Option<&'t [u8]> {
        let (head, tail) = text.split_at_checked(self.text.len())?;
        self.equals(head).then_some(tail)
    }

    fn ends(&self, text: &[u8]) -> bool {
        let start = text.len().checked_sub(self.text.len());
        let tail = start.and_then(|start| text.get(start..));
        tail.is_some_and(|tail| self.equals(tail))
    }

    fn is_in(&self, text: &[u8]) -> bool {
        self.text.is_empty()
            || text
                .windows(self.text.len().max(1))
                .any(|part| self.equals(part))
    }
}

impl TextPattern {
    /// A text that must be the same.
    pub fn exact(text: String, ignore_case: bool) -> Self {
        Self::Exact(Folded::new(text, ignore_case))
    }

    /// A text that it must start with.
    pub fn prefix(text: String, ignore_case: bool) -> Self {
        Self::Prefix(Folded::new(text, ignore_case))
    }

    /// A text that it must end with.
    pub fn suffix(text: String, ignore_case: bool) -> Self {
        Self::Suffix(Folded::new(text, ignore_case))
    }

    /// A text that must be in it.
    pub fn contains(text: String, ignore_case: bool) -> Self {
        Self::Contains(Folded::new(text, ignore_case))
    }

    /// Whether a text is as the pattern says.
    pub fn matches(&self, text: &[u8]) -> bool {
        match self {
            Self::Contains(part) => part.is_in(text),
            Self::Exact(whole) => whole.is(text),
            Self::Prefix(head) => head.starts(text).is_some(),
            Self::Regex(regex) => regex.matches(text),
            Self::Suffix(tail) => tail.ends(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_compare_with_and_without_case() {
        let t = |text: &str| text.to_owned();
        let cases = [
            (TextPattern::exact(t("Ab"), false), "Ab", "ab"),
            (TextPattern::exact(t("Ab"), true), "aB", "abc"),
            (TextPattern::prefix(t("/A"), false), "/Ab", "/ab"),
            (TextPattern::prefix(t("/A"), true), "/ab", "x/ab"),
            (TextPattern::suffix(t("yz"), true), "xYZ", "xYZa"),
            (TextPattern::suffix(t("yz"), false), "yz", "z"),
            (TextPattern::contains(t("b"), false), "abc", "aBc"),
            (TextPattern::contains(t("b"), true), "aBc", "ac"),
        ];
        for (pattern, fits, doesnt) in cases {
            assert!(pattern.matches(fits.as_bytes()), "{pattern:?} {fits}");
            assert!(!pattern.matches(doesnt.as_bytes()), "{pattern:?} {doesnt}");
        }
        assert!(TextPattern::contains(String::new(), false).matches(b""));
    }
}
