//! A serde deserializer over the tree, made for configuration: strict about types, and each error
//! knows its place.
//!
//! Stricter than serde_json: a list never stands for a struct, and a variant without content is
//! plain text, with content an object of one field. Laxer in one thing: a number without a
//! fraction is an integer however it was written (JSON Schema says so too).

use serde::de::value::{BorrowedStrDeserializer, StrDeserializer};
use serde::de::{
    DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};

use super::choice::Choice;
use super::json::parse_number;
use super::mistake::{Kind, Mistake};
use super::protobuf::integer;
use super::tree::{Entry, Tree};

/// What a stand-in reads as where text is asked: at once a name, a duration and a header's name.
const STAND_IN_TEXT: &str = "1s";

/// A node to be read.
#[derive(Clone, Copy)]
pub(crate) struct Node<'de>(pub(crate) &'de Tree);

impl<'de> Node<'de> {
    fn number<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.0 {
            Tree::Float(value) => visitor.visit_f64(*value),
            Tree::Signed(value) => visitor.visit_i64(*value),
            Tree::StandIn => visitor.visit_u64(1),
            Tree::TextOrNumber(text) => match parse_number(text) {
                Some(Tree::Float(value)) => visitor.visit_f64(value),
                Some(Tree::Signed(value)) => visitor.visit_i64(value),
                Some(Tree::Unsigned(value)) => visitor.visit_u64(value),
                _ => refuse(&visitor),
            },
            Tree::Unsigned(value) => visitor.visit_u64(*value),
            _ => refuse(&visitor),
        }
    }

    fn integer<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        let parsed = match self.0 {
            Tree::TextOrNumber(text) => parse_number(text),
            _ => None,
        };
        match parsed.as_ref().unwrap_or(self.0) {
            Tree::Float(value) => match integer(*value) {
                Some(Tree::Signed(value)) => visitor.visit_i64(value),
                Some(Tree::Unsigned(value)) => visitor.visit_u64(value),
                _ => refuse(&visitor),
            },
            Tree::Signed(value) => visitor.visit_i64(*value),
            Tree::StandIn => visitor.visit_u64(1),
            Tree::Unsigned(value) => visitor.visit_u64(*value),
            _ => refuse(&visitor),
        }
    }

    pub(crate) fn list<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.0 {
            Tree::List(items) => visitor.visit_seq(Items { items, position: 0 }),
            Tree::StandIn => visitor.visit_seq(Items {
                items: &[],
                position: 0,
            }),
            _ => Err(Mistake::value(&"a list")),
        }
    }

    pub(crate) fn object<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        match self.0 {
            Tree::Object(entries) => visitor.visit_map(Fields {
                entries,
                expected: fields,
                position: 0,
            }),
            Tree::StandIn => visitor.visit_map(StandInFields { fields }),
            _ => Err(Mistake::value(&"an object")),
        }
    }
}

fn refuse<'de, V: Visitor<'de>, T>(visitor: &V) -> Result<T, Mistake> {
    Err(Error::invalid_type(serde::de::Unexpected::Unit, visitor))
}

