//! Where keys belong under a configuration, and how many move under another: for people, before it
//! is rolled out. Nothing here runs in a gateway, and it goes by what runs there.

use std::collections::BTreeMap;

use filter_core::time::{Span, Timestamp};

use crate::config::Config;
use crate::decision::Reason;
use crate::health::{Board, Event};
use crate::hot_keys::Heat;
use crate::policy::{Chance, Policy};
use crate::view::View;
use crate::zones;
use placement::Placement;
use placement::hosts::{Host, HostId};
use placement::number::{float, mixed};

/// A configuration with its hosts placed, and all of them well but for some.
#[derive(Clone, Debug)]
pub struct Map {
    policy: Policy,
    view: View,
    out: Vec<HostId>,
}

/// Why there is no map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoMap {
    /// The gateway places the keys.
    GatewayChooses,
    /// Hosts are discovered, and the configuration has none to begin with.
    NoHosts,
    /// No host has this address.
    UnknownHost(String),
}

impl std::fmt::Display for NoMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::GatewayChooses => f.write_str("`steer` leaves the choice to the gateway"),
            Self::NoHosts => f.write_str("there are no `hosts`: they are discovered later"),
            Self::UnknownHost(address) => write!(f, "there is no host {address}"),
        }
    }
}

/// Where a key belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The key after normalisation.
    pub key: Vec<u8>,
    /// Its XXH64.
    pub hash: u64,
    /// Why the first candidate is the first; [`Reason::None`] if there is none.
    pub reason: Reason,
    /// All hosts with a weight, those that may be chosen first.
    pub candidates: Vec<Candidate>,
}

/// A host that a key may go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The host.
    pub host: Host,
    /// Its place in the key's own order, from 1.
    pub rank: usize,
    /// Whether it is in the gateway's own zone; always where there are no zones.
    pub is_own_zone: bool,
    /// Whether it has this key: it doesn't while it is out.
    pub is_in: bool,
}

impl Map {
    /// Places the hosts of a configuration. Those with the addresses in `out` fail their checks.
    ///
    /// # Errors
    ///
    /// The configuration has no hosts, or it isn't the filter that chooses.
    pub fn new(config: Config, out: &[String]) -> Result<Self, NoMap> {
        if !config.steer.chooses() {
            return Err(NoMap::GatewayChooses);
        }
        let hosts = config.hosts.clone().ok_or(NoMap::NoHosts)?;
        let placement = Placement::build(&hosts, config.algorithm);
        // Later than any moment of a host that has never been out.
        let now = Timestamp::ZERO.after(Span::from_secs(1));
        let mut board = Board::default();
        let mut ids = Vec::new();
        for address in out {
            if hosts.by_address(address).is_none() {
                return Err(NoMap::UnknownHost(address.clone()));
            }
            let id = HostId::of(address);
            ids.push(id);
            let rules = &config.health.rules;
            for _ in 0..rules.unhealthy_after {
                board.apply(id, Event::CheckFailed, now, rules, hosts.len());
            }
        }
        let own_zone = config.zones.as_ref().and_then(|zones| zones.own.clone());
        let mut view = View::new(hosts, placement, own_zone.as_deref(), None);
        view.refresh(&config, &board, now);
        Ok(Self {
            policy: Policy::new(config),
            view,
            out: ids,
        })
    }

