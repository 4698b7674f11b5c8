//! A message of a suite file, read and checked against its type, whose fields know their place.

use super::schema::{FieldType, Kind, MessageType};
use crate::bootstrap::nearest;

/// Line and column, both from 1.
pub(super) type Place = (u64, u64);

/// Something wrong at a place of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) at: Place,
    pub(super) cause: String,
}

impl Mistake {
    pub(super) fn new(at: Place, cause: impl Into<String>) -> Self {
        Self {
            at,
            cause: cause.into(),
        }
    }
}

/// A message.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) kind: &'static MessageType,
    pub(super) at: Place,
    fields: Vec<Field>,
}

/// A field that was given.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) kind: &'static FieldType,
    pub(super) value: Value,
    /// Where its name stands.
    pub(super) at: Place,
}

/// What a field holds. A number is also a choice of an enumeration, bytes also a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Bool(bool),
    Bytes(Vec<u8>),
    Message(Message),
    Number(i128),
}

impl Message {
    pub(super) fn new(kind: &'static MessageType, at: Place) -> Self {
        Self {
            kind,
            at,
            fields: Vec::new(),
        }
    }

    /// The type of a field by its name; an unknown one is a mistake.
    pub(super) fn field_type(&self, name: &str, at: Place) -> Result<&'static FieldType, Mistake> {
        self.kind.field(name).ok_or_else(|| {
            let names: Vec<&str> = self.kind.fields.iter().map(|field| field.name).collect();
            let known = names.join("`, `");
            let cause = match nearest(name, &names) {
                Some(meant) => format!(
                    "{} has no field `{name}`, did you mean `{meant}`? Known: `{known}`",
                    self.kind.name
                ),
                None => format!("{} has no field `{name}`; known: `{known}`", self.kind.name),
            };
            Mistake::new(at, cause)
        })
    }

    /// Adds a field, which may be there once unless it is repeated.
    pub(super) fn put(
        &mut self,
        kind: &'static FieldType,
        at: Place,
        value: Value,
    ) -> Result<(), Mistake> {
        for field in &self.fields {
            let (line, column) = field.at;
            if field.kind.name == kind.name && !kind.repeated {
                let cause = format!("`{}` was already given at {line}:{column}", kind.name);
                return Err(Mistake::new(at, cause));
            }
            if kind.oneof.is_some()
                && field.kind.oneof == kind.oneof
                && field.kind.name != kind.name
            {
                let cause = format!(
                    "`{}` can't be given beside `{}` at {line}:{column}",
                    kind.name, field.kind.name
                );
                return Err(Mistake::new(at, cause));
            }
        }
        self.fields.push(Field { kind, value, at });
        Ok(())
    }

    /// The fields in the order in which they were given.
    pub(super) fn fields(&self) -> &[Field] {
        &self.fields
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &Field> {
        debug_assert!(self.kind.field(name).is_some(), "{name}");
        self.fields
            .iter()
            .filter(move |field| field.kind.name == name)
    }

    /// The messages of a repeated field.
    pub(super) fn messages(&self, name: &str) -> impl Iterator<Item = &Self> {
        self.all(name).filter_map(|field| match &field.value {
            Value::Message(message) => Some(message),
            _ => None,
        })
    }

    /// The message of a field.
    pub(super) fn message(&self, name: &str) -> Option<&Self> {
        self.messages(name).next()
    }

    /// The bytes of a field.
    pub(super) fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.all(name).find_map(|field| match &field.value {
            Value::Bytes(bytes) => Some(bytes.as_slice()),
            _ => None,
        })
    }

    /// The text of a field; empty if it isn't there, as in proto3.
    pub(super) fn text(&self, name: &str) -> String {
        let bytes = self.bytes(name).unwrap_or_default();
        String::from_utf8_lossy(bytes).into_owned()
    }

    /// The number of a field.
    pub(super) fn number<N: TryFrom<i128>>(&self, name: &str) -> Option<N> {
        self.all(name).find_map(|field| match field.value {
            Value::Number(number) => number.try_into().ok(),
            _ => None,
        })
    }

    /// Whether a field is there and true.
    pub(super) fn is_true(&self, name: &str) -> bool {
        self.all(name).any(|field| field.value == Value::Bool(true))
    }
}

/// Equal if they say the same, wherever it stands.
impl PartialEq for Message {
    fn eq(&self, other: &Self) -> bool {
        let same = |(a, b): (&Field, &Field)| a.kind.name == b.kind.name && a.value == b.value;
        std::ptr::eq(self.kind, other.kind)
            && self.fields.len() == other.fields.len()
            && self.fields.iter().zip(&other.fields).all(same)
    }
}

impl Eq for Message {}

/// Reads what is written for a scalar field as its type wants it. `quoted` tells a text from a word.
pub(super) fn scalar(kind: Kind, text: &[u8], quoted: bool, at: Place) -> Result<Value, Mistake> {
    let shown = String::from_utf8_lossy(text);
    let wrong = |what: &str| {
        let found = if quoted {
            format!("{shown:?}")
        } else {
            format!("`{shown}`")
        };
        Err(Mistake::new(at, format!("found {found}, expected {what}")))
    };
    match kind {
        Kind::Bool if quoted => wrong("true or false"),
        Kind::Bool => match text {
            b"true" | b"True" | b"t" | b"1" => Ok(Value::Bool(true)),
            b"false" | b"False" | b"f" | b"0" => Ok(Value::Bool(false)),
            _ => wrong("true or false"),
        },
        Kind::Bytes | Kind::Text if !quoted => wrong("a text in quotes"),
        Kind::Text if std::str::from_utf8(text).is_err() => {
            Err(Mistake::new(at, "this text must be UTF-8"))
        }
        Kind::Bytes | Kind::Text => Ok(Value::Bytes(text.to_vec())),
        Kind::Enum(names) => {
            let named = names.iter().position(|name| name.as_bytes() == text);
            let numbered =
                number(&shown).filter(|number| (0..names.len() as i128).contains(number));
            match named
                .and_then(|index| i128::try_from(index).ok())
                .or(numbered)
            {
                Some(number) if !quoted => Ok(Value::Number(number)),
                _ => {
                    let hint = nearest(&shown, names)
                        .map(|near| format!(", did you mean {near}"))
                        .unwrap_or_default();
                    wrong(&format!("one of {}{hint}", names.join(", ")))
                }
            }
        }
        Kind::Number(least, most) => match number(&shown) {
            Some(number) if !quoted && (least..=most).contains(&number) => {
                Ok(Value::Number(number))
            }
            _ => wrong(&format!("a whole number from {least} to {most}")),
        },
        Kind::Message(kind) => wrong(&format!("the fields of {} in braces", kind.name)),
    }
}

/// A whole number: decimal, octal with a leading 0, or hexadecimal with 0x.
fn number(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let magnitude = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => i128::from_str_radix(digits.get(2..)?, 16),
        [b'0', _, ..] => i128::from_str_radix(digits.get(1..)?, 8),
        _ => digits.parse(),
    };
    magnitude.ok().map(|n| if negative { -n } else { n })
}
