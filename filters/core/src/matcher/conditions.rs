//! Conditions by name: an object whose fields are the writer's choice.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use super::value::{RawValue, ValuePattern};
use crate::config::Place;

/// Conditions on headers or query parameters, by name and in the order they are written.
#[derive(Clone, Debug, Default)]
pub struct RawConditions(Vec<(String, RawValue)>);

impl RawConditions {
    /// Makes patterns of the conditions; `name` returns a name as it is looked up, if it is one.
    pub(crate) fn check(
        self,
        place: &Place<'_>,
        name: impl Fn(&str) -> Option<String>,
    ) -> Option<Vec<(String, ValuePattern)>> {
        let mut checked = Vec::with_capacity(self.0.len());
        for (written, value) in self.0 {
            let at = place.field(&written);
            let name = name(&written);
            if name.is_none() {
                at.report("this can't be a name");
            }
            checked.push(name.zip(value.check(&at)));
        }
        checked.into_iter().collect()
    }
}

impl<'de> Deserialize<'de> for RawConditions {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(ConditionsVisitor)
    }
}

struct ConditionsVisitor;

impl<'de> Visitor<'de> for ConditionsVisitor {
    type Value = RawConditions;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("conditions by name, such as {\"x-plan\": {\"exact\": \"gold\"}}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawConditions, A::Error> {
        let mut conditions = Vec::new();
        while let Some(condition) = map.next_entry()? {
            conditions.push(condition);
        }
        Ok(RawConditions(conditions))
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl schemars::JsonSchema for RawConditions {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Conditions".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let value = generator.subschema_for::<RawValue>();
        schemars::json_schema!({ "type": "object", "additionalProperties": value })
    }
}
