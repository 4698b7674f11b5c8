//! The gateway's own statistics, under Envoy's names.
//!
//! Each worker has cells of its own that it alone writes, so that counting costs no locked
//! instruction; whoever reads adds them up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::bootstrap::Bootstrap;
use crate::metrics::MetricKind;

/// A number that one thread writes and any may read.
#[derive(Debug, Default)]
pub(super) struct Cell(AtomicU64);

impl Cell {
    pub(super) fn add(&self, by: u64) {
        let now = self.0.load(Ordering::Relaxed);
        self.0.store(now.wrapping_add(by), Ordering::Relaxed);
    }

    pub(super) fn increment(&self) {
        self.add(1);
    }

    pub(super) fn decrement(&self) {
        self.add(u64::MAX);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Of one connection manager.
#[derive(Debug, Default)]
pub(super) struct HttpStats {
    pub(super) connections: Cell,
    pub(super) active_connections: Cell,
    pub(super) requests: Cell,
    pub(super) active_requests: Cell,
    pub(super) completed: Cell,
    /// By the first digit of the status.
    pub(super) classes: [Cell; 6],
    pub(super) no_route: Cell,
    pub(super) direct_responses: Cell,
    pub(super) redirects: Cell,
}

impl HttpStats {
    pub(super) fn responded(&self, status: u16) {
        self.completed.increment();
        if let Some(class) = self.classes.get(usize::from(status / 100)) {
            class.increment();
        }
    }
}

/// Of one cluster.
#[derive(Debug)]
pub(super) struct ClusterStats {
    pub(super) connections: Cell,
    pub(super) active_connections: Cell,
    pub(super) connect_failures: Cell,
    pub(super) connect_timeouts: Cell,
    pub(super) none_healthy: Cell,
    pub(super) requests: Cell,
    pub(super) active_requests: Cell,
    pub(super) timeouts: Cell,
    pub(super) pending_overflow: Cell,
    pub(super) per_try_timeouts: Cell,
    pub(super) retries: Cell,
    pub(super) retries_succeeded: Cell,
    pub(super) retries_exceeded: Cell,
    pub(super) retries_overflow: Cell,
    /// By status.
    statuses: Box<[Cell]>,
}

impl ClusterStats {
    pub(super) fn new() -> Self {
        Self {
            connections: Cell::default(),
            active_connections: Cell::default(),
            connect_failures: Cell::default(),
            connect_timeouts: Cell::default(),
            none_healthy: Cell::default(),
            requests: Cell::default(),
            active_requests: Cell::default(),
            timeouts: Cell::default(),
            pending_overflow: Cell::default(),
            per_try_timeouts: Cell::default(),
            retries: Cell::default(),
            retries_succeeded: Cell::default(),
            retries_exceeded: Cell::default(),
            retries_overflow: Cell::default(),
            statuses: (0..600).map(|_| Cell::default()).collect(),
        }
    }

    pub(super) fn responded(&self, status: u16) {
        if let Some(cell) = self.statuses.get(usize::from(status)) {
            cell.increment();
        }
    }
}

/// Of one worker: listeners and clusters in the order of the bootstrap.
#[derive(Debug)]
pub(super) struct WorkerStats {
    pub(super) http: Vec<Arc<HttpStats>>,
    pub(super) clusters: Vec<Arc<ClusterStats>>,
}

impl WorkerStats {
    /// The statistics of a worker, going on from those of another bootstrap where the names are the
    /// same.
    pub(super) fn new(bootstrap: &Bootstrap, before: Option<(&Bootstrap, &Self)>) -> Self {
        let http = |name: &str| {
            let (old, stats) = before?;
            let known = old.listeners.iter().position(|l| l.name == name)?;
            stats.http.get(known).cloned()
        };
        let cluster = |name: &str| {
            let (old, stats) = before?;
            let known = old.clusters.iter().position(|c| c.name == name)?;
            stats.clusters.get(known).cloned()
        };
        Self {
            http: bootstrap
                .listeners
                .iter()
                .map(|listener| http(&listener.name).unwrap_or_default())
                .collect(),
            clusters: bootstrap
                .clusters
                .iter()
                .map(|known| cluster(&known.name).unwrap_or_else(|| Arc::new(ClusterStats::new())))
                .collect(),
        }
    }
}

/// A statistic with its value.
pub(super) type Sums = BTreeMap<String, (MetricKind, u64)>;

/// Adds up the workers' statistics.
pub(super) fn sum<'w>(
    bootstrap: &Bootstrap,
    workers: impl Iterator<Item = &'w WorkerStats>,
) -> Sums {
    let mut sums = Sums::new();
    for worker in workers {
        for (listener, http) in bootstrap.listeners.iter().zip(&worker.http) {
            add_http(&listener.manager.stat_prefix, http, &mut sums);
        }
        for (cluster, stats) in bootstrap.clusters.iter().zip(&worker.clusters) {
            add_cluster(&cluster.name, stats, &mut sums);
        }
    }
    sums
}

fn add(sums: &mut Sums, kind: MetricKind, name: String, cell: &Cell) {
    let entry = sums.entry(name).or_insert((kind, 0));
    entry.1 = entry.1.wrapping_add(cell.read());
}

fn add_http(prefix: &str, stats: &HttpStats, sums: &mut Sums) {
    let mut put = |kind, name: &str, cell| add(sums, kind, format!("http.{prefix}.{name}"), cell);
    let (counter, gauge) = (MetricKind::Counter, MetricKind::Gauge);
    put(counter, "downstream_cx_total", &stats.connections);
    put(gauge, "downstream_cx_active", &stats.active_connections);
    put(counter, "downstream_rq_total", &stats.requests);
    put(gauge, "downstream_rq_active", &stats.active_requests);
    put(counter, "downstream_rq_completed", &stats.completed);
    for (class, cell) in stats.classes.iter().enumerate().skip(1) {
        put(counter, &format!("downstream_rq_{class}xx"), cell);
    }
    put(counter, "no_route", &stats.no_route);
    put(counter, "rq_direct_response", &stats.direct_responses);
    put(counter, "rq_redirect", &stats.redirects);
}

fn add_cluster(name: &str, stats: &ClusterStats, sums: &mut Sums) {
    let mut put = |kind, stat: &str, cell| add(sums, kind, format!("cluster.{name}.{stat}"), cell);
    let (counter, gauge) = (MetricKind::Counter, MetricKind::Gauge);
    put(counter, "upstream_cx_total", &stats.connections);
    put(gauge, "upstream_cx_active", &stats.active_connections);
    put(counter, "upstream_cx_connect_fail", &stats.connect_failures);
    put(
        counter,
        "upstream_cx_connect_timeout",
        &stats.connect_timeouts,
    );
    put(counter, "upstream_cx_none_healthy", &stats.none_healthy);
    put(counter, "upstream_rq_total", &stats.requests);
    put(gauge, "upstream_rq_active", &stats.active_requests);
    put(counter, "upstream_rq_timeout", &stats.timeouts);
    for (name, cell) in [
        ("upstream_rq_pending_overflow", &stats.pending_overflow),
        ("upstream_rq_per_try_timeout", &stats.per_try_timeouts),
        ("upstream_rq_retry", &stats.retries),
        ("upstream_rq_retry_success", &stats.retries_succeeded),
        ("upstream_rq_retry_limit_exceeded", &stats.retries_exceeded),
        ("upstream_rq_retry_overflow", &stats.retries_overflow),
    ] {
        put(counter, name, cell);
    }
    for (status, cell) in stats.statuses.iter().enumerate() {
        if cell.read() > 0 {
            put(counter, &format!("upstream_rq_{status}"), cell);
            put(counter, &format!("upstream_rq_{}xx", status / 100), cell);
            put(counter, "upstream_rq_completed", cell);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_counted_alone_by_class_and_together() {
        let stats = ClusterStats::new();
        for status in [200, 204, 503, 999] {
            stats.responded(status);
        }
        let mut sums = Sums::new();
        add_cluster("up", &stats, &mut sums);
        let value = |name: &str| sums.get(name).map(|(_, value)| *value);
        assert_eq!(value("cluster.up.upstream_rq_200"), Some(1));
        assert_eq!(value("cluster.up.upstream_rq_2xx"), Some(2));
        assert_eq!(value("cluster.up.upstream_rq_completed"), Some(3));
        assert_eq!(value("cluster.up.upstream_rq_404"), None);
    }

    #[test]
    fn a_gauge_goes_down_again() {
        let cell = Cell::default();
        cell.increment();
        cell.increment();
        cell.decrement();
        assert_eq!(cell.read(), 1);
    }
}