macro_rules! forward {
    ($($method:ident)* => $to:ident) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
            self.$to(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Node<'de> {
    type Error = Mistake;

    forward!(deserialize_f32 deserialize_f64 => number);
    forward!(deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 => integer);
    forward!(deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 => integer);
    forward!(deserialize_char deserialize_string deserialize_identifier => deserialize_str);
    forward!(deserialize_bytes deserialize_byte_buf => deserialize_any);
    forward!(deserialize_seq => list);

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.0 {
            Tree::Bool(value) => visitor.visit_bool(*value),
            Tree::Float(_) | Tree::Signed(_) | Tree::Unsigned(_) => self.number(visitor),
            Tree::List(_) => self.list(visitor),
            Tree::Absent => refuse(&visitor),
            Tree::Null | Tree::Removed | Tree::StandIn => visitor.visit_unit(),
            Tree::Object(_) => self.object(&[], visitor),
            Tree::Text(value) | Tree::TextOrNumber(value) => visitor.visit_borrowed_str(value),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.0 {
            Tree::Bool(value) => visitor.visit_bool(*value),
            Tree::StandIn => visitor.visit_bool(false),
            _ => refuse(&visitor),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.0 {
            Tree::StandIn => visitor.visit_borrowed_str(STAND_IN_TEXT),
            Tree::Text(value) | Tree::TextOrNumber(value) => visitor.visit_borrowed_str(value),
            _ => refuse(&visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.0 {
            Tree::Absent | Tree::Null | Tree::Removed | Tree::StandIn => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.0 {
            Tree::Null | Tree::StandIn => visitor.visit_unit(),
            _ => Err(Mistake::value(&"null")),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Mistake> {
        self.list(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        self.list(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.object(&[], visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        self.object(fields, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        let choice = match self.0 {
            Tree::Object(entries) => {
                let mut left = entries
                    .iter()
                    .enumerate()
                    .filter(|(_, entry)| entry.node != Tree::Removed);
                let (Some((position, entry)), None) = (left.next(), left.next()) else {
                    let variants = variants.join(", ");
                    let problem = format!("must have exactly one field, of: {variants}");
                    return Err(Mistake::new(Kind::Other { problem }));
                };
                let content = Some(Node(&entry.node));
                Choice {
                    content,
                    name: entry.name_among(variants),
                    position: Some(position),
                }
            }
            // A variant's content stands in as well.
            Tree::StandIn => Choice {
                content: Some(self),
                name: variants.first().copied().unwrap_or_default(),
                position: None,
            },
            Tree::Text(name) | Tree::TextOrNumber(name) => Choice {
                content: None,
                name,
                position: None,
            },
            _ => return Err(Mistake::value(&variants.join(", "))),
        };
        visitor.visit_enum(choice)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        visitor.visit_unit()
    }
}

/// The items of a list that are still there.
struct Items<'de> {
    items: &'de [Tree],
    position: usize,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Mistake;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Mistake> {
        while let Some(item) = self.items.get(self.position) {
            let position = self.position;
            self.position = position.saturating_add(1);
            if *item != Tree::Removed {
                let read = seed.deserialize(Node(item));
                return read.map(Some).map_err(|mistake| mistake.within(position));
            }
        }
        Ok(None)
    }
}

/// The fields of an object that are still there.
struct Fields<'de> {
    entries: &'de [Entry],
    /// Names that a struct has; none for a map, whose names are the writer's choice.
    expected: &'static [&'static str],
    position: usize,
}

impl<'de> MapAccess<'de> for Fields<'de> {
    type Error = Mistake;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Mistake> {
        while let Some(entry) = self.entries.get(self.position) {
            if entry.node != Tree::Removed {
                let name: BorrowedStrDeserializer<'_, Mistake> =
                    BorrowedStrDeserializer::new(entry.name_among(self.expected));
                let key = seed.deserialize(name);
                return key
                    .map(Some)
                    .map_err(|mistake| mistake.in_key().within(self.position));
            }
            self.position = self.position.saturating_add(1);
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Mistake> {
        let position = self.position;
        self.position = position.saturating_add(1);
        let node = self
            .entries
            .get(position)
            .map_or(&Tree::Removed, |entry| &entry.node);
        seed.deserialize(Node(node))
            .map_err(|mistake| mistake.within(position))
    }
}

/// Every field of a struct that is not there, each a stand-in.
struct StandInFields {
    fields: &'static [&'static str],
}

impl<'de> MapAccess<'de> for StandInFields {
    type Error = Mistake;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Mistake> {
        let Some((&name, rest)) = self.fields.split_first() else {
            return Ok(None);
        };
        self.fields = rest;
        let name: StrDeserializer<'_, Mistake> = name.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Mistake> {
        seed.deserialize(Node(&Tree::StandIn))
    }
}
