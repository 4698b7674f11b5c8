//! The hosts that a key can belong to.
//!
//! A [`HostSet`] is the same whatever the order in which its hosts were listed, and all placement is
//! made of the set alone: so all gateways that know the same hosts agree without talking.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;

use xxhash_rust::xxh64::xxh64;

use crate::order::{arranged, in_order};

/// One host and what is known about it from configuration or discovery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// What names it to the gateway: `ip:port`, or a cluster's name.
    pub address: String,
    /// What is hashed instead of the address, as Envoy does with a hostname or with `hash_key` of an
    /// endpoint's metadata: keeps the keys of a host that comes back under another address.
    pub hash_key: Option<String>,
    /// Its share of the keys relative to the others'. A host of weight 0 is known and may be
    /// checked, but no key is ever placed on it.
    pub weight: u32,
    /// Where it stands.
    pub zone: Option<String>,
    /// Whether it is about to go: its keys leave it one after another.
    pub draining: bool,
    /// What else is said about it, for people and access logs.
    pub metadata: BTreeMap<String, String>,
}

impl Host {
    /// Makes a host of weight 1 about which nothing else is known.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            hash_key: None,
            weight: 1,
            zone: None,
            draining: false,
            metadata: BTreeMap::new(),
        }
    }

    /// Returns this host with another weight.
    #[must_use]
    pub fn with_weight(self, weight: u32) -> Self {
        Self { weight, ..self }
    }

    /// Returns what places it: the hash key if it has one, otherwise the address.
    pub fn key(&self) -> &str {
        self.hash_key.as_deref().unwrap_or(&self.address)
    }

    /// Returns the number that stands for its address, in every gateway and for all time.
    pub fn id(&self) -> HostId {
        HostId::of(&self.address)
    }
}

/// Stands for a host's address in shared data, where places in a list would not: lists change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(u64);

impl HostId {
    /// Returns the number of an address.
    pub fn of(address: &str) -> Self {
        Self(xxh64(address.as_bytes(), 0))
    }

    /// Makes an id out of a number that was stored.
    pub const fn from_u64(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number to store.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

/// Hosts in canonical order: by key, then by address.
///
/// Everything else in this crate speaks of a host by its place in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSet {
    hosts: Vec<Host>,
    /// By place.
    ids: Vec<HostId>,
    /// Places by the lower bits of their hosts' ids, or in the next slot that is free. Counts of requests
    /// are looked up for each request.
    slots: Vec<u16>,
    /// Places in the order in which the hosts were listed.
    listed: Vec<usize>,
    fingerprint: u64,
}

impl HostSet {
    /// How many hosts a set may have: places are kept in 16 bits.
    pub const MOST: usize = 65_535;

    /// Makes a set out of hosts in any order.
    ///
    /// # Errors
    ///
    /// There must be a host, not more than [`Self::MOST`], each with an address that no other has.
    pub fn new(listed: Vec<Host>) -> Result<Self, Fault> {
        if listed.is_empty() {
            return Err(Fault::Empty);
        }
        if listed.len() > Self::MOST {
            return Err(Fault::TooMany {
                found: listed.len(),
            });
        }
        let mut seen = BTreeSet::new();
        for host in &listed {
            if !seen.insert(host.id()) {
                return Err(Fault::Duplicate {
                    address: host.address.clone(),
                });
            }
        }
        let names = |position: usize| {
            let host = listed.get(position)?;
            Some((host.key(), &*host.address))
        };
        let order = in_order(listed.len(), &|one, other| names(one).cmp(&names(other)));
        // And back: the place of each position.
        let places = in_order(order.len(), &|one, other| {
            order.get(one).cmp(&order.get(other))
        });
        let hosts = arranged(listed, &order);
        let ids: Vec<HostId> = hosts.iter().map(Host::id).collect();
        Ok(Self {
            fingerprint: fingerprint(&hosts),
            slots: slots(&ids),
            ids,
            hosts,
            listed: places,
        })
    }

    /// Returns how many hosts there are: at least one.
    pub fn len(&self) -> usize {
        self.hosts.len()
    }

    /// Returns whether there is no host, which never is so.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// Returns the host at a place.
    pub fn get(&self, place: usize) -> Option<&Host> {
        self.hosts.get(place)
    }

    /// Returns the hosts in canonical order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Host> {
        self.hosts.iter()
    }

    /// Returns the places of the hosts in the order in which they were listed.
    pub fn listed(&self) -> impl ExactSizeIterator<Item = usize> {
        self.listed.iter().copied()
    }

    /// Returns the place of a host.
    pub fn index_of(&self, id: HostId) -> Option<usize> {
        let mask = self.slots.len().saturating_sub(1);
        let mut slot = lower_half(id) & mask;
        loop {
            // Half of the slots are free at least, so this ends.
            let place = self
                .slots
                .get(slot)
                .copied()
                .filter(|&place| place != FREE)?;
            if self.ids.get(usize::from(place)) == Some(&id) {
                return Some(usize::from(place));
            }
            slot = slot.wrapping_add(1) & mask;
        }
    }

    /// Returns the place of the host with this address.
    pub fn by_address(&self, address: &str) -> Option<usize> {
        let place = self.index_of(HostId::of(address))?;
        // Two addresses with one id can't both be in a set, but someone may ask for the other.
        (self.get(place)?.address == address).then_some(place)
    }

