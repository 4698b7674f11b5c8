//! Counters of requests by host, and gauges.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use filter_shell::host;

use crate::decision::requests_metric;
use placement::hosts::{Host, HostId, HostSet};

/// Hosts with counters of their own; others share one. A gateway never forgets a metric, and hosts come
/// and go.
const MOST_HOSTS: usize = 1024;

/// The counters that a worker has defined.
#[derive(Default)]
pub(super) struct Requests {
    ids: RefCell<BTreeMap<HostId, u32>>,
    others: Cell<Option<u32>>,
    /// By the places of the hosts that the worker knows at the moment.
    by_place: RefCell<Vec<Option<u32>>>,
}

impl Requests {
    /// Takes over hosts, and defines counters for those that are new. Not to be called while a request
    /// runs: it takes time.
    pub(super) fn define(&self, hosts: &HostSet) {
        let mut ids = self.ids.borrow_mut();
        for host in hosts.iter() {
            if ids.contains_key(&host.id()) {
                continue;
            }
            if ids.len() >= MOST_HOSTS {
                let others = self.others.get();
                let others =
                    others.or_else(|| host::define_counter(&requests_metric("other")).ok());
                self.others.set(others);
                break;
            }
            if let Ok(id) = host::define_counter(&requests_metric(&host.address)) {
                ids.insert(host.id(), id);
            }
        }
        let id = |host: &Host| ids.get(&host.id()).copied().or(self.others.get());
        *self.by_place.borrow_mut() = hosts.iter().map(id).collect();
    }

    /// Counts a request to the host at a place.
    pub(super) fn add(&self, place: usize) {
        if let Some(Some(id)) = self.by_place.borrow().get(place) {
            // A count that the host loses hurts nobody.
            let _ = host::add_to_counter(*id, 1);
        }
    }
}

/// How many hosts there are, and how many may be chosen.
#[derive(Default)]
pub(super) struct Gauges {
    ids: Cell<Option<[u32; 2]>>,
    told: Cell<Option<[usize; 2]>>,
}

impl Gauges {
    /// Tells the numbers if they changed.
    pub(super) fn tell(&self, numbers: [usize; 2]) {
        if self.told.get() == Some(numbers) {
            return;
        }
        let ids = self.ids.get().or_else(|| {
            let all = host::define_gauge("consistent_hash_hosts").ok()?;
            let available = host::define_gauge("consistent_hash_hosts_available").ok()?;
            Some([all, available])
        });
        self.ids.set(ids);
        for (id, number) in ids.into_iter().flatten().zip(numbers) {
            let number = u64::try_from(number).unwrap_or(u64::MAX);
            let _ = host::set_gauge(id, number);
        }
        self.told.set(Some(numbers));
    }
}
