//! Which requests an exception is about: by what they are, and by who sends them.

use filter_core::cidr::Cidr;
use filter_core::config::Place;
use filter_core::config::fields::CidrText;
use filter_core::key::Key;
use filter_core::matcher::{Matcher, RawMatch};
use filter_core::request::{Inputs, Looks, Request};
use serde::Deserialize;

/// Which requests an exception is about. Each condition that is given must hold.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RawSelector {
    /// What the request is.
    #[serde(rename = "match")]
    pub matching: Option<RawMatch>,
    /// Where it comes from: any of these addresses or networks. The client's address is what the
    /// rule's key takes for it, or that of the connection.
    pub addresses: Option<Vec<CidrText>>,
}

/// Which requests an exception is about, checked: at least one condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    matcher: Matcher,
    addresses: Option<Vec<Cidr>>,
}

impl RawSelector {
    /// Makes a selector, or reports all that is wrong at `place`.
    pub(super) fn check(self, place: &Place<'_>) -> Option<Selector> {
        if self.matching.is_none() && self.addresses.is_none() {
            place.report("is about every request without \"match\" or \"addresses\"");
            return None;
        }
        let matcher = self.matching.unwrap_or_default();
        Some(Selector {
            matcher: matcher.check(&place.field("match"))?,
            addresses: self
                .addresses
                .map(|list| list.into_iter().map(CidrText::get).collect()),
        })
    }
}

impl Selector {
    /// Returns what must be known of a request.
    pub fn inputs(&self) -> Inputs {
        let mut inputs = self.matcher.inputs();
        inputs.source_address |= self.addresses.is_some();
        inputs
    }

    /// Returns which headers must be known, besides those of the rule's key.
    pub fn looks(&self) -> Looks<'_> {
        self.matcher.looks()
    }

    /// Whether it is about a request, whose client the key finds.
    pub fn matches(&self, request: &Request<'_>, key: &Key) -> bool {
        let from_there = self.addresses.as_ref().is_none_or(|addresses| {
            key.client(request)
                .is_some_and(|client| addresses.iter().any(|network| network.contains(client)))
        });
        from_there && self.matcher.matches(request)
    }
}
