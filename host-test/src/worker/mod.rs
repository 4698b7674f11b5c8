//! One worker: its VMs and the streams that run through them, without any I/O.
//!
//! The caller feeds what arrived (headers, body pieces, trailers, callout answers, time) and takes
//! [`Action`]s: what is to be sent upstream, downstream or to a callout's cluster. The library
//! drives it with scripted upstreams and virtual time, `serve` with sockets and real time.

mod chain;
mod feed;
mod grpc;
mod guest;
pub(crate) mod phase;
pub(crate) mod reply;
mod root;
mod start;
mod streams;
mod strict;

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::calls::CallCounts;
use crate::headers::Headers;
use crate::plugin::Plugin;
use crate::state::{Lane, State, Stream};
use crate::trace::Trace;
use crate::trace::detail::Passages;
use crate::vm::{Callbacks, Deferred, Trapped, Vm};

pub use crate::state::{CalloutId, Environment, LogLine, LogSink, Observe, StreamId};

/// What the worker knows about a stream besides its headers: the source of properties.
#[derive(Clone, Debug, Default)]
pub struct StreamInfo {
    /// `ip:port` of the client.
    pub source_address: Cow<'static, str>,
    /// `ip:port` the client connected to.
    pub destination_address: Cow<'static, str>,
    /// `HTTP/1.1`, `HTTP/2`.
    pub protocol: Cow<'static, str>,
    /// Name of the matched route; empty if it has none.
    pub route_name: Cow<'static, str>,
    /// Name of the route's cluster.
    pub cluster_name: Cow<'static, str>,
    /// Name of the virtual host.
    pub virtual_host_name: Cow<'static, str>,
    /// `x-request-id` as the connection manager made it; empty to read the header.
    pub request_id: Cow<'static, str>,
    /// Number of the connection within the listener.
    pub connection_id: u64,
    /// `ip:port` of the chosen upstream host; set by the caller before `response_headers`.
    pub upstream_address: Cow<'static, str>,
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
        /// Whose context made it; none for a root context.
        stream: Option<StreamId>,
        cluster: String,
        headers: Headers,
        body: Bytes,
        timeout: Option<Duration>,
    },
    /// Open a gRPC stream to a cluster. With a message it is a call: that message is all of the
    /// request, and the time-out counts. Answer with [`Worker::grpc_message`] and its neighbours.
    GrpcOpen {
        callout: CalloutId,
        /// Whose context made it; none for a root context.
        stream: Option<StreamId>,
        cluster: String,
        headers: Headers,
        message: Option<Bytes>,
        timeout: Option<Duration>,
    },
    /// Send a message on a gRPC stream, end it from this side, or both.
    GrpcSend {
        callout: CalloutId,
        message: Option<Bytes>,
        end_stream: bool,
    },
    /// A gRPC call or stream that failed at once: tell the guest how, with
    /// [`Worker::grpc_unreachable`].
    GrpcUnreachable {
        callout: CalloutId,
        cause: Unreachable,
    },
    /// Break a gRPC call or stream off. No answer is wanted any more.
    GrpcCancel { callout: CalloutId },
}

/// Why a gRPC callout failed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// The cluster has no hosts.
    NoHost,
    /// There is no such cluster.
    Unknown,
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
    pub details: Cow<'static, str>,
    /// Filter state written by guests, with the `wasm.` prefix.
    pub filter_state: BTreeMap<String, Vec<u8>>,
    /// Hostcalls made in the stream's callbacks.
    pub(crate) calls: CallCounts,
    /// Wasm instructions run in the stream's callbacks; 0 unless the environment asks to count.
    pub instructions: u64,
    /// The stream's callbacks; empty unless the environment asks to record.
    pub trace: Trace,
    /// The messages before and after each plugin; none unless the environment asks for details.
    pub(crate) passages: Option<Box<Passages>>,
    /// What strict mode found.
    pub violations: Vec<String>,
    /// Whether a message was still held by a plugin when the stream ended.
    pub paused: bool,
    /// The request's headers as the chain left them.
    pub request_headers: Headers,
}

impl Closed {
    /// Hostcalls made in the stream's callbacks, by name; those not made are left out.
    pub fn hostcalls(&self) -> BTreeMap<&'static str, u64> {
        self.calls.by_name()
    }
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
struct Slot {
    plugin: Arc<Plugin>,
    vm: usize,
    root: u32,
}

/// A VM, or where one was.
struct VmSlot {
    key: u64,
    generation: u64,
    loaded_at: Duration,
    vm: Option<Vm>,
}

/// A worker; see the module's text.
pub struct Worker {
    state: Rc<RefCell<State>>,
    vms: Vec<VmSlot>,
    slots: Vec<Slot>,
    pending: VecDeque<(usize, Deferred)>,
    seed: u64,
}
impl Worker {
    /// The time on the environment's clock.
    pub(crate) fn now(&self) -> Duration {
        self.state.borrow().env.clock.elapsed()
    }

    /// What is to be carried out, in order; empties the queue.
    pub fn take_actions(&mut self) -> VecDeque<Action> {
        std::mem::take(&mut self.state.borrow_mut().actions)
    }

    /// As [`Worker::take_actions`], but into a queue that the caller keeps: it has to be empty, and
    /// is handed over for the actions that follow. Tells whether there are any.
    pub fn swap_actions(&mut self, taken: &mut VecDeque<Action>) -> bool {
        let actions = &mut self.state.borrow_mut().actions;
        if actions.is_empty() {
            return false;
        }
        std::mem::swap(actions, taken);
        true
    }

    /// What strict mode found outside streams (in ticks, callouts and configuration); empties the
    /// list.
    pub fn take_violations(&mut self) -> Vec<String> {
        std::mem::take(&mut self.state.borrow_mut().violations)
    }

    /// Sets what is done before each hostcall.
    pub(crate) fn interrupt_with(&self, hook: Option<Rc<dyn Fn()>>) {
        self.state.borrow_mut().interrupt = hook;
    }

    /// The callbacks recorded outside streams; empties the list.
    pub fn take_trace(&mut self) -> Trace {
        std::mem::take(&mut self.state.borrow_mut().trace).into()
    }

    /// Wasm instructions run outside streams since the worker's start; 0 unless the environment asks
    /// to count.
    pub fn instructions(&self) -> u64 {
        self.state.borrow().instructions
    }

    /// Calls into a VM if it is there and exports the callback.
    fn call<R>(
        &mut self,
        vm: usize,
        f: impl FnOnce(&mut Vm, &Callbacks) -> Option<Result<R, Trapped>>,
    ) -> Option<Result<R, Trapped>> {
        let slot = self.vms.get_mut(vm)?;
        self.state.borrow_mut().calling = (vm, slot.generation);
        let instance = slot.vm.as_mut()?;
        let callbacks = instance.callbacks.clone();
        f(instance, &callbacks)
    }

    fn lanes(&self, stream: StreamId) -> usize {
        self.state
            .borrow()
            .streams
            .get(&stream)
            .map_or(0, |stream| stream.lanes.len())
    }

    fn with<R>(&self, id: StreamId, f: impl FnOnce(&mut Stream) -> R) -> Option<R> {
        self.state.borrow_mut().streams.get_mut(&id).map(f)
    }

    fn with_lane<R>(&self, id: StreamId, lane: usize, f: impl FnOnce(&mut Lane) -> R) -> Option<R> {
        self.with(id, |stream| stream.lanes.get_mut(lane).map(f))
            .flatten()
    }

    fn act(&self, action: Action) {
        self.state.borrow_mut().actions.push_back(action);
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("plugins", &self.slots.len())
            .finish_non_exhaustive()
    }
}
