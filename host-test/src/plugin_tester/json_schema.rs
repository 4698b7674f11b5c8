//! The JSON Schema of the YAML form, for editors, made from the table of fields.

use serde_json::{Map, Value, json};

use super::schema::{FieldType, Kind, MessageType, SUITE};

fn document() -> Value {
    let mut definitions = Map::new();
    let mut root = object(&SUITE, &mut definitions);
    root["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    root["title"] = "A suite of Google's plugin tester, in YAML".into();
    root["$defs"] = definitions.into();
    root
}

fn object(kind: &MessageType, definitions: &mut Map<String, Value>) -> Value {
    let mut properties = Map::new();
    for field in kind.fields {
        let mut value = scalar(field, definitions);
        if field.repeated {
            value = json!({"anyOf": [{"type": "array", "items": value.clone()}, value]});
        }
        value["description"] = field.doc.into();
        properties.insert(field.name.to_owned(), value);
    }
    json!({"type": "object", "additionalProperties": false, "properties": properties})
}

fn scalar(field: &FieldType, definitions: &mut Map<String, Value>) -> Value {
    match field.kind {
        Kind::Bool => json!({"enum": [true, false, "true", "false"]}),
        Kind::Bytes | Kind::Text => json!({"type": ["string", "number", "boolean"]}),
        Kind::Enum(names) => json!({"enum": names}),
        Kind::Number(least, _) => json!({
            "anyOf": [
                {"type": "integer", "minimum": i64::try_from(least).unwrap_or(i64::MIN)},
                {"type": "string", "pattern": "^-?[0-9]+$"},
            ],
        }),
        Kind::Message(kind) => {
            if !definitions.contains_key(kind.name) {
                definitions.insert(kind.name.to_owned(), Value::Null);
                let object = object(kind, definitions);
                definitions.insert(kind.name.to_owned(), object);
            }
            json!({"$ref": format!("#/$defs/{}", kind.name)})
        }
    }
}

/// Writes the schema anew if `PENSTOCK_UPDATE` is set.
#[test]
fn the_file_that_editors_load_is_that_of_the_fields() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/plugin-tester.schema.json");
    let schema = format!("{:#}\n", document());
    if std::env::var_os("PENSTOCK_UPDATE").is_some() {
        std::fs::write(path, &schema).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(path).unwrap(),
        schema,
        "run this test with PENSTOCK_UPDATE=1 to write {path} anew"
    );
}
