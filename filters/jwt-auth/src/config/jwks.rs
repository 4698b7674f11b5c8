//! Where a provider's keys come from, as it is written.

use std::time::Duration;

use filter_core::config::Place;
use filter_core::config::fields::{Bounded, Count, ProtoDuration};
use filter_core::time::Span;
use serde::Deserialize;

use super::unsupported::Unsupported;
use crate::jose::base64url;

/// Keys that are fetched.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawRemoteJwks {
    /// Where from. Not with `discovery`, which finds it.
    #[serde(default)]
    pub http_uri: Option<RawHttpUri>,
    /// How long fetched keys count as fresh. They are fetched again ahead of that, at a moment that
    /// is chosen by chance between 80 and 95 % of it.
    #[serde(default = "cache_duration")]
    pub cache_duration: ProtoDuration,
    /// How failed fetches are repeated. Keys are always fetched in the background and before the
    /// first request needs them; `fast_listener` makes no difference.
    #[serde(default)]
    pub async_fetch: RawAsyncFetch,
    /// How soon the first failed fetches are repeated.
    #[serde(default)]
    pub retry_policy: Option<RawRetryPolicy>,
    /// How long after `cache_duration` the old keys go on being used while no new ones can be had.
    #[serde(default = "max_stale")]
    pub max_stale: ProtoDuration,
    /// What happens when no keys are fresh and none can be had.
    #[serde(default)]
    pub on_jwks_unavailable: OnJwksUnavailable,
    /// A token with an unknown `kid` has the keys fetched again, but no sooner than this after the
    /// last fetch was begun; 100 ms at least.
    #[serde(default = "unknown_kid_interval")]
    pub unknown_kid_interval: ProtoDuration,
    /// Requests that may wait at once, in each worker, for the first fetch; more are refused.
    #[serde(default = "max_held")]
    pub max_held_requests: Bounded<0, 100_000>,
    /// How long a request waits for keys; `http_uri.timeout` if it isn't given.
    #[serde(default)]
    pub hold_timeout: Option<ProtoDuration>,
}

/// Envoy's `HttpUri`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawHttpUri {
    /// The URL: its host and path are what is asked for, its scheme is told along.
    pub uri: String,
    /// The gateway's cluster that the request goes to.
    pub cluster: String,
    /// How long a fetch may take.
    pub timeout: ProtoDuration,
}

/// Envoy's `JwksAsyncFetch`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    derive(schemars::JsonSchema, serde::Serialize)
)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RawAsyncFetch {
    /// Accepted for Envoy's sake: a module can't hold up a listener, so requests wait instead.
    pub fast_listener: bool,
    /// How soon a failed fetch is repeated.
    pub failed_refetch_duration: ProtoDuration,
}

/// Envoy's `RetryPolicy`.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RawRetryPolicy {
    /// How many repeats follow a failed fetch soon.
    pub num_retries: Option<u32>,
    /// How soon.
    pub retry_back_off: Option<RawBackOff>,
    /// Accepted for Envoy's sake: every failure is repeated.
    #[cfg_attr(not(target_arch = "wasm32"), schemars(skip))]
    pub retry_on: Option<Unsupported>,
    /// Accepted for Envoy's sake: the cluster chooses the host of each call.
    #[cfg_attr(not(target_arch = "wasm32"), schemars(skip))]
    pub retry_priority: Option<Unsupported>,
    /// Accepted for Envoy's sake: the cluster chooses the host of each call.
    #[cfg_attr(not(target_arch = "wasm32"), schemars(skip))]
    pub retry_host_predicate: Option<Unsupported>,
    /// Accepted for Envoy's sake: the cluster chooses the host of each call.
    #[cfg_attr(not(target_arch = "wasm32"), schemars(skip))]
    pub host_selection_retry_max_attempts: Option<Unsupported>,
}

/// Envoy's `BackoffStrategy`: each pause is twice the one before.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawBackOff {
    /// The first pause.
    pub base_interval: ProtoDuration,
    /// The longest pause; ten times the first one if it isn't given.
    #[serde(default)]
    pub max_interval: Option<ProtoDuration>,
}

/// What happens when no keys are fresh and none can be had.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    derive(schemars::JsonSchema, serde::Serialize)
)]
#[serde(rename_all = "snake_case")]
pub enum OnJwksUnavailable {
    /// Old keys are used for `max_stale` longer; without any, the request is refused with 503.
    #[default]
    AllowStale,
    /// The request is refused with 503 as soon as the keys aren't fresh.
    Deny,
}

