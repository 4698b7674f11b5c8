//! A request of the library's client: put together, sent, and under way until its end.
//!
//! [`RequestBuilder::send`] is for requests that need no help: what is still paused when nothing
//! moves any more is given up. [`RequestBuilder::start`] leaves it under way as a [`Flight`], so
//! that an answer, a tick or another request can move it on:
//!
//! ```no_run
//! use host_test::host::{Answer, Host};
//! use host_test::plugin::Plugin;
//!
//! let host = Host::builder()
//!     .plugin(Plugin::from_file("asks.wasm")?)
//!     .callouts(|_| Answer::Never)
//!     .build()?;
//! let flight = host.get("/").start();
//! assert!(flight.is_paused());
//! let callout = host.waiting_callouts().remove(0);
//! assert_eq!(callout.request.cluster, "auth");
//! host.answer(&callout, Answer::status(200, "ok"))?;
//! assert_eq!(flight.finish().status(), Some(200));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use bytes::Bytes;

use crate::exchange::Run;
use crate::headers::Headers;
use crate::host::Host;
use crate::reply::Reply;
use crate::scenario::UPSTREAM;
use crate::worker::{StreamId, StreamInfo};

/// A request being put together.
#[derive(Debug)]
#[must_use]
pub struct RequestBuilder<'h> {
    host: &'h Host,
    headers: Headers,
    chunks: Vec<Bytes>,
    trailers: Headers,
    worker: Option<usize>,
    source_address: String,
}

/// A request under way. Dropping it is the client going away.
#[derive(Debug)]
#[must_use = "a client that goes away at once sees nothing"]
pub struct Flight<'h> {
    host: &'h Host,
    id: FlightId,
}

/// Which request of a host a [`Flight`] is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlightId {
    pub(crate) worker: usize,
    pub(crate) stream: StreamId,
}

impl<'h> RequestBuilder<'h> {
    pub(crate) fn new(host: &'h Host, headers: Headers) -> Self {
        Self {
            host,
            headers,
            chunks: Vec::new(),
            trailers: Headers::new(),
            worker: None,
            source_address: "127.0.0.1:40000".to_owned(),
        }
    }

    /// Appends a header; `host` and names that start with `:` replace what is there.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        if name.starts_with(':') || name.eq_ignore_ascii_case("host") {
            self.headers.set(name, value);
        } else {
            self.headers.append(name, value);
        }
        self
    }

    /// Sends this body, in one piece.
    pub fn body(self, body: impl Into<Bytes>) -> Self {
        self.chunks(vec![body.into()])
    }

    /// Sends a body in these pieces.
    pub fn chunks(mut self, chunks: Vec<Bytes>) -> Self {
        self.chunks = chunks;
        self
    }

    /// Appends a trailer.
    pub fn trailer(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.trailers.append(name, value);
        self
    }

    /// Chooses the worker (0-based, taken modulo their number) instead of the next in turn.
    pub fn worker(mut self, index: usize) -> Self {
        self.worker = Some(index);
        self
    }

    /// Sets `ip:port` of the client; 127.0.0.1:40000 if not called.
    pub fn source_address(mut self, address: &str) -> Self {
        address.clone_into(&mut self.source_address);
        self
    }

    /// Sends the request and waits, in virtual time that stands still, until nothing moves. Without
    /// a whole answer by then the client goes away.
    pub fn send(self) -> Reply {
        self.start().finish()
    }

    /// Sends the request and lets it run until nothing moves, but doesn't give it up then.
    pub fn start(self) -> Flight<'h> {
        Flight {
            host: self.host,
            id: self.launch(),
        }
    }

    /// The same for who keeps the host beside what is under way.
    pub(crate) fn launch(self) -> FlightId {
        let host = self.host;
        // The last worker is the main thread's, which serves no requests.
        let serving = host.workers.len() - 1;
        let index = self
            .worker
            .unwrap_or_else(|| host.next_worker.replace(host.next_worker.get() + 1))
            % serving;
        let chain: Vec<usize> = (0..host.plugins).collect();
        let info = StreamInfo {
            source_address: self.source_address,
            destination_address: "127.0.0.1:10000".to_owned(),
            protocol: "HTTP/1.1".to_owned(),
            connection_id: 1,
            // Around a scripted host stand one virtual host and one cluster of one endpoint.
            virtual_host_name: "all".to_owned(),
            cluster_name: UPSTREAM.to_owned(),
            upstream_num_endpoints: 1,
            ..StreamInfo::default()
        };
        let log_start = host.lines_so_far();
        let stream = host.workers[index].borrow_mut().open(&chain, info);
        host.runs
            .borrow_mut()
            .push(Run::new(index, stream, log_start));
        let worker = || host.workers[index].borrow_mut();
        let bare = self.chunks.is_empty() && self.trailers.is_empty();
        worker().request_headers(stream, self.headers, bare);
        if !bare {
            host.settle();
            for chunk in self.chunks {
                worker().request_body(stream, chunk, false);
                host.settle();
            }
            // HTTP/1 shape: the end is a piece of its own.
            if self.trailers.is_empty() {
                worker().request_body(stream, Bytes::new(), true);
            } else {
                worker().request_trailers(stream, self.trailers);
            }
        }
        let id = FlightId {
            worker: index,
            stream,
        };
        host.with_run(id, |run| run.sending = false);
        host.settle();
        id
    }
}

impl Flight<'_> {
    /// Whether the client has all that it will get: a whole answer, or a reset.
    pub fn is_over(&self) -> bool {
        let over = self.host.with_run(self.id, |run| run.closed);
        over.unwrap_or(true)
    }

    /// Whether a plugin holds the request or its response.
    pub fn is_paused(&self) -> bool {
        let FlightId { worker, stream } = self.id;
        let worker = self.host.workers[worker].borrow();
        !self.is_over() && (worker.is_held(stream, false) || worker.is_held(stream, true))
    }

    /// Takes what came of the request. If it isn't over, the client goes away.
    pub fn finish(self) -> Reply {
        self.host.end_run(self.id).unwrap_or_default()
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        // Nothing is left to be done after `finish`.
        let _ = self.host.end_run(self.id);
    }
}
