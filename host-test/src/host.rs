//! The library: plugins, scripted upstreams and virtual time in one value.
//!
//! ```no_run
//! use std::time::Duration;
//! use host_test::host::Host;
//! use host_test::plugin::Plugin;
//!
//! let plugin = Plugin::from_file("target/wasm/rate_limit.wasm")?
//!     .config_json(r#"{"rules": [{"name": "all", "key": ["path"], "limits": [{"requests": 1, "per": "1m"}]}]}"#);
//! let host = Host::builder().plugin(plugin).workers(2).build()?;
//! assert_eq!(host.get("/login").send().status(), Some(200));
//! assert_eq!(host.get("/login").send().status(), Some(429));
//! host.advance(Duration::from_secs(60));
//! assert_eq!(host.get("/login").send().status(), Some(200));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Clock;
use crate::clusters::Clusters;
use crate::exchange::{Run, Script};
use crate::plugin::Plugin;
use crate::shared::Shared;
use crate::worker::{Environment, LogLine, Worker};

pub use crate::callout::{Callout, CalloutOver};
pub use crate::exchange::{Answer, Received};
pub use crate::flight::{Flight, RequestBuilder};
pub use crate::worker::StartError;

/// A chain of plugins with its workers, shared state, virtual clock and scripted surroundings.
pub struct Host {
    /// The main thread's VMs come last: they serve no requests.
    pub(crate) workers: Vec<RefCell<Worker>>,
    pub(crate) script: RefCell<Script>,
    pub(crate) environment: Environment,
    logs: Arc<Mutex<Vec<LogLine>>>,
    /// How many lines [`Host::take_logs`] has taken.
    logs_taken: Cell<usize>,
    pub(crate) violations: RefCell<Vec<String>>,
    pub(crate) plugins: usize,
    pub(crate) next_worker: Cell<usize>,
    /// Requests under way, in the order in which they were sent.
    pub(crate) runs: RefCell<Vec<Run>>,
    /// Callouts that no answer has come to, in the order in which they were made.
    pub(crate) waiting: RefCell<Vec<Callout>>,
    /// How many callouts were made.
    pub(crate) callouts_made: Cell<u64>,
    /// All callouts that reached a service and haven't been taken yet.
    pub(crate) callouts: RefCell<Vec<Callout>>,
}

/// Builds a [`Host`].
pub struct HostBuilder {
    plugins: Vec<Plugin>,
    workers: usize,
    script: Script,
    seed: u64,
    log_level: log::LevelFilter,
    clusters: Clusters,
}

/// Why a host could not be started, with what the guests logged until then.
#[derive(Clone, Debug)]
pub struct BuildError {
    /// The plugin and what it did.
    pub error: StartError,
    /// The log so far; a plugin that refuses its configuration says why here.
    pub logs: Vec<LogLine>,
}

impl Host {
    /// Starts with no plugin, one worker and an upstream that answers 200.
    pub fn builder() -> HostBuilder {
        HostBuilder {
            plugins: Vec::new(),
            workers: 1,
            script: Script::default(),
            seed: 0,
            log_level: log::LevelFilter::Info,
            clusters: Clusters::default(),
        }
    }

    /// A request with that method and path, to `localhost`.
    pub fn request(&self, method: &str, path: &str) -> RequestBuilder<'_> {
        let headers = [
            (":authority", "localhost"),
            (":path", path),
            (":method", method),
            (":scheme", "http"),
        ];
        RequestBuilder::new(self, headers.into_iter().collect())
    }

    /// A GET request.
    pub fn get(&self, path: &str) -> RequestBuilder<'_> {
        self.request("GET", path)
    }

    /// A POST request; give it a body.
    pub fn post(&self, path: &str) -> RequestBuilder<'_> {
        self.request("POST", path)
    }

    /// Counters and gauges of the guests by the name they were defined with.
    pub fn metrics(&self) -> BTreeMap<String, u64> {
        self.environment.shared.metrics().numbers()
    }

    /// Takes the log lines that have not been taken yet, those of requests included.
    pub fn take_logs(&self) -> Vec<LogLine> {
        let lines = std::mem::take(&mut *self.lines());
        self.logs_taken.set(self.logs_taken.get() + lines.len());
        lines
    }

    /// The callouts that wait for an answer, the oldest first.
    pub fn waiting_callouts(&self) -> Vec<Callout> {
        self.waiting.borrow().clone()
    }

    /// Takes the callouts that services have received and that have not been taken yet, in order,
    /// whoever made them.
    pub fn take_callouts(&self) -> Vec<Callout> {
        std::mem::take(&mut *self.callouts.borrow_mut())
    }

    fn lines(&self) -> MutexGuard<'_, Vec<LogLine>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many log lines there have been, those that were taken included.
    pub(crate) fn lines_so_far(&self) -> usize {
        self.logs_taken.get() + self.lines().len()
    }

    /// The lines from one on up to another or the last, but for those that were taken.
    pub(crate) fn lines_of(&self, start: usize, end: Option<usize>) -> Vec<LogLine> {
        let taken = self.logs_taken.get();
        let lines = self.lines();
        let end = end.map_or(lines.len(), |end| end.saturating_sub(taken));
        lines
            .get(start.saturating_sub(taken)..end)
            .unwrap_or_default()
            .to_vec()
    }

    /// Keys and values of the shared data of one `vm_id`.
    pub fn shared_data(&self, vm_id: &str) -> BTreeMap<String, Vec<u8>> {
        self.environment.shared.data().scope(vm_id)
    }

    /// What strict mode found outside requests, in ticks and callouts.
    pub fn violations(&self) -> Vec<String> {
        self.violations.borrow().clone()
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("plugins", &self.plugins)
            .field("workers", &(self.workers.len() - 1))
            .finish_non_exhaustive()
    }
}

