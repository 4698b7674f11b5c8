//! One instance of a module with the state its hostcalls work on.

mod watch;

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::{Instance, Memory, Store, Trap, TypedFunc, WasmBacktrace, WasmParams, WasmResults};

use self::watch::Numbers;
use crate::abi::AbiVersion;
use crate::headers::Headers;
use crate::ids::IdMap;
use crate::metrics::MetricIds;
use crate::module::EPOCH;
use crate::plugin::Plugin;
use crate::quota::Quota;
use crate::state::{State, StreamId};

/// A context id's meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContextKind {
    Root,
    Stream { stream: StreamId, lane: usize },
}

/// A plugin within a VM.
#[derive(Debug)]
pub(crate) struct Root {
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) tick_period: Option<Duration>,
    pub(crate) next_tick: Option<Duration>,
    /// Properties it has declared, and whether they can be set only once.
    pub(crate) declared: HashMap<String, bool>,
}

/// What a hostcall asked for that may only happen after the guest has returned.
#[derive(Debug)]
pub(crate) enum Deferred {
    Continue { context: u32, response: bool },
    Close { context: u32 },
    Reply { context: u32, reply: LocalReply },
}

/// A local reply as a guest asked for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct LocalReply {
    pub(crate) status: u32,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
    pub(crate) details: String,
    pub(crate) grpc_status: Option<i32>,
}

/// The answer of a callout while its callback runs.
#[derive(Debug, Default)]
pub(crate) struct CalloutView {
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Headers,
}

/// What of a gRPC callout's answer can be read while one of its callbacks runs.
#[derive(Debug, Default)]
pub(crate) struct GrpcView {
    pub(crate) initial: Option<Headers>,
    pub(crate) message: Option<Vec<u8>>,
    pub(crate) trailing: Option<Headers>,
}

/// What hostcalls of one VM work on.
pub(crate) struct VmState {
    pub(crate) worker: Rc<RefCell<State>>,
    pub(crate) vm_id: String,
    pub(crate) vm_configuration: Vec<u8>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) memory: Option<Memory>,
    /// Behind `Rc`: a copy of a typed function counts references across threads.
    pub(crate) allocate: Option<Rc<TypedFunc<i32, i32>>>,
    pub(crate) roots: IdMap<u32, Root>,
    pub(crate) contexts: IdMap<u32, ContextKind>,
    pub(crate) last_context: u32,
    /// The context that calls work on: the effective one if the guest has set one, else the one
    /// whose callback runs; 0 outside callbacks.
    acting: u32,
    /// What the acting context is, if it is known: looked up once for a callback, not for each call.
    acting_kind: Option<ContextKind>,
    /// The context whose callback runs.
    running: u32,
    /// Only logging and WASI may be called while the start functions run.
    pub(crate) starting: bool,
    /// Only logging, the clock and polling may be called while the allocator runs.
    pub(crate) allocating: bool,
    /// Whether `proxy_on_configure` (or vm_start) runs, so that its buffer can be read.
    pub(crate) configuring: bool,
    pub(crate) metric_ids: MetricIds,
    /// The last tokens of HTTP callouts, gRPC calls and gRPC streams. Two bits tell them apart.
    pub(crate) last_http_call: u32,
    pub(crate) last_grpc_call: u32,
    pub(crate) last_grpc_stream: u32,
    pub(crate) callout: Option<CalloutView>,
    pub(crate) grpc: GrpcView,
    pub(crate) call_status: (u32, String),
    pub(crate) deferred: Vec<Deferred>,
    /// Set by a resume or a reply: Envoy stops the iteration of whatever stream is in a callback.
    pub(crate) stop_iteration: bool,
    /// State of the generator behind `random_get`.
    pub(crate) random: u64,
    /// Whether the engine counts instructions.
    counting: bool,
    /// A trap that the callback did not end with: the allocator's.
    pub(crate) failed: bool,
    /// What is left of its limits.
    pub(crate) quota: Quota,
}

impl VmState {
    /// The context that calls work on.
    pub(crate) fn context(&self) -> u32 {
        self.acting
    }

    /// The stream and lane of the context that calls work on.
    #[inline]
    pub(crate) fn stream(&self) -> Option<(StreamId, usize)> {
        match self.acting_kind? {
            ContextKind::Stream { stream, lane } => Some((stream, lane)),
            ContextKind::Root => None,
        }
    }

