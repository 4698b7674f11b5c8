//! One worker: its VMs and the streams that run through them, without any I/O.
//!
//! The caller feeds what arrived (headers, body pieces, trailers, callout answers, time) and takes
//! [`Action`]s: what is to be sent upstream, downstream or to a callout's cluster. The library
//! drives it with scripted upstreams and virtual time, `serve` with sockets and real time.

use std::cell::RefCell;
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

pub use crate::state::{CalloutId, Environment, LogLine, LogSink, StreamId};

use crate::abi::{HOSTCALLS, MapType};
use crate::headers::Headers;
use crate::plugin::{FailurePolicy, Plugin};
use crate::state::{Lane, LaneMode, LaneWay, Message, State, Stream, Way};
use crate::vm::{
    CalloutView, ContextKind, Deferred, StartFailure, Trapped, Vm, guest_id, guest_size,
};

/// What the worker knows about a stream besides its headers: the source of properties.
#[derive(Clone, Debug, Default)]
pub struct StreamInfo {
    /// `ip:port` of the client.
    pub source_address: String,
    /// `ip:port` the client connected to.
    pub destination_address: String,
    /// `HTTP/1.1`, `HTTP/2`.
    pub protocol: String,
    /// Name of the matched route; empty if it has none.
    pub route_name: String,
    /// Name of the route's cluster.
    pub cluster_name: String,
    /// Name of the virtual host.
    pub virtual_host_name: String,
    /// `x-request-id` as the connection manager made it; empty to read the header.
    pub request_id: String,
    /// Number of the connection within the listener.
    pub connection_id: u64,
    /// `ip:port` of the chosen upstream host; set by the caller before `response_headers`.
    pub upstream_address: String,
    /// Endpoints in the route's cluster.
    pub upstream_num_endpoints: u64,
}

/// Something the caller has to carry out. Actions of one stream are in order.
#[derive(Clone, Debug)]
#[expect(
    missing_docs,
    reason = "the fields are the ids and parts that the variant's text names"
)]
pub enum Action {
    /// Request headers left the chain: route and send them.
    RequestHeaders {
        stream: StreamId,
        headers: Headers,
        end_stream: bool,
    },
    /// A piece of the request body left the chain.
    RequestBody {
        stream: StreamId,
        data: Bytes,
        end_stream: bool,
    },
    /// Request trailers left the chain; they end the request.
    RequestTrailers { stream: StreamId, trailers: Headers },
    /// Response headers left the chain: send them to the client.
    ResponseHeaders {
        stream: StreamId,
        headers: Headers,
        end_stream: bool,
    },
    /// A piece of the response body left the chain.
    ResponseBody {
        stream: StreamId,
        data: Bytes,
        end_stream: bool,
    },
    /// Response trailers left the chain; they end the response.
    ResponseTrailers { stream: StreamId, trailers: Headers },
    /// The chain answers by itself: stop the upstream request if there is one. The response
    /// follows as `Response*` actions.
    LocalReply { stream: StreamId },
    /// Close the stream in both directions without an answer, or without the rest of it.
    Reset { stream: StreamId },
    /// Send an HTTP request to a cluster and answer with [`Worker::callout_response`].
    HttpCall {
        callout: CalloutId,
        cluster: String,
        headers: Headers,
        body: Bytes,
        trailers: Headers,
        timeout: Option<Duration>,
    },
}

/// How a callout ended.
#[derive(Clone, Debug)]
pub enum CalloutAnswer {
    /// A complete response; its headers hold `:status`. A refused connection is a 503 and a
    /// time-out a 504 here, as in Envoy.
    #[expect(missing_docs, reason = "the parts of a response")]
    Response {
        headers: Headers,
        body: Bytes,
        trailers: Headers,
    },
    /// The connection broke after headers, or the response was larger than 32 MiB.
    Reset,
}

