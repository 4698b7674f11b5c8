//! One worker: its VMs and the streams that run through them, without any I/O.
//!
//! The caller feeds what arrived (headers, body pieces, trailers, callout answers, time) and takes
//! [`Action`]s: what is to be sent upstream, downstream or to a callout's cluster. The library
//! drives it with scripted upstreams and virtual time, `serve` with sockets and real time.

mod chain;
mod feed;
mod guest;
pub(crate) mod reply;
mod root;
mod start;
mod streams;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::headers::Headers;
use crate::plugin::Plugin;
use crate::state::{Lane, State, Stream};
use crate::vm::{Callbacks, Deferred, Trapped, Vm};

pub use crate::state::{CalloutId, Environment, LogLine, LogSink, StreamId};

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
        /// Whose context made it; none for a root context.
        stream: Option<StreamId>,
        cluster: String,
        headers: Headers,
        body: Bytes,
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
    /// The request's headers as the chain left them.
    pub request_headers: Headers,
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
    last_stream: u64,
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

    /// What strict mode found outside streams (in ticks, callouts and configuration); empties the
    /// list.
    pub fn take_violations(&mut self) -> Vec<String> {
        std::mem::take(&mut self.state.borrow_mut().violations)
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
