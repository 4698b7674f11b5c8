//! The configuration as a tree of untyped nodes, whatever form its bytes had.
//!
//! A node can be marked as removed, so that reading goes on without it after a mistake, and a
//! field can be understood under another name than was written. Positions never change once the
//! tree is built: a path of positions stays valid through every repair.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::protobuf::integer;

/// Nesting that is accepted: far above any sensible configuration, far below the stack.
pub(crate) const MAX_DEPTH: usize = 64;

/// Characters of an offending value that an error repeats.
const SHOWN_CHARS: usize = 48;

/// One node of a configuration.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tree {
    /// A required field that is missing: nothing is read from it, so that every type says what it
    /// wants.
    Absent,
    Bool(bool),
    Float(f64),
    List(Vec<Self>),
    Null,
    Object(Vec<Entry>),
    /// Dropped after a mistake in it: as if it had not been written.
    Removed,
    /// Put in the place of one that is absent: reads as any plausible value.
    StandIn,
    /// A negative integer.
    Signed(i64),
    Text(String),
    /// Text of a form in which numbers may arrive as text.
    TextOrNumber(String),
    Unsigned(u64),
}

/// One field of an object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    /// The name as it was written.
    pub(crate) key: String,
    /// The name that the writer most likely meant, where that differs.
    pub(crate) meant: Option<&'static str>,
    pub(crate) node: Tree,
    /// The name in snake_case, where it was written otherwise and both are allowed.
    pub(crate) snake: Option<String>,
}

impl Entry {
    pub(crate) fn new(key: String, node: Tree) -> Self {
        Self {
            key,
            meant: None,
            node,
            snake: None,
        }
    }

    /// Returns the name under which the field is read.
    pub(crate) fn name(&self) -> &str {
        self.meant.unwrap_or(&self.key)
    }

    /// Returns the name under which the field is read where these are expected.
    pub(crate) fn name_among(&self, expected: &[&'static str]) -> &str {
        let name = self.name();
        match &self.snake {
            Some(snake) if !expected.contains(&name) && expected.contains(&&**snake) => snake,
            _ => name,
        }
    }
}

impl Tree {
    /// Returns the child at `position` among an object's fields or a list's items.
    pub(crate) fn child(&self, position: usize) -> Option<&Self> {
        match self {
            Self::List(items) => items.get(position),
            Self::Object(entries) => entries.get(position).map(|entry| &entry.node),
            _ => None,
        }
    }

    /// Returns the node at a path of positions.
    pub(crate) fn at(&self, path: &[usize]) -> Option<&Self> {
        path.iter()
            .try_fold(self, |node, &position| node.child(position))
    }

    /// Returns the node at a path of positions, to change it.
    pub(crate) fn at_mut(&mut self, path: &[usize]) -> Option<&mut Self> {
        path.iter().try_fold(self, |node, &position| match node {
            Self::List(items) => items.get_mut(position),
            Self::Object(entries) => entries.get_mut(position).map(|entry| &mut entry.node),
            _ => None,
        })
    }

    /// Returns the fields, of an object.
    pub(crate) fn entries(&self) -> &[Entry] {
        match self {
            Self::Object(entries) => entries,
            _ => &[],
        }
    }

    /// Returns the position of the field read as `name`, one that is still there first.
    pub(crate) fn position_of(&self, name: &str) -> Option<usize> {
        let entries = self.entries();
        let named = |entry: &Entry| entry.name() == name;
        let snake = |entry: &Entry| entry.snake.as_deref() == Some(name);
        entries
            .iter()
            .position(|entry| named(entry) && entry.node != Self::Removed)
            .or_else(|| entries.iter().position(named))
            .or_else(|| entries.iter().position(snake))
    }

    /// Returns the position of the `index`th item that is still there, of a list.
    pub(crate) fn position_of_item(&self, index: usize) -> Option<usize> {
        let Self::List(items) = self else {
            return None;
        };
        let mut left = items
            .iter()
            .enumerate()
            .filter(|(_, item)| **item != Self::Removed);
        left.nth(index).map(|(position, _)| position)
    }

    /// Marks the node at a path as removed.
    pub(crate) fn remove(&mut self, path: &[usize]) {
        if let Some(node) = self.at_mut(path) {
            *node = Self::Removed;
        }
    }

    /// Removes an object in which a required field is missing. Returns whether there was one.
    pub(crate) fn remove_incomplete(&mut self) -> bool {
        let missing = |entry: &Entry| matches!(entry.node, Self::Absent | Self::StandIn);
        match self {
            Self::List(items) => items.iter_mut().any(Self::remove_incomplete),
            Self::Object(entries) if entries.iter().any(missing) => {
                *self = Self::Removed;
                true
            }
            Self::Object(entries) => entries
                .iter_mut()
                .any(|entry| entry.node.remove_incomplete()),
            _ => false,
        }
    }

