//! Starting and stopping a gateway.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use log::LevelFilter;
use tokio::sync::{mpsc, oneshot, watch};

use super::admin::Admin;
use super::config::{Config, ListenerConfig};
use super::dns::Addresses;
use super::main_thread::Main;
use super::plugins::{self, Plugins};
use super::stats::WorkerStats;
use super::worker::{self, Start};
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
        let Loaded {
            bootstrap,
            mut report,
            ..
        } = loaded;
        // Before the modules are compiled: a port in use is quick to tell.
        let bound = Bound::new(&bootstrap)?;
        let environment = Environment {
            shared: Arc::new(Shared::default()),
            clock: Clock::real(),
            log: options.log,
            log_level: options.log_level,
            seed: super::random::Random::seeded().next(),
            observe: observe(options.inspect),
        };
        for cluster in &bootstrap.clusters {
            environment.shared.clusters().add(&cluster.name);
        }
        let plugins = plugins::load(&bootstrap, &environment, &mut report);
        if !report.is_empty() {
            return Err(GatewayError::Plugins(report));
        }
        let inspector = inspector(&bootstrap, &environment, options.inspect)?;
        let config = Arc::new(prepare(bootstrap, plugins, environment, inspector)?);
        let addresses = bound.addresses(&config.bootstrap);
        if let Some(inspector) = &config.inspector {
            inspector.listening_on(addresses.iter().map(|(_, address)| *address).collect());
        }
        let found: Vec<_> = config
            .bootstrap
            .clusters
            .iter()
            .map(|_| watch::channel(Addresses::None))
            .collect();
        let receivers = || found.iter().map(|(_, receiver)| receiver.clone()).collect();
        let (drain, draining) = watch::channel(false);
        let (started, has_started) = std::sync::mpsc::channel();
        let mut stats = Vec::new();
        let mut senders = Vec::new();
        let mut workers = Vec::new();
        for index in 1..=u64::from(options.concurrency.max(1)) {
            let (sender, connections) = mpsc::unbounded_channel();
            senders.push(sender);
            let own = Arc::new(WorkerStats::new(&config.bootstrap));
            stats.push(Arc::clone(&own));
            let start = Start {
                config: Arc::clone(&config),
                stats: own,
                addresses: receivers(),
                index,
                connections,
                drain: draining.clone(),
                started: started.clone(),
            };
            workers.push(spawn(format!("worker-{index}"), move || {
                worker::run(start)
            })?);
        }
        let own = Arc::new(WorkerStats::new(&config.bootstrap));
        stats.push(Arc::clone(&own));
        let (stop, stopped) = oneshot::channel();
        let main = Main {
            config: Arc::clone(&config),
            stats: own,
            addresses: receivers(),
            admin: Admin { config, stats },
            found: found.into_iter().map(|(sender, _)| sender).collect(),
            senders,
            listeners: bound.listeners,
            admin_listener: bound.admin,
            started,
            stopped,
            drain,
        };
        let main = spawn("main".to_owned(), move || main.run())?;
        let gateway = Self {
            addresses,
            stop,
            main,
            workers,
        };
        for _ in 0..=gateway.workers.len() {
            match has_started.recv() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    gateway.stop();
                    return Err(GatewayError::Start(error));
                }
                Err(_) => return Err(GatewayError::Thread("a thread has ended".into())),
            }
        }
        Ok(gateway)
    }

    /// Names and addresses of the listeners, the admin listener last.
    pub fn addresses(&self) -> &[(String, SocketAddr)] {
        &self.addresses
    }

    /// Stops accepting, lets the requests that are on their way end for up to 5 s, and ends.
    pub fn stop(self) {
        // The main thread drops what makes the workers end.
        let _ = self.stop.send(());
        for thread in self.workers.into_iter().chain([self.main]) {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

/// Sockets that listen already, so that ports are known and taken ones are told.
struct Bound {
    listeners: Vec<StdListener>,
    admin: Option<StdListener>,
}

impl Bound {
    fn new(bootstrap: &Bootstrap) -> Result<Self, GatewayError> {
        let listeners = bootstrap.listeners.iter();
        let admin = bootstrap.admin.map(|address| bind("admin", address));
        Ok(Self {
            listeners: listeners
                .map(|listener| bind(&listener.name, listener.address))
                .collect::<Result<_, _>>()?,
            admin: admin.transpose()?,
        })
    }

    fn addresses(&self, bootstrap: &Bootstrap) -> Vec<(String, SocketAddr)> {
        let names = bootstrap.listeners.iter().map(|l| l.name.clone());
        let listeners = names.zip(&self.listeners);
        let admin = self.admin.iter().map(|admin| ("admin".to_owned(), admin));
        listeners
            .chain(admin)
            .filter_map(|(name, socket)| Some((name, socket.local_addr().ok()?)))
            .collect()
    }
}

fn bind(listener: &str, address: SocketAddr) -> Result<StdListener, GatewayError> {
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

fn prepare(
    bootstrap: Bootstrap,
    plugins: Plugins,
    environment: Environment,
    inspector: Option<Arc<Inspector>>,
) -> Result<Config, GatewayError> {
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
