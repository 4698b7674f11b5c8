//! What all workers share of a cluster: its hosts with their health, and how much of it is in use.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::bootstrap::{Cluster, Discovery};

/// A host of a cluster.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) address: SocketAddr,
    /// The address as text: what hashes and lists of addresses go by.
    pub(super) name: String,
    /// The name that the address was found by; empty for one that was written as an address.
    pub(super) hostname: String,
    failed_check: AtomicBool,
    ejected: AtomicBool,
    /// Answers of 5xx in a row.
    errors: AtomicU32,
    /// Answers of 502, 503 and 504 in a row.
    gateway_errors: AtomicU32,
    pub(super) numbers: Numbers,
}

/// What `/clusters` tells of a host. Each worker writes.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    pub(super) connections: AtomicU64,
    pub(super) active_connections: AtomicU64,
    pub(super) connect_failures: AtomicU64,
    pub(super) requests: AtomicU64,
    pub(super) active_requests: AtomicU64,
    pub(super) successes: AtomicU64,
    pub(super) errors: AtomicU64,
    pub(super) timeouts: AtomicU64,
}

impl Host {
    pub(super) fn new(address: SocketAddr, hostname: &str) -> Self {
        Self {
            address,
            name: address.to_string(),
            hostname: hostname.to_owned(),
            failed_check: AtomicBool::new(false),
            ejected: AtomicBool::new(false),
            errors: AtomicU32::new(0),
            gateway_errors: AtomicU32::new(0),
            numbers: Numbers::default(),
        }
    }

    pub(super) fn is_healthy(&self) -> bool {
        !self.has_failed_check() && !self.is_ejected()
    }

    pub(super) fn has_failed_check(&self) -> bool {
        self.failed_check.load(Ordering::Relaxed)
    }

    pub(super) fn is_ejected(&self) -> bool {
        self.ejected.load(Ordering::Relaxed)
    }
}

/// The hosts of a cluster, in order.
pub(super) type Hosts = Arc<[Arc<Host>]>;

/// A cluster as all workers see it.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) cluster: Cluster,
    /// `None` until names were looked up. Whoever watches is told of hosts and of their health.
    hosts: watch::Sender<Option<Hosts>>,
    pub(super) usage: Usage,
    ejections: Mutex<HashMap<SocketAddr, Ejection>>,
    /// Hosts that were ejected, and those that weren't as too many were already.
    pub(super) ejected: AtomicU64,
    pub(super) ejections_overflow: AtomicU64,
    /// Health checks that are done.
    pub(super) checked: AtomicU32,
}

/// How much of a cluster is in use.
#[derive(Debug, Default)]
pub(super) struct Usage {
    pub(super) connections: AtomicU32,
    pub(super) pending: AtomicU32,
    pub(super) requests: AtomicU32,
    pub(super) retries: AtomicU32,
}

#[derive(Debug)]
struct Ejection {
    /// When the current one began.
    since: Option<Instant>,
    /// How often; less one for each interval that went well.
    times: u32,
}

/// One of something that a cluster has a limited number of; given back when dropped.
#[derive(Debug)]
pub(super) struct Held {
    group: Arc<Group>,
    of: fn(&Usage) -> &AtomicU32,
}

impl Drop for Held {
    fn drop(&mut self) {
        (self.of)(&self.group.usage).fetch_sub(1, Ordering::AcqRel);
    }
}

impl Group {
    pub(super) fn new(cluster: &Cluster) -> Self {
        let group = Self {
            cluster: cluster.clone(),
            hosts: watch::channel(None).0,
            usage: Usage::default(),
            ejections: Mutex::default(),
            ejected: AtomicU64::new(0),
            ejections_overflow: AtomicU64::new(0),
            checked: AtomicU32::new(0),
        };
        match cluster.discovery {
            Discovery::Static => {
                let parse = |(host, port): &(String, u16)| {
                    let ip = host.parse().ok()?;
                    Some((SocketAddr::new(ip, *port), String::new()))
                };
                group.set(cluster.endpoints.iter().filter_map(parse).collect());
            }
            // Its hosts are those that requests name.
            Discovery::OriginalDst => group.set(Vec::new()),
            Discovery::LogicalDns | Discovery::StrictDns => {}
        }
        group
    }

