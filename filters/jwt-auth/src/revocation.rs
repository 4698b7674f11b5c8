//! A list of revoked tokens: by their `jti`, or all of a subject.

use crate::jose::claims::Claims;
use crate::jose::date::NumericDate;
use crate::jose::json::{Document, Kind};

/// What is revoked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DenyList {
    /// `jti` of tokens, sorted.
    tokens: Vec<String>,
    /// Subjects, sorted, and the moment before which their tokens were issued that are revoked; none
    /// for all of them.
    subjects: Vec<(String, Option<NumericDate>)>,
}

impl DenyList {
    /// Reads `{"jti": ["…"], "sub": ["…", {"sub": "…", "issued_before": 1700000000}]}`; either list may
    /// be missing. `None` for what isn't such a document, or has more entries than allowed: a list of
    /// which a part was dropped would let tokens through.
    pub fn read(json: Vec<u8>, most: usize) -> Option<Self> {
        let document = Document::read(json).ok()?;
        let root = document.root();
        if root.kind() != Kind::Object {
            return None;
        }
        let mut list = Self::default();
        for (name, value) in root.members() {
            if !matches!(&*name, "jti" | "sub") {
                continue;
            }
            if value.kind() != Kind::Array {
                return None;
            }
            for item in value.items() {
                match (&*name, item.string()) {
                    ("jti", Some(id)) => list.tokens.push(id.into_owned()),
                    (_, Some(subject)) => list.subjects.push((subject.into_owned(), None)),
                    ("sub", None) => {
                        let subject = item.get("sub")?.string()?.into_owned();
                        let before = item.get("issued_before")?.number()?;
                        let before = NumericDate::from_number(before)?;
                        list.subjects.push((subject, Some(before)));
                    }
                    (_, None) => return None,
                }
            }
        }
        if list.tokens.len().saturating_add(list.subjects.len()) > most {
            return None;
        }
        list.tokens.sort_unstable();
        list.subjects.sort_unstable();
        Some(list)
    }

    /// Whether a token is revoked. One that doesn't say when it was issued was issued before.
    pub fn forbids(&self, claims: &Claims) -> bool {
        let has_token = |id: &str| self.tokens.binary_search_by(|own| (**own).cmp(id)).is_ok();
        if !self.tokens.is_empty() && claims.id().is_some_and(|id| has_token(&id)) {
            return true;
        }
        if self.subjects.is_empty() {
            return false;
        }
        let Some(subject) = claims.subject() else {
            return false;
        };
        let start = self.subjects.partition_point(|(own, _)| **own < *subject);
        let own = self.subjects.iter().skip(start);
        own.take_while(|(own, _)| **own == *subject)
            .any(|(_, before)| {
                let issued = claims.issued_at().unwrap_or_default();
                before.is_none_or(|before| issued < before)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(json: &str) -> Claims {
        Claims::read(json.as_bytes().to_vec()).unwrap()
    }

    fn read(json: &str) -> Option<DenyList> {
        DenyList::read(json.as_bytes().to_vec(), 10)
    }

    #[test]
    fn tokens_are_revoked_by_their_id_and_by_their_subject() {
        let list = read(r#"{"jti": ["t2", "t1"], "sub": ["eve"], "more": 1}"#).unwrap();
        for (json, revoked) in [
            (r#"{"jti": "t1", "sub": "ana"}"#, true),
            (r#"{"jti": "t2"}"#, true),
            (r#"{"jti": "t3", "sub": "ana"}"#, false),
            (r#"{"jti": "t3", "sub": "eve"}"#, true),
            (r#"{"sub": "t1"}"#, false),
            (r#"{"sub": "eve "}"#, false),
            ("{}", false),
        ] {
            assert_eq!(list.forbids(&claims(json)), revoked, "{json}");
        }
    }

    #[test]
    fn a_subject_may_be_signed_out_up_to_a_moment() {
        let list = read(
            r#"{"sub": [{"sub": "eve", "issued_before": 100}, {"sub": "eve", "issued_before": 50}]}"#,
        );
        let list = list.unwrap();
        assert!(list.forbids(&claims(r#"{"sub": "eve", "iat": 99.5}"#)));
        assert!(list.forbids(&claims(r#"{"sub": "eve"}"#)));
        assert!(!list.forbids(&claims(r#"{"sub": "eve", "iat": 100}"#)));
    }

    #[test]
    fn a_list_that_is_odd_or_too_long_is_no_list() {
        for json in [
            "",
            "[]",
            "{",
            r#"{"jti": "a"}"#,
            r#"{"jti": [1]}"#,
            r#"{"sub": [{"sub": "a"}]}"#,
            r#"{"sub": [{"sub": "a", "issued_before": -1}]}"#,
            r#"{"jti": [], "jti": ["a"]}"#,
            r#"{"jti": ["1","2","3","4","5","6","7","8","9","10","11"]}"#,
        ] {
            assert_eq!(read(json), None, "{json}");
        }
        assert_eq!(read("{}"), Some(DenyList::default()));
    }
}
