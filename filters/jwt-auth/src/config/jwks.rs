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
    /// Where from.
    pub http_uri: RawHttpUri,
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
    /// last fetch was begun.
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
    /// The gateway's cluster.
    pub cluster: String,
    /// `http` or `https`.
    pub scheme: String,
    /// What goes into `:authority`.
    pub authority: String,
    /// What goes into `:path`.
    pub path: String,
    /// How long a fetch may take.
    pub timeout: Duration,
    /// How long a request waits for keys.
    pub hold: Span,
    /// Requests that may wait at once.
    pub max_held: usize,
    /// How the keys are kept fresh.
    pub pace: Pace,
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

impl RawRemoteJwks {
    /// Makes the typed form, or reports all that is wrong at `place`.
    pub(crate) fn check(self, place: &Place<'_>) -> Option<RemoteJwks> {
        let at = place.field("http_uri");
        let url = self.http_uri.url(&at);
        let timeout = self.http_uri.timeout.get();
        // Envoy: at least a millisecond.
        for (at, duration, least) in [
            (at.field("timeout"), timeout, Duration::from_millis(1)),
            (
                place.field("cache_duration"),
                self.cache_duration.get(),
                Duration::from_millis(1),
            ),
            (
                place.field("async_fetch").field("failed_refetch_duration"),
                self.async_fetch.failed_refetch_duration.get(),
                Duration::from_millis(100),
            ),
        ] {
            if duration < least {
                at.refuse(&format!("a duration of at least {} ms", least.as_millis()));
            }
        }
        let span = |duration: ProtoDuration| Span::from_duration(duration.get());
        let back_off = self.retry_policy.as_ref();
        let pauses = back_off.and_then(|policy| policy.retry_back_off.as_ref());
        let base = pauses.map_or(Span::from_secs(1), |pauses| span(pauses.base_interval));
        let most = pauses.and_then(|pauses| pauses.max_interval).map(span);
        let stale = match self.on_jwks_unavailable {
            OnJwksUnavailable::AllowStale => span(self.max_stale),
            OnJwksUnavailable::Deny => Span::ZERO,
        };
        let (scheme, authority, path) = url?;
        Some(RemoteJwks {
            cluster: self.http_uri.cluster,
            scheme,
            authority,
            path,
            timeout,
            hold: self
                .hold_timeout
                .map_or_else(|| Span::from_duration(timeout), span),
            max_held: usize::try_from(self.max_held_requests.get()).unwrap_or(usize::MAX),
            pace: Pace {
                fresh: span(self.cache_duration),
                stale,
                unknown_kid: span(self.unknown_kid_interval),
                lease: Span::from_duration(timeout).times(2),
                failed: span(self.async_fetch.failed_refetch_duration),
                retries: back_off.map_or(0, |policy| policy.num_retries.unwrap_or(1)),
                retry_base: base,
                retry_most: most.unwrap_or_else(|| base.times(10)),
            },
        })
    }
}

impl RawHttpUri {
    /// Splits the URL into scheme, authority and path with query.
    fn url(&self, place: &Place<'_>) -> Option<(String, String, String)> {
        let mut whole = true;
        if self.cluster.is_empty() {
            place
                .field("cluster")
                .refuse("the name of one of the gateway's clusters");
            whole = false;
        }
        let split = self.uri.split_once("://").and_then(|(scheme, rest)| {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            let (authority, path) = rest.split_at_checked(end)?;
            let path = match path.starts_with('/') {
                true => path.to_owned(),
                false => format!("/{path}"),
            };
            let known = matches!(scheme, "http" | "https");
            let printable = self.uri.bytes().all(|byte| byte.is_ascii_graphic());
            let plain = printable && !self.uri.contains('#');
            (known && plain && !authority.is_empty())
                .then(|| (scheme.to_owned(), authority.to_owned(), path))
        });
        if split.is_none() {
            place
                .field("uri")
                .refuse("a URL such as \"https://example.com/.well-known/jwks.json\"");
        }
        split.filter(|_| whole)
    }
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
