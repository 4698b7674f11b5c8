//! The main thread: accepts, looks names up, answers the admin listener, and has VMs that tick.

use std::io;
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{LocalSet, spawn_local};

use super::ACCEPT_AGAIN;
use super::admin::{self, Admin};
use super::config::Config;
use super::dns::{self, Addresses};
use super::local::Local;
use super::stats::WorkerStats;
use super::worker::Accepted;
use crate::bootstrap::{Cluster, Discovery};
use crate::worker::StartError;

/// What the main thread is started with.
pub(super) struct Main {
    pub(super) config: Arc<Config>,
    pub(super) stats: Arc<WorkerStats>,
    pub(super) addresses: Vec<watch::Receiver<Addresses>>,
    pub(super) admin: Admin,
    pub(super) found: Vec<watch::Sender<Addresses>>,
    pub(super) senders: Vec<mpsc::UnboundedSender<Accepted>>,
    /// In the order of the bootstrap.
    pub(super) listeners: Vec<StdListener>,
    pub(super) admin_listener: Option<StdListener>,
    pub(super) started: std::sync::mpsc::Sender<Result<(), StartError>>,
    pub(super) stopped: oneshot::Receiver<()>,
    pub(super) drain: watch::Sender<bool>,
}

impl Main {
    pub(super) fn run(self) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        LocalSet::new().block_on(&runtime, self.work())
    }

    async fn work(self) -> io::Result<()> {
        let clusters = self.config.bootstrap.clusters.clone();
        for (cluster, found) in clusters.iter().cloned().zip(self.found) {
            spawn_local(dns::keep_looking_up(cluster, found));
        }
        wait_for_names(&clusters, &self.addresses).await;
        let local = Local::start(&self.config, self.stats, self.addresses, 0);
        let local = match local {
            Ok(local) => local,
            Err(error) => {
                let _ = self.started.send(Err(error));
                return Ok(());
            }
        };
        if let Some(socket) = self.admin_listener {
            let listener = TcpListener::from_std(socket)?;
            spawn_local(admin::serve(self.admin, listener));
        }
        let ids = Arc::new(AtomicU64::new(0));
        let mut accepting = Vec::new();
        for (listener, socket) in self.listeners.into_iter().enumerate() {
            let socket = TcpListener::from_std(socket)?;
            let senders = self.senders.clone();
            let ids = Arc::clone(&ids);
            accepting.push(spawn_local(accept(listener, socket, senders, ids)));
        }
        drop(self.senders);
        let _ = self.started.send(Ok(()));
        // An error means that the gateway was dropped, which is a way of stopping it.
        let _ = self.stopped.await;
        for task in accepting {
            task.abort();
        }
        let _ = self.drain.send(true);
        drop(local);
        Ok(())
    }
}

/// Waits until every cluster's names were looked up once, or for long enough.
async fn wait_for_names(clusters: &[Cluster], found: &[watch::Receiver<Addresses>]) {
    let all = async {
        for (cluster, found) in clusters.iter().zip(found) {
            if cluster.discovery != Discovery::Static {
                let mut found = found.clone();
                let _ = found.wait_for(Option::is_some).await;
            }
        }
    };
    let _ = tokio::time::timeout(dns::FIRST_LOOKUP, all).await;
}

/// Accepts connections and hands them to the workers in turn, so that each gets its share.
async fn accept(
    listener: usize,
    socket: TcpListener,
    workers: Vec<mpsc::UnboundedSender<Accepted>>,
    ids: Arc<AtomicU64>,
) {
    loop {
        let accepted = socket.accept().await.and_then(|(stream, remote)| {
            let local = stream.local_addr()?;
            Ok((stream.into_std()?, remote, local))
        });
        let Ok((stream, remote, local)) = accepted else {
            // Out of sockets, most likely: some will be closed.
            tokio::time::sleep(ACCEPT_AGAIN).await;
            continue;
        };
        let id = ids.fetch_add(1, Ordering::Relaxed);
        let turn = usize::try_from(id).unwrap_or_default() % workers.len();
        let accepted = Accepted {
            stream,
            remote,
            local,
            listener,
            id,
        };
        // A worker that is gone closes what it is given.
        let _ = workers[turn].send(accepted);
    }
}