    /// Lets calls work on another context until the callback ends; on the running one for 0, which
    /// is nobody's id. Tells whether there is such a context.
    pub(crate) fn set_effective(&mut self, context: u32) -> bool {
        let context = if context == 0 { self.running } else { context };
        let kind = self.contexts.get(&context).copied();
        let known = kind.is_some() || context == self.running;
        if known {
            (self.acting, self.acting_kind) = (context, kind);
        }
        known
    }

    /// A callback of a context begins; 0 for a start function, and at the end of each.
    fn run(&mut self, context: u32) {
        self.running = context;
        self.acting = context;
        self.acting_kind = if context == 0 {
            None
        } else {
            self.contexts.get(&context).copied()
        };
    }

    /// The root of the context that calls work on.
    pub(crate) fn root_context(&self) -> Option<u32> {
        let context = self.context();
        if self.roots.contains_key(&context) {
            return Some(context);
        }
        let (stream, lane) = self.stream()?;
        let worker = self.worker.borrow();
        Some(worker.streams.get(&stream)?.lanes.get(lane)?.root)
    }

    /// The plugin of the context that calls work on.
    pub(crate) fn plugin(&self) -> Option<Arc<Plugin>> {
        let root = self.root_context()?;
        self.roots.get(&root).map(|root| root.plugin.clone())
    }
}

/// Why a callback did not come back.
#[derive(Debug)]
pub(crate) struct Trapped(pub(crate) String);

/// Why a VM did not start.
#[derive(Clone, Debug)]
pub(crate) enum StartFailure {
    /// A start function trapped or called what it may not.
    Start(String),
    /// `proxy_on_vm_start` returned false.
    VmStart,
    /// `proxy_on_configure` returned false.
    Configure,
}

/// A headers callback, which at ABI 0.1.0 isn't told whether the stream ends.
pub(crate) enum OnHeaders {
    /// Context and number of headers.
    Short(TypedFunc<(i32, i32), i32>),
    /// Context, number of headers, end of stream.
    Full(TypedFunc<(i32, i32, i32), i32>),
}

/// Context, token, and the numbers of headers, body bytes and trailers.
type OnCallResponse = TypedFunc<(i32, i32, i32, i32, i32), ()>;

/// The callbacks that a module exports.
pub(crate) struct Callbacks {
    pub(crate) context_create: Option<TypedFunc<(i32, i32), ()>>,
    pub(crate) vm_start: Option<TypedFunc<(i32, i32), i32>>,
    pub(crate) configure: Option<TypedFunc<(i32, i32), i32>>,
    pub(crate) tick: Option<TypedFunc<i32, ()>>,
    pub(crate) request_headers: Option<OnHeaders>,
    pub(crate) request_body: Option<TypedFunc<(i32, i32, i32), i32>>,
    pub(crate) request_trailers: Option<TypedFunc<(i32, i32), i32>>,
    pub(crate) response_headers: Option<OnHeaders>,
    pub(crate) response_body: Option<TypedFunc<(i32, i32, i32), i32>>,
    pub(crate) response_trailers: Option<TypedFunc<(i32, i32), i32>>,
    pub(crate) http_call_response: Option<OnCallResponse>,
    pub(crate) grpc_initial_metadata: Option<TypedFunc<(i32, i32, i32), ()>>,
    pub(crate) grpc_receive: Option<TypedFunc<(i32, i32, i32), ()>>,
    pub(crate) grpc_trailing_metadata: Option<TypedFunc<(i32, i32, i32), ()>>,
    pub(crate) grpc_close: Option<TypedFunc<(i32, i32, i32), ()>>,
    pub(crate) queue_ready: Option<TypedFunc<(i32, i32), ()>>,
    pub(crate) log: Option<TypedFunc<i32, ()>>,
    pub(crate) done: Option<TypedFunc<i32, i32>>,
    pub(crate) delete: Option<TypedFunc<i32, ()>>,
}

/// A running instance.
pub(crate) struct Vm {
    store: Store<VmState>,
    pub(crate) callbacks: Rc<Callbacks>,
}

