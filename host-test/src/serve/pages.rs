//! What the admin listener's pages about clusters, listeners and the server say, in Envoy's forms.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::host::{Group, Host};
use super::stats::Sums;
use crate::metrics::MetricKind;

fn read(number: &AtomicU64) -> u64 {
    number.load(Ordering::Relaxed)
}

/// A statistic.
type Named = (&'static str, u64);

/// Counters and gauges of a host, in Envoy's order.
fn numbers(host: &Host) -> ([Named; 6], [Named; 2]) {
    let numbers = &host.numbers;
    (
        [
            ("cx_connect_fail", read(&numbers.connect_failures)),
            ("cx_total", read(&numbers.connections)),
            ("rq_error", read(&numbers.errors)),
            ("rq_success", read(&numbers.successes)),
            ("rq_timeout", read(&numbers.timeouts)),
            ("rq_total", read(&numbers.requests)),
        ],
        [
            ("cx_active", read(&numbers.active_connections)),
            ("rq_active", read(&numbers.active_requests)),
        ],
    )
}

/// `/clusters?format=json`: Envoy's `Clusters`, in which a zero and a `false` are left out.
pub(super) fn clusters_json(groups: &[Arc<Group>]) -> String {
    let clusters: Vec<Value> = groups.iter().map(|group| cluster_json(group)).collect();
    pretty(&json!({ "cluster_statuses": clusters }))
}

fn cluster_json(group: &Group) -> Value {
    let hosts = group.hosts();
    let hosts = hosts.as_deref().unwrap_or_default();
    let hosts: Vec<Value> = hosts.iter().map(|host| host_json(host)).collect();
    let limits = group.cluster.limits;
    json!({
        "name": group.cluster.name,
        "host_statuses": hosts,
        "circuit_breakers": { "thresholds": [
            {
                "max_connections": limits.connections,
                "max_pending_requests": limits.pending,
                "max_requests": limits.requests,
                "max_retries": limits.retries,
            },
            {
                "priority": "HIGH",
                "max_connections": 1024,
                "max_pending_requests": 1024,
                "max_requests": 1024,
                "max_retries": 3,
            },
        ] },
        "observability_name": group.cluster.name,
    })
}

fn host_json(host: &Host) -> Value {
    let (counters, gauges) = numbers(host);
    let mut stats = Vec::new();
    for (name, value) in counters {
        let mut stat = json!({ "name": name });
        if value > 0 {
            // 64 bits are text in protobuf's JSON.
            stat["value"] = value.to_string().into();
        }
        stats.push(stat);
    }
    for (name, value) in gauges {
        let mut stat = json!({ "type": "GAUGE", "name": name });
        if value > 0 {
            stat["value"] = value.to_string().into();
        }
        stats.push(stat);
    }
    let mut health = json!({ "eds_health_status": "HEALTHY" });
    if host.has_failed_check() {
        health["failed_active_health_check"] = true.into();
    }
    if host.is_ejected() {
        health["failed_outlier_check"] = true.into();
    }
    let mut status = json!({
        "address": { "socket_address": {
            "address": host.address.ip().to_string(),
            "port_value": host.address.port(),
        } },
        "stats": stats,
        "health_status": health,
        "weight": 1,
        "locality": {},
    });
    if !host.hostname.is_empty() {
        status["hostname"] = host.hostname.clone().into();
    }
    status
}

/// `/clusters`.
pub(super) fn clusters_text(groups: &[Arc<Group>]) -> String {
    let mut out = String::new();
    for group in groups {
        let name = &group.cluster.name;
        let limits = group.cluster.limits;
        let mut line = |rest: String| {
            let _ = writeln!(out, "{name}::{rest}");
        };
        line(format!("observability_name::{name}"));
        for (priority, limits) in [("default", limits), ("high", Default::default())] {
            line(format!(
                "{priority}_priority::max_connections::{}",
                limits.connections
            ));
            line(format!(
                "{priority}_priority::max_pending_requests::{}",
                limits.pending
            ));
            line(format!(
                "{priority}_priority::max_requests::{}",
                limits.requests
            ));
            line(format!(
                "{priority}_priority::max_retries::{}",
                limits.retries
            ));
        }
        line("added_via_api::false".to_owned());
        for host in group.hosts().as_deref().unwrap_or_default() {
            let address = &host.name;
            let (counters, gauges) = numbers(host);
            let mut all: Vec<_> = counters.into_iter().chain(gauges).collect();
            all.sort_unstable();
            for (name, value) in all {
                line(format!("{address}::{name}::{value}"));
            }
            line(format!("{address}::hostname::{}", host.hostname));
            let flags = match (host.has_failed_check(), host.is_ejected()) {
                (false, false) => "healthy",
                (true, false) => "/failed_active_hc",
                (false, true) => "/failed_outlier_check",
                (true, true) => "/failed_active_hc/failed_outlier_check",
            };
            line(format!("{address}::health_flags::{flags}"));
            line(format!("{address}::weight::1"));
            line(format!("{address}::priority::0"));
        }
    }
    out
}

/// `/listeners`.
pub(super) fn listeners_text(listeners: &[(String, SocketAddr)]) -> String {
    let line = |(name, address): &(String, SocketAddr)| format!("{name}::{address}\n");
    listeners.iter().map(line).collect()
}

/// `/listeners?format=json`.
pub(super) fn listeners_json(listeners: &[(String, SocketAddr)]) -> String {
    let status = |(name, address): &(String, SocketAddr)| {
        json!({
            "name": name,
            "local_address": { "socket_address": {
                "address": address.ip().to_string(),
                "port_value": address.port(),
            } },
        })
    };
    let statuses: Vec<Value> = listeners.iter().map(status).collect();
    pretty(&json!({ "listener_statuses": statuses }))
}

/// `/config_dump`: the file as it was read.
pub(super) fn config_dump(source: &Value) -> String {
    let resources = |kind: &str| -> Vec<Value> {
        let list = source["static_resources"][kind].as_array();
        list.cloned().unwrap_or_default()
    };
    let wrapped = |kind: &str, name: &str| -> Vec<Value> {
        let wrap = |value| json!({ name: value });
        resources(kind).into_iter().map(wrap).collect()
    };
    let kind = |name: &str| format!("type.googleapis.com/envoy.admin.v3.{name}");
    pretty(&json!({ "configs": [
        { "@type": kind("BootstrapConfigDump"), "bootstrap": source },
        { "@type": kind("ClustersConfigDump"), "static_clusters": wrapped("clusters", "cluster") },
        { "@type": kind("ListenersConfigDump"), "static_listeners": wrapped("listeners", "listener") },
    ] }))
}

/// `/server_info`.
pub(super) fn server_info(state: &str, uptime: Duration, workers: usize) -> String {
    let uptime = format!("{}s", uptime.as_secs());
    pretty(&json!({
        "version": concat!("host-test/", env!("CARGO_PKG_VERSION")),
        "state": state,
        "uptime_current_epoch": uptime,
        "uptime_all_epochs": uptime,
        "command_line_options": { "concurrency": workers },
    }))
}

/// Adds the clusters' numbers of hosts, and of hosts ejected, to the statistics.
pub(super) fn add_membership(groups: &[Arc<Group>], sums: &mut Sums) {
    for group in groups {
        let hosts = group.hosts();
        let hosts = hosts.as_deref().unwrap_or_default();
        let count =
            |of: &dyn Fn(&Host) -> bool| hosts.iter().filter(|host| of(host)).count() as u64;
        let mut put = |kind, name: &str, value| {
            let name = format!("cluster.{}.{name}", group.cluster.name);
            sums.insert(name, (kind, value));
        };
        put(MetricKind::Gauge, "membership_total", hosts.len() as u64);
        put(
            MetricKind::Gauge,
            "membership_healthy",
            count(&Host::is_healthy),
        );
        if group.cluster.outlier.is_some() {
            let (gauge, counter) = (MetricKind::Gauge, MetricKind::Counter);
            let active = count(&Host::is_ejected);
            put(gauge, "outlier_detection.ejections_active", active);
            let (ejected, overflow) = (read(&group.ejected), read(&group.ejections_overflow));
            put(
                counter,
                "outlier_detection.ejections_enforced_total",
                ejected,
            );
            put(counter, "outlier_detection.ejections_overflow", overflow);
        }
    }
}

fn pretty(value: &Value) -> String {
    let mut text = format!("{value:#}");
    text.push('\n');
    text
}