    /// Takes new addresses, each with the name it was found by; what is known of those that stay is
    /// kept.
    pub(super) fn set(&self, mut addresses: Vec<(SocketAddr, String)>) {
        if self.cluster.discovery == Discovery::LogicalDns {
            addresses.truncate(1);
        }
        let old = self.hosts();
        let host = |(address, hostname): &(SocketAddr, String)| {
            let known = old.iter().flat_map(|old| old.iter());
            let mut known = known.filter(|host| host.address == *address);
            known.next().cloned().unwrap_or_else(|| {
                let host = Host::new(*address, hostname);
                // Until a check says otherwise.
                let checked = !self.cluster.health_checks.is_empty();
                host.failed_check.store(checked, Ordering::Relaxed);
                Arc::new(host)
            })
        };
        let hosts: Hosts = addresses.iter().map(host).collect();
        let same = |known: &Hosts| {
            known.len() == hosts.len() && known.iter().zip(&*hosts).all(|(a, b)| Arc::ptr_eq(a, b))
        };
        if !old.as_ref().is_some_and(same) {
            self.hosts.send_replace(Some(hosts));
        }
    }

    pub(super) fn hosts(&self) -> Option<Hosts> {
        self.hosts.borrow().clone()
    }

    pub(super) fn watch(&self) -> watch::Receiver<Option<Hosts>> {
        self.hosts.subscribe()
    }

    /// Whether a request could be sent to one of the hosts now.
    pub(super) fn can_be_reached(&self) -> bool {
        let hosts = self.hosts();
        let hosts = hosts.as_deref().unwrap_or_default();
        self.cluster.discovery == Discovery::OriginalDst
            || hosts.iter().any(|host| host.is_healthy())
            || !hosts.is_empty() && self.is_panic(0, hosts.len())
    }

