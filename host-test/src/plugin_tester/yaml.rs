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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value as Json};

    use super::super::generate::any_suite;
    use super::super::schema::SUITE;
    use super::*;

    /// A message as JSON, which is YAML too; `None` if it holds bytes that YAML can't carry.
    fn json(message: &Message) -> Option<Json> {
        let mut fields = Map::new();
        for field in message.fields() {
            let value = match (&field.value, field.kind.kind) {
                (Value::Bool(value), _) => (*value).into(),
                (Value::Bytes(bytes), _) => {
                    let text = std::str::from_utf8(bytes).ok()?;
                    let plain = |c: char| c == '\n' || c == '\t' || !c.is_control();
                    let kept = |c: char| plain(c) && !"\u{2028}\u{2029}\u{feff}".contains(c);
                    text.chars().all(kept).then(|| text.into())?
                }
                (Value::Message(message), _) => json(message)?,
                (Value::Number(number), Kind::Enum(names)) => {
                    (*names.get(usize::try_from(*number).ok()?)?).into()
                }
                // In quotes or not: both are numbers where a number is wanted.
                (Value::Number(number), _) if number % 2 == 0 => number.to_string().into(),
                (Value::Number(number), _) => i64::try_from(*number).ok()?.into(),
            };
            if field.kind.repeated {
                let list = fields
                    .entry(field.kind.name)
                    .or_insert_with(|| Json::Array(Vec::new()));
                list.as_array_mut()?.push(value);
            } else {
                fields.insert(field.kind.name.to_owned(), value);
            }
        }
        Some(fields.into())
    }

    /// The same fields, in the order of their names.
    fn sorted(message: &Message) -> Message {
        let mut fields: Vec<_> = message.fields().to_vec();
        fields.sort_by_key(|field| field.kind.name);
        let mut out = Message::new(message.kind, (1, 1));
        for field in fields {
            let value = match field.value {
                Value::Message(message) => Value::Message(sorted(&message)),
                other => other,
            };
            out.put(field.kind, (1, 1), value).unwrap();
        }
        out
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(message in any_suite()) {
            if let Some(json) = json(&message) {
                let read = parse(&json.to_string(), &SUITE);
                prop_assert_eq!(read.map(|read| sorted(&read)), Ok(sorted(&message)), "{}", json);
            }
        }
    }

    #[test]
    fn a_suite_is_told_from_a_scenario_by_its_top() {
        assert!(is_suite("# a comment\nenv:\n  log_level: INFO\n"));
        assert!(is_suite("test:\n- name: a\n"));
        assert!(!is_suite(
            "name: a\nplugins:\n- module: test.wasm\n  test: 1\n"
        ));
        assert!(!is_suite("tests: []\n"));
    }
}
