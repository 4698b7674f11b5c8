//! The configuration: raw structs as they are written, and the typed form that the policy uses.
//!
//! What a raw struct can't rule out is checked on the way to the typed form, and all mistakes are
//! reported at once. A typed configuration always makes a working policy.

use filter_core::config::fields::{Bounded, Count, DurationText, Name};
use filter_core::config::{self, Errors, Place};
use filter_core::key::{self, Key, RawKeyPart};
use filter_core::matcher::{Matcher, RawMatch};
use filter_core::table::Geometry;
use filter_core::time::Span;
use serde::Deserialize;

use crate::gcra::Gcra;

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
    /// What happens to a request when the limiter can't decide about it.
    #[serde(default)]
    pub on_error: OnError,
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
    /// How often: one limit or several at once, up to 8. A request is charged to all or to none.
    pub limits: Vec<RawLimit>,
    /// Whether the rule denies requests or only reports which it would deny.
    #[serde(default)]
    pub mode: Mode,
    /// Units that one request takes.
    #[serde(default = "one")]
    pub cost: Bounded<1, 1_000_000>,
}

/// One limit of a rule.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawLimit {
    /// How many units come back in each `per`, evenly.
    pub requests: Count,
    /// The time in which they come back.
    pub per: DurationText,
    /// How many units a client can save up and use at once; as many as `requests` by default. Over
    /// any time no more than `burst` + time × `requests` / `per` are served.
    pub burst: Option<Count>,
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
    /// What happens when the limiter can't decide.
    pub on_error: OnError,
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
    /// How often; at least one.
    pub limits: Vec<Limit>,
    /// Whether it denies.
    pub mode: Mode,
    /// Units a request takes; at least one, and no more than any limit's burst.
    pub cost: u64,
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
    pub gcra: Gcra,
}

const DEFAULT_SETS: Bounded<1, 1_048_576> = Bounded::new(4096).unwrap();
const DEFAULT_WAYS: Bounded<1, 64> = Bounded::new(16).unwrap();
const ONE: Bounded<1, 1_000_000> = Bounded::new(1).unwrap();
const MOST_LIMITS: usize = 8;
/// The longest time that an empty bucket may take to fill; below the table's horizon.
const LONGEST_REFILL: Span = Span::from_secs(366 * 24 * 60 * 60);

impl Config {
    /// Reads a configuration from JSON text or a serialized `google.protobuf.Struct`.
    ///
    /// # Errors
    /// All mistakes in it, with their places.
    pub fn read(bytes: &[u8]) -> Result<Self, Errors> {
        config::read(bytes, RawConfig::check)
    }
}

impl RawConfig {
    /// Makes a configuration, or reports all that is wrong.
    pub fn check(self, place: &Place<'_>) -> Option<Config> {
        let ways = self.table.ways.get_u32();
        let geometry = Geometry::new(self.table.sets.get_u32(), ways);
        let at = place.field("rules");
        if self.rules.is_empty() {
            at.refuse("a list with at least one rule");
        }
        let mut rules: Vec<Option<Rule>> = Vec::with_capacity(self.rules.len());
        let mut names: Vec<Name> = Vec::with_capacity(self.rules.len());
        for (index, raw) in self.rules.into_iter().enumerate() {
            let at = at.index(index);
            if names.contains(&raw.name) {
                at.field("name").report(&format!(
                    "another rule is called \"{}\" too; names must differ",
                    raw.name
                ));
            }
            names.push(raw.name.clone());
            rules.push(raw.check(ways, &at));
        }
        let rules: Vec<_> = rules.into_iter().collect::<Option<_>>()?;
        Some(Config {
            rules,
            apply: self.apply,
            headers: self.headers,
            geometry: geometry?,
            on_error: self.on_error,
        })
    }
}

impl Default for RawTable {
    fn default() -> Self {
        Self {
            sets: DEFAULT_SETS,
            ways: DEFAULT_WAYS,
        }
    }
}

impl RawRule {
    fn check(self, ways: u32, place: &Place<'_>) -> Option<Rule> {
        let matcher = self.matching.check(&place.field("match"));
        let key = key::check(self.key, &place.field("key"));
        let at = place.field("limits");
        let count = self.limits.len();
        if count == 0 || count > MOST_LIMITS {
            at.report(&format!("{count} limits; allowed: 1 to {MOST_LIMITS}"));
        } else if u32::try_from(count).is_ok_and(|count| count > ways) {
            at.report(&format!(
                "{count} limits don't fit into a table set of {ways} ways; raise table.ways"
            ));
        }
        let name = self.name.as_str();
        let cost = self.cost.get();
        let mut limits: Vec<Option<Limit>> = Vec::new();
        for (index, raw) in self.limits.into_iter().enumerate() {
            let at = at.index(index);
            let limit = raw.check(name, count > 1, cost, &at);
            let same = |other: &Limit| {
                limit
                    .as_ref()
                    .is_some_and(|limit| limit.policy == other.policy || limit.gcra == other.gcra)
            };
            if limits.iter().flatten().any(same) {
                at.report("says the same as another limit of the rule; leave one out");
            }
            limits.push(limit);
        }
        let limits = limits.into_iter().collect::<Option<_>>();
        Some(Rule {
            name: name.to_owned(),
            matcher: matcher?,
            key: key?,
            missing: self.missing,
            limits: limits?,
            mode: self.mode,
            cost,
        })
    }
}

impl RawLimit {
    fn check(self, rule: &str, one_of_many: bool, cost: u64, place: &Place<'_>) -> Option<Limit> {
        let requests = self.requests.get();
        let burst = self.burst.map_or(requests, Count::get);
        let span = Span::from_duration(self.per.get());
        if requests > span.divided_by(Span::from_nanos(1_000)) {
            place
                .field("requests")
                .report("more than one request per microsecond can't be told apart");
            return None;
        }
        let Some(gcra) = Gcra::new(requests, span, burst, LONGEST_REFILL) else {
            place.field("burst").report(&format!(
                "a burst of {burst} at this rate takes more than 366 days to come back"
            ));
            return None;
        };
        if cost > burst {
            place.report(&format!(
                "a request costs {cost} and never fits into a burst of {burst}"
            ));
            return None;
        }
        let policy = if one_of_many {
            format!("{rule}/{requests}-per-{}", short(span))
        } else {
            rule.to_owned()
        };
        Some(Limit {
            policy,
            requests,
            per: span,
            gcra,
        })
    }
}

const fn one() -> Bounded<1, 1_000_000> {
    ONE
}

/// Writes a span in the largest unit that it is a whole number of.
fn short(span: Span) -> String {
    let units = [
        (24 * 60 * 60 * 1_000, "d"),
        (60 * 60 * 1_000, "h"),
        (60 * 1_000, "m"),
        (1_000, "s"),
        (1, "ms"),
    ];
    let millis = span.divided_by(Span::from_nanos(1_000_000));
    let fits = |(unit, name): (u64, &'static str)| {
        let whole = millis.is_multiple_of(unit);
        whole.then_some((millis.checked_div(unit)?, name))
    };
    let (count, unit) = units.into_iter().find_map(fits).unwrap_or((millis, "ms"));
    format!("{count}{unit}")
}
