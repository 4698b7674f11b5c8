//! What the types that are text share: reading by a parser, and a schema with a pattern.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserializer, Error, Unexpected, Visitor};

/// A type that is read from text, and displays as text that reads as the same.
pub(crate) trait Text: fmt::Display + Sized {
    /// What is allowed, to follow "allowed: ".
    const ALLOWED: &'static str;

    fn parse(text: &str) -> Option<Self>;
}

/// Reads a [`Text`]; the error says what it allows.
pub(crate) fn deserialize<'de, T: Text, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    from.deserialize_str(TextVisitor(PhantomData))
}

struct TextVisitor<T>(PhantomData<T>);

impl<T: Text> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::ALLOWED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::parse(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

/// Implements `Deserialize` and, natively, `Serialize` and `JsonSchema` for a [`Text`].
macro_rules! impl_text {
    ($type:ty, $name:literal, $pattern:literal) => {
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                $crate::config::fields::text::deserialize(from)
            }
        }

        // For defaults in a schema.
        #[cfg(not(target_arch = "wasm32"))]
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        #[cfg(not(target_arch = "wasm32"))]
        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            // Not inline: a field's own description would replace what is allowed.
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let description = <Self as $crate::config::fields::text::Text>::ALLOWED;
                schemars::json_schema!({
                    "type": "string",
                    "description": description,
                    "pattern": $pattern,
                })
            }
        }
    };
}

pub(crate) use impl_text;