    /// Whether so many healthy hosts of all are too few for health to be minded.
    pub(super) fn is_panic(&self, healthy: usize, all: usize) -> bool {
        #[allow(
            clippy::cast_precision_loss,
            clippy::as_conversions,
            reason = "numbers of hosts are far below 2^52"
        )]
        let percent = 100.0 * healthy as f64 / all.max(1) as f64;
        percent < self.cluster.panic_threshold
    }

    /// Takes one of what there is a limited number of.
    pub(super) fn hold(self: &Arc<Self>, of: fn(&Usage) -> &AtomicU32, limit: u32) -> Option<Held> {
        let held = Held {
            group: Arc::clone(self),
            of,
        };
        // Given back if that was too many.
        (of(&self.usage).fetch_add(1, Ordering::AcqRel) < limit).then_some(held)
    }

    /// Takes one even beyond the limit.
    pub(super) fn hold_anyway(self: &Arc<Self>, of: fn(&Usage) -> &AtomicU32) -> Held {
        of(&self.usage).fetch_add(1, Ordering::AcqRel);
        Held {
            group: Arc::clone(self),
            of,
        }
    }

    /// A check has decided.
    pub(super) fn checked(&self, host: &Host, up: bool) {
        if host.failed_check.swap(!up, Ordering::Relaxed) == up {
            self.hosts.send_modify(|_| ());
        }
    }

    /// A host has answered, or what failed counts as this answer; `roll` is a random number.
    pub(super) fn answered(&self, host: &Host, status: u16, roll: impl Fn() -> u64) {
        let numbers = &host.numbers;
        let error = status >= 500;
        let number = if error {
            &numbers.errors
        } else {
            &numbers.successes
        };
        number.fetch_add(1, Ordering::Relaxed);
        let Some(outlier) = &self.cluster.outlier else {
            return;
        };
        if !error {
            if host.errors.load(Ordering::Relaxed) != 0 {
                host.errors.store(0, Ordering::Relaxed);
            }
            host.gateway_errors.store(0, Ordering::Relaxed);
            return;
        }
        let reached = |count: &AtomicU32, limit: u32| {
            let reached = count.fetch_add(1, Ordering::Relaxed).saturating_add(1) >= limit;
            if reached && limit > 0 {
                count.store(0, Ordering::Relaxed);
            }
            reached && limit > 0
        };
        let enforced = |percent: u32| roll() % 100 < u64::from(percent);
        if matches!(status, 502..=504) {
            let limit = outlier.consecutive_gateway_failure;
            if reached(&host.gateway_errors, limit) && enforced(outlier.enforcing_gateway) {
                self.eject(host);
            }
        } else {
            host.gateway_errors.store(0, Ordering::Relaxed);
        }
        if reached(&host.errors, outlier.consecutive_5xx) && enforced(outlier.enforcing_5xx) {
            self.eject(host);
        }
    }

    fn eject(&self, host: &Host) {
        let Some(outlier) = &self.cluster.outlier else {
            return;
        };
        let all = self.hosts().map_or(0, |hosts| hosts.len());
        let mut ejections = self
            .ejections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if host.is_ejected() {
            return;
        }
        let active = ejections.values().filter(|e| e.since.is_some()).count();
        let share = (active + 1) * 100;
        let allowed = share <= all * usize::try_from(outlier.max_percent).unwrap_or(100);
        let first = outlier.always_one && active == 0;
        if !allowed && !first {
            self.ejections_overflow.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let ejection = ejections.entry(host.address).or_insert(Ejection {
            since: None,
            times: 0,
        });
        ejection.since = Some(Instant::now());
        ejection.times += 1;
        drop(ejections);
        self.ejected.fetch_add(1, Ordering::Relaxed);
        host.ejected.store(true, Ordering::Relaxed);
        self.hosts.send_modify(|_| ());
    }

    /// Lets hosts back in whose ejection is over.
    pub(super) fn sweep(&self) {
        let (Some(outlier), Some(hosts)) = (&self.cluster.outlier, self.hosts()) else {
            return;
        };
        let mut back = false;
        let mut ejections = self
            .ejections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        ejections.retain(|address, ejection| {
            let Some(since) = ejection.since else {
                ejection.times = ejection.times.saturating_sub(1);
                return ejection.times > 0;
            };
            let length = outlier.base_ejection.saturating_mul(ejection.times);
            if since.elapsed() < length.min(outlier.max_ejection) {
                return true;
            }
            ejection.since = None;
            for host in hosts.iter().filter(|host| host.address == *address) {
                host.errors.store(0, Ordering::Relaxed);
                host.gateway_errors.store(0, Ordering::Relaxed);
                host.ejected.store(false, Ordering::Relaxed);
                back = true;
            }
            true
        });
        drop(ejections);
        if back {
            self.hosts.send_modify(|_| ());
        }
    }

    /// Sweeps for ever, if there is something to sweep.
    pub(super) async fn keep_sweeping(self: Arc<Self>) {
        if let Some(outlier) = &self.cluster.outlier {
            let interval = outlier.interval.max(Duration::from_millis(10));
            loop {
                tokio::time::sleep(interval).await;
                self.sweep();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(fields: &str, hosts: u16) -> Arc<Group> {
        let endpoint = |port: u16| {
            format!(
                "{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {}}}}}}}}}",
                port + 1
            )
        };
        let endpoints: Vec<String> = (0..hosts).map(endpoint).collect();
        let source = format!(
            "{{static_resources: {{clusters: [{{name: c, {fields} load_assignment: {{cluster_name: c, \
             endpoints: [{{lb_endpoints: [{}]}}]}}}}]}}}}",
            endpoints.join(", ")
        );
        let loaded = crate::bootstrap::parse("t.yaml".as_ref(), &source, false);
        let loaded = loaded.unwrap_or_else(|report| panic!("{report}"));
        Arc::new(Group::new(&loaded.bootstrap.clusters[0]))
    }

    #[test]
    fn a_host_that_fails_in_a_row_is_left_out_until_its_time_is_over() {
        let group = group(
            "outlier_detection: {consecutive_5xx: 3, base_ejection_time: 0.000000001s, \
             max_ejection_time: 0.000000001s, max_ejection_percent: 50},",
            2,
        );
        let hosts = group.hosts().unwrap();
        for status in [500, 500, 200, 500, 500] {
            group.answered(&hosts[0], status, || 0);
        }
        assert!(hosts[0].is_healthy(), "three in a row are needed");
        group.answered(&hosts[0], 500, || 0);
        assert!(hosts[0].is_ejected());
        for _ in 0..3 {
            group.answered(&hosts[1], 503, || 0);
        }
        assert!(hosts[1].is_healthy(), "half of them may be ejected");
        group.sweep();
        assert!(hosts[0].is_healthy());
    }

    #[test]
    fn a_single_host_is_not_ejected_by_default() {
        let group = group("outlier_detection: {consecutive_5xx: 1},", 1);
        let hosts = group.hosts().unwrap();
        group.answered(&hosts[0], 500, || 0);
        assert!(hosts[0].is_healthy());
        assert_eq!(group.ejections_overflow.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn what_is_held_is_given_back() {
        let group = group("", 1);
        let one = group.hold(|usage| &usage.requests, 1).unwrap();
        assert!(group.hold(|usage| &usage.requests, 1).is_none());
        drop(one);
        assert!(group.hold(|usage| &usage.requests, 1).is_some());
    }

    #[test]
    fn below_the_threshold_health_is_not_minded() {
        let group = group("", 4);
        assert!(group.is_panic(1, 4));
        assert!(!group.is_panic(2, 4));
    }

    #[test]
    fn hosts_with_checks_are_down_until_one_succeeds() {
        let group = group(
            "health_checks: [{timeout: 1s, interval: 1s, unhealthy_threshold: 1, \
             healthy_threshold: 1, tcp_health_check: {}}],",
            1,
        );
        let hosts = group.hosts().unwrap();
        assert!(!hosts[0].is_healthy());
        group.checked(&hosts[0], true);
        assert!(hosts[0].is_healthy());
    }
}
