//! Fields that Envoy's jwt_authn has and that a module in a sandbox can't give a meaning.

use filter_core::config::Place;
use serde::de::{Deserialize, Deserializer, IgnoredAny};

/// A field that is known, so that its refusal can say why and what to do instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsupported;

impl Unsupported {
    /// Reports the fields that are given at `place`, each with its reason. Returns whether none is.
    pub(crate) fn refuse(place: &Place<'_>, fields: &[(Option<Self>, &str, &str)]) -> bool {
        let mut none = true;
        for (_, name, reason) in fields.iter().filter(|(field, ..)| field.is_some()) {
            place.field(name).report(reason);
            none = false;
        }
        none
    }
}

impl<'de> Deserialize<'de> for Unsupported {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(from).map(|_| Self)
    }
}