/// What is known of a stream once it is over.
#[derive(Clone, Debug, Default)]
pub struct Closed {
    /// `%RESPONSE_CODE_DETAILS%`.
    pub details: String,
    /// Filter state written by guests, with the `wasm.` prefix.
    pub filter_state: BTreeMap<String, Vec<u8>>,
    /// Hostcalls made in the stream's callbacks, by name; those not made are left out.
    pub hostcalls: BTreeMap<&'static str, u64>,
    /// What strict mode found.
    pub violations: Vec<String>,
    /// Whether a message was still held by a plugin when the stream ended.
    pub paused: bool,
}

/// A plugin that could not be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartError {
    /// The plugin's name.
    pub plugin: String,
    /// What happened, in one sentence.
    pub cause: String,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "plugin {:?}: {}", self.plugin, self.cause)
    }
}

impl std::error::Error for StartError {}

/// A plugin's place in the worker.
pub(crate) struct Slot {
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) vm: usize,
    pub(crate) root: u32,
}

/// A VM, or where one was.
pub(crate) struct VmSlot {
    key: u64,
    pub(crate) generation: u64,
    loaded_at: Duration,
    pub(crate) vm: Option<Vm>,
}

/// A worker; see the module's text.
pub struct Worker {
    pub(crate) state: Rc<RefCell<State>>,
    pub(crate) vms: Vec<VmSlot>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) pending: VecDeque<(usize, Deferred)>,
    seed: u64,
    last_stream: u64,
}

impl Worker {
    /// Starts a VM for each distinct plugin VM and configures the plugins, in order.
    ///
    /// `index` tells workers apart: 0 is the main thread's, which serves no streams.
    ///
    /// # Errors
    ///
    /// A start function trapped, or a plugin refused its configuration.
    pub fn start(
        env: Environment,
        plugins: &[Arc<Plugin>],
        index: u64,
    ) -> Result<Self, StartError> {
        let seed = env
            .seed
            .wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut worker = Self {
            state: Rc::new(RefCell::new(State::new(env))),
            vms: Vec::new(),
            slots: Vec::new(),
            pending: VecDeque::new(),
            seed,
            last_stream: 0,
        };
        for plugin in plugins {
            worker.add(plugin)?;
        }
        worker.settle();
        Ok(worker)
    }

    /// Runs a plugin's start and configuration in a throw-away VM, as Envoy does before it accepts
    /// a configuration.
    ///
    /// # Errors
    ///
    /// As [`Worker::start`].
    pub fn canary(env: Environment, plugin: &Arc<Plugin>) -> Result<(), StartError> {
        Self::start(env, std::slice::from_ref(plugin), u64::MAX).map(drop)
    }

    /// Tells which clusters callouts may name; any other is refused. Without it all are allowed.
    pub fn set_clusters(&mut self, clusters: Vec<String>) {
        self.state.borrow_mut().clusters = Some(clusters);
    }

    fn add(&mut self, plugin: &Arc<Plugin>) -> Result<(), StartError> {
        let key = vm_key(plugin);
        let vm = match self.vms.iter().position(|slot| slot.key == key) {
            Some(vm) => vm,
            None => {
                let loaded = self
                    .new_vm(plugin)
                    .map_err(|failure| self.refuse(plugin, failure))?;
                let loaded_at = self.state.borrow().env.clock.elapsed();
                self.vms.push(VmSlot {
                    key,
                    generation: 0,
                    loaded_at,
                    vm: Some(loaded),
                });
                self.vms.len() - 1
            }
        };
        let same = |slot: &&Slot| {
            slot.vm == vm
                && slot.plugin.name == plugin.name
                && slot.plugin.root_id == plugin.root_id
                && slot.plugin.configuration == plugin.configuration
        };
        let root = match self.slots.iter().find(same) {
            Some(twin) => twin.root,
            None => self
                .add_root(vm, plugin)
                .map_err(|failure| self.refuse(plugin, failure))?,
        };
        self.slots.push(Slot {
            plugin: plugin.clone(),
            vm,
            root,
        });
        Ok(())
    }

    fn new_vm(&mut self, plugin: &Plugin) -> Result<Vm, StartFailure> {
        self.seed = self.seed.wrapping_add(0x2545_f491_4f6c_dd1d);
        Vm::new(plugin, self.state.clone(), self.seed)
    }

