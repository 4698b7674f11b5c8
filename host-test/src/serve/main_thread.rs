//! The main thread: accepts, looks names up, checks hosts, answers the admin listener, has VMs that
//! tick, and brings new configurations to the workers.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinHandle, LocalSet, spawn_local};

use super::ACCEPT_AGAIN;
use super::admin::{self, Admin};
use super::config::Config;
use super::gateway::{GatewayError, Sockets, bind, configure};
use super::host::Group;
use super::local::Local;
use super::stats::WorkerStats;
use super::worker::{Accepted, Order, run_queue};
use super::{dns, health};
use crate::bootstrap::{Bootstrap, Loaded};
use crate::inspector::Surroundings;
use crate::worker::StartError;

/// What the gateway is told.
pub(super) enum Command {
    /// Serve this from now on.
    Reload(
        Box<Loaded>,
        std::sync::mpsc::Sender<Result<(), GatewayError>>,
    ),
    /// The workers have started: accept connections.
    Serve,
    /// A queue of a plugin of this thread has an item.
    Queue,
}

/// What the main thread is started with.
pub(super) struct Main {
    pub(super) config: Arc<Config>,
    /// Its own first, then the workers'.
    pub(super) stats: Vec<Arc<WorkerStats>>,
    pub(super) senders: Vec<mpsc::UnboundedSender<Order>>,
    pub(super) sockets: Sockets,
    pub(super) started: std::sync::mpsc::Sender<Result<(), StartError>>,
    pub(super) commands: mpsc::UnboundedReceiver<Command>,
    pub(super) stopped: oneshot::Receiver<()>,
    pub(super) drain: watch::Sender<bool>,
}

/// A listener that accepts.
struct Accepting {
    name: Arc<str>,
    /// As configured; the port may be 0.
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// The main thread at work.
struct Work {
    local: Rc<Local>,
    admin: Rc<Admin>,
    senders: Vec<mpsc::UnboundedSender<Order>>,
    accepting: Vec<Accepting>,
    /// What runs beside each cluster.
    tended: Vec<(Arc<Group>, Vec<AbortHandle>)>,
    ids: Arc<AtomicU64>,
    admin_address: Option<SocketAddr>,
}

/// How long listeners wait for the first look-ups and health checks.
const FIRST: Duration = Duration::from_secs(5);

impl Main {
    pub(super) fn run(self) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        LocalSet::new().block_on(&runtime, self.work())
    }

    async fn work(self) -> io::Result<()> {
        let Self {
            config,
            stats,
            senders,
            sockets,
            started,
            mut commands,
            mut stopped,
            drain,
        } = self;
        let tended: Vec<_> = config.groups.iter().map(tend).collect();
        wait_for_hosts(&config.groups).await;
        let own = Arc::clone(&stats[0]);
        let local = match Local::start(&config, own, 0, None) {
            Ok(local) => local,
            Err(error) => {
                let _ = started.send(Err(error));
                return Ok(());
            }
        };
        let admin_address = config.bootstrap.admin;
        let admin = Admin::new(config, stats);
        let mut work = Work {
            local,
            admin: Rc::clone(&admin),
            senders,
            accepting: Vec::new(),
            tended,
            ids: Arc::default(),
            admin_address,
        };
        if let Some(socket) = sockets.admin {
            let listener = TcpListener::from_std(socket)?;
            spawn_local(admin::serve(Rc::clone(&admin), listener));
        }
        let _ = started.send(Ok(()));
        let mut waiting = Some(sockets.listeners);
        loop {
            tokio::select! {
                // An error means that the gateway was dropped, which is a way of stopping it.
                _ = &mut stopped => break,
                command = commands.recv() => match command {
                    Some(Command::Serve) => {
                        for (name, address, socket) in waiting.take().into_iter().flatten() {
                            work.accept(&name, address, socket)?;
                        }
                        admin.live();
                    }
                    Some(Command::Reload(loaded, reply)) => {
                        let outcome = work.reload(*loaded).await;
                        let _ = reply.send(outcome);
                    }
                    Some(Command::Queue) => run_queue(&work.local),
                    None => break,
                },
                () = admin.drained() => {
                    work.stop_accepting().await;
                    let _ = drain.send(true);
                }
            }
        }
        admin.draining();
        work.stop_accepting().await;
        let _ = drain.send(true);
        Ok(())
    }
}