/// Keys that are part of the configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RawLocalJwks {
    /// The JWKS as text.
    pub inline_string: Option<String>,
    /// The JWKS as text in base64.
    pub inline_bytes: Option<String>,
    /// A module can't read files.
    #[cfg_attr(not(target_arch = "wasm32"), schemars(skip))]
    pub filename: Option<Unsupported>,
    /// A module can't read the gateway's environment.
    #[cfg_attr(not(target_arch = "wasm32"), schemars(skip))]
    pub environment_variable: Option<Unsupported>,
    /// A module can't watch files.
    #[cfg_attr(not(target_arch = "wasm32"), schemars(skip))]
    pub watched_directory: Option<Unsupported>,
}

/// Where fetched keys come from and how they are cared for, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteJwks {
    /// Where they are, or the document that says where.
    pub endpoint: Endpoint,
    /// What the document must say, if that is asked for first.
    pub discovery: Option<Discovery>,
    /// How long a request waits for keys.
    pub hold: Span,
    /// Requests that may wait at once.
    pub max_held: usize,
    /// How the keys are kept fresh.
    pub pace: Pace,
}

/// A service that is called through one of the gateway's clusters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The gateway's cluster.
    pub cluster: String,
    /// `http` or `https`.
    pub scheme: String,
    /// What goes into `:authority`.
    pub authority: String,
    /// What goes into `:path`.
    pub path: String,
    /// How long an answer may take.
    pub timeout: Duration,
}

/// What is expected of a discovery document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// What its `issuer` must be.
    pub issuer: String,
    /// The cluster for keys that aren't where the document is.
    pub jwks_cluster: Option<String>,
}

/// When keys are fetched and how long they are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// How long they are fresh.
    pub fresh: Span,
    /// How long after that they may still be used.
    pub stale: Span,
    /// The least time from one fetch to the next for the sake of an unknown `kid`.
    pub unknown_kid: Span,
    /// How long a fetch may take before another worker may try.
    pub lease: Span,
    /// The pause after a failure, once the retries are used up.
    pub failed: Span,
    /// Retries with pauses of their own.
    pub retries: u32,
    /// The first of those pauses; each is twice the one before.
    pub retry_base: Span,
    /// The longest of those pauses.
    pub retry_most: Span,
}

const fn cache_duration() -> ProtoDuration {
    ProtoDuration::from_secs(600)
}

const fn max_stale() -> ProtoDuration {
    ProtoDuration::from_secs(24 * 60 * 60)
}

const fn unknown_kid_interval() -> ProtoDuration {
    ProtoDuration::from_secs(10)
}

const fn max_held() -> Bounded<0, 100_000> {
    const { Bounded::new(1000).unwrap() }
}

impl Default for RawAsyncFetch {
    fn default() -> Self {
        Self {
            fast_listener: false,
            failed_refetch_duration: ProtoDuration::from_secs(1),
        }
    }
}

impl Default for RawRemoteJwks {
    fn default() -> Self {
        Self {
            http_uri: None,
            cache_duration: cache_duration(),
            async_fetch: RawAsyncFetch::default(),
            retry_policy: None,
            max_stale: max_stale(),
            on_jwks_unavailable: OnJwksUnavailable::default(),
            unknown_kid_interval: unknown_kid_interval(),
            max_held_requests: max_held(),
            hold_timeout: None,
        }
    }
}

impl RawRemoteJwks {
    /// Makes the typed form, or reports all that is wrong at `place`. What was discovered takes the
    /// place of `http_uri`.
    pub(crate) fn check(
        self,
        discovery: Option<(Endpoint, Discovery)>,
        place: &Place<'_>,
    ) -> Option<RemoteJwks> {
        for (at, duration, least) in [
            (
                place.field("cache_duration"),
                self.cache_duration.get(),
                LEAST_TIMEOUT,
            ),
            (
                place.field("async_fetch").field("failed_refetch_duration"),
                self.async_fetch.failed_refetch_duration.get(),
                LEAST_INTERVAL,
            ),
            (
                place.field("unknown_kid_interval"),
                self.unknown_kid_interval.get(),
                LEAST_INTERVAL,
            ),
        ] {
            refuse_shorter(duration, least, &at);
        }
        let (endpoint, discovery) = match (self.http_uri, discovery) {
            (Some(uri), None) => (uri.check(&place.field("http_uri"))?, None),
            (None, Some((endpoint, discovery))) => (endpoint, Some(discovery)),
            (Some(_), Some(_)) => {
                place.report("must not have http_uri: discovery finds it");
                return None;
            }
            (None, None) => {
                place.report("must have http_uri, or the provider discovery");
                return None;
            }
        };
        let span = |duration: ProtoDuration| Span::from_duration(duration.get());
        let back_off = self.retry_policy.as_ref();
        let pauses = back_off.and_then(|policy| policy.retry_back_off.as_ref());
        let base = pauses.map_or(Span::from_secs(1), |pauses| span(pauses.base_interval));
        let most = pauses.and_then(|pauses| pauses.max_interval).map(span);
        let stale = match self.on_jwks_unavailable {
            OnJwksUnavailable::AllowStale => span(self.max_stale),
            OnJwksUnavailable::Deny => Span::ZERO,
        };
        let steps = if discovery.is_some() { 2 } else { 1 };
        let whole = Span::from_duration(endpoint.timeout).times(steps);
        Some(RemoteJwks {
            hold: self.hold_timeout.map_or(whole, span),
            max_held: usize::try_from(self.max_held_requests.get()).unwrap_or(usize::MAX),
            pace: Pace {
                fresh: span(self.cache_duration),
                stale,
                unknown_kid: span(self.unknown_kid_interval),
                lease: whole.times(2),
                failed: span(self.async_fetch.failed_refetch_duration),
                retries: back_off.map_or(0, |policy| policy.num_retries.unwrap_or(1)),
                retry_base: base,
                retry_most: most.unwrap_or_else(|| base.times(10)),
            },
            endpoint,
            discovery,
        })
    }
}

