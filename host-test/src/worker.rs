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
    RequestHeaders { stream: StreamId, headers: Headers, end_stream: bool },
    /// A piece of the request body left the chain.
    RequestBody { stream: StreamId, data: Bytes, end_stream: bool },
    /// Request trailers left the chain; they end the request.
    RequestTrailers { stream: StreamId, trailers: Headers },
    /// Response headers left the chain: send them to the client.
    ResponseHeaders { stream: StreamId, headers: Headers, end_stream: bool },
    /// A piece of the response body left the chain.
    ResponseBody { stream: StreamId, data: Bytes, end_stream: bool },
    /// Response trailers left the chain; they end the response.
    ResponseTrailers { stream: StreamId, trailers: Headers },
    /// The chain answers by itself: stop the upstream request if there is one. The response
    /// follows as `Response*` actions.
    LocalReply { stream: StreamId },
    /// Close the stream in both directions without an answer.
    Reset { stream: StreamId },
    /// Send an HTTP request to a cluster and answer with [`Worker::callout_response`].
    HttpCall { callout: CalloutId, cluster: String, headers: Headers, body: Bytes, trailers: Headers, timeout: Option<Duration> },
}

/// A worker; see the module's text.
pub struct Worker {}
