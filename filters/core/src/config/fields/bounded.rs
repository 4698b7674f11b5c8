//! Integers within bounds that the type states.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

/// An integer from `MIN` to `MAX`, both included.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Bounded<const MIN: u64, const MAX: u64>(u64);

/// How many of something: 1 to 4,294,967,295.
pub type Count = Bounded<1, 4_294_967_295>;

impl<const MIN: u64, const MAX: u64> Bounded<MIN, MAX> {
    /// Makes one, of a value within the bounds.
    pub const fn new(value: u64) -> Option<Self> {
        match MIN <= value && value <= MAX {
            true => Some(Self(value)),
            false => None,
        }
    }

    /// Returns the value.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the value where the bounds are within 32 bits; `u32::MAX` for more.
    pub fn get_u32(self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX)
    }
}

/// What is allowed, to follow "allowed: ".
fn write_allowed(f: &mut dyn fmt::Write, min: u64, max: u64) -> fmt::Result {
    write!(f, "an integer from {min} to {max}")
}

struct BoundedVisitor {
    max: u64,
    min: u64,
}

impl Visitor<'_> for BoundedVisitor {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_allowed(f, self.min, self.max)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<u64, E> {
        match (self.min..=self.max).contains(&value) {
            true => Ok(value),
            false => Err(E::invalid_value(Unexpected::Unsigned(value), &self)),
        }
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Bounded<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_u64(BoundedVisitor { max: MAX, min: MIN })
            .map(Self)
    }
}

// For defaults in a schema.
#[cfg(not(target_arch = "wasm32"))]
impl<const MIN: u64, const MAX: u64> serde::Serialize for Bounded<MIN, MAX> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(self.0)
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl<const MIN: u64, const MAX: u64> schemars::JsonSchema for Bounded<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("IntegerFrom{MIN}To{MAX}").into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let mut description = String::new();
        // Writing to a String can't fail.
        let _ = write_allowed(&mut description, MIN, MAX);
        schemars::json_schema!({
            "type": "integer",
            "description": description,
            "minimum": MIN,
            "maximum": MAX,
        })
    }
}