impl Work {
    fn accept(&mut self, name: &str, address: SocketAddr, socket: StdListener) -> io::Result<()> {
        let bound = socket.local_addr()?;
        let socket = TcpListener::from_std(socket)?;
        let (stop, stopped) = oneshot::channel();
        let name: Arc<str> = name.into();
        let senders = self.senders.clone();
        let ids = Arc::clone(&self.ids);
        let task = accept(Arc::clone(&name), socket, senders, ids, stopped);
        self.admin.listens(&name, bound);
        self.accepting.push(Accepting {
            name,
            address,
            stop,
            task: spawn_local(task),
        });
        Ok(())
    }

    /// Closes the listeners; what is in their backlog is accepted first.
    async fn stop_accepting(&mut self) {
        for accepting in self.accepting.drain(..) {
            let _ = accepting.stop.send(());
            let _ = accepting.task.await;
        }
    }

    /// Brings a new configuration into force, or leaves all as it was.
    async fn reload(&mut self, loaded: Loaded) -> Result<(), GatewayError> {
        let before = Arc::clone(&self.local.config);
        if loaded.bootstrap.admin != self.admin_address {
            let message = "the address of the admin listener can't change while the gateway runs";
            return Err(GatewayError::Config(message.to_owned()));
        }
        let mut new = Vec::new();
        for listener in &loaded.bootstrap.listeners {
            let stays = |known: &Accepting| {
                *known.name == *listener.name && known.address == listener.address
            };
            if !self.accepting.iter().any(stays) {
                let socket = bind(&listener.name, listener.address)?;
                new.push((listener.name.clone(), listener.address, socket));
            }
        }
        let environment = before.environment.clone();
        let inspector = before.inspector.clone();
        let groups = groups(&loaded.bootstrap, &before.groups);
        for group in &groups {
            tell_reach(group, &before.environment.shared);
        }
        // Compiling takes long; requests are served meanwhile.
        let configured =
            tokio::task::spawn_blocking(move || configure(loaded, environment, groups, inspector));
        let config = configured
            .await
            .map_err(|error| GatewayError::Thread(error.to_string()))?;
        let config = Arc::new(match config {
            Ok(config) => config,
            Err(error) => {
                self.forget_clusters(&before);
                return Err(error);
            }
        });
        let known = |group: &Arc<Group>| {
            let mut tended = self.tended.iter();
            tended.any(|(known, _)| Arc::ptr_eq(known, group))
        };
        let fresh: Vec<Arc<Group>> = config
            .groups
            .iter()
            .filter(|group| !known(group))
            .cloned()
            .collect();
        self.tended.extend(fresh.iter().map(tend));
        wait_for_hosts(&fresh).await;
        if let Err(error) = self.switch(&before, &config).await {
            self.forget_clusters(&before);
            return Err(GatewayError::Start(error));
        }
        self.forget_clusters(&config);
        for (name, address, socket) in new {
            let failed = |error: io::Error| GatewayError::Thread(error.to_string());
            self.accept(&name, address, socket).map_err(failed)?;
        }
        let (stay, go): (Vec<_>, Vec<_>) = self.accepting.drain(..).partition(|accepting| {
            let mut listeners = config.bootstrap.listeners.iter();
            listeners.any(|l| *l.name == *accepting.name && l.address == accepting.address)
        });
        self.accepting = stay;
        for accepting in go {
            self.admin.listens_no_more(&accepting.name);
            let _ = accepting.stop.send(());
            let _ = accepting.task.await;
        }
        if let Some(inspector) = &config.inspector {
            let listeners = &config.bootstrap.listeners;
            inspector.surrounded_by(listeners.iter().map(Surroundings::of).collect());
            inspector.listening_on(self.admin.addresses_of(listeners));
        }
        Ok(())
    }

    /// Starts the plugins on all threads, and has them take over if they have started everywhere.
    async fn switch(&mut self, before: &Config, config: &Arc<Config>) -> Result<(), StartError> {
        let old = self.admin.stats();
        let renewed = |old: &Arc<WorkerStats>| {
            let known = Some((&before.bootstrap, &**old));
            Arc::new(WorkerStats::new(&config.bootstrap, known))
        };
        let stats: Vec<Arc<WorkerStats>> = old.iter().map(renewed).collect();
        let own = Arc::clone(&stats[0]);
        let local = Local::start(config, own, 0, Some(&self.local))?;
        // In order: the plugin that registers a queue last is the one of the last worker.
        let mut outcome = Ok(());
        for (sender, stats) in self.senders.iter().zip(&stats[1..]) {
            let (reply, replied) = oneshot::channel();
            let _ = sender.send(Order::Prepare {
                config: Arc::clone(config),
                stats: Arc::clone(stats),
                reply,
            });
            // A worker that is gone has nothing to take over.
            outcome = replied.await.unwrap_or(Ok(()));
            if outcome.is_err() {
                break;
            }
        }
        for sender in &self.senders {
            let _ = sender.send(match outcome {
                Ok(()) => Order::Commit,
                Err(_) => Order::Abort,
            });
        }
        if let Err(error) = outcome {
            local.retire();
            return Err(error);
        }
        self.admin.show(Arc::clone(config), stats);
        std::mem::replace(&mut self.local, local).retire();
        Ok(())
    }

