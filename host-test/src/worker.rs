//! One worker: its VMs and the streams that run through them, without any I/O.
//!
//! The caller feeds what arrived (headers, body pieces, trailers, callout answers, time) and takes
//! [`Action`]s: what is to be sent upstream, downstream or to a callout's cluster. The library
//! drives it with scripted upstreams and virtual time, `serve` with sockets and real time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::headers::Headers;

/// Identifies a stream within a worker; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u64);

/// Identifies a callout within a worker; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CalloutId(pub u64);

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
    /// `x-request-id` as the connection manager made it.
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
    /// Close the stream in both directions without an answer.
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

/// A worker; see the module's text.
pub struct Worker {}

impl Worker {
    /// Opens a stream through all plugins of the chain.
    pub fn open(&mut self, _info: StreamInfo) -> StreamId {
        todo!()
    }
    /// The stream's properties, to be completed as routing goes on.
    pub fn info_mut(&mut self, _stream: StreamId) -> Option<&mut StreamInfo> {
        todo!()
    }
    pub fn request_headers(&mut self, _stream: StreamId, _headers: Headers, _end_stream: bool) {
        todo!()
    }
    pub fn request_body(&mut self, _stream: StreamId, _data: Bytes, _end_stream: bool) {
        todo!()
    }
    pub fn request_trailers(&mut self, _stream: StreamId, _trailers: Headers) {
        todo!()
    }
    pub fn response_headers(&mut self, _stream: StreamId, _headers: Headers, _end_stream: bool) {
        todo!()
    }
    pub fn response_body(&mut self, _stream: StreamId, _data: Bytes, _end_stream: bool) {
        todo!()
    }
    pub fn response_trailers(&mut self, _stream: StreamId, _trailers: Headers) {
        todo!()
    }
    /// The router answers by itself (no route, direct response, upstream failure): the reply runs
    /// through the response side of the chain.
    pub fn local_reply(
        &mut self,
        _stream: StreamId,
        _headers: Headers,
        _body: Bytes,
        _details: &str,
    ) {
        todo!()
    }
    /// The stream is over, answered or not: `on_log`, `on_done`, `on_delete` run. Returns what an
    /// access log needs.
    pub fn close(&mut self, _stream: StreamId) -> Closed {
        todo!()
    }
    /// Answers a callout; ignored if it was cancelled.
    pub fn callout_response(&mut self, _callout: CalloutId, _answer: CalloutAnswer) {
        todo!()
    }
    /// What is to be carried out, in order; empties the queue.
    pub fn take_actions(&mut self) -> Vec<Action> {
        todo!()
    }
    /// When the next tick or reload is due, on the worker's clock.
    pub fn next_timer(&self) -> Option<Duration> {
        todo!()
    }
    /// Runs the ticks that are due.
    pub fn run_timers(&mut self) {
        todo!()
    }
}

/// How a callout ended.
#[derive(Clone, Debug)]
pub enum CalloutAnswer {
    /// A complete response; `headers` holds `:status`.
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
    pub filter_state: std::collections::BTreeMap<String, Vec<u8>>,
}
