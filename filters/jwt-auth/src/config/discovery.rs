//! OpenID Connect discovery, as it is written.

use filter_core::config::Place;
use filter_core::config::fields::ProtoDuration;
use serde::Deserialize;

use super::jwks::{Discovery, Endpoint, LEAST_TIMEOUT, refuse_nameless, refuse_shorter, split_url};

/// Where an issuer says which keys it has (OpenID Connect Discovery 1.0, RFC 8414).
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawDiscovery {
    /// The issuer's URL. Its document is at `/.well-known/openid-configuration` below it and must name
    /// the same issuer; so must the tokens.
    pub issuer: String,
    /// The gateway's cluster that the document is fetched through, and the keys.
    pub cluster: String,
    /// How long each of the two fetches may take.
    #[serde(default = "timeout")]
    pub timeout: ProtoDuration,
    /// The cluster that the keys are fetched through where their URL (`jwks_uri`) has another host
    /// than the issuer. Without it, such a document is refused.
    #[serde(default)]
    pub jwks_cluster: Option<String>,
}

const fn timeout() -> ProtoDuration {
    ProtoDuration::from_secs(5)
}

impl RawDiscovery {
    /// Makes the typed form, or reports all that is wrong at `place`.
    pub(crate) fn check(self, place: &Place<'_>) -> Option<(Endpoint, Discovery)> {
        refuse_nameless(&self.cluster, &place.field("cluster"));
        if let Some(cluster) = &self.jwks_cluster {
            refuse_nameless(cluster, &place.field("jwks_cluster"));
        }
        let timeout = self.timeout.get();
        refuse_shorter(timeout, LEAST_TIMEOUT, &place.field("timeout"));
        let url = split_url(&self.issuer).filter(|(_, _, path)| !path.contains('?'));
        let Some((scheme, authority, path)) = url else {
            let example = "a URL without query such as \"https://login.example.com/realms/shop\"";
            place.field("issuer").refuse(example);
            return None;
        };
        let path = path.trim_end_matches('/');
        Some((
            Endpoint {
                cluster: self.cluster,
                scheme,
                authority,
                path: format!("{path}/.well-known/openid-configuration"),
                timeout,
            },
            Discovery {
                issuer: self.issuer,
                jwks_cluster: self.jwks_cluster,
            },
        ))
    }
}
