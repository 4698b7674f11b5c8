//! A request of the library's client: put together, sent, and under way until its end.
//!
//! [`RequestBuilder::send`] is for requests that need no help: what is still paused when nothing
//! moves any more is given up. [`RequestBuilder::start`] leaves it under way as a [`Flight`], so
//! that an answer, a tick or another request can move it on:
//!
//! ```
//! use host_test::host::{Answer, Host};
//! use host_test::plugin::Plugin;
//!
//! # let folder = std::env::temp_dir().join(format!("flight-doc-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! # let asks = folder.join("asks.wasm");
//! # std::fs::write(&asks, wat::parse_str(include_str!("../tests/guests/asks.wat"))?)?;
//! let host = Host::builder()
//!     .plugin(Plugin::from_file(asks)?)
//!     .callouts(|_| Answer::Never)
//!     .build()?;
//! let flight = host.get("/").start();
//! assert!(flight.is_paused());
//! let callout = host.waiting_callouts().remove(0);
//! assert_eq!(callout.request.cluster, "auth");
//! host.answer(&callout, Answer::status(200, "ok"))?;
//! assert_eq!(flight.finish().status(), Some(200));
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::borrow::Cow;
use std::collections::VecDeque;

use bytes::Bytes;

use crate::exchange::Run;
use crate::headers::Headers;
use crate::host::Host;
use crate::rechunk::{Shape, Split};
use crate::reply::Reply;
use crate::scenario::UPSTREAM;
use crate::worker::{StreamId, StreamInfo, Worker};

/// A request being put together.
#[derive(Debug)]
#[must_use]
pub struct RequestBuilder<'h> {
    host: &'h Host,
    headers: Headers,
    /// Without one, the headers are all unless there are trailers.
    split: Option<Split>,
    trailers: Headers,
    worker: Option<usize>,
    source_address: Cow<'static, str>,
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
            split: None,
            trailers: Headers::new(),
            worker: None,
            source_address: "127.0.0.1:40000".into(),
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

    /// Sends a body in these pieces, in the shape of HTTP/1.
    pub fn chunks(self, chunks: Vec<Bytes>) -> Self {
        self.split(Split {
            pieces: chunks,
            shape: Shape::Http1,
        })
    }

    /// Sends a body in pieces, in the shape given with them.
    pub fn split(mut self, split: Split) -> Self {
        self.split = Some(split).filter(|split| !split.pieces.is_empty());
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
        self.source_address = address.to_owned().into();
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
        let (id, mut feeds) = self.open();
        while let Some(feed) = feeds.pop_front() {
            feed.give(&mut host.workers[id.worker].borrow_mut(), id.stream);
            if feeds.is_empty() {
                host.with_run(id, |run| run.sending = false);
            }
            host.settle();
        }
        id
    }

    /// Opens the stream; what is to be fed to its worker comes back.
    pub(crate) fn open(self) -> (FlightId, VecDeque<Feed>) {
        let host = self.host;
        // The last worker is the main thread's, which serves no requests.
        let serving = host.workers.len() - 1;
        let index = self
            .worker
            .unwrap_or_else(|| host.next_worker.replace(host.next_worker.get() + 1))
            % serving;
        let info = StreamInfo {
            source_address: self.source_address,
            destination_address: "127.0.0.1:10000".into(),
            protocol: "HTTP/1.1".into(),
            connection_id: 1,
            // Around a scripted host stand one virtual host and one cluster of one endpoint.
            virtual_host_name: "all".into(),
            cluster_name: UPSTREAM.into(),
            upstream_num_endpoints: 1,
            ..StreamInfo::default()
        };
        let log_start = host.logs.written();
        let stream = host.workers[index].borrow_mut().open(&host.chain, info);
        host.runs
            .borrow_mut()
            .push(Box::new(Run::new(index, stream, log_start)));
        let end = self.trailers.is_empty();
        let mut feeds = VecDeque::new();
        feeds.push_back(Feed::Headers(self.headers, self.split.is_none() && end));
        if let Some(Split { pieces, shape }) = self.split {
            let last = pieces.len().saturating_sub(1);
            let ends = |at| end && shape == Shape::Http2 && at == last;
            let ended = !pieces.is_empty() && ends(last);
            let pieces = pieces.into_iter().enumerate();
            feeds.extend(pieces.map(|(at, piece)| Feed::Body(piece, ends(at))));
            if end && !ended {
                feeds.push_back(Feed::Body(Bytes::new(), true));
            }
        }
        if !end {
            feeds.push_back(Feed::Trailers(self.trailers));
        }
        let id = FlightId {
            worker: index,
            stream,
        };
        (id, feeds)
    }
}

/// A part of a request on its way to a worker.
#[derive(Debug)]
pub(crate) enum Feed {
    Headers(Headers, bool),
    Body(Bytes, bool),
    Trailers(Headers),
}

impl Feed {
    pub(crate) fn give(self, worker: &mut Worker, stream: StreamId) {
        match self {
            Self::Headers(headers, end) => worker.request_headers(stream, headers, end),
            Self::Body(piece, end) => worker.request_body(stream, piece, end),
            Self::Trailers(trailers) => worker.request_trailers(stream, trailers),
        }
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
        let run = self.host.end_run(self.id);
        run.map(|run| run.reply).unwrap_or_default()
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        // Nothing is left to be done after `finish`.
        let _ = self.host.end_run(self.id);
    }
}
