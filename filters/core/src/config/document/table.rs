//! A schema as a Markdown table, one row for each field.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// Where references to definitions begin.
const DEFINITIONS: &str = "#/$defs/";

/// Writes the table of a root schema and, below it, what its types of text allow.
pub(super) fn write(root: &Value) -> String {
    let mut table = Table {
        definitions: root.get("$defs").and_then(Value::as_object),
        rows: String::new(),
        seen: BTreeSet::new(),
        texts: BTreeMap::new(),
    };
    table.fields(root, "");
    let Table { rows, texts, .. } = table;
    let mut text = format!("| Field | Type | Default | Description |\n|---|---|---|---|\n{rows}");
    if !texts.is_empty() {
        text.push('\n');
    }
    for (name, allowed) in texts {
        text.push_str(&format!("- {name}: {allowed}.\n"));
    }
    text
}

struct Table<'a> {
    definitions: Option<&'a Map<String, Value>>,
    rows: String,
    /// Definitions with fields whose rows are there.
    seen: BTreeSet<&'a str>,
    /// Types of text, by name: what they allow.
    texts: BTreeMap<&'a str, &'a str>,
}

/// One field of an object, or one variant with a value.
struct Field<'a> {
    default: String,
    path: String,
    schema: &'a Value,
    /// Description of its own, before that of its type.
    text: Option<&'a str>,
}

impl<'a> Table<'a> {
    /// Adds the rows of an object's fields.
    fn fields(&mut self, object: &'a Value, path: &str) {
        let required = items(object, "required");
        for (name, schema) in object
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            let path = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            let default = match schema.get("default") {
                Some(Value::Null) => "none".to_owned(),
                Some(value) => format!("`{value}`"),
                None if required.iter().any(|item| item == name) => "required".to_owned(),
                None => "none".to_owned(),
            };
            self.field(Field {
                default,
                path,
                schema,
                text: text_of(schema),
            });
        }
    }

    /// Adds a field's row and, below it, those of what is in it.
    fn field(&mut self, field: Field<'a>) {
        let Field {
            default,
            path,
            schema,
            text,
        } = field;
        // The row comes before those of its content, which are found with its type.
        let content = std::mem::take(&mut self.rows);
        let kind = self.kind(schema, &path);
        let below = std::mem::replace(&mut self.rows, content);
        let variants = self.variant_texts(schema);
        let text: Vec<&str> = text
            .into_iter()
            .chain(variants.iter().map(String::as_str))
            .collect();
        let (kind, text) = (cell(&kind), cell(&text.join(" ")));
        self.rows.push_str(&format!(
            "| `{path}` | {kind} | {} | {text} |\n",
            cell(&default)
        ));
        self.rows.push_str(&below);
    }

    /// Says of which type a schema is; adds the rows of what is in it.
    fn kind(&mut self, schema: &'a Value, path: &str) -> String {
        if let Some(name) = reference(schema) {
            return self.named(name, path);
        }
        if let Some(only) = without_null(schema) {
            return self.kind(only, path);
        }
        if schema.get("oneOf").is_some() {
            return self.choice(schema, path);
        }
        if let Some(choices) = schema.get("enum").and_then(Value::as_array) {
            return quoted(choices.iter()).join(" or ");
        }
        match types(schema).first().copied() {
            Some("array") => match schema.get("items") {
                Some(items) => format!("list of {}", self.kind(items, &format!("{path}[]"))),
                None => "list".to_owned(),
            },
            Some("boolean") => "true or false".to_owned(),
            Some("integer") => match (schema.get("minimum"), schema.get("maximum")) {
                (Some(least), Some(most)) => format!("integer, {least} to {most}"),
                (Some(least), None) => format!("integer, at least {least}"),
                _ => "integer".to_owned(),
            },
            Some("object") => {
                self.fields(schema, path);
                match schema
                    .get("additionalProperties")
                    .filter(|schema| schema.is_object())
                {
                    Some(values) => {
                        format!("map to {}", self.kind(values, &format!("{path}.*")))
                    }
                    None => "object".to_owned(),
                }
            }
            Some("string") => "text".to_owned(),
            Some(other) => other.to_owned(),
            None => "any".to_owned(),
        }
    }

    /// Says which definition a type is, and adds its rows the first time.
    fn named(&mut self, name: &'a str, path: &str) -> String {
        let Some(schema) = self.definition(name) else {
            return name.to_owned();
        };
        let with_value = |variant: &Value| variant.get("properties").is_some();
        let is_choice = items(schema, "oneOf").iter().any(with_value);
        if is_choice || with_value(schema) {
            if !self.seen.insert(name) {
                return name.to_owned();
            }
            let kind = self.kind(schema, path);
            return if is_choice {
                format!("{name}: {kind}")
            } else {
                name.to_owned()
            };
        }
        let is_text = types(schema).contains(&"string") && schema.get("enum").is_none();
        match text_of(schema).filter(|_| is_text) {
            Some(allowed) => {
                self.texts.insert(name, allowed);
                name.to_owned()
            }
            None => self.kind(schema, path),
        }
    }

    /// Says what an enum's variants are; adds rows for those with a value.
    fn choice(&mut self, schema: &'a Value, path: &str) -> String {
        let mut names = Vec::new();
        for variant in items(schema, "oneOf") {
            names.extend(plain_names(variant));
            for (name, content) in variant
                .get("properties")
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
            {
                names.push(format!("`{name}`"));
                let text = text_of(variant);
                let (default, path) = (String::new(), format!("{path}.{name}"));
                self.field(Field {
                    default,
                    path,
                    schema: content,
                    text,
                });
            }
        }
        names.join(" or ")
    }

    /// Describes the variants without a value that have a description.
    fn variant_texts(&self, schema: &Value) -> Vec<String> {
        let schema = without_null(schema).unwrap_or(schema);
        let schema = schema.get("items").unwrap_or(schema);
        let schema = reference(schema)
            .and_then(|name| self.definition(name))
            .unwrap_or(schema);
        let described = items(schema, "oneOf").iter().filter_map(|variant| {
            let name = plain_names(variant).pop()?;
            Some(format!("{name}: {}", text_of(variant)?))
        });
        described.collect()
    }

    fn definition(&self, name: &str) -> Option<&'a Value> {
        self.definitions?.get(name)
    }
}

