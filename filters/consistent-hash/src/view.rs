//! What a worker knows of the hosts at the moment: which there are, where keys belong, and which share
//! of its keys each host has.
//!
//! Made anew at every tick and whenever a worker learns something, so that a request looks nothing up but
//! its candidates.

use std::collections::BTreeMap;

use filter_core::time::Timestamp;

use crate::bounded::{Load, Totals};
use crate::config::Config;
use crate::health::{Board, in_panic};
use crate::share::Share;
use crate::zones::Capacity;
use placement::Placement;
use placement::hosts::{HostId, HostSet};

/// The hosts as a worker sees them.
#[derive(Clone, Debug)]
pub struct View {
    hosts: HostSet,
    placement: Placement,
    /// By place.
    ids: Vec<HostId>,
    /// By place: the share of its keys that a host has; nothing for one that is out.
    shares: Vec<Share>,
    /// Whether every share is the whole.
    is_whole: bool,
    /// Whether so many hosts are out that all count as in.
    panics: bool,
    /// By place: its weight.
    all_weights: Vec<u32>,
    /// Places of hosts that have a weight and some share.
    available: Vec<usize>,
    /// Their weights.
    weights: Vec<u32>,
    /// The sum of their weights.
    weight: u64,
    /// Whether these are all hosts.
    is_all_available: bool,
    zone: Option<OwnZone>,
    /// Since when hosts drain, as far as this worker knows.
    drains: BTreeMap<HostId, Timestamp>,
}

#[derive(Clone, Debug)]
struct OwnZone {
    /// By place.
    has: Vec<bool>,
    stays: Share,
}

impl View {
    /// Begins to look at hosts. What an earlier view knew of drains is kept.
    pub fn new(
        hosts: HostSet,
        placement: Placement,
        own_zone: Option<&str>,
        earlier: Option<&Self>,
    ) -> Self {
        let ids: Vec<_> = hosts.iter().map(placement::hosts::Host::id).collect();
        let zone = own_zone.map(|own| OwnZone {
            has: hosts
                .iter()
                .map(|host| host.zone.as_deref() == Some(own))
                .collect(),
            stays: Share::WHOLE,
        });
        let shares = vec![Share::WHOLE; ids.len()];
        Self {
            placement,
            ids,
            shares,
            is_whole: true,
            panics: false,
            all_weights: hosts.iter().map(|host| host.weight).collect(),
            available: Vec::new(),
            weights: Vec::new(),
            weight: 0,
            is_all_available: false,
            zone,
            drains: earlier.map_or_else(BTreeMap::new, |view| view.drains.clone()),
            hosts,
        }
    }

    /// Brings shares up to date.
    pub fn refresh(&mut self, config: &Config, board: &Board, now: Timestamp) {
        let rules = &config.health.rules;
        let (mut all, mut well) = (0_u64, 0_u64);
        let mut drains = BTreeMap::new();
        self.shares.clear();
        for (host, id) in self.hosts.iter().zip(&self.ids) {
            let mut share = match board.is_empty() {
                true => Share::WHOLE,
                false => board.state(*id, now, rules).share(),
            };
            all = all.saturating_add(u64::from(host.weight));
            if share > Share::NONE {
                well = well.saturating_add(u64::from(host.weight));
            }
            if host.draining {
                let since = self.drains.get(id).copied().unwrap_or(now);
                drains.insert(*id, since);
                share = share.times(Share::falling(now.since(since), config.drain_time));
            }
            self.shares.push(share);
        }
        self.drains = drains;
        self.panics = in_panic(well, all, config.health.panic_threshold);
        if self.panics {
            self.shares
                .iter_mut()
                .for_each(|share| *share = Share::WHOLE);
        }
        self.is_whole = self.shares.iter().all(|share| *share == Share::WHOLE);
        self.available.clear();
        self.weights.clear();
        for (place, (host, share)) in self.hosts.iter().zip(&self.shares).enumerate() {
            if host.weight > 0 && *share > Share::NONE {
                self.available.push(place);
                self.weights.push(host.weight);
            }
        }
        let weights = self.weights.iter().copied().map(u64::from);
        self.weight = weights.fold(0, u64::saturating_add);
        self.is_all_available = self.available.len() == self.ids.len();
        if let (Some(zone), Some(zones)) = (&mut self.zone, &config.zones) {
            let mut capacity = Capacity {
                own_available: 0,
                own: 0,
                available: 0,
            };
            let hosts = self.hosts.iter().zip(&self.shares).zip(&zone.has);
            for ((host, share), is_own) in hosts {
                let weight = u64::from(host.weight);
                let is_available = *share > Share::NONE;
                let add = |sum: &mut u64| *sum = sum.saturating_add(weight);
                if is_available {
                    add(&mut capacity.available);
                }
                if *is_own {
                    add(&mut capacity.own);
                    if is_available {
                        add(&mut capacity.own_available);
                    }
                }
            }
            zone.stays = zones.spill.stays(capacity);
        }
    }

