//! Strict JSON (RFC 8259) in one pass: a flat list of places in the text, read on demand.
//!
//! Stricter than the RFC where it leaves a choice, so that two readers can't take one text for two
//! things (RFC 8725 section 2.6, RFC 7493): a member's name occurs once, also when it is written
//! with escapes, and strings are Unicode, without lone surrogates. Containers nest at most
//! [`MAX_DEPTH`] deep. Numbers stay as they are written; nothing is rounded before someone asks.

mod names;
mod scan;
mod strings;

use std::borrow::Cow;
use std::fmt;

/// How deep containers may nest.
pub const MAX_DEPTH: usize = 32;

/// A JSON text and where its values are.
#[derive(Clone, PartialEq, Eq)]
pub struct Document {
    text: String,
    /// Values in the order of the text; in an object each is preceded by its name.
    nodes: Vec<Node>,
}

/// A value of a [`Document`].
#[derive(Clone, Copy)]
pub struct Value<'d> {
    document: &'d Document,
    node: usize,
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `[…]`
    Array,
    /// `true` or `false`
    Bool,
    /// `null`
    Null,
    /// A number.
    Number,
    /// `{…}`
    Object,
    /// `"…"`
    String,
}

/// What is wrong with a text, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// Offset of the first byte that doesn't fit.
    pub at: usize,
    /// What is wrong there, in a few words.
    pub what: &'static str,
}

/// A value, or a name before its value. Strings begin and end inside their quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Node {
    kind: Kind,
    /// Whether the string has escapes.
    is_escaped: bool,
    start: usize,
    end: usize,
    /// The node after this value and all that is in it.
    next: usize,
}

impl Document {
    /// Scans a text.
    ///
    /// # Errors
    ///
    /// For anything but one JSON value without duplicate names.
    pub fn read(bytes: Vec<u8>) -> Result<Self, Flaw> {
        Self::scan(bytes, false)
    }

    /// Scans a text in whose strings control characters are allowed, as protobuf's reader does.
    ///
    /// # Errors
    ///
    /// As [`Document::read`].
    pub fn read_with_controls(bytes: Vec<u8>) -> Result<Self, Flaw> {
        Self::scan(bytes, true)
    }

    fn scan(bytes: Vec<u8>, allows_controls: bool) -> Result<Self, Flaw> {
        let text = String::from_utf8(bytes).map_err(|error| Flaw {
            at: error.utf8_error().valid_up_to(),
            what: "invalid UTF-8",
        })?;
        let nodes = scan::scan(&text, allows_controls)?;
        Ok(Self { text, nodes })
    }

    /// Returns the outermost value.
    pub fn root(&self) -> Value<'_> {
        Value {
            document: self,
            node: 0,
        }
    }

    /// Returns the text.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl<'d> Value<'d> {
    /// Returns what the value is.
    pub fn kind(self) -> Kind {
        self.node().map_or(Kind::Null, |node| node.kind)
    }

    /// Returns the value as it is written; a string without its quotes, and with its escapes.
    pub fn raw(self) -> &'d str {
        let node = self.node();
        let text = node.and_then(|node| self.document.text.get(node.start..node.end));
        text.unwrap_or_default()
    }

    /// Returns the text of a string.
    pub fn string(self) -> Option<Cow<'d, str>> {
        let node = self.node().filter(|node| node.kind == Kind::String)?;
        let raw = self.raw();
        Some(if node.is_escaped {
            Cow::Owned(strings::unescape(raw))
        } else {
            Cow::Borrowed(raw)
        })
    }

    /// Returns a truth value.
    pub fn bool(self) -> Option<bool> {
        (self.kind() == Kind::Bool).then(|| self.raw() == "true")
    }

    /// Returns a number as it is written, by the grammar of RFC 8259 section 6.
    pub fn number(self) -> Option<&'d str> {
        (self.kind() == Kind::Number).then(|| self.raw())
    }

    /// Returns the value of a member, if this is an object that has it.
    pub fn get(self, name: &str) -> Option<Self> {
        self.members()
            .find_map(|(candidate, value)| (candidate == name).then_some(value))
    }

    /// Returns the members of an object in their order; none of anything else.
    pub fn members(self) -> impl Iterator<Item = (Cow<'d, str>, Self)> {
        let mut inside = self.inside(Kind::Object);
        std::iter::from_fn(move || {
            let name = inside.next()?.string()?;
            Some((name, inside.next()?))
        })
    }

    /// Returns the values of an array in their order; none of anything else.
    pub fn items(self) -> impl Iterator<Item = Self> {
        self.inside(Kind::Array)
    }

    fn inside(self, kind: Kind) -> Inside<'d> {
        let node = self.node().filter(|node| node.kind == kind);
        let end = node.map_or(0, |node| node.next);
        Inside {
            document: self.document,
            at: self.node.saturating_add(1),
            end,
        }
    }

    fn node(self) -> Option<&'d Node> {
        self.document.nodes.get(self.node)
    }
}

/// The direct contents of a container; names count as values.
struct Inside<'d> {
    document: &'d Document,
    at: usize,
    end: usize,
}

impl<'d> Iterator for Inside<'d> {
    type Item = Value<'d>;

    fn next(&mut self) -> Option<Value<'d>> {
        if self.at >= self.end {
            return None;
        }
        let value = Value {
            document: self.document,
            node: self.at,
        };
        self.at = self.document.nodes.get(self.at)?.next;
        Some(value)
    }
}

impl fmt::Debug for Document {
    /// Leaves the text out: it may be somebody's claims, or a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document({} bytes)", self.text.len())
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({:?})", self.kind())
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what, self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Document {
        Document::read(text.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn members_and_items_are_found_past_nested_ones() {
        let document = read(r#"{"a": {"b": [1, {"c": 2}], "a": 3}, "d": [[], "x"], "e": null}"#);
        let root = document.root();
        let names: Vec<_> = root.members().map(|(name, _)| name).collect();
        assert_eq!(names, ["a", "d", "e"]);
        let inner = root.get("a").and_then(|a| a.get("a"));
        assert_eq!(inner.and_then(Value::number), Some("3"));
        let items: Vec<_> = root.get("d").unwrap().items().map(Value::kind).collect();
        assert_eq!(items, [Kind::Array, Kind::String]);
        assert_eq!(root.get("b").map(Value::kind), None);
    }

    #[test]
    fn values_are_of_their_own_kind_alone() {
        let document = read(r#"{"s": "1", "n": 1, "b": true, "z": null}"#);
        let root = document.root();
        assert_eq!(root.get("s").and_then(Value::number), None);
        assert_eq!(root.get("n").and_then(Value::string), None);
        assert_eq!(root.get("b").and_then(Value::bool), Some(true));
        assert_eq!(root.get("z").and_then(Value::bool), None);
        assert_eq!(root.get("s").unwrap().members().count(), 0);
        assert_eq!(root.items().count(), 0);
    }

    #[test]
    fn raw_is_the_text_as_written() {
        let document = read(r#"{"a" : [1.50, "x\ny"] }"#);
        assert_eq!(document.root().get("a").unwrap().raw(), r#"[1.50, "x\ny"]"#);
        let text = document.root().get("a").unwrap().items().nth(1).unwrap();
        assert_eq!(text.raw(), r"x\ny");
        assert_eq!(text.string().as_deref(), Some("x\ny"));
    }

    #[test]
    fn what_it_holds_is_not_printed() {
        let document = read(r#"{"k": "secret"}"#);
        assert_eq!(format!("{document:?}"), "Document(15 bytes)");
        assert_eq!(format!("{:?}", document.root()), "Value(Object)");
    }
}
