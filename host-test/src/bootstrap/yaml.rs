//! A YAML document as a tree whose nodes know their place.
//!
//! Deserializing with serde would stop at the first mistake and lose how a scalar was written, but
//! Envoy's meaning of a plain scalar depends on just that (`n` is a boolean, `"n"` is a string), and
//! a file with three mistakes should be answered with three messages.

use std::collections::HashMap;

use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, Span};

use super::problem::{Place, Problem};

/// More nodes than any bootstrap has: a bound for documents that multiply aliases.
const MAX_NODES: usize = 200_000;

/// A node of the document.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) at: Place,
    pub(crate) value: Value,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Mapping(Vec<Entry>),
    Scalar(Scalar),
    Sequence(Vec<Node>),
}

/// A key and its value, in the order of the document.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_at: Place,
    pub(crate) value: Node,
}

/// A scalar as written.
#[derive(Clone, Debug)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    /// Written without quotes and not as a block, so that it may mean more than a string.
    pub(crate) plain: bool,
}

/// What a scalar means to Envoy, whose YAML reader knows no floats: they stay text until a field
/// asks for a number.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Meaning<'a> {
    Bool(bool),
    Integer(i64),
    Null,
    Text(&'a str),
}

impl Node {
    /// Whether the node is a plain `null`, `~` or nothing at all: Envoy treats such a field as
    /// absent.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.meaning() == Meaning::Null)
    }

    /// The node as JSON, as Envoy's loader understands it.
    pub(crate) fn json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match &self.value {
            Value::Mapping(entries) => {
                let member = |entry: &Entry| (entry.key.clone(), entry.value.json());
                Json::Object(entries.iter().map(member).collect())
            }
            Value::Sequence(items) => Json::Array(items.iter().map(Self::json).collect()),
            Value::Scalar(scalar) => match scalar.meaning() {
                Meaning::Bool(value) => value.into(),
                Meaning::Integer(value) => value.into(),
                Meaning::Null => Json::Null,
                Meaning::Text(text) => text.into(),
            },
        }
    }

    /// Names the kind of the node for a message.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Mapping(_) => "a mapping",
            Value::Sequence(_) => "a list",
            Value::Scalar(scalar) => match scalar.meaning() {
                Meaning::Bool(_) => "a boolean",
                Meaning::Integer(_) => "an integer",
                Meaning::Null => "null",
                Meaning::Text(_) => "a string",
            },
        }
    }
}

impl Scalar {
    /// Reads the scalar as Envoy's YAML loader (yaml-cpp) does.
    pub(crate) fn meaning(&self) -> Meaning<'_> {
        let text = self.text.as_str();
        if !self.plain {
            return Meaning::Text(text);
        }
        if matches!(text, "" | "~" | "null" | "Null" | "NULL") {
            return Meaning::Null;
        }
        if let Some(value) = boolean(text) {
            return Meaning::Bool(value);
        }
        integer(text).map_or(Meaning::Text(text), Meaning::Integer)
    }
}

/// Reads a YAML 1.1 boolean, in lower case, upper case or capitalised.
fn boolean(text: &str) -> Option<bool> {
    let rest = text.get(1..)?;
    let uniform = text.bytes().all(|b| b.is_ascii_uppercase())
        || rest.bytes().all(|b| b.is_ascii_lowercase());
    if !uniform {
        return None;
    }
    match text.to_ascii_lowercase().as_str() {
        "y" | "yes" | "true" | "on" => Some(true),
        "n" | "no" | "false" | "off" => Some(false),
        _ => None,
    }
}

/// Reads an integer in decimal, `0x` hexadecimal or `0` octal notation.
fn integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let magnitude = i128::from_str_radix(digits, radix).ok()?;
    i64::try_from(if negative { -magnitude } else { magnitude }).ok()
}

/// Parses the one document of a file.
pub(crate) fn parse(source: &str) -> Result<Node, Problem> {
    let mut builder = Builder {
        events: Parser::new_from_str(source),
        anchors: HashMap::new(),
        nodes: 0,
    };
    loop {
        let (event, span) = builder.next()?;
        match event {
            Event::StreamStart | Event::DocumentStart(..) => {}
            Event::StreamEnd => {
                return Err(Problem::malformed(
                    place(&span),
                    "the file holds no document",
                ));
            }
            event => {
                let root = builder.node(event, &span)?;
                builder.end()?;
                return Ok(root);
            }
        }
    }
}

