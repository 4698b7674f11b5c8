//! The configuration: raw structs as they are written, and the typed form that the policy uses.
//!
//! What a raw struct can't rule out is checked on the way to the typed form, and all mistakes are
//! reported at once. A typed configuration always makes a working policy.

mod backend;
mod charge;
mod check;
mod on_limit;
mod raw;
mod selector;

use filter_core::config::{self, Errors};
use filter_core::key::Key;
use filter_core::matcher::Matcher;
use filter_core::table::Geometry;
use filter_core::time::Span;

pub use self::backend::{Backend, BackendError, Protocol, RawBackend, RawRedis, RawRls};
pub use self::charge::{ChargeOn, RawCharge, RawResponseCharge, ResponseCharge};
pub use self::on_limit::{Body, OnLimit, RawHeader, RawOnLimit};
pub use self::raw::*;
pub use self::selector::{RawSelector, Selector};
use crate::algorithm::Algorithm;

/// The configuration of a rate-limit filter, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The rules in order.
    pub rules: Vec<Rule>,
    /// Which matching rules apply.
    pub apply: Apply,
    /// Which headers clients get.
    pub headers: HeaderStyle,
    /// The size of the table.
    pub geometry: Geometry,
    /// Requests that a worker holds at most.
    pub max_delayed: usize,
    /// What happens when the limiter can't decide.
    pub on_error: OnError,
    /// The service that keeps the buckets of global rules; there if there are any.
    pub backend: Option<Backend>,
}

/// A rule, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Unique name.
    pub name: String,
    /// Which requests.
    pub matcher: Matcher,
    /// Told apart how.
    pub key: Key,
    /// What happens without a part of the key.
    pub missing: Missing,
    /// Which requests are left alone.
    pub allow: Vec<Selector>,
    /// Where its buckets are.
    pub scope: Scope,
    /// How often; at least one, or none where a service knows.
    pub limits: Vec<Limit>,
    /// Which requests have other limits; at least one each.
    pub overrides: Vec<(Selector, Vec<Limit>)>,
    /// What the gateway serves by itself when a service doesn't answer: shares of the limits, then
    /// of those of each override. Empty if that isn't asked for.
    pub fallback: Vec<Vec<Limit>>,
    /// Whether it denies.
    pub mode: Mode,
    /// The share of keys that it is enforced on, in percent.
    pub percent: u64,
    /// When it charges.
    pub charge: ChargeOn,
    /// Units a request takes; at least one, and no more than any limit's burst.
    pub cost: u64,
    /// The header that says otherwise, and the most that it can say.
    pub cost_header: Option<(String, u64)>,
    /// Requests that a worker takes ahead at most, the one at hand included.
    pub lease: u64,
    /// How long a request can be held rather than denied.
    pub delay_up_to: Span,
    /// What a denied client is told.
    pub on_limit: OnLimit,
}

/// A limit, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Name in headers: the rule's, and `/10-per-1s` after it if the rule has several limits.
    pub policy: String,
    /// Units that come back in each `per`.
    pub requests: u64,
    /// The time in which they come back.
    pub per: Span,
    /// The same as an algorithm.
    pub algorithm: Algorithm,
    /// What headers say about it to every client.
    pub(crate) entry: String,
}

impl Config {
    /// Reads a configuration from JSON text or a serialized `google.protobuf.Struct`.
    ///
    /// # Errors
    /// All mistakes in it, with their places.
    pub fn read(bytes: &[u8]) -> Result<Self, Errors> {
        config::read(bytes, RawConfig::check)
    }

    /// Whether any rule holds requests.
    pub fn delays(&self) -> bool {
        self.rules.iter().any(|rule| rule.delay_up_to > Span::ZERO)
    }
}
