//! A worker thread: its runtime, the connections that it is handed, and the configuration that they
//! are served under.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinSet, LocalSet};

use super::config::Config;
use super::connection::{Current, serve};
use super::head::Peer;
use super::local::Local;
use super::stats::WorkerStats;
use crate::worker::{StartError, Worker};

/// A connection for a worker.
pub(super) struct Accepted {
    pub(super) stream: std::net::TcpStream,
    pub(super) remote: SocketAddr,
    pub(super) local: SocketAddr,
    /// Name of the listener.
    pub(super) listener: Arc<str>,
    /// Number of the connection within the gateway.
    pub(super) id: u64,
}

/// What a worker is told.
pub(super) enum Order {
    Connection(Accepted),
    /// Start the plugins of another configuration beside those that run, and tell whether they have
    /// started.
    Prepare {
        config: Arc<Config>,
        stats: Arc<WorkerStats>,
        reply: oneshot::Sender<Result<(), StartError>>,
    },
    /// Work under the configuration that was prepared.
    Commit,
    /// Forget the configuration that was prepared.
    Abort,
    /// An item was put into a queue of a plugin of this worker.
    Queue,
}

/// What a worker is started with.
pub(super) struct Start {
    pub(super) config: Arc<Config>,
    pub(super) stats: Arc<WorkerStats>,
    /// From 1; 0 is the main thread.
    pub(super) index: u64,
    pub(super) orders: mpsc::UnboundedReceiver<Order>,
    pub(super) drain: watch::Receiver<bool>,
    /// How long connections may go on once the gateway is to end.
    pub(super) drain_time: Duration,
    /// Tells whether the plugins have started.
    pub(super) started: std::sync::mpsc::Sender<Result<(), StartError>>,
}

/// Runs a worker until there are no more orders to come and no connections left.
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
        index,
        mut orders,
        drain,
        drain_time,
        started,
    } = start;
    let local = match Local::start(&config, stats, index, None) {
        Ok(local) => local,
        Err(error) => {
            // Who started the worker may have given up on another's error.
            let _ = started.send(Err(error));
            return;
        }
    };
    drop(config);
    let _ = started.send(Ok(()));
    let current: Current = Rc::new(RefCell::new(local));
    let mut prepared = None;
    let mut open = JoinSet::new();
    while let Some(order) = next(&mut orders, &mut open).await {
        match order {
            Order::Connection(accepted) => {
                // A socket that can't be registered is closed, which is all that can be done.
                if let Ok(stream) = TcpStream::from_std(accepted.stream) {
                    let peer = Peer {
                        remote: accepted.remote,
                        local: accepted.local,
                        id: accepted.id,
                    };
                    let listener = Rc::from(&*accepted.listener);
                    let current = Rc::clone(&current);
                    open.spawn_local(serve(current, listener, peer, stream, drain.clone()));
                }
            }
            Order::Prepare {
                config,
                stats,
                reply,
            } => {
                let before = Rc::clone(&current.borrow());
                let outcome = match Local::start(&config, stats, index, Some(&before)) {
                    Ok(local) => {
                        prepared = Some(local);
                        Ok(())
                    }
                    Err(error) => Err(error),
                };
                let _ = reply.send(outcome);
            }
            Order::Commit => {
                if let Some(local) = prepared.take() {
                    let before = current.replace(local);
                    before.retire();
                }
            }
            Order::Abort => {
                if let Some(local) = prepared.take() {
                    local.retire();
                }
            }
            Order::Queue => run_queue(&current.borrow()),
        }
    }
    let rest = async { while open.join_next().await.is_some() {} };
    // What isn't done by then is cut off.
    let _ = tokio::time::timeout(drain_time, rest).await;
    drop(open);
    current.borrow().logs.flush();
}

/// Runs the queue callbacks that are for this worker.
pub(super) fn run_queue(local: &Local) {
    if let Some(filters) = &local.filters {
        filters.feed(Worker::run_queue_callbacks);
    }
}

/// The next order; meanwhile the connections that have ended are forgotten.
async fn next(
    orders: &mut mpsc::UnboundedReceiver<Order>,
    open: &mut JoinSet<()>,
) -> Option<Order> {
    loop {
        tokio::select! {
            order = orders.recv() => return order,
            Some(_) = open.join_next() => {}
        }
    }
}
