//! The configuration as it is written.

use filter_core::config::fields::{Bounded, DurationText, HeaderName, Name};
use serde::Deserialize;

use super::discovery::RawDiscovery;
use super::health::RawHealth;
use super::hosts::{RawAlgorithm, RawHost, RawZones};
use super::key::{Missing, RawNormalization, RawSource};
use super::session::RawSession;
use super::steer::RawSteer;

/// The configuration of a consistent-hash filter, as it is written.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawConfig {
    /// How the choice reaches the gateway.
    #[serde(default)]
    pub steer: RawSteer,
    /// Where the key comes from, in order of preference: the first source that a request has counts.
    /// Without sources no request has a key.
    #[serde(default)]
    pub key: Vec<RawSource>,
    /// What is done to a key before it counts.
    #[serde(default)]
    pub normalize: RawNormalization,
    /// What happens to a request without a key.
    #[serde(default)]
    pub missing: Missing,
    /// How many bytes of a body are read for a key (`json_body`). A body in which the value ends later
    /// has none.
    #[serde(default = "quarter_megabyte")]
    pub body_limit: Bounded<1, 1_048_576>,
    /// A cookie that gives clients without a key one.
    pub session_cookie: Option<RawSession>,
    /// The hosts. Their order doesn't matter.
    #[serde(default)]
    pub hosts: Vec<RawHost>,
    /// Where hosts are asked for while the gateway runs, in place of `hosts`, which count until the first
    /// answer.
    pub discovery: Option<RawDiscovery>,
    /// How keys are placed on hosts.
    #[serde(default)]
    pub algorithm: RawAlgorithm,
    /// Keeps hosts from getting more than their share of the requests in flight.
    pub bounded_load: Option<RawBoundedLoad>,
    /// Counts the requests in flight, over all workers, for `least_request`. `bounded_load` does so
    /// anyway.
    #[serde(default)]
    pub count_requests: bool,
    /// Spreads keys with much of the traffic over several hosts.
    pub hot_keys: Option<RawHotKeys>,
    /// Which hosts are left out because they fail.
    #[serde(default)]
    pub health: RawHealth,
    /// Prefers hosts nearby.
    pub zones: Option<RawZones>,
    /// How long the keys of a host with `draining` take to leave it, one after another, from the moment
    /// on at which a worker learns of it.
    #[serde(default = "five_minutes")]
    pub drain_time: DurationText,
    /// What happens to a request for which there is no host.
    #[serde(default)]
    pub no_host: NoHost,
    /// Says in a response header which host was chosen and why.
    pub explain: Option<RawExplain>,
    /// What the state in shared data is kept under: plugins of the same `vm_id` and state share health,
    /// counts and discovered hosts.
    pub state: Option<Name>,
}

/// Bounded load (Mirrokni, Thorup and Zadimoghaddam, 2018).
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawBoundedLoad {
    /// How much of the average number of requests in flight, by weight, a host may have; above 1 and up
    /// to 10, such as 1.25. What is more goes to the next host in the key's own order.
    #[serde(default = "a_quarter_more")]
    pub balance_factor: f64,
}

/// Keys with much of the traffic.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawHotKeys {
    /// The share of a worker's requests above which a key is hot; from 0.01 to 1.
    #[serde(default = "a_fifth")]
    pub hot_share: f64,
    /// How many of its hosts a hot key is spread over.
    #[serde(default = "three")]
    pub spread: Bounded<2, 16>,
    /// The time over which the share is taken.
    #[serde(default = "ten_seconds")]
    pub window: DurationText,
}

/// What happens to a request for which there is no host.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    derive(schemars::JsonSchema, serde::Serialize)
)]
#[serde(rename_all = "snake_case")]
pub enum NoHost {
    /// It goes on without a choice; the gateway's own policy chooses.
    #[default]
    Pass,
    /// It is refused with 503.
    Reject,
}

/// When and where a choice is explained. The names of hosts are told to clients then.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawExplain {
    /// The response header: `host=…; reason=…; key=…`, with the key's hash.
    #[serde(default = "choice_header")]
    pub header: HeaderName,
    /// Only for requests that have this header, which does not go on to the host; for all if it is left
    /// out.
    pub request_header: Option<HeaderName>,
}

const QUARTER_MEGABYTE: Bounded<1, 1_048_576> = Bounded::new(262_144).unwrap();
const THREE: Bounded<2, 16> = Bounded::new(3).unwrap();

const fn quarter_megabyte() -> Bounded<1, 1_048_576> {
    QUARTER_MEGABYTE
}

const fn a_quarter_more() -> f64 {
    1.25
}

const fn a_fifth() -> f64 {
    0.2
}

const fn three() -> Bounded<2, 16> {
    THREE
}

const fn ten_seconds() -> DurationText {
    DurationText::from_secs(10)
}

const fn five_minutes() -> DurationText {
    DurationText::from_secs(300)
}

fn choice_header() -> HeaderName {
    super::steer::header_name("x-upstream-choice")
}