impl Vm {
    /// Instantiates the module and runs its start functions.
    pub(crate) fn new(
        plugin: &Plugin,
        worker: Rc<RefCell<State>>,
        seed: u64,
    ) -> Result<Self, StartFailure> {
        let counting = worker.borrow().env.observe.instructions;
        let state = VmState {
            worker,
            counting,
            vm_id: plugin.vm_id.clone(),
            vm_configuration: plugin.vm_configuration.clone(),
            environment: plugin.environment.clone(),
            memory: None,
            allocate: None,
            roots: IdMap::default(),
            contexts: IdMap::default(),
            last_context: 0,
            acting: 0,
            acting_kind: None,
            running: 0,
            starting: false,
            allocating: false,
            configuring: false,
            metric_ids: MetricIds::default(),
            last_http_call: 0,
            last_grpc_call: 1,
            last_grpc_stream: 2,
            callout: None,
            grpc: GrpcView::default(),
            call_status: (0, String::new()),
            deferred: Vec::new(),
            stop_iteration: false,
            random: seed,
            failed: false,
            quota: Quota::new(&plugin.limits),
        };
        let (limit, counting) = (state.quota.callback, state.counting);
        let code = plugin.module.code(counting).map_err(StartFailure::Start)?;
        let mut store = Store::new(code.engine(), state);
        store.limiter(|state| &mut state.quota);
        arm(&mut store);
        let failed = |e: &wasmtime::Error| {
            let cause = format!("Failed to create new Wasm instance: {}", cause(e, limit));
            StartFailure::Start(cause)
        };
        let allowed = &plugin.allowed_capabilities;
        let (instance, memory) = code
            .instantiate(&mut store, allowed)
            .map_err(|e| failed(&e))?;
        let allocate = ["malloc", "proxy_on_memory_allocate"]
            .into_iter()
            .find_map(|name| instance.get_typed_func(&mut store, name).ok());
        store.data_mut().memory = memory;
        store.data_mut().allocate = allocate.map(Rc::new);
        let callbacks =
            Callbacks::find(&instance, &mut store, allowed).map_err(StartFailure::Start)?;
        let mut vm = Self {
            store,
            callbacks: Rc::new(callbacks),
        };
        vm.data_mut().starting = true;
        vm.run_start_functions(&instance)?;
        vm.data_mut().starting = false;
        Ok(vm)
    }

    /// `_initialize` and then `main`, or `_start`: what a module of either style expects.
    fn run_start_functions(&mut self, instance: &Instance) -> Result<(), StartFailure> {
        let named =
            |vm: &mut Self, name: &str| instance.get_typed_func::<(), ()>(&mut vm.store, name).ok();
        if let Some(initialize) = named(self, "_initialize") {
            self.start("_initialize", &initialize, ())?;
            if let Ok(main) = instance.get_typed_func::<(i32, i32), i32>(&mut self.store, "main") {
                self.start("main", &main, (0, 0))?;
            } else if let Ok(main) =
                instance.get_typed_func::<(), i32>(&mut self.store, "__main_void")
            {
                self.start("__main_void", &main, ())?;
            }
        } else if let Some(start) = named(self, "_start") {
            self.start("_start", &start, ())?;
        }
        Ok(())
    }

    fn start<P: WasmParams + Numbers, R: WasmResults + Numbers>(
        &mut self,
        name: &'static str,
        function: &TypedFunc<P, R>,
        params: P,
    ) -> Result<(), StartFailure> {
        match self.call(0, name, function, params) {
            Ok(_) => Ok(()),
            Err(Trapped(cause)) => Err(StartFailure::Start(cause)),
        }
    }

    /// Makes the root context of a plugin and configures it.
    pub(crate) fn add_root(&mut self, plugin: &Arc<Plugin>) -> Result<u32, StartFailure> {
        let context = self.new_context(ContextKind::Root);
        let root = Root {
            plugin: plugin.clone(),
            tick_period: None,
            next_tick: None,
            declared: HashMap::new(),
        };
        self.data_mut().roots.insert(context, root);
        let trapped = |Trapped(cause)| StartFailure::Start(cause);
        let callbacks = self.callbacks.clone();
        let id = guest_id(context);
        if let Some(create) = &callbacks.context_create {
            self.call(context, "proxy_on_context_create", create, (id, 0))
                .map_err(trapped)?;
        }
        self.configure(context, plugin, &callbacks)?;
        Ok(context)
    }

