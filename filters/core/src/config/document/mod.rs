//! The JSON Schema and the README's table of a filter's configuration, out of its raw structs.
//!
//! Native only: tests compare both with the checked-in files, and rewrite these with `UPDATE=1`.
//! Doc comments are the descriptions, serde's attributes say what is required. A default appears
//! where the field's type implements `Serialize`.

mod file;
mod table;

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Value, json};

pub use file::check_or_update;

/// Prefix of raw structs' names, which means nothing to users.
const RAW: &str = "Raw";

/// Returns the JSON Schema (draft 2020-12) of a raw configuration, as text.
pub fn schema<R: JsonSchema>(title: &str) -> String {
    let mut schema = value::<R>();
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".to_owned(), title.into());
        let link = json!({"description": "Link to this schema, for editors.", "type": "string"});
        if let Some(properties) = root.get_mut("properties").and_then(Value::as_object_mut) {
            properties.insert("$schema".to_owned(), link);
        }
    }
    format!("{schema:#}\n")
}

/// Returns a Markdown table of all fields of a raw configuration, and a list of the types of text
/// in it.
pub fn table<R: JsonSchema>() -> String {
    table::write(&value::<R>())
}

fn value<R: JsonSchema>() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    without_raw(generator.into_root_schema_for::<R>().to_value())
}

/// Takes the prefix off the names of definitions, and off the references to them.
fn without_raw(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(without_raw).collect(),
        Value::Object(members) => {
            let members = members
                .into_iter()
                .map(|(key, value)| match (key.as_str(), value) {
                    ("$ref", Value::String(link)) => {
                        let link = link.replace(&format!("/{RAW}"), "/");
                        (key, Value::String(link))
                    }
                    ("$defs", Value::Object(types)) => {
                        let types = types.into_iter().map(|(name, schema)| {
                            (name.trim_start_matches(RAW).to_owned(), without_raw(schema))
                        });
                        (key, Value::Object(types.collect()))
                    }
                    (_, value) => (key, without_raw(value)),
                });
            Value::Object(members.collect())
        }
        value => value,
    }
}