    fn add_root(&mut self, vm: usize, plugin: &Arc<Plugin>) -> Result<u32, StartFailure> {
        let slot = &mut self.vms[vm];
        self.state.borrow_mut().calling = (vm, slot.generation);
        match &mut slot.vm {
            Some(vm) => vm.add_root(plugin),
            None => Err(StartFailure::Start("the VM is gone".into())),
        }
    }

    /// Logs why a plugin did not start, and says it in a sentence.
    fn refuse(&self, plugin: &Plugin, failure: StartFailure) -> StartError {
        let cause = match failure {
            StartFailure::Start(cause) => {
                self.state
                    .borrow()
                    .log(log::Level::Error, &plugin.name, cause.clone());
                cause.lines().next().unwrap_or_default().to_owned()
            }
            StartFailure::VmStart => "proxy_on_vm_start returned false".to_owned(),
            StartFailure::Configure => "refused its configuration".to_owned(),
        };
        StartError {
            plugin: plugin.name.clone(),
            cause,
        }
    }

    /// Opens a stream through the plugins at these positions of the list given to
    /// [`Worker::start`].
    pub fn open(&mut self, chain: &[usize], info: StreamInfo) -> StreamId {
        self.last_stream += 1;
        let id = StreamId(self.last_stream);
        let (started, started_wall) = {
            let state = self.state.borrow();
            (state.env.clock.elapsed(), state.env.clock.wall_nanos())
        };
        let stream = Stream {
            info,
            request: Message::default(),
            response: Message::default(),
            lanes: Vec::with_capacity(chain.len()),
            answered: false,
            response_sent: false,
            reset: false,
            details: String::new(),
            filter_state: BTreeMap::new(),
            started_wall,
            started,
            calls: [0; HOSTCALLS.len()],
            violations: Vec::new(),
        };
        self.state.borrow_mut().streams.insert(id, stream);
        for &plugin in chain {
            self.open_lane(id, plugin);
        }
        self.settle();
        id
    }

    /// Makes a plugin's context for a stream; a failed VM is treated by its policy.
    fn open_lane(&mut self, stream: StreamId, plugin: usize) {
        let Some(slot) = self.slots.get(plugin) else {
            return;
        };
        let (vm, policy) = (slot.vm, slot.plugin.failure_policy);
        if self.vms[vm].vm.is_none() {
            self.reload(vm, policy);
        }
        let mode = match (&self.vms[vm].vm, policy) {
            (Some(_), _) => LaneMode::Running,
            (None, FailurePolicy::FailOpen) => LaneMode::Bypassed,
            (None, _) => LaneMode::Failed,
        };
        let mut lane = Lane {
            plugin,
            vm,
            generation: self.vms[vm].generation,
            root: self.slots[plugin].root,
            context: 0,
            mode,
            request: LaneWay::default(),
            response: LaneWay::default(),
            visible: 0,
            read_only: false,
            ending: false,
            replied: false,
        };
        let mut state = self.state.borrow_mut();
        let Some(open) = state.streams.get_mut(&stream) else {
            return;
        };
        let position = open.lanes.len();
        let (context, root) = match &mut self.vms[vm].vm {
            Some(vm) => {
                let kind = ContextKind::Stream {
                    stream,
                    lane: position,
                };
                (vm.new_context(kind), lane.root)
            }
            None => (0, 0),
        };
        lane.context = context;
        open.lanes.push(lane);
        drop(state);
        if context == 0 {
            return;
        }
        let created = self.call(vm, |worker, callbacks| {
            let create = callbacks.context_create.as_ref()?;
            let params = (guest_id(context), guest_id(root));
            Some(worker.call(context, "proxy_on_context_create", create, params))
        });
        if let Some(Err(trap)) = created {
            self.trapped(vm, plugin, &trap);
            if let Some(open) = self.state.borrow_mut().streams.get_mut(&stream) {
                open.lanes[position].mode = LaneMode::Failed;
            }
        }
    }

