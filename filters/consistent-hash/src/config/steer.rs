//! How a choice reaches the gateway.

use filter_core::config::fields::{Bounded, HeaderName};
use serde::Deserialize;

/// How the choice reaches the gateway. Whatever a client sends in the same header is removed.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RawSteer {
    /// As a list of hosts for Envoy's policy `override_host`: retries go through it.
    OverrideHost(RawOverrideHost),
    /// As one host for Envoy's filter `stateful_session` with a header, which comes after this filter.
    /// Envoy leaves the host out if its own health checks do.
    StatefulSession(RawHeader),
    /// As the key alone: the gateway's own ring or maglev chooses.
    HashKey(RawHashKey),
    /// As the name of a cluster, for a route with `cluster_header`: each host is a cluster.
    ClusterHeader(RawHeader),
}

/// A list of hosts in a request header.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RawOverrideHost {
    /// Its name, as in the policy's `override_host_sources`; `x-upstream-candidates` by default.
    pub header: HeaderName,
    /// Hosts in the list at most: one, and one for each retry.
    pub candidates: Bounded<1, 16>,
}

/// A request header.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawHeader {
    /// Its name.
    pub header: HeaderName,
}

/// Where the gateway finds the key.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawHashKey {
    /// In this request header, for a `hash_policy` by that header. A key that is no plain text of at most
    /// 256 characters is written as its hash. If it is left out: in the filter state
    /// `envoy.hashable_string`, for a `hash_policy` by filter state, which no client can write.
    pub header: Option<HeaderName>,
}

/// How the choice reaches the gateway, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Steer {
    /// Hosts in a header, parted by commas.
    OverrideHost {
        /// Its name.
        header: String,
        /// So many at most.
        candidates: usize,
    },
    /// A host in base64 in a header.
    StatefulSession {
        /// Its name.
        header: String,
    },
    /// The key in a header, or in filter state.
    HashKey {
        /// Its name.
        header: Option<String>,
    },
    /// A cluster's name in a header.
    ClusterHeader {
        /// Its name.
        header: String,
    },
}

impl Steer {
    /// The header that the choice is written to.
    pub fn header(&self) -> Option<&str> {
        match self {
            Self::OverrideHost { header, .. }
            | Self::StatefulSession { header }
            | Self::ClusterHeader { header } => Some(header),
            Self::HashKey { header } => header.as_deref(),
        }
    }

    /// Whether the filter chooses a host, not the gateway.
    pub fn chooses(&self) -> bool {
        !matches!(self, Self::HashKey { .. })
    }
}

impl RawSteer {
    pub(super) fn check(self) -> Steer {
        let owned = |header: HeaderName| header.as_str().to_owned();
        match self {
            Self::OverrideHost(RawOverrideHost { header, candidates }) => Steer::OverrideHost {
                header: owned(header),
                candidates: usize::try_from(candidates.get()).unwrap_or(1),
            },
            Self::StatefulSession(RawHeader { header }) => Steer::StatefulSession {
                header: owned(header),
            },
            Self::HashKey(RawHashKey { header }) => Steer::HashKey {
                header: header.map(owned),
            },
            Self::ClusterHeader(RawHeader { header }) => Steer::ClusterHeader {
                header: owned(header),
            },
        }
    }
}

const THREE: Bounded<1, 16> = Bounded::new(3).unwrap();

impl Default for RawOverrideHost {
    fn default() -> Self {
        Self {
            header: header_name("x-upstream-candidates"),
            candidates: THREE,
        }
    }
}

impl Default for RawSteer {
    fn default() -> Self {
        Self::OverrideHost(RawOverrideHost::default())
    }
}

/// A name of ours.
pub(super) fn header_name(name: &str) -> HeaderName {
    HeaderName::new(name).unwrap_or_else(|| {
        debug_assert!(false, "{name} is no header's name");
        // Any name: this one exists.
        header_name("x-upstream-choice")
    })
}