    fn configure(
        &mut self,
        context: u32,
        plugin: &Plugin,
        callbacks: &Callbacks,
    ) -> Result<(), StartFailure> {
        let trapped = |Trapped(cause)| StartFailure::Start(cause);
        let id = guest_id(context);
        if let Some(start) = &callbacks.vm_start {
            let size = guest_size(plugin.vm_configuration.len());
            if self
                .call(context, "proxy_on_vm_start", start, (id, size))
                .map_err(trapped)?
                == 0
            {
                return Err(StartFailure::VmStart);
            }
        }
        if let Some(configure) = &callbacks.configure {
            let size = guest_size(plugin.configuration.len());
            self.data_mut().configuring = true;
            let outcome = self.call(context, "proxy_on_configure", configure, (id, size));
            self.data_mut().configuring = false;
            if outcome.map_err(trapped)? == 0 {
                return Err(StartFailure::Configure);
            }
        }
        Ok(())
    }

    /// Gives out the next context id.
    pub(crate) fn new_context(&mut self, kind: ContextKind) -> u32 {
        let state = self.data_mut();
        state.last_context += 1;
        let id = state.last_context;
        state.contexts.insert(id, kind);
        id
    }

    /// Calls into the guest as `context`.
    pub(crate) fn call<P: WasmParams + Numbers, R: WasmResults + Numbers>(
        &mut self,
        context: u32,
        name: &'static str,
        function: &TypedFunc<P, R>,
        params: P,
    ) -> Result<R, Trapped> {
        let watching = {
            let worker = self.store.data().worker.borrow();
            worker.env.observe.trace.is_some() || worker.env.shared.faults().armed()
        };
        let result = if watching {
            watch::call(self, context, name, params, |vm| {
                vm.enter(context, name, function, params)
            })
        } else {
            self.enter(context, name, function, params).0
        };
        self.store.data_mut().run(0);
        result
    }

    /// Calls into the guest, and tells what it cost if that is counted. The context stays, so that
    /// it is known for which stream the guest worked in the end.
    fn enter<P: WasmParams, R: WasmResults>(
        &mut self,
        context: u32,
        name: &'static str,
        function: &TypedFunc<P, R>,
        params: P,
    ) -> (Result<R, Trapped>, Option<u64>) {
        let state = self.store.data_mut();
        state.run(context);
        state.stop_iteration = false;
        arm(&mut self.store);
        let result = function.call(&mut self.store, params);
        let state = self.store.data();
        let result = match result {
            // It has been reported where it happened.
            Ok(_) if state.failed => Err(Trapped(String::new())),
            Ok(returned) => Ok(returned),
            Err(error) => Err(describe(name, &error, state.quota.callback)),
        };
        (result, self.spend())
    }

    /// Notes what the callback cost, in the name of the stream it worked for in the end: SDKs enter
    /// a callout's answer as the root context and go on as the stream's.
    fn spend(&self) -> Option<u64> {
        let state = self.store.data();
        let left = state.counting.then(|| self.store.get_fuel().ok())??;
        let spent = FUEL.saturating_sub(left);
        let stream = state.stream().map(|(stream, _)| stream);
        state.worker.borrow_mut().spend(stream, spent);
        Some(spent)
    }

    /// Calls a headers callback of either form.
    pub(crate) fn call_headers(
        &mut self,
        context: u32,
        name: &'static str,
        function: &OnHeaders,
        count: i32,
        end: i32,
    ) -> Result<i32, Trapped> {
        let id = guest_id(context);
        match function {
            OnHeaders::Short(function) => self.call(context, name, function, (id, count)),
            OnHeaders::Full(function) => self.call(context, name, function, (id, count, end)),
        }
    }

    pub(crate) fn data(&self) -> &VmState {
        self.store.data()
    }

    pub(crate) fn data_mut(&mut self) -> &mut VmState {
        self.store.data_mut()
    }
}