/// Returns the names of the variants without a value that a schema stands for.
fn plain_names(variant: &Value) -> Vec<String> {
    quoted(items(variant, "enum").iter().chain(variant.get("const")))
}

fn quoted<'v>(values: impl Iterator<Item = &'v Value>) -> Vec<String> {
    values
        .filter_map(Value::as_str)
        .map(|name| format!("`{name}`"))
        .collect()
}

fn items<'v>(schema: &'v Value, key: &str) -> &'v [Value] {
    schema
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn text_of(schema: &Value) -> Option<&str> {
    schema.get("description").and_then(Value::as_str)
}

fn reference(schema: &Value) -> Option<&str> {
    schema.get("$ref")?.as_str()?.strip_prefix(DEFINITIONS)
}

/// Returns what an optional type is when it is there.
fn without_null(schema: &Value) -> Option<&Value> {
    let null = |schema: &&Value| types(schema) == ["null"];
    let choices = items(schema, "anyOf");
    choices.iter().find(null)?;
    choices.iter().find(|choice| !null(choice))
}

/// Returns the types of a schema, without null unless it is the only one.
fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::Array(types)) => types
            .iter()
            .filter_map(Value::as_str)
            .filter(|name| *name != "null")
            .collect(),
        Some(Value::String(name)) => vec![name],
        _ => Vec::new(),
    }
}

/// Makes a text fit into a cell.
fn cell(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}
