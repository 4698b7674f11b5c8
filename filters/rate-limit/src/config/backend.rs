//! The service that keeps the buckets of global rules.

use filter_core::config::Place;
use filter_core::config::fields::{Bounded, DurationText, Name};
use filter_core::time::Span;
use serde::Deserialize;

/// The service that keeps the buckets of rules with `scope: global`, one for all gateways.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RawBackend {
    /// Redis, through webdis.
    Redis(RawRedis),
    /// A server of the Rate Limit Service protocol (`envoy.service.ratelimit.v3`), such as
    /// envoyproxy/ratelimit or Limitador.
    Rls(RawRls),
}

/// Redis, through webdis. The limits are those of the rules, and exact over all gateways. One Redis;
/// in a cluster of them a request's buckets could lie apart.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawRedis {
    /// The gateway's cluster that webdis is in. It must allow `EVALSHA` and `EVAL`.
    pub cluster: String,
    /// What all keys in Redis begin with, `penstock` by default. Gateways with the same one share
    /// their buckets.
    pub prefix: Option<Name>,
    /// How long an answer is waited for; up to 1 minute.
    #[serde(default = "twenty_millis")]
    pub timeout: DurationText,
    /// What happens to a request when there is no answer, or none that makes sense. After 5 calls in
    /// a row without, one a second is tried.
    #[serde(default)]
    pub on_error: BackendError,
    /// With `on_error: local`: the share of the limits that each gateway serves by itself, in
    /// percent.
    #[serde(default = "all_of_it")]
    pub local_share: Bounded<1, 100>,
    /// Whether a client that is over its limit is denied without asking until it has units again.
    #[serde(default = "yes")]
    pub precheck: bool,
    /// How long requests that were charged for ahead (a rule's `lease`) can be used; up to 1 hour. So
    /// a stretch of time can see more than the limit by what comes back in this time, and never more
    /// than by `lease` for each worker of each gateway.
    #[serde(default = "one_second")]
    pub sync_every: DurationText,
}

/// A server of the Rate Limit Service protocol. Its own limits count: those of the rules are for
/// `on_error: local` alone and can be left out otherwise.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawRls {
    /// The gateway's cluster that the server is in, with HTTP/2.
    pub cluster: String,
    /// The domain that the server knows the limits under.
    pub domain: String,
    /// How long an answer is waited for; up to 1 minute.
    #[serde(default = "twenty_millis")]
    pub timeout: DurationText,
    /// What happens to a request when there is no answer, or none that makes sense. After 5 calls in
    /// a row without, one a second is tried.
    #[serde(default)]
    pub on_error: BackendError,
    /// With `on_error: local`: the share of the rules' limits that each gateway serves by itself, in
    /// percent.
    #[serde(default = "all_of_it")]
    pub local_share: Bounded<1, 100>,
    /// Whether a client that is over its limit is denied without asking, for as long as the server
    /// said (`duration_until_reset`).
    #[serde(default = "yes")]
    pub precheck: bool,
    /// How long requests that were charged for ahead (a rule's `lease`) can be used; up to 1 hour. A
    /// server that tells when its window ends has none used in the next one; with others a window can
    /// see more than its limit by `lease` for each worker of each gateway.
    #[serde(default = "one_second")]
    pub sync_every: DurationText,
}

/// What happens to a request when the service gives no answer.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    derive(schemars::JsonSchema, serde::Serialize)
)]
#[serde(rename_all = "snake_case")]
pub enum BackendError {
    /// It is served.
    #[default]
    Allow,
    /// It is refused with 503.
    Deny,
    /// The gateway decides by itself, with `local_share` of the limits.
    Local,
}

/// The service, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// The gateway's cluster.
    pub cluster: String,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// How long an answer is waited for.
    pub timeout: Span,
    /// What happens without one.
    pub on_error: BackendError,
    /// The share of the limits that a gateway serves by itself, in percent.
    pub local_share: u64,
    /// Whether clients over their limits are denied without asking.
    pub precheck: bool,
    /// How long requests that were charged for ahead can be used.
    pub sync_every: Span,
}

/// How a service is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Redis through webdis.
    Redis {
        /// What all keys begin with.
        prefix: String,
    },
    /// The Rate Limit Service protocol.
    Rls {
        /// The server's domain.
        domain: String,
    },
}

/// What both kinds of service have.
struct Common {
    cluster: String,
    timeout: DurationText,
    on_error: BackendError,
    local_share: Bounded<1, 100>,
    precheck: bool,
    sync_every: DurationText,
}

impl RawBackend {
    /// Makes a service, or reports all that is wrong at `place`.
    pub(super) fn check(self, place: &Place<'_>) -> Option<Backend> {
        match self {
            Self::Redis(raw) => {
                let prefix = raw.prefix.as_ref().map_or(PENSTOCK, Name::as_str);
                let protocol = Protocol::Redis {
                    prefix: prefix.to_owned(),
                };
                Common {
                    cluster: raw.cluster,
                    timeout: raw.timeout,
                    on_error: raw.on_error,
                    local_share: raw.local_share,
                    precheck: raw.precheck,
                    sync_every: raw.sync_every,
                }
                .check(protocol, &place.field("redis"))
            }
            Self::Rls(raw) => {
                let place = place.field("rls");
                if raw.domain.is_empty() {
                    place.field("domain").refuse("a text");
                }
                let protocol = Protocol::Rls { domain: raw.domain };
                Common {
                    cluster: raw.cluster,
                    timeout: raw.timeout,
                    on_error: raw.on_error,
                    local_share: raw.local_share,
                    precheck: raw.precheck,
                    sync_every: raw.sync_every,
                }
                .check(protocol, &place)
            }
        }
    }
}

impl Common {
    fn check(self, protocol: Protocol, place: &Place<'_>) -> Option<Backend> {
        const MINUTE: Span = Span::from_secs(60);
        const HOUR: Span = Span::from_secs(60 * 60);
        let timeout = Span::from_duration(self.timeout.get());
        let sync_every = Span::from_duration(self.sync_every.get());
        // It goes into a header.
        let is_name =
            !self.cluster.is_empty() && self.cluster.bytes().all(|b| b.is_ascii_graphic());
        if !is_name {
            place.field("cluster").refuse("the name of a cluster");
        }
        if timeout > MINUTE {
            place.field("timeout").refuse("a duration up to \"1m\"");
        }
        if sync_every > HOUR {
            place.field("sync_every").refuse("a duration up to \"1h\"");
        }
        Some(Backend {
            cluster: self.cluster,
            protocol,
            timeout,
            on_error: self.on_error,
            local_share: self.local_share.get(),
            precheck: self.precheck,
            sync_every,
        })
    }
}

impl Backend {
    /// How long an answer is waited for, in milliseconds, as calls want it.
    pub fn timeout_millis(&self) -> u32 {
        let millis = self.timeout.divided_by(Span::from_nanos(1_000_000));
        u32::try_from(millis).unwrap_or(u32::MAX).max(1)
    }

    /// Whether the limits are those of the rules.
    pub fn is_redis(&self) -> bool {
        matches!(self.protocol, Protocol::Redis { .. })
    }
}

const PENSTOCK: &str = "penstock";
const ALL_OF_IT: Bounded<1, 100> = Bounded::new(100).unwrap();

const fn twenty_millis() -> DurationText {
    DurationText::from_millis(20)
}

const fn one_second() -> DurationText {
    DurationText::from_secs(1)
}

const fn all_of_it() -> Bounded<1, 100> {
    ALL_OF_IT
}

const fn yes() -> bool {
    true
}
