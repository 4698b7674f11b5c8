//! Regular expressions for whole texts, as Envoy's `safe_regex` has them.
//!
//! The engine is `regex-lite`: RE2's syntax without Unicode classes, matched in time linear in the
//! text, whatever a client sends.

use std::fmt;

/// The longest expression that is compiled, in bytes, and what its program may take.
const MOST_PATTERN: usize = 4096;
const MOST_PROGRAM: usize = 1 << 20;

/// A compiled regular expression for whole texts.
#[derive(Clone)]
pub struct Regex(regex_lite::Regex);

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
