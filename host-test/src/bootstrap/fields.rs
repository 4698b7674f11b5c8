//! Reading a mapping field by field, with nothing passed over in silence.
//!
//! A reader asks for the fields it supports and then calls [`Fields::finish`] with the names that
//! Envoy's message has besides. What is left is either one of those (unsupported) or not a field of
//! the message at all (misspelt).

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use super::problem::{Place, Problem, nearest};
use super::yaml::{Entry, Node, Value};

/// Where the readers put what they find wrong.
#[derive(Default)]
pub(crate) struct Problems {
    found: RefCell<Vec<Problem>>,
    files: RefCell<Vec<PathBuf>>,
}

impl Problems {
    pub(crate) fn malformed(&self, at: Place, message: impl Into<String>) {
        self.push(Problem::malformed(at, message));
    }

    pub(crate) fn unsupported(&self, at: Place, message: impl Into<String>) {
        self.push(Problem::unsupported(at, message));
    }

    pub(crate) fn push(&self, problem: Problem) {
        self.found.borrow_mut().push(problem);
    }

    /// Notes a file that the configuration is read from.
    pub(crate) fn reads(&self, path: &Path) {
        self.files.borrow_mut().push(path.to_owned());
    }

    /// The files noted so far.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        self.files.borrow().clone()
    }

    pub(crate) fn into_inner(self) -> Vec<Problem> {
        self.found.into_inner()
    }

    /// The items of a list; reports anything else.
    pub(crate) fn list<'d>(&self, node: &'d Node, what: &str) -> &'d [Node] {
        if let Value::Sequence(items) = &node.value {
            return items;
        }
        let kind = node.kind();
        self.malformed(node.at, format!("{what} must be a list, not {kind}"));
        &[]
    }
}

/// The fields of one message.
pub(crate) struct Fields<'d, 'p> {
    /// What the message is, for sentences: `a listener`.
    what: &'static str,
    /// Place of the message, for fields that are missing.
    pub(crate) at: Place,
    entries: &'d [Entry],
    supported: Vec<&'static str>,
    /// Names of which one should be there, and what to say; told once it is known that none of them
    /// is there misspelt.
    missing: Vec<(Vec<&'static str>, String)>,
    pub(crate) problems: &'p Problems,
}

impl<'d, 'p> Fields<'d, 'p> {
    /// Starts to read a message; reports a node that isn't a mapping.
    pub(crate) fn of(node: &'d Node, what: &'static str, problems: &'p Problems) -> Option<Self> {
        let Value::Mapping(entries) = &node.value else {
            let kind = node.kind();
            problems.malformed(node.at, format!("{what} must be a mapping, not {kind}"));
            return None;
        };
        Some(Self {
            what,
            at: node.at,
            entries,
            supported: Vec::new(),
            missing: Vec::new(),
            problems,
        })
    }

    /// The value of a supported field; `None` if absent or null.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<&'d Node> {
        self.supported.push(name);
        self.entries
            .iter()
            .find(|entry| same_name(&entry.key, name))
            .map(|entry| &entry.value)
            .filter(|value| !value.is_null())
    }

