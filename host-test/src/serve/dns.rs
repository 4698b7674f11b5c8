//! Looking up the names of clusters, once for all workers.

use std::net::SocketAddr;
use std::sync::Arc;

use super::cluster::choose_family;
use super::host::Group;
use crate::bootstrap::{Cluster, Discovery};

/// Looks the names of a cluster up, now and again, for ever.
pub(super) async fn keep_looking_up(group: Arc<Group>) {
    let cluster = &group.cluster;
    if !matches!(
        cluster.discovery,
        Discovery::StrictDns | Discovery::LogicalDns
    ) {
        return;
    }
    loop {
        // A look-up that fails leaves what was found before.
        let addresses = look_up(cluster).await;
        if !addresses.is_empty() || group.hosts().is_none() {
            group.set(addresses);
        }
        tokio::time::sleep(cluster.refresh).await;
    }
}

async fn look_up(cluster: &Cluster) -> Vec<(SocketAddr, String)> {
    let mut all: Vec<(SocketAddr, String)> = Vec::new();
    for (host, port) in &cluster.endpoints {
        if let Ok(found) = tokio::net::lookup_host((host.as_str(), *port)).await {
            for address in choose_family(cluster.family, &found.collect::<Vec<_>>()) {
                if !all.iter().any(|(known, _)| *known == address) {
                    all.push((address, host.clone()));
                }
            }
        }
    }
    all
}