    /// Forgets the clusters that a configuration hasn't.
    fn forget_clusters(&mut self, config: &Config) {
        self.tended.retain(|(group, tasks)| {
            let stays = config.groups.iter().any(|known| Arc::ptr_eq(known, group));
            if !stays {
                tasks.iter().for_each(AbortHandle::abort);
            }
            stays
        });
        let names = config
            .groups
            .iter()
            .map(|group| group.cluster.name.as_str());
        let shared = &config.environment.shared;
        shared.clusters().keep(&names.collect::<Vec<_>>());
        for group in &config.groups {
            tell_reach(group, shared);
        }
    }
}

/// The clusters of a bootstrap; those that haven't changed are the ones before.
pub(super) fn groups(bootstrap: &Bootstrap, before: &[Arc<Group>]) -> Vec<Arc<Group>> {
    let group = |cluster| {
        let mut known = before.iter();
        let known = known.find(|group| group.cluster.is_same(cluster));
        known.map_or_else(|| Arc::new(Group::new(cluster)), Arc::clone)
    };
    bootstrap.clusters.iter().map(group).collect()
}

/// Tells the plugins' side whether a callout to a cluster could be sent.
pub(super) fn tell_reach(group: &Group, shared: &crate::shared::Shared) {
    let mut clusters = shared.clusters();
    if group.can_be_reached() {
        clusters.add(&group.cluster.name);
    } else {
        clusters.add_without_hosts(&group.cluster.name);
    }
}

/// Starts what runs beside a cluster.
fn tend(group: &Arc<Group>) -> (Arc<Group>, Vec<AbortHandle>) {
    let tasks = vec![
        spawn_local(dns::keep_looking_up(Arc::clone(group))).abort_handle(),
        spawn_local(health::keep_checking(Arc::clone(group))).abort_handle(),
        spawn_local(Arc::clone(group).keep_sweeping()).abort_handle(),
    ];
    (Arc::clone(group), tasks)
}

/// Waits until every cluster's names were looked up and its hosts checked once, or for long enough.
async fn wait_for_hosts(groups: &[Arc<Group>]) {
    let all = async {
        for group in groups {
            let mut hosts = group.watch();
            let _ = hosts.wait_for(Option::is_some).await;
            if group.cluster.health_checks.is_empty() {
                continue;
            }
            let count = group.hosts().map_or(0, |hosts| hosts.len());
            while usize::try_from(group.checked.load(Ordering::Acquire)).unwrap_or(0) < count {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    };
    let _ = tokio::time::timeout(FIRST, all).await;
}

/// Accepts connections and hands them to the workers in turn, so that each gets its share.
async fn accept(
    name: Arc<str>,
    socket: TcpListener,
    workers: Vec<mpsc::UnboundedSender<Order>>,
    ids: Arc<AtomicU64>,
    mut stop: oneshot::Receiver<()>,
) {
    let hand_over = |stream: std::net::TcpStream, remote| {
        let Ok(local) = stream.local_addr() else {
            return;
        };
        let id = ids.fetch_add(1, Ordering::Relaxed);
        let turn = usize::try_from(id).unwrap_or_default() % workers.len();
        let accepted = Accepted {
            stream,
            remote,
            local,
            listener: Arc::clone(&name),
            id,
        };
        // A worker that is gone closes what it is given.
        let _ = workers[turn].send(Order::Connection(accepted));
    };
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            _ = &mut stop => break,
        };
        let accepted = accepted.and_then(|(stream, remote)| Ok((stream.into_std()?, remote)));
        match accepted {
            Ok((stream, remote)) => hand_over(stream, remote),
            // Out of sockets, most likely: some will be closed.
            Err(_) => tokio::time::sleep(ACCEPT_AGAIN).await,
        }
    }
    // Whom the kernel has told that they are connected.
    let Ok(socket) = socket.into_std() else {
        return;
    };
    while let Ok((stream, remote)) = socket.accept() {
        if stream.set_nonblocking(true).is_ok() {
            hand_over(stream, remote);
        }
    }
}
