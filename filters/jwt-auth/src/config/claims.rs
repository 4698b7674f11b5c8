//! Conditions on claims as they are written.

use std::fmt;

use filter_core::config::Place;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use super::texts::RawTexts;
use crate::claims::{Condition, Scalar, Test};

/// A condition on what a token claims: either exactly one of `all`, `any` and `not`, or a `claim`
/// with exactly one test.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RawCondition {
    /// All of these hold.
    pub all: Option<Vec<RawCondition>>,
    /// Any of these holds.
    pub any: Option<Vec<RawCondition>>,
    /// This doesn't hold.
    pub not: Option<Box<RawCondition>>,
    /// The claim: a path of names with dots between them, or a list of names.
    pub claim: Option<RawClaimPath>,
    /// It is this text, number or truth value.
    pub equals: Option<RawScalar>,
    /// It is one of these.
    pub one_of: Option<Vec<RawScalar>>,
    /// It is a list with this item, or a text with this as one of its words.
    pub contains: Option<RawScalar>,
    /// It is a text that starts with this one, or a list of which an item does.
    pub prefix: Option<String>,
    /// It is there (or, if false, it isn't).
    pub exists: Option<bool>,
    /// It is a number of at least this, and of at most `max` if that is given.
    pub min: Option<f64>,
    /// It is a number of at most this.
    pub max: Option<f64>,
}

/// Where a claim is: `realm_access.roles`, or `["https://example.com/roles"]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct RawClaimPath(RawTexts);

#[cfg(not(target_arch = "wasm32"))]
impl schemars::JsonSchema for RawClaimPath {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ClaimPath".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["string", "array"], "items": { "type": "string" } })
    }
}

/// A text, a number, `true` or `false`.
#[derive(Clone, Debug, PartialEq)]
pub struct RawScalar(pub(crate) Scalar);

struct ScalarVisitor;

impl Visitor<'_> for ScalarVisitor {
    type Value = RawScalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, a number, true or false")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<RawScalar, E> {
        Ok(RawScalar(Scalar::Bool(value)))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<RawScalar, E> {
        Ok(RawScalar(Scalar::Number(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<RawScalar, E> {
        Ok(RawScalar(Scalar::Text(value.to_string())))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<RawScalar, E> {
        Ok(RawScalar(Scalar::Text(value.to_string())))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<RawScalar, E> {
        Ok(RawScalar(Scalar::Text(text.to_owned())))
    }

    // What is left of a configuration with mistakes.
    fn visit_unit<E: Error>(self) -> Result<RawScalar, E> {
        Ok(RawScalar(Scalar::Bool(false)))
    }
}

impl<'de> Deserialize<'de> for RawScalar {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ScalarVisitor)
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl schemars::JsonSchema for RawScalar {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Scalar".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

impl RawCondition {
    /// Makes the typed form, or reports all that is wrong at `place`.
    pub(crate) fn check(self, place: &Place<'_>) -> Option<Condition> {
        let list = |list: Vec<Self>, field| {
            let at = place.field(field);
            if list.is_empty() {
                at.refuse("a list with at least one condition");
                return None;
            }
            super::each(list, &at, Self::check)
        };
        let groups = [
            self.all.map(|all| list(all, "all").map(Condition::All)),
            self.any.map(|any| list(any, "any").map(Condition::Any)),
            self.not.map(|not| {
                let not = not.check(&place.field("not"))?;
                Some(Condition::Not(Box::new(not)))
            }),
        ];
        let range = (self.min.is_some() || self.max.is_some()).then(|| Test::Range {
            min: self.min.unwrap_or(f64::NEG_INFINITY),
            max: self.max.unwrap_or(f64::INFINITY),
        });
        let scalars = |list: Vec<RawScalar>| list.into_iter().map(|RawScalar(s)| s).collect();
        let tests = [
            self.equals.map(|RawScalar(value)| Test::OneOf(vec![value])),
            self.one_of.map(|list| Test::OneOf(scalars(list))),
            self.contains.map(|RawScalar(value)| Test::Contains(value)),
            self.prefix.map(Test::Prefix),
            self.exists.map(Test::Exists),
            range,
        ];
        let mut groups = groups.into_iter().flatten();
        let mut tests = tests.into_iter().flatten();
        let found = (groups.next(), self.claim, tests.next());
        let more = groups.next().is_some() || tests.next().is_some();
        match (found, more) {
            ((Some(group), None, None), false) => group,
            ((None, Some(RawClaimPath(RawTexts(names))), Some(test)), false) => {
                Some(Condition::Claim(claim_path(names), test))
            }
            _ => {
                place.report(
                    "must have exactly one of all, any and not, or claim with exactly one of \
                     equals, one_of, contains, prefix, exists, and min or max",
                );
                None
            }
        }
    }
}

/// A single text is a path with dots; several are names as they are.
fn claim_path(names: Vec<String>) -> Vec<String> {
    match &*names {
        [dotted] if !dotted.contains("://") => dotted.split('.').map(str::to_owned).collect(),
        _ => names,
    }
}
