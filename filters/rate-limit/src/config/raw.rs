//! The configuration as it is written.

use filter_core::config::fields::{Bounded, CidrText, Count, DurationText, HeaderName, Name};
use filter_core::key::RawKeyPart;
use filter_core::matcher::RawMatch;
use serde::Deserialize;

use super::backend::RawBackend;
use super::charge::RawCharge;
use super::on_limit::RawOnLimit;
use super::selector::RawSelector;

/// The configuration of a rate-limit filter, as it is written.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawConfig {
    /// The rules, at least one.
    pub rules: Vec<RawRule>,
    /// Which of the rules that match a request apply to it.
    #[serde(default)]
    pub apply: Apply,
    /// Which headers tell clients about their limits.
    #[serde(default)]
    pub headers: HeaderStyle,
    /// The size of the table in which all buckets live.
    #[serde(default)]
    pub table: RawTable,
    /// How many requests a worker holds at the same time (`delay_up_to`); more are denied.
    #[serde(default = "a_thousand")]
    pub max_delayed: Bounded<1, 100_000>,
    /// What happens to a request when the limiter can't decide about it.
    #[serde(default)]
    pub on_error: OnError,
    /// The service that keeps the buckets of rules with `scope: global`.
    pub backend: Option<RawBackend>,
}

/// A rule: which requests, told apart how, how often.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawRule {
    /// Name in metrics, logs and headers; unique. Buckets are kept under it.
    pub name: Name,
    /// Which requests the rule is about; all of them by default.
    #[serde(default, rename = "match")]
    pub matching: RawMatch,
    /// What tells one client from another, in any number of parts. Without parts all requests of
    /// the rule share one bucket.
    #[serde(default)]
    pub key: Vec<RawKeyPart>,
    /// What happens to a request that lacks a part of the key.
    #[serde(default)]
    pub missing: Missing,
    /// Requests that the rule leaves alone, neither counted nor denied: any of these.
    #[serde(default)]
    pub allow: Vec<RawSelector>,
    /// Where the buckets are.
    #[serde(default)]
    pub scope: Scope,
    /// How often: one limit or several at once, up to 8. A request is charged to all or to none. Can
    /// be left out beside `concurrent`, and where a service of `backend.rls` knows the limits.
    #[serde(default)]
    pub limits: Vec<RawLimit>,
    /// How many at the same time.
    pub concurrent: Option<RawConcurrent>,
    /// Other limits for some requests; the first entry that a request fits counts.
    #[serde(default)]
    pub overrides: Vec<RawOverride>,
    /// Whether the rule denies requests or only reports which it would deny.
    #[serde(default)]
    pub mode: Mode,
    /// The share of keys that the rule is enforced on, in percent; for the others it is in shadow
    /// mode. It is the same keys in every gateway, and a larger share has all keys of a smaller one.
    #[serde(default = "all_keys")]
    pub percent: Bounded<0, 100>,
    /// Units that one request takes.
    #[serde(default = "one")]
    pub cost: Bounded<1, 1_000_000>,
    /// A request header that says how many units a request takes.
    pub cost_header: Option<RawCostHeader>,
    /// When a client is charged.
    #[serde(default)]
    pub charge: RawCharge,
    /// How many requests a worker charges for at once, for a client that it sees often; the later ones
    /// then need no shared data. It never serves more than the limits, but can serve less: an eighth
    /// of `burst` can't be used at once, and up to so many requests for each other worker are missing
    /// near a limit. For limits with `gcra` alone. In a rule with `scope: global` it saves calls to the
    /// service; see `sync_every`.
    #[serde(default = "single")]
    pub lease: Bounded<1, 10_000>,
    /// Holds a request for up to this time rather than denying it, if it has its units by then. They
    /// are charged for the moment at which it goes on, in the order of arrival. For limits with
    /// `gcra` alone; 1 minute at most.
    pub delay_up_to: Option<DurationText>,
    /// What a denied client is told.
    #[serde(default)]
    pub on_limit: RawOnLimit,
}

/// Other limits for some requests. A request that fits keeps buckets of its own for limits that
/// differ from the rule's.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawOverride {
    /// What the request is, such as a header that tells the client's plan.
    #[serde(rename = "match")]
    pub matching: Option<RawMatch>,
    /// Where it comes from: any of these addresses or networks. The client's address is what the
    /// rule's key takes for it, or that of the connection.
    pub addresses: Option<Vec<CidrText>>,
    /// The limits in place of the rule's.
    pub limits: Vec<RawLimit>,
}

/// How many requests of a client can be in flight at the same time, over all workers.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawConcurrent {
    /// So many.
    pub requests: Count,
    /// How long a request can last and still count: at least so long, and less than twice. Should a
    /// worker fail to tell that a request has ended, it is forgotten then.
    #[serde(default = "five_minutes")]
    pub timeout: DurationText,
}

