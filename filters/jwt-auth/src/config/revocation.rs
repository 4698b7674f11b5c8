//! The list of revoked tokens, as it is written, and the typed form.

use std::time::Duration;

use filter_core::config::Place;
use filter_core::config::fields::{Bounded, ProtoDuration};
use filter_core::time::Span;
use serde::Deserialize;

use super::jwks::{Endpoint, Pace, RawHttpUri, refuse_shorter};

/// A list of revoked tokens and subjects that is fetched again and again, by one worker for all:
/// `{"jti": ["…"], "sub": ["…", {"sub": "…", "issued_before": 1700000000}]}`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawRevocation {
    /// Where it is.
    pub http_uri: RawHttpUri,
    /// How long a list counts. It is fetched again ahead of that, at a moment that is chosen by chance
    /// between 80 and 95 % of it; while that fails, the last one counts.
    #[serde(default = "poll_interval")]
    pub poll_interval: ProtoDuration,
    /// The most entries of a list; a longer one is refused, and the last one counts.
    #[serde(default = "max_entries")]
    pub max_entries: Bounded<1, 100_000>,
    /// What happens to requests while there never was a list and none can be had.
    #[serde(default)]
    pub on_unavailable: OnUnavailable,
}

/// What happens to requests while there never was a list and none can be had.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    derive(schemars::JsonSchema, serde::Serialize)
)]
#[serde(rename_all = "snake_case")]
pub enum OnUnavailable {
    /// They are refused with 503.
    #[default]
    Deny,
    /// They are let through as if nothing was revoked.
    Allow,
}

/// The list of revoked tokens, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Where it is.
    pub endpoint: Endpoint,
    /// The most entries.
    pub max_entries: usize,
    /// What happens without a list.
    pub on_unavailable: OnUnavailable,
    /// When it is fetched.
    pub pace: Pace,
    /// How long a request waits for the first list.
    pub hold: Span,
}

const fn poll_interval() -> ProtoDuration {
    ProtoDuration::from_secs(10)
}

const fn max_entries() -> Bounded<1, 100_000> {
    const { Bounded::new(10_000).unwrap() }
}

impl RawRevocation {
    /// Makes the typed form, or reports all that is wrong at `place`.
    pub(crate) fn check(self, place: &Place<'_>) -> Option<Revocation> {
        let poll = self.poll_interval.get();
        let least = Duration::from_millis(100);
        refuse_shorter(poll, least, &place.field("poll_interval"));
        let endpoint = self.http_uri.check(&place.field("http_uri"))?;
        let (poll, timeout) = (
            Span::from_duration(poll),
            Span::from_duration(endpoint.timeout),
        );
        Some(Revocation {
            endpoint,
            max_entries: usize::try_from(self.max_entries.get()).unwrap_or(usize::MAX),
            on_unavailable: self.on_unavailable,
            hold: timeout,
            pace: Pace {
                fresh: poll,
                // The last good list counts for ever: an older one is better than none.
                stale: Span::from_secs(u64::MAX),
                unknown_kid: poll,
                lease: timeout.times(2),
                failed: poll.min(Span::from_secs(1)),
                retries: 0,
                retry_base: poll,
                retry_most: poll,
            },
        })
    }
}