struct Builder<'s> {
    events: Parser<'s, serde_saphyr::granit_parser::StrInput<'s>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl<'s> Builder<'s> {
    /// The next event that isn't a comment.
    fn next(&mut self) -> Result<(Event<'s>, Span), Problem> {
        match self.events.next() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => {
                let mark = error.marker();
                let at = Place::new(mark.line(), mark.col() + 1, 1);
                Err(Problem::malformed(at, error.info()))
            }
            None => Err(Problem::malformed(
                Place::default(),
                "the file ends in the middle of a document",
            )),
        }
    }

    fn node(&mut self, event: Event<'s>, span: &Span) -> Result<Node, Problem> {
        let at = place(span);
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(Problem::malformed(at, "the document has too many nodes"));
        }
        let (anchor, value) = match event {
            Event::Alias(anchor) => {
                let Some(target) = self.anchors.get(&anchor).cloned() else {
                    return Err(Problem::malformed(at, "an alias inside of its own anchor"));
                };
                self.nodes += weight(&target);
                return Ok(target);
            }
            Event::Scalar(text, style, anchor, _) => {
                let plain = matches!(style, ScalarStyle::Plain);
                let text = text.into_owned();
                (anchor, Value::Scalar(Scalar { text, plain }))
            }
            Event::SequenceStart(_, anchor, _) => (anchor, self.sequence()?),
            Event::MappingStart(_, anchor, _) => (anchor, self.mapping()?),
            _ => return Err(Problem::malformed(at, "expected a value")),
        };
        let node = Node { at, value };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn sequence(&mut self) -> Result<Value, Problem> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Value::Sequence(items));
            }
            items.push(self.node(event, &span)?);
        }
    }

    fn mapping(&mut self) -> Result<Value, Problem> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(Value::Mapping(entries));
            }
            let key_at = place(&span);
            let Event::Scalar(key, ..) = event else {
                return Err(Problem::malformed(key_at, "a key must be a plain word"));
            };
            if let Some(first) = entries.iter().find(|entry| entry.key == *key) {
                return Err(Problem::malformed(
                    key_at,
                    format!("`{key}` was already given on line {}", first.key_at.line),
                ));
            }
            let key = key.into_owned();
            let (event, span) = self.next()?;
            let value = self.node(event, &span)?;
            entries.push(Entry { key, key_at, value });
        }
    }

    /// Refuses a second document.
    fn end(&mut self) -> Result<(), Problem> {
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::DocumentStart(..) => {
                    let message = "a second document; there can be only one";
                    return Err(Problem::malformed(place(&span), message));
                }
                Event::StreamEnd => return Ok(()),
                _ => {}
            }
        }
    }
}

/// The number of nodes below and including a node.
fn weight(node: &Node) -> usize {
    1 + match &node.value {
        Value::Scalar(_) => 0,
        Value::Sequence(items) => items.iter().map(weight).sum(),
        Value::Mapping(entries) => entries.iter().map(|entry| weight(&entry.value)).sum(),
    }
}

/// The place of a span; its length counts within the first line.
fn place(span: &Span) -> Place {
    let length = if span.start.line() == span.end.line() {
        span.end.col().saturating_sub(span.start.col())
    } else {
        1
    };
    Place::new(span.start.line(), span.start.col() + 1, length.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Scalar {
        Scalar {
            text: text.into(),
            plain: true,
        }
    }

    #[test]
    fn plain_scalars_mean_what_envoy_takes_them_for() {
        for (text, meaning) in [
            ("n", Meaning::Bool(false)),
            ("Yes", Meaning::Bool(true)),
            ("ON", Meaning::Bool(true)),
            ("oN", Meaning::Text("oN")),
            ("~", Meaning::Null),
            ("", Meaning::Null),
            ("010", Meaning::Integer(8)),
            ("0x10", Meaning::Integer(16)),
            ("0", Meaning::Integer(0)),
            ("-7", Meaning::Integer(-7)),
            ("08", Meaning::Text("08")),
            ("1.5", Meaning::Text("1.5")),
            ("1e3", Meaning::Text("1e3")),
            ("9223372036854775808", Meaning::Text("9223372036854775808")),
            ("0.25s", Meaning::Text("0.25s")),
            ("--5", Meaning::Text("--5")),
        ] {
            assert_eq!(plain(text).meaning(), meaning, "{text}");
        }
    }

    #[test]
    fn quoted_scalars_are_strings() {
        let quoted = Scalar {
            text: "no".into(),
            plain: false,
        };
        assert_eq!(quoted.meaning(), Meaning::Text("no"));
    }

    #[test]
    fn a_key_given_twice_is_refused_with_the_line_of_the_first() {
        let problem = parse("a: 1\nb: 2\na: 3\n").unwrap_err();
        assert_eq!(problem.message, "`a` was already given on line 1");
        assert_eq!((problem.at.line, problem.at.column), (3, 1));
    }

    #[test]
    fn aliases_repeat_their_anchor() {
        let root = parse("a: &x {b: 1}\nc: *x\n").unwrap();
        let Value::Mapping(entries) = root.value else {
            panic!("a mapping")
        };
        let Value::Mapping(inner) = &entries[1].value.value else {
            panic!("a mapping")
        };
        assert_eq!(inner[0].key, "b");
    }

    #[test]
    fn multiplied_aliases_are_stopped() {
        let mut source = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for level in 1..9 {
            let alias = vec![format!("*a{}", level - 1); 10].join(",");
            source += &format!("a{level}: &a{level} [{alias}]\n");
        }
        let problem = parse(&source).unwrap_err();
        assert_eq!(problem.message, "the document has too many nodes");
    }

    #[test]
    fn a_second_document_is_refused() {
        assert!(parse("a: 1\n---\nb: 2\n").is_err());
        assert!(parse("").is_err());
    }
}