    /// Makes a failed VM anew if its policy and back-off allow.
    fn reload(&mut self, vm: usize, policy: FailurePolicy) {
        let FailurePolicy::FailReload { backoff } = policy else {
            return;
        };
        let now = self.state.borrow().env.clock.elapsed();
        if now.saturating_sub(self.vms[vm].loaded_at) < backoff {
            return;
        }
        self.vms[vm].loaded_at = now;
        let members: Vec<usize> = (0..self.slots.len())
            .filter(|&slot| self.slots[slot].vm == vm)
            .collect();
        let Some(&first) = members.first() else {
            return;
        };
        let plugin = self.slots[first].plugin.clone();
        match self.new_vm(&plugin) {
            Ok(new) => self.vms[vm].vm = Some(new),
            Err(failure) => {
                self.refuse(&plugin, failure);
                return;
            }
        }
        let mut roots: Vec<(Arc<Plugin>, u32)> = Vec::new();
        for slot in members {
            let plugin = self.slots[slot].plugin.clone();
            let twin = roots.iter().find(|(known, _)| {
                known.name == plugin.name
                    && known.root_id == plugin.root_id
                    && known.configuration == plugin.configuration
            });
            let root = match twin {
                Some((_, root)) => *root,
                None => match self.add_root(vm, &plugin) {
                    Ok(root) => root,
                    Err(failure) => {
                        self.refuse(&plugin, failure);
                        self.vms[vm].vm = None;
                        return;
                    }
                },
            };
            roots.push((plugin, root));
            self.slots[slot].root = root;
        }
    }

    /// Calls into a VM if it is there and exports the callback.
    pub(crate) fn call<R>(
        &mut self,
        vm: usize,
        f: impl FnOnce(&mut Vm, &crate::vm::Callbacks) -> Option<Result<R, Trapped>>,
    ) -> Option<Result<R, Trapped>> {
        let slot = self.vms.get_mut(vm)?;
        self.state.borrow_mut().calling = (vm, slot.generation);
        let instance = slot.vm.as_mut()?;
        let callbacks = instance.callbacks.clone();
        f(instance, &callbacks)
    }

    /// Buries a VM that trapped. Its generation ends, so that contexts of it are known as lost.
    pub(crate) fn trapped(&mut self, vm: usize, plugin: usize, trap: &Trapped) {
        let name = self
            .slots
            .get(plugin)
            .map_or("", |slot| slot.plugin.name.as_str());
        self.state
            .borrow()
            .log(log::Level::Error, name, trap.0.clone());
        if let Some(slot) = self.vms.get_mut(vm) {
            slot.vm = None;
            slot.generation += 1;
        }
        self.pending.retain(|(owner, _)| *owner != vm);
    }

    /// Changes the stream's properties as routing goes on.
    pub fn update_info(&mut self, stream: StreamId, change: impl FnOnce(&mut StreamInfo)) {
        if let Some(stream) = self.state.borrow_mut().streams.get_mut(&stream) {
            change(&mut stream.info);
        }
    }

    /// The stream is over, answered or not: `on_log`, `on_done`, `on_delete` run.
    pub fn close(&mut self, stream: StreamId) -> Closed {
        let lanes = self.lanes(stream);
        let paused = self
            .state
            .borrow_mut()
            .streams
            .get_mut(&stream)
            .is_some_and(|stream| {
                let held = stream.lanes.iter().any(|lane| {
                    lane.mode == LaneMode::Running
                        && !stream.answered
                        && (lane.request.gate != crate::state::Gate::Open
                            || lane.response.gate != crate::state::Gate::Open)
                });
                for lane in &mut stream.lanes {
                    lane.ending = true;
                    lane.read_only = true;
                    lane.visible = 0;
                    if stream.request.started {
                        lane.show(MapType::RequestHeaders);
                    }
                    if stream.response.started {
                        lane.show(MapType::ResponseHeaders);
                        lane.show(MapType::ResponseTrailers);
                    }
                }
                held
            });
        for lane in 0..lanes {
            self.end(stream, lane, "proxy_on_log");
        }
        if let Some(stream) = self.state.borrow_mut().streams.get_mut(&stream) {
            for lane in &mut stream.lanes {
                lane.visible = 0;
            }
        }
        for lane in 0..lanes {
            self.end(stream, lane, "proxy_on_done");
            self.end(stream, lane, "proxy_on_delete");
        }
        self.settle();
        let Some(over) = self.state.borrow_mut().streams.remove(&stream) else {
            return Closed::default();
        };
        for lane in &over.lanes {
            if let Some(slot) = self.vms.get_mut(lane.vm)
                && slot.generation == lane.generation
                && let Some(vm) = &mut slot.vm
            {
                vm.data_mut().contexts.remove(&lane.context);
            }
        }
        Closed {
            details: over.details,
            filter_state: over.filter_state,
            hostcalls: named(&over.calls),
            violations: over.violations,
            paused,
        }
    }

