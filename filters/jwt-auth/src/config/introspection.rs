//! Token introspection, as it is written, and the typed form.

use std::time::Duration;

use filter_core::config::Place;
use filter_core::config::fields::{Bounded, ProtoDuration};
use filter_core::time::Span;
use serde::Deserialize;

use super::jwks::{Endpoint, RawHttpUri, refuse_shorter};

/// An endpoint that says whether a token is active (RFC 7662). With keys beside it, it is asked about
/// opaque tokens alone, those that aren't three parts with dots between them; without, about all.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawIntrospection {
    /// Where it is.
    pub http_uri: RawHttpUri,
    /// Who asks: the client's name, sent with its secret as `Authorization: Basic …`.
    pub client_id: String,
    /// The client's secret. It is in no log and no answer.
    pub client_secret: String,
    /// How long an active token isn't asked about again, in each worker; never longer than until its
    /// `exp`.
    #[serde(default = "cache_duration")]
    pub cache_duration: ProtoDuration,
    /// The same for one that isn't active.
    #[serde(default = "negative_cache_duration")]
    pub negative_cache_duration: ProtoDuration,
    /// Requests that may wait for answers at once, in each worker; more are refused with 503.
    #[serde(default = "max_held")]
    pub max_held_requests: Bounded<0, 100_000>,
}

/// Token introspection, checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Introspection {
    /// Where the endpoint is.
    pub endpoint: Endpoint,
    /// The client's name.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// How long an active token isn't asked about again.
    pub active_for: Duration,
    /// How long one that isn't.
    pub inactive_for: Duration,
    /// How long a request waits.
    pub hold: Span,
    /// Requests that may wait at once.
    pub max_held: usize,
}

const fn cache_duration() -> ProtoDuration {
    ProtoDuration::from_secs(60)
}

const fn negative_cache_duration() -> ProtoDuration {
    ProtoDuration::from_secs(10)
}

const fn max_held() -> Bounded<0, 100_000> {
    const { Bounded::new(1000).unwrap() }
}

impl RawIntrospection {
    /// Makes the typed form, or reports all that is wrong at `place`.
    pub(crate) fn check(self, place: &Place<'_>) -> Option<Introspection> {
        if self.client_id.is_empty() {
            place.field("client_id").refuse("the name of a client");
        }
        // What was answered must be good for the request that asked.
        for (field, duration) in [
            ("cache_duration", self.cache_duration),
            ("negative_cache_duration", self.negative_cache_duration),
        ] {
            refuse_shorter(duration.get(), Duration::from_secs(1), &place.field(field));
        }
        let endpoint = self.http_uri.check(&place.field("http_uri"))?;
        Some(Introspection {
            hold: Span::from_duration(endpoint.timeout).times(2),
            endpoint,
            client_id: self.client_id,
            client_secret: self.client_secret,
            active_for: self.cache_duration.get(),
            inactive_for: self.negative_cache_duration.get(),
            max_held: usize::try_from(self.max_held_requests.get()).unwrap_or(usize::MAX),
        })
    }
}

impl std::fmt::Debug for Introspection {
    /// Leaves the secret out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Introspection")
            .field("endpoint", &self.endpoint)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}
