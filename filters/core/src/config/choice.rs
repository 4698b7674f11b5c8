//! An enum in the configuration: plain text, or an object of one field that is the variant's name.

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{DeserializeSeed, EnumAccess, VariantAccess, Visitor};

use super::de::Node;
use super::mistake::{Kind, Mistake};
use super::tree::Tree;

/// The variant that was chosen, and what came with it.
pub(crate) struct Choice<'de> {
    pub(crate) content: Option<Node<'de>>,
    pub(crate) name: &'de str,
    /// Position of the content in its object.
    pub(crate) position: Option<usize>,
}

impl<'de> Choice<'de> {
    /// Returns the content, of a variant that needs one.
    fn content(&self) -> Result<Node<'de>, Mistake> {
        self.content.ok_or_else(|| {
            let problem = format!("\"{0}\" needs a value: write {{\"{0}\": …}}", self.name);
            Mistake::new(Kind::Other { problem })
        })
    }

    /// Says that the mistake is in the content or, after `in_key`, in the variant's name.
    fn place(&self, mistake: Mistake) -> Mistake {
        match self.position {
            Some(position) => mistake.within(position),
            None => mistake,
        }
    }
}

impl<'de> EnumAccess<'de> for Choice<'de> {
    type Error = Mistake;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Mistake> {
        let name: BorrowedStrDeserializer<'_, Mistake> = BorrowedStrDeserializer::new(self.name);
        match seed.deserialize(name) {
            Ok(variant) => Ok((variant, self)),
            Err(mistake) if self.position.is_some() => Err(self.place(mistake.in_key())),
            Err(mistake) => Err(mistake),
        }
    }
}

impl<'de> VariantAccess<'de> for Choice<'de> {
    type Error = Mistake;

    fn unit_variant(self) -> Result<(), Mistake> {
        match self.content {
            None | Some(Node(Tree::StandIn)) => Ok(()),
            Some(_) => {
                let problem = format!(
                    "\"{0}\" takes no value: write it as the text \"{0}\"",
                    self.name
                );
                Err(self.place(Mistake::new(Kind::Other { problem })))
            }
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Mistake> {
        let content = self.content()?;
        seed.deserialize(content)
            .map_err(|mistake| self.place(mistake))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Mistake> {
        let content = self.content()?;
        content.list(visitor).map_err(|mistake| self.place(mistake))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        let content = self.content()?;
        content
            .object(fields, visitor)
            .map_err(|mistake| self.place(mistake))
    }
}
