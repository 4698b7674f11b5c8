//! Counters of requests by host, and gauges.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use filter_shell::counters::Counters;
use filter_shell::host;

use crate::decision::{Count, Reason, requests_metric};
use placement::hosts::{Host, HostId, HostSet};

/// Hosts with counters of their own; others share one. A gateway never forgets a metric, and hosts come
/// and go.
const MOST_HOSTS: usize = 1024;

/// Requests by host and by reason: counted here, and told to the gateway on ticks. Two hostcalls for each
/// request would be a tenth of what a choice costs.
#[derive(Default)]
pub(super) struct Requests {
    ids: RefCell<BTreeMap<HostId, u32>>,
    others: Cell<Option<u32>>,
    /// By the places of the hosts that the worker knows at the moment.
    by_host: RefCell<Vec<Tally>>,
    by_reason: RefCell<[u32; Reason::COUNT]>,
}

/// What is counted for a counter of the gateway's, and not told yet.
struct Tally {
    id: Option<u32>,
    count: u32,
}

impl Requests {
    /// Takes over hosts, and defines counters for those that are new. Not to be called while a request
    /// runs: it takes time.
    pub(super) fn define(&self, hosts: &HostSet) {
        self.tell_by_host();
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
        let tally = |host: &Host| Tally {
            id: ids.get(&host.id()).copied().or_else(|| self.others.get()),
            count: 0,
        };
        *self.by_host.borrow_mut() = hosts.iter().map(tally).collect();
    }

    /// Counts a request, to the host at a place if there is one.
    pub(super) fn add(&self, place: Option<usize>, reason: Reason) {
        if let Some(count) = self.by_reason.borrow_mut().get_mut(reason.number()) {
            *count = count.saturating_add(1);
        }
        if let Some(place) = place
            && let Some(tally) = self.by_host.borrow_mut().get_mut(place)
        {
            tally.count = tally.count.saturating_add(1);
        }
    }

    /// Tells what was counted, and returns whether anything was.
    pub(super) fn tell(&self, counters: &Counters) -> bool {
        let mut any = false;
        let first = Count::ALL;
        for (count, number) in self.by_reason.borrow_mut().iter_mut().zip(0_usize..) {
            any |= *count > 0;
            counters.add(first.saturating_add(number), std::mem::take(count));
        }
        if any {
            self.tell_by_host();
        }
        any
    }

    fn tell_by_host(&self) {
        for tally in self.by_host.borrow_mut().iter_mut() {
            let count = std::mem::take(&mut tally.count);
            if let Some(id) = tally.id
                && count > 0
            {
                // A count that the host loses hurts nobody.
                let _ = host::add_to_counter(id, i64::from(count));
            }
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
