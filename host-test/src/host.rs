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
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use crate::clock::Clock;
use crate::exchange::{Exchange, Script};
use crate::fault::Fault;
use crate::headers::Headers;
use crate::plugin::Plugin;
use crate::reply::Reply;
use crate::shared::Shared;
use crate::trace::{Recorder, Trace};
use crate::worker::{Environment, LogLine, Observe, Worker};

pub use crate::exchange::{Answer, Received};
pub use crate::worker::StartError;

/// How many queue callbacks may follow from one event before they are taken for an endless loop.
const QUEUE_CALLBACKS: usize = 10_000;

/// A chain of plugins with its workers, shared state, virtual clock and scripted surroundings.
pub struct Host {
    /// The main thread's VMs come last: they serve no requests.
    workers: Vec<RefCell<Worker>>,
    script: RefCell<Script>,
    environment: Environment,
    logs: Arc<Mutex<Vec<LogLine>>>,
    violations: RefCell<Vec<String>>,
    plugins: usize,
    next_worker: Cell<usize>,
}

/// Builds a [`Host`].
pub struct HostBuilder {
    plugins: Vec<Plugin>,
    workers: usize,
    script: Script,
    seed: u64,
    observe: Observe,
    faults: Vec<Fault>,
    log_level: log::LevelFilter,
}

