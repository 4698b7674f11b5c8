//! A configuration like a filter's, and the wire form in which Envoy sends inline YAML.

#![allow(dead_code, reason = "each test file uses a part")]

use filter_core::config::fields::{Bounded, Count, DurationText, HeaderName, Name};
use filter_core::config::{Errors, Place, read};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Limits how often a client may do what.
#[derive(Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) struct RawConfig {
    /// Rules, in order.
    pub(crate) rules: Vec<RawRule>,
    /// Which of the matching rules count.
    #[serde(default)]
    pub(crate) apply: RawApply,
    /// Parts of the table.
    #[serde(default = "default_shards")]
    pub(crate) shards: Bounded<1, 64>,
}

fn default_shards() -> Bounded<1, 64> {
    Bounded::new(16).unwrap()
}

#[derive(Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RawApply {
    /// All that match.
    #[default]
    All,
    /// The first that matches.
    First,
}

#[derive(Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) struct RawRule {
    /// Shown in metrics.
    pub(crate) name: Name,
    /// What tells clients apart.
    #[serde(default)]
    pub(crate) key: Vec<RawKey>,
    /// All of them hold.
    pub(crate) limits: Vec<RawLimit>,
    /// Share of the keys | to enforce on.
    #[serde(default)]
    pub(crate) share: Option<f64>,
}

#[derive(Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) enum RawKey {
    ClientAddress,
    /// A header's value.
    Header(HeaderName),
    Path {
        /// Counted from 0.
        segment: u8,
    },
}

#[derive(Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) struct RawLimit {
    /// How many in the time.
    pub(crate) requests: Count,
    /// The time.
    pub(crate) per: DurationText,
    /// How many at once.
    #[serde(default)]
    pub(crate) burst: Option<Count>,
}

/// Reads bytes, with checks that serde can't make.
pub(crate) fn read_config(bytes: &[u8]) -> Result<RawConfig, Errors> {
    read(bytes, check)
}

fn check(raw: RawConfig, place: &Place<'_>) -> Option<RawConfig> {
    let rules = place.field("rules");
    if raw.rules.is_empty() {
        rules.refuse("at least one rule");
    }
    for (index, rule) in raw.rules.iter().enumerate() {
        let at = rules.index(index);
        if rule.limits.is_empty() {
            at.field("limits").refuse("at least one limit");
        }
        if raw
            .rules
            .iter()
            .take(index)
            .any(|other| other.name == rule.name)
        {
            at.field("name").refuse("a name that no other rule has");
        }
    }
    Some(raw)
}

/// Returns the errors that a configuration gives, as text, one a line.
pub(crate) fn errors(bytes: &[u8]) -> String {
    read_config(bytes).expect_err("refused").to_string()
}

/// Encodes an object as a `google.protobuf.Struct`.
pub(crate) fn encode(object: &Value) -> Vec<u8> {
    encode_as(object, false)
}

/// Encodes an object the way Envoy encodes inline YAML: numbers that are not 32-bit integers are
/// text.
pub(crate) fn encode_yaml(object: &Value) -> Vec<u8> {
    encode_as(object, true)
}

fn encode_as(object: &Value, yaml: bool) -> Vec<u8> {
    let fields = object.as_object().expect("an object").iter();
    let entries = fields.flat_map(|(key, value)| {
        let value = length_delimited(2, &encode_value(value, yaml));
        length_delimited(1, &[length_delimited(1, key.as_bytes()), value].concat())
    });
    entries.collect()
}

fn encode_value(value: &Value, yaml: bool) -> Vec<u8> {
    match value {
        Value::Null => vec![0x08, 0],
        Value::Number(number) if yaml && !number.as_i64().is_some_and(is_32_bit) => {
            length_delimited(3, number.to_string().as_bytes())
        }
        Value::Number(number) => [
            &[0x11][..],
            &number.as_f64().expect("a double").to_le_bytes(),
        ]
        .concat(),
        Value::String(text) => length_delimited(3, text.as_bytes()),
        Value::Bool(value) => vec![0x20, u8::from(*value)],
        Value::Object(_) => length_delimited(5, &encode_as(value, yaml)),
        Value::Array(items) => {
            let items = items
                .iter()
                .flat_map(|item| length_delimited(1, &encode_value(item, yaml)));
            length_delimited(6, &items.collect::<Vec<u8>>())
        }
    }
}

fn is_32_bit(number: i64) -> bool {
    i32::try_from(number).is_ok()
}

fn length_delimited(field: u8, bytes: &[u8]) -> Vec<u8> {
    let mut encoded = vec![field << 3 | 2];
    let mut length = bytes.len();
    while length > 0x7f {
        encoded.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    encoded.push(length as u8);
    encoded.extend_from_slice(bytes);
    encoded
}
