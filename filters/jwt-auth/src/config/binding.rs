//! Tokens that are good for whoever has a key, as it is written, and the typed form.

use std::time::Duration;

use filter_core::config::Place;
use filter_core::config::fields::{Bounded, ProtoDuration};
use serde::Deserialize;

use super::jwks::split_url;
use super::provider::named_algorithms;
use crate::jose::algorithm::{Algorithm, Family};

/// Which tokens must be bound to their sender's key.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    derive(schemars::JsonSchema, serde::Serialize)
)]
#[serde(rename_all = "snake_case")]
pub enum Binding {
    /// All.
    #[default]
    Required,
    /// Those that say so in `cnf`; others are taken as they are.
    IfBound,
}

/// Proof of possession at the application layer (DPoP, RFC 9449): the token comes as
/// `Authorization: DPoP …`, and the header `DPoP` has a proof signed with the key that it is bound to.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RawDpop {
    /// Which tokens must be bound.
    pub tokens: Binding,
    /// Algorithms that proofs may be signed with; by default all but `HS…`.
    pub algorithms: Option<Vec<String>>,
    /// How far a proof's `iat` may be from the gateway's time, before or after; 60 s by default.
    /// Within it, a proof (its `jti`) is good for one request, over all workers.
    pub max_age: Option<ProtoDuration>,
    /// What clients call this gateway, such as `https://api.example.com`, to be compared with a
    /// proof's `htu`. By default what the request says: `x-forwarded-proto` and its host.
    pub origin: Option<String>,
    /// Proofs that are remembered at once, over all workers; 65,536 by default. When more are used
    /// within `max_age`, those that end soonest are forgotten.
    pub remembered_proofs: Option<Bounded<64, 4_194_304>>,
}

/// Where the digest of a client's certificate is.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    derive(schemars::JsonSchema, serde::Serialize)
)]
#[serde(rename_all = "snake_case")]
pub enum CertificateSource {
    /// The connection's own: clients speak TLS with this gateway. Costs one hostcall a request.
    #[default]
    Connection,
    /// `Hash` in the last element of `x-forwarded-client-cert`, for gateways behind one that ends
    /// TLS. Only where the gateway itself removes that header from other senders: a client could
    /// write it otherwise.
    ForwardedHeader,
}

/// Tokens that are bound to the certificate of the client's TLS connection (RFC 8705 section 3,
/// `x5t#S256` in `cnf`).
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RawCertificateBound {
    /// Which tokens must be bound.
    pub tokens: Binding,
    /// Where the digest of the certificate is.
    pub source: CertificateSource,
}

/// Proof of possession, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dpop {
    /// Which tokens must be bound.
    pub tokens: Binding,
    /// Algorithms that proofs may be signed with.
    pub algorithms: Vec<Algorithm>,
    /// How far `iat` may be from now.
    pub max_age: Duration,
    /// Scheme and authority that `htu` is compared with, if not the request's own.
    pub origin: Option<(String, String)>,
    /// Proofs that are remembered at once.
    pub remembered: u64,
}

/// Certificate-bound tokens, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateBound {
    /// Which tokens must be bound.
    pub tokens: Binding,
    /// Where the digest of the certificate is.
    pub source: CertificateSource,
}

impl RawDpop {
    /// Makes the typed form, or reports all that is wrong at `place`.
    pub(crate) fn check(self, place: &Place<'_>) -> Option<Dpop> {
        let at = place.field("algorithms");
        let algorithms = match self.algorithms {
            Some(names) => named_algorithms(names, false, &at)?,
            None => Algorithm::ALL
                .into_iter()
                .filter(|alg| alg.family() != Family::Hmac)
                .collect(),
        };
        let origin = match self.origin {
            None => None,
            Some(url) => match split_url(&url) {
                Some((scheme, authority, path)) if path == "/" => Some((scheme, authority)),
                _ => {
                    let example = "scheme and host such as \"https://api.example.com\"";
                    place.field("origin").refuse(example);
                    return None;
                }
            },
        };
        Some(Dpop {
            tokens: self.tokens,
            algorithms,
            max_age: self
                .max_age
                .map_or(Duration::from_secs(60), ProtoDuration::get),
            origin,
            remembered: self.remembered_proofs.map_or(65_536, Bounded::get),
        })
    }
}