    /// Returns a number that is equal for sets that place keys equally, in every gateway.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}

const FREE: u16 = u16::MAX;

/// Two slots for each host at least.
fn slots(ids: &[HostId]) -> Vec<u16> {
    let mut slots = vec![FREE; ids.len().saturating_mul(2).next_power_of_two()];
    let mask = slots.len().saturating_sub(1);
    for (&id, place) in ids.iter().zip(0..FREE) {
        let mut slot = lower_half(id) & mask;
        while slots.get(slot).is_some_and(|&place| place != FREE) {
            slot = slot.wrapping_add(1) & mask;
        }
        if let Some(slot) = slots.get_mut(slot) {
            *slot = place;
        }
    }
    slots
}

/// As much of an id as there is room for in wasm.
fn lower_half(id: HostId) -> usize {
    usize::try_from(id.0 & 0xffff_ffff).unwrap_or(0)
}

fn fingerprint(hosts: &[Host]) -> u64 {
    let mut text = Vec::new();
    for host in hosts {
        for part in [&host.address, host.key()] {
            text.extend_from_slice(part.as_bytes());
            text.push(0);
        }
        text.extend_from_slice(&host.weight.to_le_bytes());
    }
    xxh64(&text, 0)
}

/// Why hosts make no set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is none.
    Empty,
    /// There are more than places can be told apart.
    TooMany {
        /// How many there are.
        found: usize,
    },
    /// Two hosts have one address.
    Duplicate {
        /// Which.
        address: String,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("there is no host"),
            Self::TooMany { found } => {
                write!(f, "{found} hosts, at most {} are allowed", HostSet::MOST)
            }
            Self::Duplicate { address } => write!(f, "{address} is listed twice"),
        }
    }
}

/// Reads `ip:port` or `[ip]:port` and returns it as gateways write it: the form that is hashed.
///
/// Port 0, names, and addresses without a port are nothing that a gateway could connect to.
pub fn socket_address(text: &str) -> Option<String> {
    let address: SocketAddr = text.parse().ok()?;
    (address.port() != 0).then(|| address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(addresses: &[&str]) -> HostSet {
        HostSet::new(addresses.iter().copied().map(Host::new).collect()).unwrap()
    }

    #[test]
    fn the_order_listed_makes_no_difference() {
        let one = set(&["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]);
        let other = set(&["10.0.0.3:80", "10.0.0.1:80", "10.0.0.2:80"]);
        assert!(one.iter().eq(other.iter()));
        assert_eq!(one.fingerprint(), other.fingerprint());
        assert_eq!(other.listed().collect::<Vec<_>>(), [2, 0, 1]);
    }

    #[test]
    fn a_host_is_found_by_its_address_and_by_its_id() {
        let hosts = set(&["10.0.0.2:80", "10.0.0.1:80"]);
        assert_eq!(hosts.by_address("10.0.0.2:80"), Some(1));
        assert_eq!(hosts.index_of(HostId::of("10.0.0.1:80")), Some(0));
        assert_eq!(hosts.by_address("10.0.0.3:80"), None);
    }

    #[test]
    fn each_of_many_hosts_is_found_by_its_id() {
        let listed = (0..3_000).map(|n| Host::new(format!("10.0.{n}.1:80")));
        let hosts = HostSet::new(listed.collect()).unwrap();
        for (place, host) in hosts.iter().enumerate() {
            assert_eq!(hosts.index_of(host.id()), Some(place));
        }
        for number in 0..3_000 {
            assert_eq!(hosts.index_of(HostId::from_u64(number)), None);
        }
    }

    #[test]
    fn no_host_and_a_host_twice_are_faults() {
        assert_eq!(HostSet::new(Vec::new()), Err(Fault::Empty));
        let twice = vec![Host::new("10.0.0.1:80"), Host::new("10.0.0.1:80")];
        let fault = HostSet::new(twice).unwrap_err();
        assert_eq!(fault.to_string(), "10.0.0.1:80 is listed twice");
        let many = (0..=HostSet::MOST).map(|n| Host::new(n.to_string()));
        assert_eq!(
            HostSet::new(many.collect()),
            Err(Fault::TooMany { found: 65_536 })
        );
    }

    #[test]
    fn what_changes_the_placement_changes_the_fingerprint() {
        let plain = set(&["10.0.0.1:80"]);
        let heavy = HostSet::new(vec![Host::new("10.0.0.1:80").with_weight(2)]).unwrap();
        let mut keyed = Host::new("10.0.0.1:80");
        keyed.hash_key = Some("shard-1".to_owned());
        let keyed = HostSet::new(vec![keyed]).unwrap();
        assert_ne!(plain.fingerprint(), heavy.fingerprint());
        assert_ne!(plain.fingerprint(), keyed.fingerprint());
    }

    #[test]
    fn addresses_are_read_as_gateways_write_them() {
        assert_eq!(
            socket_address("10.0.0.1:80").as_deref(),
            Some("10.0.0.1:80")
        );
        assert_eq!(
            socket_address("[2001:DB8:0::1]:80").as_deref(),
            Some("[2001:db8::1]:80")
        );
        for text in [
            "",
            "10.0.0.1",
            "10.0.0.1:0",
            "10.0.0.1:70000",
            "a:80",
            "::1:80",
            "10.0.0.1:80 ",
        ] {
            assert_eq!(socket_address(text), None, "{text}");
        }
    }
}
