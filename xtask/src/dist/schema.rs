//! JSON Schema 2020-12 for readers that know no references: Kong's and OpenAPI's.

use serde_json::{Map, Value, json};

const REFERENCE: &str = "$ref";

/// Returns the schema with its definitions in the places that refer to them. One that refers to itself
/// becomes anything there: an endless schema can't be written down.
pub(super) fn inlined(schema: &Value) -> Value {
    let definitions = &schema["$defs"];
    let mut copy = schema.clone();
    if let Some(fields) = copy.as_object_mut() {
        for field in ["$defs", "$schema", "$id"] {
            fields.remove(field);
        }
    }
    replace(&copy, definitions, &mut Vec::new())
}

fn replace(value: &Value, definitions: &Value, open: &mut Vec<String>) -> Value {
    match value {
        Value::Array(items) => {
            let items = items.iter().map(|item| replace(item, definitions, open));
            Value::Array(items.collect())
        }
        Value::Object(fields) => match fields.get(REFERENCE).and_then(Value::as_str) {
            Some(reference) => resolve(reference, fields, definitions, open),
            None => {
                let fields = fields
                    .iter()
                    .map(|(name, field)| (name.clone(), replace(field, definitions, open)));
                Value::Object(fields.collect())
            }
        },
        simple => simple.clone(),
    }
}

fn resolve(
    reference: &str,
    beside: &Map<String, Value>,
    definitions: &Value,
    open: &mut Vec<String>,
) -> Value {
    let name = reference.rsplit('/').next().unwrap_or_default();
    if open.iter().any(|outer| outer == name) {
        return json!({});
    }
    open.push(name.to_owned());
    let mut resolved = replace(&definitions[name], definitions, open);
    open.pop();
    // What stands beside a reference, such as a description, is about this place.
    if let Some(fields) = resolved.as_object_mut() {
        for (name, field) in beside.iter().filter(|(name, _)| *name != REFERENCE) {
            fields.insert(name.clone(), field.clone());
        }
    }
    resolved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_become_what_they_refer_to_and_keep_what_stands_beside_them() {
        let schema = json!({
            "properties": {
                "per": { "$ref": "#/$defs/Duration", "description": "The window." },
            },
            "$defs": { "Duration": { "type": "string", "description": "A duration." } },
        });
        let expected = json!({
            "properties": { "per": { "type": "string", "description": "The window." } },
        });
        assert_eq!(inlined(&schema), expected);
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let schema = json!({
            "$ref": "#/$defs/Condition",
            "$defs": { "Condition": { "properties": { "not": { "$ref": "#/$defs/Condition" } } } },
        });
        assert_eq!(inlined(&schema), json!({ "properties": { "not": {} } }));
    }

    #[test]
    fn no_reference_is_left_in_the_schemas_of_the_filters() {
        let filters = concat!(env!("CARGO_MANIFEST_DIR"), "/../filters");
        let mut seen = 0;
        for folder in std::fs::read_dir(filters).expect("the filters") {
            let file = folder.expect("a folder").path().join("schema.json");
            let Ok(text) = std::fs::read(&file) else {
                continue;
            };
            let schema: Value = serde_json::from_slice(&text).expect("JSON");
            let text = inlined(&schema).to_string();
            assert!(!text.contains(REFERENCE), "{}", file.display());
            seen += 1;
        }
        assert!(seen > 1, "{seen} schemas");
    }
}