    /// Returns the name of the algorithm.
    pub fn algorithm(&self) -> &'static str {
        self.view.placement().name()
    }

    /// Returns how many hosts there are.
    pub fn hosts(&self) -> usize {
        self.view.hosts().len()
    }

    /// Returns whether so many hosts are out that this is ignored.
    pub fn panics(&self) -> bool {
        self.view.panics()
    }

    /// Says where a key belongs; `None` if normalisation leaves nothing of it.
    pub fn explain(&self, key: &[u8]) -> Option<Explanation> {
        let key = self.policy.config().keys.normalize(key.to_vec())?;
        let hash = Policy::hash(&key);
        let chance = Chance {
            heat: Heat::Cold,
            loads: None,
            turn: 0,
            random: 0,
        };
        let choice = self.policy.choose(&self.view, Some(&key), chance);
        let order: Vec<usize> = self.view.placement().candidates(hash).collect();
        let stays = self
            .view
            .stays()
            .is_none_or(|share| zones::stays(share, hash));
        let by_zone = zones::by_zone(order.iter().copied(), stays, |place| {
            self.view.is_own(place)
        });
        let mut candidates: Vec<Candidate> = by_zone
            .filter_map(|place| {
                let host = self.view.hosts().get(place)?.clone();
                let rank = order.iter().position(|&other| other == place)?;
                Some(Candidate {
                    is_in: self.view.has(place, hash)
                        && (self.view.panics() || !self.out.contains(&host.id())),
                    is_own_zone: self.view.is_own(place),
                    rank: rank.saturating_add(1),
                    host,
                })
            })
            .collect();
        candidates.sort_by_key(|candidate| !candidate.is_in);
        Some(Explanation {
            key,
            hash,
            reason: choice.reason,
            candidates,
        })
    }

    /// Returns the address of the host that has a hash.
    fn host_of(&self, hash: u64) -> Option<&str> {
        let stays = self
            .view
            .stays()
            .is_none_or(|share| zones::stays(share, hash));
        let order = self.view.placement().candidates(hash);
        let mut order = zones::by_zone(order, stays, |place| self.view.is_own(place));
        let place = order.find(|&place| self.view.has(place, hash))?;
        self.view
            .hosts()
            .get(place)
            .map(|host| host.address.as_str())
    }

    /// Returns the weight of each host that may be chosen, and of all.
    fn weights(&self) -> (BTreeMap<&str, f64>, f64) {
        let (places, weights) = self.view.available();
        let mut sum = 0.0;
        let mut each = BTreeMap::new();
        for (&place, &weight) in places.iter().zip(weights) {
            if let Some(host) = self.view.hosts().get(place) {
                sum += f64::from(weight);
                each.insert(host.address.as_str(), f64::from(weight));
            }
        }
        (each, sum)
    }
}

/// What changes from one configuration to another.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// How many keys were looked at.
    pub keys: u64,
    /// How many of them get another host.
    pub moved: u64,
    /// How many of those leave a host that remains, for another one that was there before.
    pub needlessly: u64,
    /// The part that can't but move for each host to have its part by weight afterwards: 0 to 1.
    pub least: f64,
    /// Keys before and after, by address.
    pub hosts: BTreeMap<String, (u64, u64)>,
}

/// Compares two configurations over so many keys, which are made up and as good as any.
pub fn diff(old: &Map, new: &Map, keys: u64) -> Difference {
    let ((before, all_before), (after, all_after)) = (old.weights(), new.weights());
    let part = |weights: &BTreeMap<&str, f64>, all: f64, host: &str| {
        weights.get(host).map_or(0.0, |weight| weight / all)
    };
    let mut difference = Difference {
        keys,
        moved: 0,
        needlessly: 0,
        least: after
            .keys()
            .map(|host| part(&after, all_after, host) - part(&before, all_before, host))
            .filter(|gain| *gain > 0.0)
            .sum(),
        hosts: before
            .keys()
            .chain(after.keys())
            .map(|host| ((*host).to_owned(), (0, 0)))
            .collect(),
    };
    for number in 0..keys {
        let hash = mixed(number);
        let (one, other) = (old.host_of(hash), new.host_of(hash));
        if let Some((count, _)) = one.and_then(|host| difference.hosts.get_mut(host)) {
            *count = count.saturating_add(1);
        }
        if let Some((_, count)) = other.and_then(|host| difference.hosts.get_mut(host)) {
            *count = count.saturating_add(1);
        }
        if one != other {
            difference.moved = difference.moved.saturating_add(1);
            let remains = one.is_some_and(|host| after.contains_key(host));
            let was_there = other.is_some_and(|host| before.contains_key(host));
            if remains && was_there {
                difference.needlessly = difference.needlessly.saturating_add(1);
            }
        }
    }
    difference
}