    /// The hosts.
    pub fn hosts(&self) -> &HostSet {
        &self.hosts
    }

    /// The placement.
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// Goes on with a placement in the making; see [`Placement::step`].
    pub fn place(&mut self, work: usize) -> bool {
        self.placement.step(work)
    }

    /// The id of the host at a place.
    pub fn id(&self, place: usize) -> Option<HostId> {
        self.ids.get(place).copied()
    }

    /// Whether so many hosts are out that health is ignored.
    pub fn panics(&self) -> bool {
        self.panics
    }

    /// Whether nothing has to be asked of a candidate.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Whether a host has a key at the moment.
    pub fn has(&self, place: usize, hash: u64) -> bool {
        if self.is_whole {
            return true;
        }
        let share = self.shares.get(place).copied().unwrap_or(Share::NONE);
        share == Share::WHOLE
            || (share > Share::NONE && self.id(place).is_some_and(|id| share.keeps(hash, id)))
    }

    /// Whether a host is in at all.
    pub fn is_in(&self, place: usize) -> bool {
        self.shares
            .get(place)
            .is_some_and(|share| *share > Share::NONE)
    }

    /// Places and weights of the hosts that may be chosen.
    pub fn available(&self) -> (&[usize], &[u32]) {
        (&self.available, &self.weights)
    }

    /// Whether a host is in the own zone; all are where there are no zones.
    pub fn is_own(&self, place: usize) -> bool {
        let zone = self.zone.as_ref();
        zone.is_none_or(|zone| zone.has.get(place).copied().unwrap_or(false))
    }

    /// The part of keys that stays in the own zone, if there is one.
    pub fn stays(&self) -> Option<Share> {
        self.zone.as_ref().map(|zone| zone.stays)
    }

    /// Whether time alone changes anything: hosts that return or drain.
    pub fn moves(&self) -> bool {
        !self.is_whole
    }

    /// Requests in flight, out of counts by host; a host's counts add up.
    pub fn loads(&self, counts: impl Iterator<Item = (u64, u32)>) -> Loads<'_> {
        let mut by_place = vec![0_u32; self.ids.len()];
        let mut in_flight = 0_u64;
        // Not `for`: what is chained is gone through piece by piece so.
        counts.for_each(|(host, count)| {
            let Some(place) = self.hosts.index_of(HostId::from_u64(host)) else {
                return;
            };
            if let Some(sum) = by_place.get_mut(place) {
                *sum = sum.saturating_add(count);
            }
            if self.is_all_available || self.is_available(place) {
                in_flight = in_flight.saturating_add(u64::from(count));
            }
        });
        Loads {
            view: self,
            counts: by_place,
            in_flight,
        }
    }

    fn is_available(&self, place: usize) -> bool {
        self.is_in(place) && self.all_weights.get(place) > Some(&0)
    }
}

/// Requests in flight, by place, and over the hosts that may be chosen.
#[derive(Clone, Debug)]
pub struct Loads<'a> {
    view: &'a View,
    counts: Vec<u32>,
    in_flight: u64,
}

impl Loads<'_> {
    /// Of one host.
    pub fn of(&self, place: usize) -> Load {
        let number = |numbers: &[u32]| numbers.get(place).copied().unwrap_or(0);
        Load {
            in_flight: number(&self.counts),
            weight: number(&self.view.all_weights),
        }
    }

    /// Of all.
    pub fn totals(&self) -> Totals {
        Totals {
            in_flight: self.in_flight,
            weight: self.view.weight,
        }
    }
}
