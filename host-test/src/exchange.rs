//! One request through a worker, against a scripted upstream.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::callout::{REFUSED, TERMINATED, TIMED_OUT};
use crate::headers::Headers;
use crate::reply::Reply;
use crate::required::{self, Refused};
use crate::worker::{Action, StreamId, Worker};

/// A request as a scripted upstream or callout service receives it.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// The cluster it was sent to; empty for the upstream.
    pub cluster: String,
    /// Its headers, pseudo-headers included.
    pub headers: Headers,
    /// Its whole body.
    pub body: Bytes,
    /// Its trailers.
    pub trailers: Headers,
    /// Whether its headers were all of it: neither a body, not even an empty one, nor trailers.
    pub bare: bool,
}

/// What a scripted upstream or callout service answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A complete answer.
    Respond {
        /// With `:status`.
        headers: Headers,
        /// The body in the pieces in which it arrives.
        chunks: Vec<Bytes>,
        /// Empty for none.
        trailers: Headers,
    },
    /// The connection breaks within the answer, after these. The client's stream is reset; a callout
    /// is told of no header and a status of 11.
    Break {
        /// With `:status`.
        headers: Headers,
        /// What comes of the body, in pieces.
        chunks: Vec<Bytes>,
    },
    /// Nothing comes by itself. A callout waits for [`Host::answer`](crate::host::Host::answer), or
    /// for its time-out, which answers it 504; a request for the route's, which is 15 seconds.
    Never,
    /// No one listens: the client sees 503, a callout gets a 503.
    Refused,
    /// The connection breaks before headers: the client sees 503, a callout gets a 503.
    Reset,
}

impl Answer {
    /// An answer with a status and a body.
    pub fn status(status: u16, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let mut headers = Headers::new();
        headers.append(":status", status.to_string());
        headers.append("content-length", body.len().to_string());
        let chunks = if body.is_empty() {
            Vec::new()
        } else {
            vec![body]
        };
        Self::Respond {
            headers,
            chunks,
            trailers: Headers::new(),
        }
    }
}

/// Decides what is answered to a request.
type Decide = Box<dyn FnMut(&Received) -> Answer>;

/// The scripted surroundings of a host.
pub(crate) struct Script {
    pub(crate) upstream: Decide,
    pub(crate) callouts: Decide,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            upstream: Box::new(|_| Answer::status(200, "")),
            callouts: Box::new(|_| Answer::Refused),
        }
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").finish_non_exhaustive()
    }
}

/// A request under way.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) worker: usize,
    pub(crate) stream: StreamId,
    pub(crate) reply: Reply,
    /// More of the request is to come.
    pub(crate) sending: bool,
    /// The last callbacks have run.
    pub(crate) closed: bool,
    /// How many log lines there were when it began.
    pub(crate) log_start: usize,
    /// The same when its last callbacks had run.
    pub(crate) log_end: Option<usize>,
    /// The request as far as it has reached the upstream.
    upstream: Option<Received>,
    upstream_done: bool,
    /// When the router gives the upstream up.
    pub(crate) deadline: Option<Duration>,
}

impl Run {
    pub(crate) fn new(worker: usize, stream: StreamId, log_start: usize) -> Self {
        Self {
            worker,
            stream,
            reply: Reply::default(),
            sending: true,
            closed: false,
            log_start,
            log_end: None,
            upstream: None,
            upstream_done: false,
            deadline: None,
        }
    }

    /// Whether the client has all that it will get.
    pub(crate) fn is_over(&self) -> bool {
        self.reply.complete || self.reply.reset
    }

