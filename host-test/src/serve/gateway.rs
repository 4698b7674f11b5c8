//! Starting and stopping a gateway.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use log::LevelFilter;
use tokio::sync::{mpsc, oneshot, watch};

use super::config::{Config, ListenerConfig};
use super::host::Group;
use super::main_thread::{Command, Main, groups, tell_reach};
use super::plugins;
use super::stats::WorkerStats;
use super::worker::{self, Order, Start};
use crate::bootstrap::{Bootstrap, LoadError, Loaded, Report};
use crate::clock::Clock;
use crate::inspector::{Inspector, Settings, Surroundings};
use crate::shared::Shared;
use crate::trace::Recorder;
use crate::worker::{Environment, LogSink, Observe, StartError};

/// How a gateway is run.
pub struct Options {
    /// Number of worker threads, at least 1.
    pub concurrency: u8,
    /// Least severe level of plugins' log lines.
    pub log_level: LevelFilter,
    /// Where plugins' log lines go.
    pub log: LogSink,
    /// Records requests for the inspector; not by default.
    pub inspect: Option<Settings>,
    /// How long requests may go on once the gateway is to end.
    pub drain_time: Duration,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("concurrency", &self.concurrency)
            .field("log_level", &self.log_level)
            .finish_non_exhaustive()
    }
}

/// Why a gateway can't be started.
#[derive(Debug)]
pub enum GatewayError {
    /// An access log can't be opened, or the like; a sentence.
    Config(String),
    /// An address is taken, or isn't one of this machine.
    Bind {
        /// Name of the listener.
        listener: String,
        /// What it wanted.
        address: SocketAddr,
        /// The system's words.
        error: io::Error,
    },
    /// The file can't be read or has mistakes.
    Bootstrap(LoadError),
    /// Modules are missing, or plugins have refused their configuration.
    Plugins(Report),
    /// A plugin that had passed its trial didn't start on a worker.
    Start(StartError),
    /// A thread can't be started.
    Thread(String),
}

impl fmt::Display for GatewayError {
    /// Whole lines, the last with its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bootstrap(error) => error.fmt(f),
            Self::Plugins(report) => report.fmt(f),
            Self::Config(sentence) | Self::Thread(sentence) => writeln!(f, "error: {sentence}"),
            Self::Start(error) => writeln!(f, "error: {error}"),
            Self::Bind {
                listener,
                address,
                error,
            } => {
                let cause = match error.kind() {
                    io::ErrorKind::AddrInUse => "the address is in use".to_owned(),
                    _ => error.to_string(),
                };
                writeln!(
                    f,
                    "error: listener {listener} can't listen on {address}: {cause}"
                )
            }
        }
    }
}

impl std::error::Error for GatewayError {}

/// A gateway that serves.
#[derive(Debug)]
pub struct Gateway {
    addresses: Vec<(String, SocketAddr)>,
    commands: mpsc::UnboundedSender<Command>,
    stop: oneshot::Sender<()>,
    main: JoinHandle<()>,
    workers: Vec<JoinHandle<()>>,
}