    /// One of the three last callbacks of a lane.
    fn end(&mut self, stream: StreamId, lane: usize, name: &'static str) {
        let Some((vm, context, plugin)) = self.running(stream, lane) else {
            return;
        };
        let ended = self.call(vm, |vm, callbacks| {
            let id = guest_id(context);
            match name {
                "proxy_on_log" => Some(vm.call(context, name, callbacks.log.as_ref()?, id)),
                "proxy_on_done" => {
                    let done = callbacks.done.as_ref()?;
                    Some(vm.call(context, name, done, id).map(|_| ()))
                }
                _ => Some(vm.call(context, name, callbacks.delete.as_ref()?, id)),
            }
        });
        match ended {
            Some(Err(trap)) => self.trapped(vm, plugin, &trap),
            _ => self.collect(vm),
        }
    }

    /// VM, context and plugin of a lane whose VM still runs.
    fn running(&self, stream: StreamId, lane: usize) -> Option<(usize, u32, usize)> {
        let state = self.state.borrow();
        let lane = state.streams.get(&stream)?.lanes.get(lane)?;
        let slot = self.vms.get(lane.vm)?;
        let alive = lane.context != 0 && slot.generation == lane.generation && slot.vm.is_some();
        alive.then_some((lane.vm, lane.context, lane.plugin))
    }

    pub(crate) fn lanes(&self, stream: StreamId) -> usize {
        self.state
            .borrow()
            .streams
            .get(&stream)
            .map_or(0, |stream| stream.lanes.len())
    }

    /// Answers a callout; ignored if its VM is gone.
    pub fn callout_response(&mut self, callout: CalloutId, answer: CalloutAnswer) {
        let Some(pending) = self.state.borrow_mut().callouts.remove(&callout) else {
            return;
        };
        if self
            .vms
            .get(pending.vm)
            .is_none_or(|slot| slot.generation != pending.generation)
        {
            return;
        }
        let (view, status) = match answer {
            CalloutAnswer::Response {
                headers,
                body,
                trailers,
            } => (
                CalloutView {
                    headers,
                    body: body.to_vec(),
                    trailers,
                },
                (0, String::new()),
            ),
            CalloutAnswer::Reset => (CalloutView::default(), (11, "reset".to_owned())),
        };
        let sizes = (
            guest_size(view.headers.len()),
            guest_size(view.body.len()),
            guest_size(view.trailers.len()),
        );
        let outcome = self.call(pending.vm, |vm, callbacks| {
            let response = callbacks.http_call_response.as_ref()?;
            let state = vm.data_mut();
            state.callout = Some(view);
            if status.0 != 0 {
                // The code sticks after a failure; Envoy only clears the message.
                state.call_status = status;
            }
            let token = pending.token.cast_signed();
            let params = (guest_id(pending.root), token, sizes.0, sizes.1, sizes.2);
            let outcome = vm.call(
                pending.root,
                "proxy_on_http_call_response",
                response,
                params,
            );
            vm.data_mut().callout = None;
            vm.data_mut().call_status.1.clear();
            Some(outcome)
        });
        self.after_root(pending.vm, pending.root, outcome);
    }

    /// When the next tick is due, on the environment's clock.
    pub fn next_timer(&self) -> Option<Duration> {
        self.vms
            .iter()
            .filter_map(|slot| slot.vm.as_ref())
            .flat_map(|vm| vm.data().roots.values())
            .filter_map(|root| root.next_tick)
            .min()
    }

