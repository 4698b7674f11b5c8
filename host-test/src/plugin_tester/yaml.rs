//! Reads the YAML form of a suite.
//!
//! Its names and structure are those of the messages. A scalar is what its field wants, in quotes or
//! not: `invert: 'true'` and `value: 200` are both fine. A single item may stand for a list of it.

use super::message::{Message, Mistake, Place, Value, scalar};
use super::schema::{FieldType, Kind, MessageType};
use crate::bootstrap::yaml::{self, Node};
use crate::bootstrap::{self, Problem};

/// Reads a whole document as a message of that type.
pub(super) fn parse(text: &str, kind: &'static MessageType) -> Result<Message, Mistake> {
    let root = yaml::parse(text)
        .map_err(|Problem { at, message, .. }| Mistake::new(place(at), message))?;
    message(&root, kind)
}

fn place(at: bootstrap::Place) -> Place {
    let number = |n| u64::try_from(n).unwrap_or(u64::MAX);
    (number(at.line), number(at.column))
}

fn message(node: &Node, kind: &'static MessageType) -> Result<Message, Mistake> {
    let at = place(node.at);
    let yaml::Value::Mapping(entries) = &node.value else {
        let cause = format!(
            "found {}, expected the fields of {}",
            node.kind(),
            kind.name
        );
        return Err(Mistake::new(at, cause));
    };
    let mut message = Message::new(kind, at);
    for entry in entries {
        let key_at = place(entry.key_at);
        let field = message.field_type(&entry.key, key_at)?;
        if entry.value.is_null() {
            continue;
        }
        match &entry.value.value {
            yaml::Value::Sequence(items) if field.repeated => {
                for item in items {
                    message.put(field, place(item.at), value(item, field)?)?;
                }
            }
            _ => message.put(field, key_at, value(&entry.value, field)?)?,
        }
    }
    Ok(message)
}

fn value(node: &Node, field: &'static FieldType) -> Result<Value, Mistake> {
    if let Kind::Message(kind) = field.kind {
        return message(node, kind).map(Value::Message);
    }
    let at = place(node.at);
    let yaml::Value::Scalar(written) = &node.value else {
        let cause = format!(
            "found {}, expected a value for `{}`",
            node.kind(),
            field.name
        );
        return Err(Mistake::new(at, cause));
    };
    let text = written.text.as_str();
    match field.kind {
        Kind::Bytes | Kind::Text => scalar(field.kind, text.as_bytes(), true, at),
        Kind::Bool => scalar(field.kind, text.to_ascii_lowercase().as_bytes(), false, at),
        Kind::Enum(_) => scalar(field.kind, text.to_ascii_uppercase().as_bytes(), false, at),
        Kind::Number(..) | Kind::Message(_) => scalar(field.kind, text.as_bytes(), false, at),
    }
}

/// Whether a YAML document seems to be a suite: it begins with `env` or `test`, and a scenario has
/// neither.
pub(super) fn is_suite(text: &str) -> bool {
    text.lines()
        .filter(|line| !line.starts_with(['#', ' ', '\t', '-', '%']))
        .filter_map(|line| line.split_once(':'))
        .any(|(key, _)| matches!(key.trim(), "env" | "test"))
}