impl HostBuilder {
    /// Appends a plugin to the chain.
    #[must_use]
    pub fn plugin(mut self, plugin: Plugin) -> Self {
        self.plugins.push(plugin);
        self
    }

    /// Number of workers, at least 1. Plugins run in one VM more: Envoy's main thread has one too.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers.max(1);
        self
    }

    /// Decides what upstreams answer. Without it: 200 with an empty body.
    #[must_use]
    pub fn upstream(mut self, answer: impl FnMut(&Received) -> Answer + 'static) -> Self {
        self.script.upstream = Box::new(answer);
        self
    }

    /// Names a cluster that callouts may go to. Once one is named, calls to others are refused;
    /// without any, every name is good.
    #[must_use]
    pub fn cluster(mut self, name: &str) -> Self {
        self.clusters.add(name);
        self
    }

    /// Names a cluster that has no hosts: a call to it fails at once.
    #[must_use]
    pub fn cluster_without_hosts(mut self, name: &str) -> Self {
        self.clusters.add_without_hosts(name);
        self
    }

    /// Decides what callouts are answered. Without it: 503, as from a cluster nobody listens at.
    #[must_use]
    pub fn callouts(mut self, answer: impl FnMut(&Received) -> Answer + 'static) -> Self {
        self.script.callouts = Box::new(answer);
        self
    }

    /// Seeds guests' randomness; the default is 0.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The least severe guest lines that are kept; Envoy's default is info.
    #[must_use]
    pub fn log_level(mut self, level: log::LevelFilter) -> Self {
        self.log_level = level;
        self
    }

    /// Starts the VMs and configures the plugins.
    ///
    /// # Errors
    ///
    /// A plugin could not be started or refused its configuration.
    pub fn build(self) -> Result<Host, BuildError> {
        let logs = Arc::new(Mutex::new(Vec::new()));
        let sink = logs.clone();
        let environment = Environment {
            shared: Arc::new(Shared::default()),
            clock: Clock::virtual_clock(),
            log: Arc::new(move |line| {
                sink.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(line);
            }),
            log_level: self.log_level,
            seed: self.seed,
        };
        *environment.shared.clusters() = self.clusters;
        let plugins: Vec<Arc<Plugin>> = self.plugins.into_iter().map(Arc::new).collect();
        let failed = |error| BuildError {
            error,
            logs: logs.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        };
        for plugin in &plugins {
            Worker::canary(environment.clone(), plugin).map_err(failed)?;
        }
        let mut workers = Vec::new();
        // Envoy's main thread starts its VMs before the workers do theirs.
        for index in 0..=self.workers as u64 {
            let worker = Worker::start(environment.clone(), &plugins, index).map_err(failed)?;
            workers.push(RefCell::new(worker));
        }
        workers.rotate_left(1);
        let host = Host {
            workers,
            script: RefCell::new(self.script),
            environment,
            logs,
            violations: RefCell::default(),
            plugins: plugins.len(),
            next_worker: Cell::new(0),
            logs_taken: Cell::new(0),
            runs: RefCell::default(),
            waiting: RefCell::default(),
            callouts_made: Cell::new(0),
            callouts: RefCell::default(),
        };
        host.settle();
        Ok(host)
    }
}

impl fmt::Debug for HostBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostBuilder")
            .field("plugins", &self.plugins)
            .field("workers", &self.workers)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.error)?;
        for line in self
            .logs
            .iter()
            .filter(|line| line.level <= log::Level::Warn)
        {
            write!(
                f,
                "\n  [{}] {}",
                line.level.as_str().to_lowercase(),
                line.message
            )?;
        }
        Ok(())
    }
}

impl std::error::Error for BuildError {}
