//! The JSON Schema of scenario files, and the schemas of values with a spelling of their own.
//!
//! `scenario.schema.json` is what editors load; the test below holds it to the model.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::callouts::{
    CalloutExpect, CalloutExpectFields, CalloutFields, CalloutReply, CalloutsExpect,
};
use super::matcher::{NumberMatch, TextMatch};
use super::model::{
    Advance, AdvanceFields, Expect, ExpectFields, LineFields, LineMatch, LogsExpect, Reply,
    ReplyFields, Request, RequestFields, UpstreamExpect, UpstreamFields,
};
use super::values::{HeaderLines, Span};

/// Gives a type its schema by hand.
macro_rules! schema_of {
    ($type:ty, $generator:ident => $schema:expr) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema($generator: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

schema_of!(TextMatch, generator => {
    let one = json_schema!({"anyOf": [
        {"type": "string"},
        {"type": "integer"},
        {"type": "boolean"},
        exact(),
        range(),
    ]});
    let _ = generator;
    json_schema!({
        "description": "A text, `~REGEX`, `absent`, `{exact: TEXT}`, `{min: N, max: N}`, or a \
                        list of these for the values of a repeated header.",
        "anyOf": [one.clone(), {"type": "array", "items": one}],
    })
});

schema_of!(NumberMatch, _generator => json_schema!({
    "description": "A whole number, `absent` or `{min: N, max: N}`.",
    "anyOf": [
        {"type": "integer", "minimum": 0},
        {"const": "absent"},
        range(),
    ],
}));

schema_of!(Span, _generator => json_schema!({
    "description": "A span of time: `250ms`, `60s`, `1m30s`, `2h`.",
    "type": "string",
    "pattern": "^([0-9]+(ms|s|m|h))+$",
}));

schema_of!(HeaderLines, _generator => {
    let value = json_schema!({"type": ["string", "integer", "boolean"]});
    json_schema!({
        "description": "Headers by name; a list of values for a repeated one.",
        "type": "object",
        "additionalProperties": {
            "anyOf": [value.clone(), {"type": "array", "items": value}],
        },
    })
});

schema_of!(Advance, generator => json_schema!({
    "description": "How much time passes; a span alone passes in one step.",
    "anyOf": [
        generator.subschema_for::<Span>(),
        generator.subschema_for::<AdvanceFields>(),
    ],
}));

schema_of!(Request, generator => json_schema!({
    "description": "A request: `METHOD /PATH`, or in full.",
    "anyOf": [
        {"type": "string", "pattern": "^([^ ]+ )?/"},
        generator.subschema_for::<RequestFields>(),
    ],
}));

schema_of!(Expect, generator => json_schema!({
    "description": "What must be seen of the request: a status, or in full.",
    "anyOf": [
        {"type": "integer"},
        generator.subschema_for::<ExpectFields>(),
    ],
}));

schema_of!(Reply, generator => json_schema!({
    "description": "An answer of the upstream: a status, `reset`, `never`, or in full.",
    "anyOf": [
        {"type": "integer"},
        {"enum": ["reset", "never"]},
        generator.subschema_for::<ReplyFields>(),
    ],
}));

schema_of!(CalloutReply, generator => json_schema!({
    "description": "An answer of a service: a status, `reset`, `refused` (no one listens), \
                    `no_host` (the cluster is empty), `never`, or in full.",
    "anyOf": [
        {"type": "integer"},
        {"enum": ["reset", "refused", "no_host", "never"]},
        generator.subschema_for::<CalloutFields>(),
    ],
}));

schema_of!(CalloutExpect, generator => json_schema!({
    "description": "A callout: its cluster, or in full.",
    "anyOf": [
        {"type": "string"},
        generator.subschema_for::<CalloutExpectFields>(),
    ],
}));

schema_of!(CalloutsExpect, generator => json_schema!({
    "description": "`none`, or callouts.",
    "anyOf": [
        {"const": "none"},
        generator.subschema_for::<CalloutExpectFields>(),
        {"type": "array", "items": generator.subschema_for::<CalloutExpect>()},
    ],
}));

schema_of!(UpstreamExpect, generator => json_schema!({
    "description": "The request as the upstream got it; `none` if it must not get any.",
    "anyOf": [
        {"const": "none"},
        generator.subschema_for::<UpstreamFields>(),
    ],
}));

schema_of!(LineMatch, generator => json_schema!({
    "description": "A log line: its message, or in full.",
    "anyOf": [
        {"type": "string"},
        generator.subschema_for::<LineFields>(),
    ],
}));

schema_of!(LogsExpect, generator => json_schema!({
    "description": "`none`, or log lines.",
    "anyOf": [
        {"const": "none"},
        generator.subschema_for::<LineFields>(),
        {"type": "array", "items": generator.subschema_for::<LineMatch>()},
    ],
}));

fn exact() -> Schema {
    json_schema!({
        "type": "object",
        "properties": {"exact": {"type": "string"}},
        "required": ["exact"],
        "additionalProperties": false,
    })
}

fn range() -> Schema {
    json_schema!({
        "type": "object",
        "properties": {
            "min": {"type": "integer", "minimum": 0},
            "max": {"type": "integer", "minimum": 0},
        },
        "minProperties": 1,
        "additionalProperties": false,
    })
}

/// Writes the schema anew if `PENSTOCK_UPDATE` is set.
#[test]
fn the_schema_in_the_repository_is_that_of_the_model() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/scenario.schema.json");
    let schema = schemars::schema_for!(super::Scenario);
    let text = format!("{:#}\n", schema.to_value());
    if std::env::var_os("PENSTOCK_UPDATE").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap();
    assert!(
        written == text,
        "run this test with PENSTOCK_UPDATE=1 to write {path} anew"
    );
}