impl Gateway {
    /// Loads and tries the plugins, binds the listeners and starts the threads.
    ///
    /// # Errors
    ///
    /// An address is taken, a module is missing, or a plugin refuses its configuration.
    pub fn start(loaded: Loaded, options: Options) -> Result<Self, GatewayError> {
        // Before the modules are compiled: a port in use is quick to tell.
        let sockets = Sockets::new(&loaded.bootstrap)?;
        let addresses = sockets.addresses();
        let environment = Environment {
            shared: Arc::new(Shared::default()),
            clock: Clock::real(),
            log: options.log,
            log_level: options.log_level,
            seed: super::random::Random::seeded().next(),
            observe: observe(options.inspect),
        };
        let groups = groups(&loaded.bootstrap, &[]);
        for group in &groups {
            tell_reach(group, &environment.shared);
        }
        let inspector = inspector(&loaded.bootstrap, &environment, options.inspect)?;
        if let Some(inspector) = &inspector {
            inspector.listening_on(addresses.iter().map(|(_, address)| *address).collect());
        }
        let config = Arc::new(configure(loaded, environment, groups, inspector)?);
        let (drain, draining) = watch::channel(false);
        let (started, has_started) = std::sync::mpsc::channel();
        let (commands, received) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let mut stats = vec![Arc::new(WorkerStats::new(&config.bootstrap, None))];
        let mut senders = Vec::new();
        let mut starts = Vec::new();
        for index in 1..=u64::from(options.concurrency.max(1)) {
            let (sender, orders) = mpsc::unbounded_channel();
            senders.push(sender);
            let own = Arc::new(WorkerStats::new(&config.bootstrap, None));
            stats.push(Arc::clone(&own));
            starts.push(Start {
                config: Arc::clone(&config),
                stats: own,
                index,
                orders,
                drain: draining.clone(),
                drain_time: options.drain_time,
                started: started.clone(),
            });
        }
        wake_for_queues(&config, &commands, &senders);
        let main = Main {
            config: Arc::clone(&config),
            stats,
            senders,
            sockets,
            started,
            commands: received,
            stopped,
            drain,
        };
        drop(config);
        let main = spawn("main".to_owned(), move || main.run())?;
        let mut gateway = Self {
            addresses,
            commands,
            stop,
            main,
            workers: Vec::new(),
        };
        let mut failed = first_error(&has_started);
        // The main thread's plugins are configured first, then each worker's, as in Envoy: who
        // registers a queue last is told of its items.
        for start in starts {
            if failed.is_none() {
                let name = format!("worker-{}", start.index);
                gateway
                    .workers
                    .push(spawn(name, move || worker::run(start))?);
                failed = first_error(&has_started);
            }
        }
        if let Some(error) = failed {
            gateway.stop();
            return Err(error);
        }
        let _ = gateway.commands.send(Command::Serve);
        Ok(gateway)
    }

    /// Names and addresses of the listeners, the admin listener last.
    pub fn addresses(&self) -> &[(String, SocketAddr)] {
        &self.addresses
    }

    /// Serves another bootstrap from now on. Connections, shared data, metrics and the hosts'
    /// health stay; requests that are on their way end under the configuration that they began
    /// under. The plugins' own memory begins anew.
    ///
    /// # Errors
    ///
    /// As [`Gateway::start`]; all stays as it was then.
    pub fn reload(&self, loaded: Loaded) -> Result<(), GatewayError> {
        let (reply, replied) = std::sync::mpsc::channel();
        let _ = self.commands.send(Command::Reload(Box::new(loaded), reply));
        let gone = || GatewayError::Thread("the main thread has ended".into());
        replied.recv().map_err(|_| gone())?
    }

