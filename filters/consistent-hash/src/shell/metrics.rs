//! Counters of requests by host and reason, defined when they are first needed, and gauges.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use filter_shell::host;

use crate::decision::{Reason, requests_metric};
use crate::hosts::{HostId, HostSet};

/// Hosts with counters of their own. A gateway never forgets a metric, and hosts come and go.
const MOST_HOSTS: usize = 1024;

/// The counters that a worker has defined.
#[derive(Default)]
pub(super) struct Requests {
    ids: RefCell<BTreeMap<(Option<HostId>, Reason), u32>>,
    hosts: Cell<usize>,
}

impl Requests {
    /// Counts a request.
    pub(super) fn add(&self, host: Option<HostId>, reason: Reason, hosts: Option<&HostSet>) {
        let known = self.ids.borrow().get(&(host, reason)).copied();
        let id = known.or_else(|| self.define(host, reason, hosts));
        // A count that the host loses hurts nobody.
        let _ = id.map(|id| host::add_to_counter(id, 1));
    }

    fn define(&self, host: Option<HostId>, reason: Reason, hosts: Option<&HostSet>) -> Option<u32> {
        let mut ids = self.ids.borrow_mut();
        let is_known = ids.keys().any(|(known, _)| *known == host);
        let named = host.zip(hosts).and_then(|(id, hosts)| hosts.get(hosts.index_of(id)?));
        let name = match (host, named) {
            (None, _) => "none",
            (Some(_), Some(named)) if is_known || self.hosts.get() < MOST_HOSTS => &*named.address,
            // All of these share one metric, and are not remembered one by one.
            _ => return host::define_counter(&requests_metric("other", reason)).ok(),
        };
        if host.is_some() && !is_known {
            self.hosts.set(self.hosts.get().saturating_add(1));
        }
        let id = host::define_counter(&requests_metric(name, reason)).ok()?;
        ids.insert((host, reason), id);
        Some(id)
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