    /// Returns the paths of the fields that their object has already.
    pub(crate) fn duplicates(&self) -> Vec<Vec<usize>> {
        let mut duplicates = Vec::new();
        self.find_duplicates(&mut Vec::new(), &mut duplicates);
        duplicates
    }

    fn find_duplicates(&self, path: &mut Vec<usize>, found: &mut Vec<Vec<usize>>) {
        let mut keys = BTreeSet::new();
        for position in 0.. {
            let Some(child) = self.child(position) else {
                break;
            };
            path.push(position);
            match self.entries().get(position) {
                Some(entry) if !keys.insert(&entry.key) => found.push(path.clone()),
                _ => child.find_duplicates(path, found),
            }
            path.pop();
        }
    }

    /// Writes a path of positions the way a reader of the configuration would:
    /// `rules[2].limits[0].per`.
    pub(crate) fn show_path(&self, path: &[usize]) -> String {
        let mut shown = String::new();
        let mut node = self;
        for &position in path {
            match node {
                Self::Object(entries) => {
                    let key = entries.get(position).map_or("", |entry| &entry.key);
                    push_field(&mut shown, key);
                }
                _ => push_index(&mut shown, position),
            }
            let Some(child) = node.child(position) else {
                break;
            };
            node = child;
        }
        shown
    }

    /// Writes the node in a few words or, where it is a single value, as JSON, shortened.
    pub(crate) fn show(&self) -> String {
        match self {
            Self::Bool(value) => value.to_string(),
            Self::Float(value) => show_float(*value),
            Self::List(items) if items.is_empty() => "an empty list".to_owned(),
            Self::List(_) => "a list".to_owned(),
            Self::Null => "null".to_owned(),
            Self::Object(_) => "an object".to_owned(),
            Self::Absent | Self::Removed | Self::StandIn => "nothing".to_owned(),
            Self::Signed(value) => value.to_string(),
            Self::Text(value) | Self::TextOrNumber(value) => quote(value),
            Self::Unsigned(value) => value.to_string(),
        }
    }
}

/// Writes a number to six decimals. The standard way would add 12 KB to a module.
fn show_float(number: f64) -> String {
    const MILLION: f64 = 1e6;
    let scaled = (number.abs() * MILLION).round();
    let Some(Tree::Unsigned(millionths)) =
        integer(scaled).filter(|_| scaled >= 1.0 || number == 0.0)
    else {
        return "a number of this size".to_owned();
    };
    let sign = if number < 0.0 { "-" } else { "" };
    let (whole, decimals) = (millionths / 1_000_000, millionths % 1_000_000);
    let shown = format!("{sign}{whole}.{decimals:06}");
    shown.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Appends `.name` to a path, quoted where it would not read as a name.
pub(crate) fn push_field(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-$".contains(c);
    match !name.is_empty() && name.len() <= SHOWN_CHARS && name.chars().all(plain) {
        true => path.push_str(name),
        false => path.push_str(&quote(name)),
    }
}

/// Appends `[index]` to a path.
pub(crate) fn push_index(path: &mut String, index: usize) {
    // Writing to a String can't fail.
    let _ = write!(path, "[{index}]");
}

/// Quotes a text in one line of printable characters, shortened.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for (count, character) in text.chars().enumerate() {
        if count == SHOWN_CHARS {
            quoted.push('…');
            break;
        }
        match character {
            '"' => quoted.push_str("\\\""),
            c if c.is_control() => quoted.extend(c.escape_default()),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::{Tree, push_field, quote};

    #[test]
    fn shows_numbers_as_people_write_them() {
        let cases = [
            (0.0, "0"),
            (0.1, "0.1"),
            (-2.5, "-2.5"),
            (100.0, "100"),
            (1_000_000_000.5, "1000000000.5"),
            (0.000_001, "0.000001"),
            (1.0 / 3.0, "0.333333"),
            (1e-9, "a number of this size"),
            (1e300, "a number of this size"),
            (f64::MIN, "a number of this size"),
        ];
        for (number, expected) in cases {
            assert_eq!(Tree::Float(number).show(), expected);
        }
        assert_eq!(Tree::Unsigned(u64::MAX).show(), u64::MAX.to_string());
        assert_eq!(Tree::Signed(i64::MIN).show(), i64::MIN.to_string());
    }

    #[test]
    fn quotes_text_in_one_line_and_shortened() {
        assert_eq!(quote("a \"b\"\n\u{7f}"), r#""a \"b\"\n\u{7f}""#);
        assert_eq!(quote(&"é".repeat(48)), format!("\"{}\"", "é".repeat(48)));
        assert_eq!(quote(&"é".repeat(49)), format!("\"{}…\"", "é".repeat(48)));
    }

    #[test]
    fn quotes_a_name_that_would_be_misread_in_a_path() {
        for (name, expected) in [("b_1-$", "a.b_1-$"), ("b.c", "a.\"b.c\""), ("", "a.\"\"")] {
            let mut path = "a".to_owned();
            push_field(&mut path, name);
            assert_eq!(path, expected);
        }
    }
}
