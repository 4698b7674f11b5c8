//! The configuration: raw structs as they are written, and the typed form that the policy uses.
//!
//! What a raw struct can't rule out is checked on the way to the typed form, and all mistakes are
//! reported at once. A typed configuration always makes a working policy.

mod check;
mod discovery;
mod health;
pub(crate) mod hosts;
mod key;
mod raw;
mod session;
mod steer;

use filter_core::config::{self, Errors};
use filter_core::time::Span;

pub use self::discovery::{Discovery, Format, RawDiscovery, RawFormat};
pub use self::health::{Active, Health, RawActive, RawHealth, RawPassive};
pub use self::hosts::{RawAlgorithm, RawHost, RawMaglev, RawRing, RawZones, Zones};
pub use self::key::{Missing, RawJsonBody, RawNormalization, RawSource};
pub use self::raw::*;
pub use self::session::{RawSession, SameSite};
pub use self::steer::{RawHashKey, RawHeader, RawOverrideHost, RawSteer, Steer};
use crate::bounded::Bound;
use crate::cookie::Sessions;
use crate::hot_keys::HotRule;
use crate::key::Keys;
use placement::Algorithm;
use placement::hosts::HostSet;

/// The configuration of a consistent-hash filter, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// How the choice reaches the gateway.
    pub steer: Steer,
    /// Where keys come from.
    pub keys: Keys,
    /// What happens without one.
    pub missing: Missing,
    /// Bytes of a body that are read.
    pub body_limit: usize,
    /// The cookie that the filter gives.
    pub sessions: Option<Sessions>,
    /// The hosts from the start; none where others are awaited.
    pub hosts: Option<HostSet>,
    /// Where they are asked for.
    pub discovery: Option<Discovery>,
    /// How keys are placed.
    pub algorithm: Algorithm,
    /// What a host may have in flight.
    pub bound: Option<Bound>,
    /// Whether requests in flight are counted.
    pub counts_requests: bool,
    /// What a hot key is.
    pub hot_keys: Option<HotRule>,
    /// Which hosts are left out.
    pub health: Health,
    /// Which are near.
    pub zones: Option<Zones>,
    /// How long keys take to leave a draining host.
    pub drain_time: Span,
    /// What happens without a host.
    pub no_host: NoHost,
    /// How a choice is explained.
    pub explain: Option<Explain>,
    /// What state is kept under.
    pub state: String,
}

/// How a choice is explained, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explain {
    /// Response header.
    pub header: String,
    /// Request header that asks for it; always without.
    pub request_header: Option<String>,
}

impl Config {
    /// Reads a configuration from JSON text or a serialized `google.protobuf.Struct`.
    ///
    /// # Errors
    /// All mistakes in it, with their places.
    pub fn read(bytes: &[u8]) -> Result<Self, Errors> {
        config::read(bytes, RawConfig::check)
    }
}
