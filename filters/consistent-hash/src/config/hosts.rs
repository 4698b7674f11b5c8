//! The hosts, how keys are placed on them, and which are near.

use std::collections::BTreeMap;

use filter_core::config::Place;
use filter_core::config::fields::Bounded;
use serde::Deserialize;

use super::discovery::some_text;
use crate::share::Share;
use crate::zones::Spill;
use placement::Algorithm;
use placement::hosts::{Host, socket_address};
use placement::maglev::is_table_size;

/// A host.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawHost {
    /// `ip:port` or `[ip]:port`, as in the gateway's cluster.
    pub address: Option<String>,
    /// The gateway's cluster that is this host, in place of an address, for `steer: cluster_header`.
    pub cluster: Option<String>,
    /// Its share of the keys, in relation to the others'. One with 0 gets none.
    #[serde(default = "one")]
    pub weight: Bounded<0, 65_535>,
    /// Where it is, for `zones`.
    pub zone: Option<String>,
    /// What is hashed in place of the address, so that a host keeps its keys when it gets another.
    pub hash_key: Option<String>,
    /// Whether it is about to go: its keys leave it one after another.
    #[serde(default)]
    pub draining: bool,
    /// What else is known about it; put into explanations and the access log as it is.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

/// How keys are placed on hosts.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RawAlgorithm {
    /// `rendezvous` for up to 256 hosts, `maglev` for more.
    #[default]
    Auto,
    /// Weighted rendezvous hashing: no key moves but those of a host that goes or comes.
    Rendezvous,
    /// Maglev hashing, with the same placement as Envoy's `maglev` with a table of the same size.
    Maglev(RawMaglev),
    /// A hash ring, with the same placement as Envoy's `ring_hash` (XX_HASH) with a ring of the same
    /// size and the same hosts in the same order.
    Ring(RawRing),
}

/// Maglev hashing (Eisenbud et al., 2016).
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawMaglev {
    /// Places in the table, a prime number; 65537 for up to 650 hosts and 655373 above, if it is left
    /// out.
    pub table_size: Option<Bounded<2, 5_000_011>>,
}

/// A hash ring (Karger et al., 1997), as Envoy makes it.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    derive(schemars::JsonSchema, serde::Serialize)
)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RawRing {
    /// Points on the ring at least, as Envoy's `minimum_ring_size`.
    pub minimum_size: Bounded<1, 8_388_608>,
    /// Points on the ring at most, as Envoy's `maximum_ring_size`.
    pub maximum_size: Bounded<1, 8_388_608>,
}

/// Prefers hosts nearby.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawZones {
    /// The zone that the gateway is in; that of its node (`locality.zone`) if it is left out.
    pub own: Option<String>,
    /// How much more than its part a host can carry, in percent: with 140, keys begin to leave the zone
    /// when fewer than 1/1.4 = 71 % of its weight are available, as in Envoy.
    #[serde(default = "two_fifths_more")]
    pub overprovisioning: Bounded<100, 1000>,
    /// The part of all traffic that comes in through gateways of this zone, in percent. Keys leave the
    /// zone if that is more than its part of all available hosts. Not looked at if it is left out.
    pub traffic: Option<Bounded<1, 100>>,
}

/// Zones, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zones {
    /// The gateway's own; its node's if there is none.
    pub own: Option<String>,
    /// When keys leave it.
    pub spill: Spill,
}

const TWO_FIFTHS_MORE: Bounded<100, 1000> = Bounded::new(140).unwrap();
const ONE: Bounded<0, 65_535> = Bounded::new(1).unwrap();
const SMALLEST_RING: Bounded<1, 8_388_608> = Bounded::new(1024).unwrap();
const LARGEST_RING: Bounded<1, 8_388_608> = Bounded::new(8_388_608).unwrap();

const fn one() -> Bounded<0, 65_535> {
    ONE
}

const fn two_fifths_more() -> Bounded<100, 1000> {
    TWO_FIFTHS_MORE
}

impl Default for RawRing {
    fn default() -> Self {
        Self {
            minimum_size: SMALLEST_RING,
            maximum_size: LARGEST_RING,
        }
    }
}

impl RawZones {
    pub(super) fn check(self) -> Zones {
        Zones {
            own: self.own,
            spill: Spill {
                overprovisioning: self.overprovisioning.get_u32(),
                traffic: self
                    .traffic
                    .map(|percent| Share::percent(percent.get_u32())),
            },
        }
    }
}

impl RawAlgorithm {
    /// Makes it, or reports all that is wrong at `place`.
    pub(super) fn check(self, place: &Place<'_>) -> Option<Algorithm> {
        Some(match self {
            Self::Auto => Algorithm::Auto,
            Self::Rendezvous => Algorithm::Rendezvous,
            Self::Maglev(RawMaglev { table_size }) => {
                let table_size = table_size.map(Bounded::get_u32);
                if table_size.is_some_and(|size| !is_table_size(size)) {
                    let at = place.field("maglev");
                    at.field("table_size")
                        .refuse("a prime number, such as 65537");
                    return None;
                }
                Algorithm::Maglev { table_size }
            }
            Self::Ring(RawRing {
                minimum_size,
                maximum_size,
            }) => {
                if minimum_size > maximum_size {
                    let at = place.field("ring");
                    at.field("minimum_size")
                        .report("is more than \"maximum_size\"");
                    return None;
                }
                Algorithm::Ring {
                    minimum: minimum_size.get_u32(),
                    maximum: maximum_size.get_u32(),
                }
            }
        })
    }
}

/// Text that can stand in a list, in a header and in a line of a log.
pub(crate) fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| matches!(byte, 0x21..=0x7e) && byte != b',')
}

impl RawHost {
    /// Makes a host, or reports all that is wrong at `place`.
    pub(super) fn check(self, are_clusters: bool, place: &Place<'_>) -> Option<Host> {
        let name = match (&self.address, &self.cluster, are_clusters) {
            (Some(address), None, false) => {
                let found = socket_address(address);
                if found.is_none() {
                    let at = place.field("address");
                    at.refuse("an address and a port, such as \"10.0.0.1:8080\" or \"[2001:db8::1]:8080\"");
                }
                found
            }
            (None, Some(cluster), true) => some_text(cluster, &place.field("cluster")),
            (None, None, true) => {
                place.field("cluster").refuse("the name of a cluster");
                None
            }
            (None, None, false) => {
                place
                    .field("address")
                    .refuse("an address and a port, such as \"10.0.0.1:8080\"");
                None
            }
            (_, Some(_), false) => {
                place
                    .field("cluster")
                    .report("is for \"steer: cluster_header\"; write an \"address\"");
                None
            }
            (Some(_), _, true) => {
                place
                    .field("address")
                    .report("with \"steer: cluster_header\" a host is a \"cluster\"");
                None
            }
        };
        for (field, text) in [("zone", &self.zone), ("hash_key", &self.hash_key)] {
            if text.as_deref().is_some_and(|text| !is_plain(text)) {
                place.field(field).refuse("text without blanks and commas");
                return None;
            }
        }
        let is_field = |(name, value): (&String, &String)| is_plain(name) && is_plain(value);
        if !self.metadata.iter().all(is_field) {
            place
                .field("metadata")
                .refuse("names and values without blanks and commas");
            return None;
        }
        let mut host = Host::new(name?).with_weight(self.weight.get_u32());
        host.zone = self.zone;
        host.hash_key = self.hash_key;
        host.draining = self.draining;
        host.metadata = self.metadata;
        Some(host)
    }
}
