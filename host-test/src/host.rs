//! The library: plugins, scripted upstreams and virtual time in one value.
//!
//! ```
//! use std::time::Duration;
//! use host_test::host::Host;
//! use host_test::plugin::Plugin;
//!
//! # let folder = std::env::temp_dir().join(format!("host-test-doc-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! # let path = folder.join("one_a_minute.wasm");
//! # std::fs::write(&path, wat::parse_str(include_str!("../tests/guests/one-a-minute.wat"))?)?;
//! # let one_a_minute = &path;
//! let host = Host::builder().plugin(Plugin::from_file(one_a_minute)?).build()?;
//! assert_eq!(host.get("/").header("x-user", "ana").send().status(), Some(200));
//!
//! let denied = host.get("/").header("x-user", "ana").send();
//! assert_eq!(denied.status(), Some(429));
//! assert_eq!(denied.details(), "too_many");
//! assert!(denied.upstream_request().is_none());
//! assert_eq!(denied.hostcalls()["proxy_send_local_response"], 1);
//! assert!(denied.violations().is_empty());
//!
//! host.advance(Duration::from_secs(60));
//! assert_eq!(host.get("/").send().status(), Some(200));
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use crate::clock::Clock;
use crate::clusters::Clusters;
use crate::exchange::{Run, Script};
use crate::fault::Fault;
use crate::headers::Headers;
use crate::logbook::LogBook;
use crate::plugin::Plugin;
use crate::rechunk::Shape;
use crate::shared::{GrowthLimit, Shared};
use crate::trace::{Recorder, Thread, Trace};
use crate::worker::{Action, Environment, LogLine, Observe, Worker};

pub use crate::callout::{Callout, CalloutOver};
pub use crate::exchange::{Answer, Received};
pub use crate::flight::{Flight, RequestBuilder};
pub use crate::worker::StartError;

/// What a request's header map has room for from the start.
const USUAL_HEADERS: usize = 16;
const USUAL_BYTES: usize = 512;

/// A chain of plugins with its workers, shared state, virtual clock and scripted surroundings.
pub struct Host {
    /// The main thread's VMs come last: they serve no requests.
    pub(crate) workers: Rc<[RefCell<Worker>]>,
    pub(crate) script: RefCell<Script>,
    pub(crate) environment: Environment,
    pub(crate) logs: Arc<LogBook>,
    pub(crate) violations: RefCell<Vec<String>>,
    /// The positions of all plugins: every request passes all of them.
    pub(crate) chain: Vec<usize>,
    pub(crate) next_worker: Cell<usize>,
    /// Requests under way, in the order in which they were sent.
    #[expect(
        clippy::vec_box,
        reason = "a run is a kilobyte, which would be copied on its way in and out"
    )]
    pub(crate) runs: RefCell<Vec<Box<Run>>>,
    /// Empty, but with the room that one round of actions took: kept from one round to the next.
    pub(crate) actions: RefCell<VecDeque<Action>>,
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
    observe: Observe,
    faults: Vec<Fault>,
    shared_data_limit: GrowthLimit,
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
            observe: Observe::default(),
            faults: Vec::new(),
            shared_data_limit: GrowthLimit::default(),
            log_level: log::LevelFilter::Info,
            clusters: Clusters::default(),
        }
    }

    /// A request with that method and path, to `localhost`.
    pub fn request(&self, method: &str, path: &str) -> RequestBuilder<'_> {
        let mut headers = Headers::with_capacity(USUAL_HEADERS, USUAL_BYTES);
        headers.append(":authority", "localhost");
        headers.append(":path", path);
        headers.append(":method", method);
        headers.append(":scheme", "http");
        RequestBuilder::new(self, headers)
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
        self.logs.take()
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
        for worker in self.workers.iter() {
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

    /// Runs `on_tick` now, on one thread or on all, for every plugin that has set a period; the
    /// next tick is a period away then. Returns how many ran.
    pub fn tick(&self, thread: Option<Thread>) -> usize {
        let mut ran = 0;
        let main = self.workers.len() - 1;
        for (index, worker) in self.workers.iter().enumerate() {
            let here = match u64::try_from(index) {
                Ok(number) if index < main => Thread::Worker(number),
                _ => Thread::Main,
            };
            if thread.is_none_or(|thread| thread == here) {
                ran += worker.borrow_mut().tick_now();
                self.settle();
            }
        }
        ran
    }

    /// Keys and values of the shared data of one `vm_id`, as bytes.
    pub fn shared_entries(&self, vm_id: &str) -> BTreeMap<Vec<u8>, Vec<u8>> {
        self.environment.shared.data().entries(vm_id)
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
            .field("plugins", &self.chain.len())
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

    /// How bodies of upstreams end; HTTP/1's way if not called.
    #[must_use]
    pub fn response_shape(mut self, shape: Shape) -> Self {
        self.script.response_shape = shape;
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

    /// Has what is recorded tell real times, log lines, metrics and messages, for the inspector.
    #[must_use]
    pub(crate) fn detail(mut self, tell: bool) -> Self {
        self.observe.detail = tell;
        self
    }

    /// How far shared data may grow before strict mode reports it.
    #[must_use]
    pub fn shared_data_limit(mut self, limit: GrowthLimit) -> Self {
        self.shared_data_limit = limit;
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
        let logs = Arc::new(LogBook::default());
        let sink = logs.clone();
        let environment = Environment {
            shared: Arc::new(Shared::default()),
            clock: Clock::virtual_clock(),
            log: Arc::new(move |line| sink.write(line)),
            log_level: self.log_level,
            seed: self.seed,
            observe: self.observe,
        };
        environment.shared.data().set_limit(self.shared_data_limit);
        for fault in self.faults {
            environment.shared.faults().add(fault);
        }
        *environment.shared.clusters() = self.clusters;
        let plugins: Vec<Arc<Plugin>> = self.plugins.into_iter().map(Arc::new).collect();
        let failed = |error| BuildError {
            error,
            logs: logs.take(),
        };
        Worker::try_out(&environment, &plugins).map_err(failed)?;
        let mut workers = Vec::new();
        // Envoy's main thread starts its VMs before the workers do theirs.
        for index in 0..=self.workers as u64 {
            let worker = Worker::start(environment.clone(), &plugins, index).map_err(failed)?;
            workers.push(RefCell::new(worker));
        }
        workers.rotate_left(1);
        let host = Host {
            workers: workers.into(),
            script: RefCell::new(self.script),
            environment,
            logs,
            violations: RefCell::default(),
            chain: (0..plugins.len()).collect(),
            next_worker: Cell::new(0),
            runs: RefCell::default(),
            actions: RefCell::default(),
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
