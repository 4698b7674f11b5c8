//! The schema and the table that a filter's files are made of.

mod common;

use common::RawConfig;
use filter_core::config::document::{schema, table};
use serde_json::{Value, json};

#[test]
fn the_table_has_a_row_for_each_field_and_says_what_text_is_allowed() {
    let expected = r#"| Field | Type | Default | Description |
|---|---|---|---|
| `rules` | list of Rule | required | Rules, in order. |
| `rules[].name` | Name | required | Shown in metrics. |
| `rules[].key` | list of Key: `client_address` or `header` or `path` | none | What tells clients apart. |
| `rules[].key[].header` | HeaderName |  | A header's value. |
| `rules[].key[].path` | object |  |  |
| `rules[].key[].path.segment` | integer, 0 to 255 | required | Counted from 0. |
| `rules[].limits` | list of Limit | required | All of them hold. |
| `rules[].limits[].requests` | integer, 1 to 4294967295 | required | How many in the time. |
| `rules[].limits[].per` | Duration | required | The time. |
| `rules[].limits[].burst` | integer, 1 to 4294967295 | none | How many at once. |
| `rules[].share` | number | none | Share of the keys \| to enforce on. |
| `apply` | `all` or `first` | `"all"` | Which of the matching rules count. `all`: All that match. `first`: The first that matches. |
| `shards` | integer, 1 to 64 | `16` | Parts of the table. |

- Duration: a duration from "1ms" to "366d", such as "250ms", "10s", "1m", "1h" or "1d".
- HeaderName: a header's name, such as "x-api-key".
- Name: a name of 1 to 40 lower-case letters, digits and hyphens.
"#;
    assert_eq!(table::<RawConfig>(), expected);
}

#[test]
fn the_schema_is_of_the_2020_draft_and_allows_a_link_to_itself() {
    let text = schema::<RawConfig>("sample");
    assert!(text.ends_with("}\n"));
    let schema: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    assert_eq!(schema["title"], "sample");
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["properties"]["$schema"]["type"], "string");
    assert_eq!(
        schema["properties"]["rules"]["items"],
        json!({"$ref": "#/$defs/Rule"})
    );
    let names: Vec<&String> = schema["$defs"].as_object().unwrap().keys().collect();
    assert!(
        names.iter().all(|name| !name.starts_with("Raw")),
        "{names:?}"
    );
    assert!(!text.contains("Raw"));
}