/// A request header that says how many units a request takes. Clients can write any header that
/// nothing before this filter sets.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawCostHeader {
    /// Its name. Without it, or if it is no whole number, a request takes `cost` units.
    pub name: HeaderName,
    /// The most that counts; no more than any limit holds. The least is 1.
    pub max: Bounded<1, 1_000_000>,
}

/// One limit of a rule.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawLimit {
    /// How many units come back in each `per`.
    pub requests: Count,
    /// The time in which they come back.
    pub per: DurationText,
    /// How many units a client can save up and use at once; as many as `requests` by default. Over
    /// any time no more than `burst` + time × `requests` / `per` are served. For `gcra` alone.
    pub burst: Option<Count>,
    /// How units come back.
    #[serde(default)]
    pub algorithm: AlgorithmName,
}

/// How units come back.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    derive(schemars::JsonSchema, serde::Serialize)
)]
#[serde(rename_all = "snake_case")]
pub enum AlgorithmName {
    /// One by one, at an even rate.
    #[default]
    Gcra,
    /// By two windows: those used in this one, and a share of those used in the one before, as much
    /// as a window ending now still covers. Two records to a client.
    SlidingWindow,
    /// All at once when a window ends; up to twice `requests` can pass around that moment. Windows
    /// are counted from the start of the machine's clock, not from midnight.
    FixedWindow,
}

/// The size of the table of buckets. It is never exceeded; when it is too small, clients are
/// refused too early, never served too often.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    derive(schemars::JsonSchema, serde::Serialize)
)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RawTable {
    /// Number of sets. Each is one value in the gateway's shared data.
    pub sets: Bounded<1, 1_048_576>,
    /// Buckets in each set, 16 bytes each.
    pub ways: Bounded<1, 64>,
}

/// Which of the rules that match a request apply to it.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    derive(schemars::JsonSchema, serde::Serialize)
)]
#[serde(rename_all = "snake_case")]
pub enum Apply {
    /// All of them: a request is served if every rule allows it, and then charged to every rule.
    #[default]
    All,
    /// The first one. Rules in shadow mode don't count as first; they are tried besides.
    First,
}

/// Which headers tell clients about their limits.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    derive(schemars::JsonSchema, serde::Serialize)
)]
#[serde(rename_all = "snake_case")]
pub enum HeaderStyle {
    /// `RateLimit` and `RateLimit-Policy` (IETF draft 10) on every response that a rule applies to.
    #[default]
    Standard,
    /// `X-RateLimit-Limit`, `-Remaining` and `-Reset` of the tightest limit, likewise.
    Legacy,
    /// Both.
    All,
    /// Neither; `Retry-After` alone on denials.
    None,
}

/// What happens to a request that lacks a part of the key.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    derive(schemars::JsonSchema, serde::Serialize)
)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// The rule doesn't apply to it.
    #[default]
    Skip,
    /// All requests that lack the part share one bucket.
    Share,
    /// It is refused with 400.
    Reject,
}

/// Where the buckets of a rule are.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    derive(schemars::JsonSchema, serde::Serialize)
)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// In the gateway, for all its workers.
    #[default]
    Local,
    /// In the service that `backend` names, for all gateways. A request is asked for there if every
    /// local rule allows it, and held until the answer comes.
    Global,
}

/// Whether a rule denies requests.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    derive(schemars::JsonSchema, serde::Serialize)
)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It does.
    #[default]
    Enforce,
    /// It keeps its buckets, counts and reports, but denies nothing.
    Shadow,
}

/// What happens to a request when the limiter can't decide about it.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    derive(schemars::JsonSchema, serde::Serialize)
)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// It is served.
    #[default]
    Allow,
    /// It is refused with 503.
    Deny,
}

const DEFAULT_SETS: Bounded<1, 1_048_576> = Bounded::new(4096).unwrap();
const DEFAULT_WAYS: Bounded<1, 64> = Bounded::new(16).unwrap();
const ALL_KEYS: Bounded<0, 100> = Bounded::new(100).unwrap();
const THOUSAND: Bounded<1, 100_000> = Bounded::new(1000).unwrap();
const SINGLE: Bounded<1, 10_000> = Bounded::new(1).unwrap();
const ONE: Bounded<1, 1_000_000> = Bounded::new(1).unwrap();

impl Default for RawTable {
    fn default() -> Self {
        Self {
            sets: DEFAULT_SETS,
            ways: DEFAULT_WAYS,
        }
    }
}

const fn a_thousand() -> Bounded<1, 100_000> {
    THOUSAND
}

const fn single() -> Bounded<1, 10_000> {
    SINGLE
}

const fn all_keys() -> Bounded<0, 100> {
    ALL_KEYS
}

const fn five_minutes() -> DurationText {
    DurationText::from_secs(300)
}

const fn one() -> Bounded<1, 1_000_000> {
    ONE
}