impl Callbacks {
    fn find(
        instance: &Instance,
        store: &mut Store<VmState>,
        allowed: &BTreeSet<String>,
    ) -> Result<Self, String> {
        fn get<P: WasmParams, R: WasmResults>(
            instance: &Instance,
            store: &mut Store<VmState>,
            allowed: &BTreeSet<String>,
            name: &str,
        ) -> Result<Option<TypedFunc<P, R>>, String> {
            // A callback that isn't allowed is as if it weren't exported.
            let is_allowed = allowed.is_empty() || allowed.contains(name);
            let function = instance.get_func(&mut *store, name);
            let Some(function) = function.filter(|_| is_allowed) else {
                return Ok(None);
            };
            let typed = function
                .typed(&*store)
                .map_err(|e| format!("Bad function signature for: {name}: {e:#}"))?;
            Ok(Some(typed))
        }
        let old = instance
            .get_func(&mut *store, AbiVersion::V0_1_0.export())
            .is_some()
            && instance
                .get_func(&mut *store, AbiVersion::V0_2_0.export())
                .is_none()
            && instance
                .get_func(&mut *store, AbiVersion::V0_2_1.export())
                .is_none();
        let headers = |instance: &Instance, store: &mut Store<VmState>, name: &str| {
            if old {
                Ok::<_, String>(get(instance, store, allowed, name)?.map(OnHeaders::Short))
            } else {
                Ok(get(instance, store, allowed, name)?.map(OnHeaders::Full))
            }
        };
        Ok(Self {
            context_create: get(instance, store, allowed, "proxy_on_context_create")?,
            vm_start: get(instance, store, allowed, "proxy_on_vm_start")?,
            configure: get(instance, store, allowed, "proxy_on_configure")?,
            tick: get(instance, store, allowed, "proxy_on_tick")?,
            request_headers: headers(instance, store, "proxy_on_request_headers")?,
            request_body: get(instance, store, allowed, "proxy_on_request_body")?,
            request_trailers: get(instance, store, allowed, "proxy_on_request_trailers")?,
            response_headers: headers(instance, store, "proxy_on_response_headers")?,
            response_body: get(instance, store, allowed, "proxy_on_response_body")?,
            response_trailers: get(instance, store, allowed, "proxy_on_response_trailers")?,
            http_call_response: get(instance, store, allowed, "proxy_on_http_call_response")?,
            grpc_initial_metadata: get(
                instance,
                store,
                allowed,
                "proxy_on_grpc_receive_initial_metadata",
            )?,
            grpc_receive: get(instance, store, allowed, "proxy_on_grpc_receive")?,
            grpc_trailing_metadata: get(
                instance,
                store,
                allowed,
                "proxy_on_grpc_receive_trailing_metadata",
            )?,
            grpc_close: get(instance, store, allowed, "proxy_on_grpc_close")?,
            queue_ready: get(instance, store, allowed, "proxy_on_queue_ready")?,
            log: get(instance, store, allowed, "proxy_on_log")?,
            done: get(instance, store, allowed, "proxy_on_done")?,
            delete: get(instance, store, allowed, "proxy_on_delete")?,
        })
    }
}

/// What a callback may burn: more than any could within its time.
const FUEL: u64 = u64::MAX;

/// Gives the next callback its time and its hostcalls.
fn arm(store: &mut Store<VmState>) {
    if store.data().counting {
        // The engine has fuel, so this can't fail.
        let _ = store.set_fuel(FUEL);
    }
    let quota = &store.data().quota;
    quota.refill();
    // The first tick may come at once, and a limit is never cut short.
    let ticks = quota.callback.as_millis() / EPOCH.as_millis() + 1;
    store.set_epoch_deadline(u64::try_from(ticks).unwrap_or(u64::MAX));
}

/// Why a guest was stopped.
fn cause(error: &wasmtime::Error, limit: Duration) -> String {
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => format!("ran for more than {limit:?}"),
        Some(trap) => {
            let text = trap.to_string();
            text.trim_start_matches("wasm trap: ").to_owned()
        }
        None => error.root_cause().to_string(),
    }
}

/// A trap in words: what happened, in which callback, and where in the guest.
pub(crate) fn describe(callback: &str, error: &wasmtime::Error, limit: Duration) -> Trapped {
    let cause = cause(error, limit);
    let mut text = format!("Function: {callback} failed: {cause}");
    if let Some(trace) = error.downcast_ref::<WasmBacktrace>() {
        for frame in trace.frames().iter().take(12) {
            text.push_str("\n  at ");
            text.push_str(frame.func_name().unwrap_or("<unnamed>"));
        }
    }
    Trapped(text)
}

/// A context id as the guest's `i32`; the bits are kept.
pub(crate) fn guest_id(context: u32) -> i32 {
    context.cast_signed()
}

/// A size or count as the guest's `i32`.
pub(crate) fn guest_size(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}