/// A request being put together.
#[derive(Debug)]
pub struct RequestBuilder<'h> {
    host: &'h Host,
    headers: Headers,
    chunks: Vec<Bytes>,
    trailers: Headers,
    worker: Option<usize>,
    source_address: String,
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
            observe: Observe::default(),
            faults: Vec::new(),
            log_level: log::LevelFilter::Info,
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
        RequestBuilder {
            host: self,
            headers: headers.into_iter().collect(),
            chunks: Vec::new(),
            trailers: Headers::new(),
            worker: None,
            source_address: "127.0.0.1:40000".to_owned(),
        }
    }

    /// A GET request.
    pub fn get(&self, path: &str) -> RequestBuilder<'_> {
        self.request("GET", path)
    }

    /// A POST request; give it a body.
    pub fn post(&self, path: &str) -> RequestBuilder<'_> {
        self.request("POST", path)
    }

    /// Advances virtual time. Ticks that fall due run in the order of their time, on every worker
    /// and on the main thread.
    pub fn advance(&self, by: Duration) {
        let clock = &self.environment.clock;
        let target = clock.elapsed() + by;
        loop {
            let due = self
                .workers
                .iter()
                .filter_map(|worker| worker.borrow().next_timer())
                .min();
            let Some(due) = due.filter(|due| *due <= target) else {
                break;
            };
            clock.advance(due.saturating_sub(clock.elapsed()));
            for index in 0..self.workers.len() {
                self.workers[index].borrow_mut().run_timers();
                self.run_background(index);
            }
        }
        clock.advance(target.saturating_sub(clock.elapsed()));
    }

    /// Runs queue callbacks, and answers callouts that were made outside streams.
    fn run_background(&self, index: usize) {
        let mut worker = self.workers[index].borrow_mut();
        let script = &mut self.script.borrow_mut();
        self.background(index, &mut worker, script);
    }

    fn background(&self, index: usize, worker: &mut Worker, script: &mut Script) {
        self.deliver(index, worker, script);
        while script.answer_callouts(worker, &self.environment.clock) {
            self.deliver(index, worker, script);
        }
        let violations = worker.take_violations();
        self.violations.borrow_mut().extend(violations);
    }

    /// Runs the queue callbacks of all workers, the oldest first. One worker is lent already.
    fn deliver(&self, index: usize, worker: &mut Worker, script: &mut Script) {
        let shared = &self.environment.shared;
        for _ in 0..QUEUE_CALLBACKS {
            let Some(ready) = shared.queues().next_ready() else {
                return;
            };
            // Numbers count from 1; the main thread's is 0 and its place is the last.
            let place = usize::try_from(ready.target.worker).unwrap_or(0);
            let place = place.checked_sub(1).unwrap_or(self.workers.len() - 1);
            if place == index {
                worker.queue_ready(ready);
            } else if let Some(other) = self.workers.get(place) {
                let mut other = other.borrow_mut();
                other.queue_ready(ready);
                script.answer_callouts(&mut other, &self.environment.clock);
                self.violations.borrow_mut().extend(other.take_violations());
            }
        }
        shared.queues().clear_ready();
        let text = format!(
            "queue callbacks put items into queues without end; stopped after {QUEUE_CALLBACKS}"
        );
        self.violations.borrow_mut().push(text);
    }

    /// Counters and gauges of the guests by the name they were defined with.
    pub fn metrics(&self) -> BTreeMap<String, u64> {
        self.environment.shared.metrics().numbers()
    }

    /// Takes the log lines that have not been taken yet, those of requests included.
    pub fn take_logs(&self) -> Vec<LogLine> {
        std::mem::take(&mut *self.logs.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keys and values of the shared data of one `vm_id`.
    pub fn shared_data(&self, vm_id: &str) -> BTreeMap<String, Vec<u8>> {
        self.environment.shared.data().scope(vm_id)
    }

    /// Wasm instructions run outside requests, in all VMs and since their start; `None` unless
    /// [`HostBuilder::count_instructions`] asks for it.
    pub fn instructions(&self) -> Option<u64> {
        let spent = self
            .workers
            .iter()
            .map(|worker| worker.borrow().instructions());
        self.environment.observe.instructions.then(|| spent.sum())
    }

    /// Takes the callbacks that belong to no request and have not been taken yet: configuration,
    /// ticks, queues, callouts made there. Empty unless [`HostBuilder::trace`] asks for it.
    pub fn take_trace(&self) -> Trace {
        let mut all = Trace::default();
        for worker in &self.workers {
            all.merge(worker.borrow_mut().take_trace());
        }
        all
    }

    /// Lets something go wrong from now on.
    pub fn fault(&self, fault: Fault) {
        self.environment.shared.faults().add(fault);
    }

    /// Removes all faults: everything goes well again.
    pub fn clear_faults(&self) {
        self.environment.shared.faults().clear();
    }

    /// Sets the wall clock forward by so many nanoseconds, or back, without time passing: timers
    /// and the monotonic clock take no notice.
    pub fn jump_clock(&self, nanoseconds: i64) {
        self.environment.clock.jump(nanoseconds);
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

    /// Counts the wasm instructions that guests run, for [`Reply::instructions`] and
    /// [`Host::instructions`]. The numbers are the same in every run and on every machine. Guests
    /// are compiled a second time for it and run slower; off by default.
    #[must_use]
    pub fn count_instructions(mut self, count: bool) -> Self {
        self.observe.instructions = count;
        self
    }

    /// Records every callback with its hostcalls, for [`Reply::trace`] and [`Host::take_trace`].
    /// What a throw-away VM does before the others start isn't recorded. Off by default.
    #[must_use]
    pub fn trace(mut self, record: bool) -> Self {
        self.observe.trace = record.then(Recorder::default);
        self
    }

    /// Lets something go wrong, from the start on.
    #[must_use]
    pub fn fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
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
            observe: self.observe,
        };
        for fault in self.faults {
            environment.shared.faults().add(fault);
        }
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
        };
        for index in 0..host.workers.len() {
            host.run_background(index);
        }
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

impl RequestBuilder<'_> {
    /// Appends a header; `host` and names that start with `:` replace what is there.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        if name.starts_with(':') || name.eq_ignore_ascii_case("host") {
            self.headers.set(name, value);
        } else {
            self.headers.append(name, value);
        }
        self
    }

    /// Sends this body, in one piece.
    #[must_use]
    pub fn body(self, body: impl Into<Bytes>) -> Self {
        self.chunks(vec![body.into()])
    }

    /// Sends a body in these pieces.
    #[must_use]
    pub fn chunks(mut self, chunks: Vec<Bytes>) -> Self {
        self.chunks = chunks;
        self
    }

    /// Appends a trailer.
    #[must_use]
    pub fn trailer(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.trailers.append(name, value);
        self
    }

    /// Chooses the worker (0-based, taken modulo their number) instead of the next in turn.
    #[must_use]
    pub fn worker(mut self, index: usize) -> Self {
        self.worker = Some(index);
        self
    }

    /// Sets `ip:port` of the client; 127.0.0.1:40000 if not called.
    #[must_use]
    pub fn source_address(mut self, address: &str) -> Self {
        address.clone_into(&mut self.source_address);
        self
    }

    /// Sends the request and waits, in virtual time that stands still, until nothing moves.
    pub fn send(self) -> Reply {
        let host = self.host;
        let serving = host.workers.len() - 1;
        let index = self
            .worker
            .unwrap_or_else(|| host.next_worker.replace(host.next_worker.get() + 1));
        let mut worker = host.workers[index % serving].borrow_mut();
        let log_start = host
            .logs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len();
        let exchange = Exchange {
            headers: self.headers,
            chunks: self.chunks,
            trailers: self.trailers,
            source_address: self.source_address,
            chain: (0..host.plugins).collect(),
        };
        let mut script = host.script.borrow_mut();
        let index = index % serving;
        let mut reply = exchange.run(
            &mut worker,
            &mut script,
            &host.environment.clock,
            &|worker, script| host.deliver(index, worker, script),
        );
        host.violations
            .borrow_mut()
            .extend(worker.take_violations());
        let logs = host.logs.lock().unwrap_or_else(PoisonError::into_inner);
        reply.counts_instructions = host.environment.observe.instructions;
        reply.logs = logs.get(log_start..).unwrap_or_default().to_vec();
        reply
    }
}
