//! Reading of configurations: what is accepted, and every error that a user can get.

use filter_core::config::fields::{Bounded, Count, DurationText, HeaderName, Name};
use filter_core::config::{Errors, Place, read};
use serde::Deserialize;

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
struct RawConfig {
    rules: Vec<RawRule>,
    #[serde(default)]
    apply: RawApply,
    shards: Option<Bounded<1, 64>>,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum RawApply {
    #[default]
    All,
    First,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
struct RawRule {
    name: Name,
    #[serde(default)]
    key: Vec<RawKey>,
    limits: Vec<RawLimit>,
    #[serde(default)]
    share: Option<f64>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum RawKey {
    ClientAddress,
    Header(HeaderName),
    Path { segment: u8 },
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
struct RawLimit {
    requests: Count,
    per: DurationText,
    #[serde(default)]
    burst: Option<Count>,
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

fn errors(text: &str) -> String {
    let result: Result<RawConfig, Errors> = read(text.as_bytes(), check);
    result.unwrap_err().to_string()
}

#[test]
fn names_three_mistakes_at_once() {
    let text = r#"{"rules": [
        {"name": "a", "limts": [{"requests": 0, "per": "10s"}]},
        {"name": "B b", "limits": [{"per": "5 s"}], "key": [{"heder": "x"}, "client_adress"]},
        {"limits": []}
    ], "aply": "first", "shards": 65}"#;
    println!("{}", errors(text));
}