/// Envoy: at least a millisecond.
pub(super) const LEAST_TIMEOUT: Duration = Duration::from_millis(1);

/// Between fetches: shorter than one may take, and a request that waits would begin the next one.
const LEAST_INTERVAL: Duration = Duration::from_millis(100);

/// Reports a duration that is too short.
pub(super) fn refuse_shorter(duration: Duration, least: Duration, place: &Place<'_>) {
    if duration < least {
        place.refuse(&format!("a duration of at least {} ms", least.as_millis()));
    }
}

/// Reports a cluster without a name.
pub(super) fn refuse_nameless(cluster: &str, place: &Place<'_>) {
    if cluster.is_empty() {
        place.refuse("the name of one of the gateway's clusters");
    }
}

impl RawHttpUri {
    /// Makes the typed form, or reports all that is wrong at `place`.
    pub(crate) fn check(self, place: &Place<'_>) -> Option<Endpoint> {
        refuse_nameless(&self.cluster, &place.field("cluster"));
        let timeout = self.timeout.get();
        refuse_shorter(timeout, LEAST_TIMEOUT, &place.field("timeout"));
        let Some((scheme, authority, path)) = split_url(&self.uri) else {
            place
                .field("uri")
                .refuse("a URL such as \"https://example.com/.well-known/jwks.json\"");
            return None;
        };
        Some(Endpoint {
            cluster: self.cluster,
            scheme,
            authority,
            path,
            timeout,
        })
    }
}

/// Splits a URL into scheme, authority and path with query.
pub(crate) fn split_url(url: &str) -> Option<(String, String, String)> {
    let (scheme, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end)?;
    let path = match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("/{path}"),
    };
    let known = matches!(scheme, "http" | "https");
    let plain = url.bytes().all(|byte| byte.is_ascii_graphic()) && !url.contains('#');
    (known && plain && !authority.is_empty())
        .then(|| (scheme.to_owned(), authority.to_owned(), path))
}

impl RawLocalJwks {
    /// Returns the text of the JWKS, or reports all that is wrong at `place`.
    pub(crate) fn check(self, place: &Place<'_>) -> Option<String> {
        let file = "a module can't read files; put the JWKS into inline_string";
        let variable = "a module can't read the gateway's environment; put the JWKS into \
                        inline_string";
        let supported = Unsupported::refuse(
            place,
            &[
                (self.filename, "filename", file),
                (self.environment_variable, "environment_variable", variable),
                (self.watched_directory, "watched_directory", file),
            ],
        );
        if !supported {
            return None;
        }
        match (self.inline_string, self.inline_bytes) {
            (Some(text), None) => Some(text),
            (None, Some(bytes)) => {
                let bytes = bytes.trim_end_matches('=').replace('+', "-");
                let text = base64url::decode(bytes.replace('/', "_").as_bytes())
                    .and_then(|bytes| String::from_utf8(bytes).ok());
                if text.is_none() {
                    place.field("inline_bytes").refuse("base64 of a text");
                }
                text
            }
            _ => {
                place.report("must have exactly one of: inline_string, inline_bytes");
                None
            }
        }
    }
}

/// How many tokens are remembered, as it is written.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RawJwtCacheConfig {
    /// How many verified tokens of this provider each worker remembers; 0 for none.
    pub jwt_cache_size: Option<Bounded<0, 1_000_000>>,
    /// The longest token that is remembered, in bytes; 4096 by default.
    pub jwt_max_token_size: Option<Count>,
}
