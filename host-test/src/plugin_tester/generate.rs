//! Messages of any content, for property tests of both readers.

use proptest::prelude::*;
use proptest::strategy::BoxedStrategy;

use super::message::{Message, Value};
use super::schema::{FieldType, Kind, MessageType, SUITE};

/// How deep generated messages are nested: to the fields of a header of an input.
const LEVELS: u32 = 5;

/// A message with some fields of its type.
fn any_message(kind: &'static MessageType, levels: u32) -> BoxedStrategy<Message> {
    let fields: Vec<BoxedStrategy<(&'static FieldType, Value)>> = kind
        .fields
        .iter()
        .filter(|field| levels > 0 || !matches!(field.kind, Kind::Message(_)))
        .map(|field| {
            any_value(field, levels)
                .prop_map(move |value| (field, value))
                .boxed()
        })
        .collect();
    if fields.is_empty() {
        return Just(Message::new(kind, (1, 1))).boxed();
    }
    prop::collection::vec(prop::strategy::Union::new(fields), 0..5)
        .prop_map(move |fields| {
            let mut message = Message::new(kind, (1, 1));
            for (field, value) in fields {
                // A second value of a field that takes one is left out.
                let _ = message.put(field, (1, 1), value);
            }
            message
        })
        .boxed()
}

fn any_value(field: &'static FieldType, levels: u32) -> BoxedStrategy<Value> {
    match field.kind {
        Kind::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Kind::Bytes => any::<Vec<u8>>().prop_map(Value::Bytes).boxed(),
        Kind::Text => any::<String>()
            .prop_map(|text| Value::Bytes(text.into_bytes()))
            .boxed(),
        Kind::Enum(names) => (0..names.len() as i128).prop_map(Value::Number).boxed(),
        Kind::Number(least, most) => (least..=most).prop_map(Value::Number).boxed(),
        Kind::Message(kind) => any_message(kind, levels - 1)
            .prop_map(Value::Message)
            .boxed(),
    }
}

/// A suite with any fields.
pub(super) fn any_suite() -> BoxedStrategy<Message> {
    any_message(&SUITE, LEVELS)
}