    /// Runs the ticks that are due, each at most once.
    pub fn run_timers(&mut self) {
        let now = self.state.borrow().env.clock.elapsed();
        for vm in 0..self.vms.len() {
            let mut due: Vec<u32> = match &self.vms[vm].vm {
                Some(vm) => {
                    let roots = vm.data().roots.iter();
                    roots
                        .filter(|(_, root)| root.next_tick.is_some_and(|tick| tick <= now))
                        .map(|(&id, _)| id)
                        .collect()
                }
                None => continue,
            };
            due.sort_unstable();
            for root in due {
                self.tick(vm, root);
            }
        }
        self.settle();
    }

    fn tick(&mut self, vm: usize, root: u32) {
        let outcome = self.call(vm, |vm, callbacks| {
            // The period is armed again once the tick has run.
            if let Some(state) = vm.data_mut().roots.get_mut(&root) {
                state.next_tick = None;
            }
            let tick = callbacks.tick.as_ref()?;
            Some(vm.call(root, "proxy_on_tick", tick, guest_id(root)))
        });
        let now = self.state.borrow().env.clock.elapsed();
        if let Some(vm) = self.vms.get_mut(vm).and_then(|slot| slot.vm.as_mut())
            && let Some(state) = vm.data_mut().roots.get_mut(&root)
            && state.next_tick.is_none()
        {
            state.next_tick = state.tick_period.map(|period| now + period);
        }
        self.after_root(vm, root, outcome);
    }

    /// What follows a callback of a root context.
    fn after_root(&mut self, vm: usize, root: u32, outcome: Option<Result<(), Trapped>>) {
        if let Some(Err(trap)) = outcome {
            let owner = |slot: &Slot| slot.vm == vm && slot.root == root;
            let plugin = self.slots.iter().position(owner).unwrap_or(usize::MAX);
            self.trapped(vm, plugin, &trap);
        }
        self.collect(vm);
        self.settle();
    }

    /// Moves what a guest asked for into the worker's queue.
    fn collect(&mut self, vm: usize) {
        if let Some(instance) = self.vms.get_mut(vm).and_then(|slot| slot.vm.as_mut()) {
            let deferred = std::mem::take(&mut instance.data_mut().deferred);
            self.pending
                .extend(deferred.into_iter().map(|deferred| (vm, deferred)));
        }
    }

    /// What is to be carried out, in order; empties the queue.
    pub fn take_actions(&mut self) -> VecDeque<Action> {
        std::mem::take(&mut self.state.borrow_mut().actions)
    }

    /// What strict mode found outside streams (in ticks, callouts and configuration); empties the
    /// list.
    pub fn take_violations(&mut self) -> Vec<String> {
        std::mem::take(&mut self.state.borrow_mut().violations)
    }

    /// Whether a direction of the stream is held by a plugin, so that the caller should stop
    /// reading from its source.
    pub fn is_held(&self, stream: StreamId, response: bool) -> bool {
        let way = if response {
            Way::Response
        } else {
            Way::Request
        };
        let mut state = self.state.borrow_mut();
        state.streams.get_mut(&stream).is_some_and(|stream| {
            stream.message(way).held.is_some()
                || stream
                    .lanes
                    .iter_mut()
                    .any(|lane| lane.way(way).gate != crate::state::Gate::Open)
        })
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("plugins", &self.slots.len())
            .finish_non_exhaustive()
    }
}

/// The calls that were made, by name.
fn named(counts: &[u32]) -> BTreeMap<&'static str, u64> {
    HOSTCALLS
        .iter()
        .zip(counts)
        .filter(|(_, count)| **count > 0)
        .map(|((name, _), count)| (*name, u64::from(*count)))
        .collect()
}

/// Plugins with equal keys share a VM.
fn vm_key(plugin: &Plugin) -> u64 {
    let mut hasher = DefaultHasher::new();
    plugin.vm_id.hash(&mut hasher);
    plugin.vm_configuration.hash(&mut hasher);
    plugin.module.digest().hash(&mut hasher);
    plugin.environment.hash(&mut hasher);
    hasher.finish()
}