    /// The value of a field that must be there; its absence is reported.
    pub(crate) fn require(&mut self, name: &'static str) -> Option<&'d Node> {
        let value = self.take(name);
        if value.is_none() {
            let sentence = format!("{} needs the field `{name}`", self.what);
            self.missing.push((vec![name], sentence));
        }
        value
    }

    /// The one field that is set of those that exclude each other. Reports two; `None` for none.
    pub(crate) fn one_of(
        &mut self,
        names: &[&'static str],
    ) -> Option<(&'static str, &'d Node, Place)> {
        let mut chosen: Option<(&'static str, &'d Node, Place)> = None;
        for name in names {
            let Some(value) = self.take(name) else {
                continue;
            };
            let at = self.key_place(name);
            if let Some((first, ..)) = chosen {
                let what = self.what;
                self.problems.malformed(
                    at,
                    format!("{what} has either `{first}` or `{name}`, not both"),
                );
                continue;
            }
            chosen = Some((*name, value, at));
        }
        chosen
    }

    /// As [`Fields::one_of`], and reports that none is set.
    pub(crate) fn require_one(
        &mut self,
        names: &[&'static str],
    ) -> Option<(&'static str, &'d Node, Place)> {
        let chosen = self.one_of(names);
        if chosen.is_none() {
            let names = names.to_vec();
            let list: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            let sentence = match list.split_last() {
                Some((last, first)) if !first.is_empty() => {
                    format!("{} needs {} or {last}", self.what, first.join(", "))
                }
                _ => format!("{} needs {}", self.what, list.concat()),
            };
            self.missing.push((names, sentence));
        }
        chosen
    }

    /// Place of a field's key, or of the message if the field is absent.
    pub(crate) fn key_place(&self, name: &str) -> Place {
        self.entries
            .iter()
            .find(|entry| same_name(&entry.key, name))
            .map_or(self.at, |entry| entry.key_at)
    }

    /// Reports every field that nobody took. `unsupported` are the other fields of Envoy's message.
    pub(crate) fn finish(mut self, unsupported: &[&'static str]) {
        for entry in self.entries {
            let taken = |name: &&str| same_name(&entry.key, name);
            if self.supported.iter().any(taken) {
                continue;
            }
            let (key, what) = (&entry.key, self.what);
            let known = if self.supported.is_empty() {
                "it has no supported fields".to_owned()
            } else {
                format!("supported: {}", self.supported.join(", "))
            };
            if unsupported.iter().any(taken) {
                self.problems.unsupported(
                    entry.key_at,
                    format!("`{key}` of {what} is not supported by this gateway; {known}"),
                );
                continue;
            }
            let snake = snake_case(key);
            let meant = nearest(&snake, &self.supported).or_else(|| nearest(&snake, unsupported));
            let hint = meant
                .map(|name| format!("did you mean `{name}`? "))
                .unwrap_or_default();
            let known = if hint.is_empty() {
                known
            } else {
                format!("{hint}{}", capitalised(&known))
            };
            self.problems.malformed(
                entry.key_at,
                format!("{what} has no field `{key}`; {known}"),
            );
            if let Some(meant) = meant {
                self.missing.retain(|(names, _)| !names.contains(&meant));
            }
        }
    }
}

impl Drop for Fields<'_, '_> {
    fn drop(&mut self) {
        for (_, sentence) in self.missing.drain(..) {
            self.problems.malformed(self.at, sentence);
        }
    }
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map(|first| first.to_ascii_uppercase().to_string() + chars.as_str())
        .unwrap_or_default()
}

/// Whether a key names a field: as in the message, or in lowerCamelCase as protobuf's JSON allows.
fn same_name(key: &str, name: &str) -> bool {
    if key == name {
        return true;
    }
    key.bytes().any(|b| b.is_ascii_uppercase()) && snake_case(key) == name
}

fn snake_case(key: &str) -> String {
    let mut snake = String::with_capacity(key.len() + 4);
    for c in key.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrap::problem::Fault;
    use crate::bootstrap::yaml;

    fn read(source: &str) -> Vec<Problem> {
        let node = yaml::parse(source).unwrap();
        let problems = Problems::default();
        let mut fields = Fields::of(&node, "a thing", &problems).unwrap();
        fields.require("stat_prefix");
        fields.one_of(&["prefix", "path"]);
        fields.finish(&["codec"]);
        problems.into_inner()
    }

    #[test]
    fn both_spellings_of_protobuf_json_are_taken() {
        assert_eq!(read("{stat_prefix: a}"), []);
        assert_eq!(read("{statPrefix: a}"), []);
    }

    #[test]
    fn null_is_absent() {
        let problems = read("{stat_prefix: ~}");
        assert_eq!(problems[0].message, "a thing needs the field `stat_prefix`");
    }

    #[test]
    fn a_misspelt_field_is_malformed_and_an_unsupported_one_is_not() {
        let problems = read("{stat_prefix: a, prefxi: b, codec: c}");
        assert_eq!(
            problems[0].message,
            "a thing has no field `prefxi`; did you mean `prefix`? \
             Supported: stat_prefix, prefix, path"
        );
        assert_eq!(problems[0].fault, Fault::Malformed);
        assert_eq!(
            problems[1].message,
            "`codec` of a thing is not supported by this gateway; \
             supported: stat_prefix, prefix, path"
        );
        assert_eq!(problems[1].fault, Fault::Unsupported);
    }

    #[test]
    fn a_misspelt_field_is_not_told_to_be_missing_as_well() {
        let problems = read("{stat_prefx: a}");
        assert_eq!(problems.len(), 1);
        assert!(
            problems[0]
                .message
                .starts_with("a thing has no field `stat_prefx`")
        );
    }

    #[test]
    fn a_choice_that_must_be_made_names_what_there_is() {
        let node = yaml::parse("{}").unwrap();
        let problems = Problems::default();
        let mut fields = Fields::of(&node, "a thing", &problems).unwrap();
        fields.require_one(&["a", "b", "c"]);
        fields.finish(&[]);
        assert_eq!(
            problems.into_inner()[0].message,
            "a thing needs `a`, `b` or `c`"
        );
    }

    #[test]
    fn two_of_a_choice_are_refused_at_the_second() {
        let problems = read("{stat_prefix: a, prefix: b, path: c}");
        assert_eq!(
            problems[0].message,
            "a thing has either `prefix` or `path`, not both"
        );
        assert_eq!(problems[0].at.column, 29);
    }
}