impl Difference {
    /// Returns the part of keys that move, in percent.
    pub fn percent(&self) -> f64 {
        float(self.moved) * 100.0 / float(self.keys.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(hosts: &[u32], more: &str) -> Config {
        let hosts = hosts.iter().enumerate().filter(|(_, weight)| **weight > 0);
        let hosts = hosts.map(|(number, weight)| {
            let zone = ["a", "b"][number % 2];
            format!(r#"{{"address": "10.0.0.{number}:80", "weight": {weight}, "zone": "{zone}"}}"#)
        });
        let hosts = hosts.collect::<Vec<_>>().join(",");
        Config::read(format!(r#"{{"hosts": [{hosts}]{more}}}"#).as_bytes()).unwrap()
    }

    fn map(hosts: &[u32], more: &str, out: &[&str]) -> Map {
        let out: Vec<String> = out.iter().map(ToString::to_string).collect();
        Map::new(config(hosts, more), &out).unwrap()
    }

    #[test]
    fn a_keys_candidates_are_in_its_order_and_the_one_that_is_out_comes_last() {
        let all = map(&[1; 8], "", &[]).explain(b"user-1").unwrap();
        assert_eq!(all.reason, Reason::Key);
        assert!(
            all.candidates
                .iter()
                .map(|candidate| candidate.rank)
                .eq(1..=8)
        );
        let first = all.candidates[0].host.address.clone();
        let without = map(&[1; 8], "", &[&first]).explain(b"user-1").unwrap();
        assert_eq!(without.reason, Reason::Failover);
        assert_eq!(without.candidates[0], all.candidates[1]);
        let last = without.candidates.last().unwrap();
        assert_eq!(
            (&last.host.address, last.rank, last.is_in),
            (&first, 1, false)
        );
    }

    #[test]
    fn the_own_zone_comes_first() {
        let map = map(&[1; 8], r#", "zones": {"own": "b"}"#, &[]);
        for key in ["user-1", "user-2", "user-3"] {
            let candidates = map.explain(key.as_bytes()).unwrap().candidates;
            let own = candidates.iter().map(|candidate| candidate.is_own_zone);
            assert!(own.eq((0..8).map(|place| place < 4)));
        }
    }

    #[test]
    fn a_host_less_moves_its_keys_and_no_other() {
        let (old, new) = (
            map(&[1; 8], "", &[]),
            map(&[1, 1, 1, 0, 1, 1, 1, 1], "", &[]),
        );
        let difference = diff(&old, &new, 20_000);
        assert_eq!(difference.hosts["10.0.0.3:80"], (difference.moved, 0));
        assert_eq!(difference.needlessly, 0);
        assert!((difference.percent() - 12.5).abs() < 1.0, "{difference:?}");
        assert!((difference.least - 0.125).abs() < 1e-9, "{difference:?}");
    }

    #[test]
    fn another_algorithm_moves_most_keys_and_most_needlessly() {
        let (old, new) = (
            map(&[1; 8], "", &[]),
            map(&[1; 8], r#", "algorithm": {"maglev": {}}"#, &[]),
        );
        let difference = diff(&old, &new, 10_000);
        assert_eq!(difference.needlessly, difference.moved);
        assert!(difference.percent() > 80.0 && difference.least == 0.0);
    }

    #[test]
    fn the_same_configuration_moves_nothing() {
        let map = map(&[1, 2, 3], "", &[]);
        assert_eq!(diff(&map, &map, 1_000).moved, 0);
    }

    #[test]
    fn what_can_not_be_explained_says_why() {
        let out = ["10.0.0.9:80".to_owned()];
        let cause = Map::new(config(&[1], ""), &out).unwrap_err();
        assert_eq!(cause.to_string(), "there is no host 10.0.0.9:80");
    }
}
