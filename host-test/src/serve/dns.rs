//! Looking up the names of clusters, once for all workers.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::watch;

use super::cluster::choose_family;
use crate::bootstrap::{Cluster, Discovery};

/// What was found; `None` for a cluster that needs no look-up or whose first isn't done.
pub(super) type Addresses = Option<Vec<SocketAddr>>;

/// How long listeners wait for the first look-up of all clusters.
pub(super) const FIRST_LOOKUP: Duration = Duration::from_secs(5);

/// Looks the names of a cluster up, now and again, until nobody wants to know.
pub(super) async fn keep_looking_up(cluster: Cluster, found: watch::Sender<Addresses>) {
    if cluster.discovery == Discovery::Static {
        return;
    }
    loop {
        // A look-up that fails leaves what was found before.
        let addresses = look_up(&cluster).await;
        if !addresses.is_empty() || found.borrow().is_none() {
            found.send_if_modified(|known| {
                let changed = known.as_ref() != Some(&addresses);
                *known = Some(addresses);
                changed
            });
        }
        tokio::select! {
            () = tokio::time::sleep(cluster.refresh) => {}
            () = found.closed() => return,
        }
    }
}

async fn look_up(cluster: &Cluster) -> Vec<SocketAddr> {
    let mut all = Vec::new();
    for (host, port) in &cluster.endpoints {
        if let Ok(found) = tokio::net::lookup_host((host.as_str(), *port)).await {
            for address in choose_family(cluster.family, &found.collect::<Vec<_>>()) {
                if !all.contains(&address) {
                    all.push(address);
                }
            }
        }
    }
    all
}
