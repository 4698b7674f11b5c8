//! Patterns that the texts of a request are compared with: Envoy's `StringMatcher`.
//!
//! Regular expressions are those of `regex-lite`: RE2's syntax without Unicode classes, matched in
//! time linear in the text. Like Envoy's they must match the whole of it.

use std::fmt;

/// The longest expression that is compiled, in bytes, and what its program may take.
const MOST_PATTERN: usize = 4096;
const MOST_PROGRAM: usize = 1 << 20;

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

/// A compiled regular expression for whole texts.
#[derive(Clone)]
pub struct Regex(regex_lite::Regex);

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

impl Regex {
    /// Compiles an expression.
    ///
    /// # Errors
    /// A sentence on what is wrong with it.
    pub fn new(pattern: &str) -> Result<Self, String> {
        if pattern.len() > MOST_PATTERN {
            return Err(format!("longer than {MOST_PATTERN} bytes"));
        }
        let build = |pattern: &str| {
            regex_lite::RegexBuilder::new(pattern)
                .size_limit(MOST_PROGRAM)
                .build()
        };
        // By itself first: `a)(b` would become valid by the brackets put around it.
        build(pattern)
            .and_then(|_| build(&format!("^(?:{pattern})$")))
            .map(Self)
            .map_err(|error| format!("not a regular expression: {error}"))
    }

    /// Whether all of a text matches. Bytes that aren't UTF-8 are one odd character each, so that
    /// they can't keep `.*` from matching.
    pub fn matches(&self, text: &[u8]) -> bool {
        self.0.is_match(&String::from_utf8_lossy(text))
    }
}

impl PartialEq for Regex {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Regex {}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Regex({})", self.0.as_str())
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

    #[test]
    fn an_expression_must_match_the_whole_text() {
        let matches = |pattern, text: &[u8]| Regex::new(pattern).unwrap().matches(text);
        assert!(matches("/api/.*", b"/api/v1"));
        assert!(!matches("/api", b"/api/v1"));
        assert!(!matches("api", b"/api"));
        // An alternative is bound to both ends too.
        assert!(!matches("/a|/b", b"/abc"));
        assert!(!matches("/a|/b", b"x/b"));
        assert!(matches("/a|/b", b"/b"));
    }

    #[test]
    fn bytes_that_are_no_text_cannot_hide_a_path_from_an_expression() {
        let regex = Regex::new("/admin/.*").unwrap();
        assert!(regex.matches(b"/admin/\xff\xfe"));
    }

    #[test]
    fn broken_and_tricky_expressions_are_refused_with_a_sentence() {
        for pattern in ["(", "a)(b", "[", "\\pL", "(?=a)", "(a)\\1"] {
            let error = Regex::new(pattern).unwrap_err();
            assert!(error.starts_with("not a regular expression: "), "{error}");
        }
        assert!(Regex::new(&"a".repeat(5000)).is_err());
        assert!(Regex::new("((a{500}){500}){500}").is_err());
    }

    #[test]
    fn a_hostile_text_takes_time_in_proportion_to_its_length() {
        // Takes for ever in an engine that backtracks.
        let regex = Regex::new("(a*)*b").unwrap();
        assert!(!regex.matches(&[b'a'; 10_000]));
    }
}
