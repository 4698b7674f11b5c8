//! A worker thread: its runtime, and the connections that it is handed.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, LocalSet};

use super::config::Config;
use super::connection::{Client, serve};
use super::dns::Addresses;
use super::head::Peer;
use super::local::Local;
use super::stats::WorkerStats;
use crate::worker::StartError;

/// How long connections may go on once the gateway is to end.
pub(super) const DRAIN: Duration = Duration::from_secs(5);

/// A connection for a worker.
pub(super) struct Accepted {
    pub(super) stream: std::net::TcpStream,
    pub(super) remote: SocketAddr,
    pub(super) local: SocketAddr,
    /// Position of the listener in the bootstrap.
    pub(super) listener: usize,
    /// Number of the connection within the gateway.
    pub(super) id: u64,
}

/// What a worker is started with.
pub(super) struct Start {
    pub(super) config: Arc<Config>,
    pub(super) stats: Arc<WorkerStats>,
    pub(super) addresses: Vec<watch::Receiver<Addresses>>,
    /// From 1; 0 is the main thread.
    pub(super) index: u64,
    pub(super) connections: mpsc::UnboundedReceiver<Accepted>,
    pub(super) drain: watch::Receiver<bool>,
    /// Tells whether the plugins have started.
    pub(super) started: std::sync::mpsc::Sender<Result<(), StartError>>,
}

/// Runs a worker until there are no more connections to come and none left.
pub(super) fn run(start: Start) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, work(start));
    Ok(())
}

async fn work(start: Start) {
    let Start {
        config,
        stats,
        addresses,
        index,
        mut connections,
        drain,
        started,
    } = start;
    let local = match Local::start(&config, stats, addresses, index) {
        Ok(local) => local,
        Err(error) => {
            // Who started the worker may have given up on another's error.
            let _ = started.send(Err(error));
            return;
        }
    };
    let _ = started.send(Ok(()));
    let mut open = JoinSet::new();
    while let Some(accepted) = next(&mut connections, &mut open).await {
        // A socket that can't be registered is closed, which is all that can be done about it.
        if let Ok(stream) = TcpStream::from_std(accepted.stream) {
            let client = Client {
                local: Rc::clone(&local),
                listener: accepted.listener,
                peer: Peer {
                    remote: accepted.remote,
                    local: accepted.local,
                    id: accepted.id,
                },
            };
            open.spawn_local(serve(client, stream, drain.clone()));
        }
    }
    let rest = async { while open.join_next().await.is_some() {} };
    // What isn't done by then is cut off.
    let _ = tokio::time::timeout(DRAIN, rest).await;
    drop(open);
    local.logs.flush();
}

/// The next connection; meanwhile the ones that have ended are forgotten.
async fn next(
    connections: &mut mpsc::UnboundedReceiver<Accepted>,
    open: &mut JoinSet<()>,
) -> Option<Accepted> {
    loop {
        tokio::select! {
            accepted = connections.recv() => return accepted,
            Some(_) = open.join_next() => {}
        }
    }
}
