//! Expectations about texts: exact, by regular expression, by file, or the absence of these.

use std::fmt;

use regex::bytes::Regex;

use super::message::{Message, Mistake, Place};
use super::re2;

/// More bytes of a text than this aren't shown.
const SHOWN: usize = 1_000;

/// What one text among several has to be, or none of them may be.
#[derive(Clone, Debug)]
pub(super) struct Matcher {
    pub(super) at: Place,
    invert: bool,
    wanted: Wanted,
}

#[derive(Clone, Debug)]
enum Wanted {
    Exact(Vec<u8>),
    /// A file that hasn't been read yet.
    File(String),
    /// As written, and compiled to match the whole text.
    Regex(String, Regex),
}

impl Matcher {
    pub(super) fn of(message: &Message) -> Result<Self, Mistake> {
        let wanted = if let Some(exact) = message.bytes("exact") {
            Wanted::Exact(exact.to_vec())
        } else if message.bytes("file").is_some() {
            Wanted::File(message.text("file"))
        } else if message.bytes("regex").is_some() {
            let written = message.text("regex");
            let regex = re2::whole(&written).map_err(|cause| {
                Mistake::new(
                    message.at,
                    format!("`regex` is not a regular expression: {cause}"),
                )
            })?;
            Wanted::Regex(written, regex)
        } else {
            let cause = "one of `exact`, `regex` and `file` is needed";
            return Err(Mistake::new(message.at, cause));
        };
        Ok(Self {
            at: message.at,
            invert: message.is_true("invert"),
            wanted,
        })
    }

    /// The file that is needed before it can match.
    pub(super) fn file(&self) -> Option<&str> {
        match &self.wanted {
            Wanted::File(file) => Some(file),
            Wanted::Exact(_) | Wanted::Regex(..) => None,
        }
    }

    /// Puts the file's content in its place.
    pub(super) fn set_content(&mut self, content: Vec<u8>) {
        self.wanted = Wanted::Exact(content);
    }

    /// Where a text begins to differ from the one that is wanted; `None` if it isn't wanted exactly.
    pub(super) fn difference(&self, text: &[u8]) -> Option<usize> {
        match &self.wanted {
            Wanted::Exact(exact) if !self.invert => {
                Some(exact.iter().zip(text).take_while(|(a, b)| a == b).count())
            }
            _ => None,
        }
    }

    /// Whether the texts are as they should be.
    pub(super) fn accepts<T: AsRef<[u8]>>(&self, texts: &[T]) -> bool {
        let found = texts
            .iter()
            .map(AsRef::as_ref)
            .any(|text| match &self.wanted {
                Wanted::Exact(exact) => text == exact,
                Wanted::Regex(_, regex) => regex.is_match(text),
                Wanted::File(_) => false,
            });
        found != self.invert
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.invert {
            f.write_str("none that is ")?;
        }
        match &self.wanted {
            Wanted::Exact(exact) => f.write_str(&quoted(exact)),
            Wanted::File(file) => write!(f, "the content of {file}"),
            Wanted::Regex(written, _) => write!(f, "~{written}"),
        }
    }
}

/// A text for a message: in quotes, with escapes, and of a long one the beginning.
pub(super) fn quoted(text: &[u8]) -> String {
    let shown = text.get(..SHOWN).unwrap_or(text);
    let quoted = format!("{:?}", String::from_utf8_lossy(shown));
    match text.len() {
        size if size > SHOWN => format!("{quoted}… ({size} bytes)"),
        _ => quoted,
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema::SUITE;
    use super::super::textproto;
    use super::*;

    fn matcher(fields: &str) -> Matcher {
        let text = format!("test {{ plugin_init {{ log {{ {fields} }} }} }}");
        let suite = textproto::parse(&text, &SUITE).unwrap();
        let test = suite.message("test").unwrap();
        let log = test.message("plugin_init").unwrap().message("log").unwrap();
        Matcher::of(log).unwrap()
    }

    #[test]
    fn one_of_the_texts_has_to_match_as_a_whole() {
        let exact = matcher("exact: 'b'");
        assert!(exact.accepts(&["a", "b"]));
        assert!(!exact.accepts(&["a", "bb"]));
        assert!(!exact.accepts::<&str>(&[]));
        let regex = matcher("regex: 'b+|c'");
        assert!(regex.accepts(&["a", "bb"]));
        assert!(!regex.accepts(&["abb", "cc", "b\n"]));
        assert!(!matcher("regex: 'a.b'").accepts(&["a\nb"]));
        assert!(matcher("exact: '\\377'").accepts(&[[0xff]]));
    }

    #[test]
    fn an_inverted_one_wants_no_match() {
        let none = matcher("regex: 'b+' invert: true");
        assert!(none.accepts(&["a", "ab"]));
        assert!(none.accepts::<&str>(&[]));
        assert!(!none.accepts(&["a", "b"]));
    }
}