    /// Stops accepting, lets the requests that are on their way end for up to the drain time, and
    /// ends.
    pub fn stop(self) {
        // The main thread drops what makes the workers end.
        let _ = self.stop.send(());
        for thread in self.workers.into_iter().chain([self.main]) {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

/// What the next thread says of its start, if it is an error.
fn first_error(
    started: &std::sync::mpsc::Receiver<Result<(), StartError>>,
) -> Option<GatewayError> {
    match started.recv() {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(GatewayError::Start(error)),
        Err(_) => Some(GatewayError::Thread("a thread has ended".into())),
    }
}

/// Has the threads told of items in queues of their plugins.
fn wake_for_queues(
    config: &Config,
    commands: &mpsc::UnboundedSender<Command>,
    senders: &[mpsc::UnboundedSender<Order>],
) {
    // Weak ends: a worker ends when the main thread drops the strong ones.
    let commands = commands.downgrade();
    let senders: Vec<_> = senders.iter().map(|sender| sender.downgrade()).collect();
    config.environment.shared.wake_with(move |worker| {
        let index = usize::try_from(worker).unwrap_or(usize::MAX);
        match index.checked_sub(1) {
            None => {
                if let Some(commands) = commands.upgrade() {
                    let _ = commands.send(Command::Queue);
                }
            }
            Some(index) => {
                if let Some(sender) = senders.get(index).and_then(|sender| sender.upgrade()) {
                    let _ = sender.send(Order::Queue);
                }
            }
        }
    });
}

/// Sockets that listen already, so that ports are known and taken ones are told.
pub(super) struct Sockets {
    /// Name, address as configured, socket.
    pub(super) listeners: Vec<(String, SocketAddr, StdListener)>,
    pub(super) admin: Option<StdListener>,
}

impl Sockets {
    fn new(bootstrap: &Bootstrap) -> Result<Self, GatewayError> {
        let listeners = bootstrap.listeners.iter().map(|listener| {
            let socket = bind(&listener.name, listener.address)?;
            Ok((listener.name.clone(), listener.address, socket))
        });
        let admin = bootstrap.admin.map(|address| bind("admin", address));
        Ok(Self {
            listeners: listeners.collect::<Result<_, GatewayError>>()?,
            admin: admin.transpose()?,
        })
    }

    fn addresses(&self) -> Vec<(String, SocketAddr)> {
        let listeners = self
            .listeners
            .iter()
            .map(|(name, _, socket)| (name.clone(), socket));
        let admin = self.admin.iter().map(|admin| ("admin".to_owned(), admin));
        listeners
            .chain(admin)
            .filter_map(|(name, socket)| Some((name, socket.local_addr().ok()?)))
            .collect()
    }
}

pub(super) fn bind(listener: &str, address: SocketAddr) -> Result<StdListener, GatewayError> {
    let bound = StdListener::bind(address).and_then(|socket| {
        socket.set_nonblocking(true)?;
        Ok(socket)
    });
    bound.map_err(|error| GatewayError::Bind {
        listener: listener.to_owned(),
        address,
        error,
    })
}

/// Loads and tries the plugins of a bootstrap and prepares the rest of it.
pub(super) fn configure(
    loaded: Loaded,
    environment: Environment,
    groups: Vec<Arc<Group>>,
    inspector: Option<Arc<Inspector>>,
) -> Result<Config, GatewayError> {
    let Loaded {
        bootstrap,
        mut report,
        ..
    } = loaded;
    let plugins = plugins::load(&bootstrap, &environment, &mut report);
    if !report.is_empty() {
        return Err(GatewayError::Plugins(report));
    }
    let prepared = bootstrap
        .listeners
        .iter()
        .zip(&plugins.positions)
        .map(|(listener, plugins)| ListenerConfig::new(listener, plugins, &bootstrap.clusters));
    Ok(Config {
        listeners: prepared
            .collect::<Result<_, _>>()
            .map_err(GatewayError::Config)?,
        bootstrap,
        plugins,
        groups,
        environment,
        hostname: std::fs::read_to_string("/proc/sys/kernel/hostname")
            .map(|name| name.trim().to_owned())
            .unwrap_or_default(),
        inspector,
    })
}

fn observe(inspect: Option<Settings>) -> Observe {
    Observe {
        instructions: inspect.is_some_and(|settings| settings.instructions),
        trace: inspect.map(|_| Recorder::default()),
        detail: inspect.is_some(),
    }
}

/// What is recorded is for whoever sits at this machine.
fn inspector(
    bootstrap: &Bootstrap,
    environment: &Environment,
    inspect: Option<Settings>,
) -> Result<Option<Arc<Inspector>>, GatewayError> {
    let Some(settings) = inspect else {
        return Ok(None);
    };
    let sentence = match bootstrap.admin {
        None => {
            "--inspect needs the admin listener, which serves its page: add `admin` to the file"
        }
        Some(address) if !address.ip().is_loopback() => {
            "--inspect shows all requests, so `admin` has to listen on a loopback address"
        }
        Some(_) => {
            let surroundings = bootstrap.listeners.iter().map(Surroundings::of).collect();
            let shared = Arc::clone(&environment.shared);
            let inspector = Inspector::new(settings, shared, surroundings);
            return Ok(Some(Arc::new(inspector)));
        }
    };
    Err(GatewayError::Config(sentence.to_owned()))
}

fn spawn(
    name: String,
    run: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> Result<JoinHandle<()>, GatewayError> {
    let failed = |error| GatewayError::Thread(format!("a thread can't be started: {error}"));
    let body = move || {
        if let Err(error) = run() {
            eprintln!("error: a thread can't go on: {error}");
        }
    };
    thread::Builder::new()
        .name(name)
        .spawn(body)
        .map_err(failed)
}