    /// Carries out what the chain wants done.
    pub(crate) fn act(&mut self, action: Action, worker: &mut Worker, script: &mut Script) {
        match action {
            Action::RequestHeaders {
                headers,
                end_stream,
                ..
            } => {
                if let Err(refused) = required::check_request(&headers) {
                    self.refuse(worker, refused);
                    return;
                }
                self.upstream = Some(Received {
                    headers,
                    bare: end_stream,
                    ..Received::default()
                });
                worker.update_info(self.stream, |info| {
                    UPSTREAM_ADDRESS.clone_into(&mut info.upstream_address);
                });
                if end_stream {
                    self.answer(worker, script);
                }
            }
            Action::RequestBody {
                data, end_stream, ..
            } => {
                if let Some(upstream) = &mut self.upstream {
                    upstream.body = [&upstream.body[..], &data[..]].concat().into();
                }
                if end_stream {
                    self.answer(worker, script);
                }
            }
            Action::RequestTrailers { trailers, .. } => {
                if let Some(upstream) = &mut self.upstream {
                    upstream.trailers = trailers;
                }
                self.answer(worker, script);
            }
            Action::ResponseHeaders {
                headers,
                end_stream,
                ..
            } => {
                self.reply.headers = headers;
                self.reply.answered = true;
                self.reply.complete = end_stream;
                self.reply.bare = end_stream;
            }
            Action::ResponseBody {
                data, end_stream, ..
            } => {
                // A local reply may have a body that HTTP forbids: it isn't sent.
                if !matches!(self.reply.status(), Some(204 | 304)) {
                    self.reply.body.extend_from_slice(&data);
                }
                self.reply.complete = end_stream;
            }
            Action::ResponseTrailers { trailers, .. } => {
                self.reply.trailers = trailers;
                self.reply.complete = true;
            }
            Action::LocalReply { .. } => {
                self.upstream_done = true;
                self.deadline = None;
            }
            Action::Reset { .. } => {
                self.upstream_done = true;
                self.deadline = None;
                self.reply.reset = true;
            }
            // Callouts are the host's, whoever makes them.
            Action::HttpCall { .. } => {}
        }
    }

    /// The request can't be sent as it left the chain.
    fn refuse(&mut self, worker: &mut Worker, refused: Refused) {
        self.upstream_done = true;
        let headers = [(":status", refused.status.to_string())];
        worker.local_reply(
            self.stream,
            headers.into_iter().collect(),
            refused.body.into(),
            &refused.details,
        );
    }

    /// The upstream has the whole request: its answer comes.
    fn answer(&mut self, worker: &mut Worker, script: &mut Script) {
        let Some(received) = self.upstream.clone().filter(|_| !self.upstream_done) else {
            return;
        };
        self.upstream_done = true;
        let answer = (script.upstream)(&received);
        let head = received.headers.first(":method") == Some(b"HEAD");
        self.reply.upstream = Some(received);
        match answer {
            Answer::Respond {
                headers,
                chunks,
                trailers,
            } => {
                let bare = head || chunks.is_empty() && trailers.is_empty();
                worker.response_headers(self.stream, headers, bare);
                if bare {
                    return;
                }
                for chunk in chunks {
                    worker.response_body(self.stream, chunk, false);
                }
                if !trailers.is_empty() {
                    worker.response_trailers(self.stream, trailers);
                } else {
                    worker.response_body(self.stream, Bytes::new(), true);
                }
            }
            Answer::Break { headers, chunks } => {
                worker.response_headers(self.stream, headers, false);
                for chunk in chunks {
                    worker.response_body(self.stream, chunk, false);
                }
                worker.upstream_reset(self.stream);
            }
            Answer::Refused => self.fail(worker, REFUSED, REFUSED_DETAILS),
            Answer::Reset => self.fail(worker, TERMINATED, TERMINATED_DETAILS),
            Answer::Never => self.deadline = Some(worker.now() + ROUTE_TIMEOUT),
        }
    }

    /// The upstream has had its time.
    pub(crate) fn time_out(&mut self, worker: &mut Worker) {
        self.deadline = None;
        let headers = [(":status", "504")].into_iter().collect();
        let body = Bytes::from_static(TIMED_OUT.as_bytes());
        worker.local_reply(self.stream, headers, body, "response_timeout");
    }

    /// There is no answer, and Envoy says why.
    fn fail(&self, worker: &mut Worker, body: &'static str, details: &str) {
        let headers = [(":status", "503")].into_iter().collect();
        let body = Bytes::from_static(body.as_bytes());
        worker.local_reply(self.stream, headers, body, details);
    }
}

/// Envoy's default for a route, from the end of the request on.
const ROUTE_TIMEOUT: Duration = Duration::from_secs(15);

/// Where the scripted upstream seems to be.
const UPSTREAM_ADDRESS: &str = "127.0.0.1:20000";

const TERMINATED_DETAILS: &str = "upstream_reset_before_response_started{connection_termination}";

const REFUSED_DETAILS: &str = "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}";
