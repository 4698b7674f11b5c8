//! One request through a worker with scripted upstreams and callouts.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::clock::Clock;
use crate::headers::Headers;
use crate::reply::Reply;
use crate::required::{self, Refused};
use crate::scenario::UPSTREAM;
use crate::worker::{Action, CalloutAnswer, CalloutId, StreamId, StreamInfo, Worker};

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
    /// The connection breaks before headers: the client sees 503, a callout gets a 503.
    Reset,
    /// Nothing ever comes. A callout with a time-out is answered 504 after it.
    Never,
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

type Decide = Box<dyn FnMut(&Received) -> Answer>;

/// The scripted surroundings of a host.
pub(crate) struct Script {
    pub(crate) upstream: Decide,
    pub(crate) callouts: Decide,
    /// Kept from one request to the next.
    actions: VecDeque<Action>,
}

impl Default for Script {
    fn default() -> Self {
        let answer = Answer::status(200, "");
        Self {
            upstream: Box::new(move |_| answer.clone()),
            callouts: Box::new(|_| Answer::Reset),
            actions: VecDeque::new(),
        }
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").finish_non_exhaustive()
    }
}

impl Script {
    /// Answers callouts that no stream waits for; false if there were none.
    pub(crate) fn answer_callouts(&mut self, worker: &mut Worker, clock: &Clock) -> bool {
        let mut any = false;
        loop {
            let actions = worker.take_actions();
            if actions.is_empty() {
                return any;
            }
            any = true;
            for action in actions {
                if let Action::HttpCall {
                    callout,
                    cluster,
                    headers,
                    body,
                    trailers,
                    timeout,
                } = action
                {
                    let received = Received {
                        cluster,
                        headers,
                        body,
                        trailers,
                        bare: false,
                    };
                    self.answer_callout(worker, clock, callout, &received, timeout);
                }
            }
        }
    }

    fn answer_callout(
        &mut self,
        worker: &mut Worker,
        clock: &Clock,
        callout: CalloutId,
        received: &Received,
        timeout: Option<Duration>,
    ) {
        let answer = match ((self.callouts)(received), timeout) {
            (
                Answer::Respond {
                    headers,
                    chunks,
                    trailers,
                },
                _,
            ) => CalloutAnswer::Response {
                headers,
                body: chunks.concat().into(),
                trailers,
            },
            (Answer::Reset, _) => refused(),
            (Answer::Never, Some(timeout)) => {
                clock.advance(timeout);
                plain(504, "upstream request timeout")
            }
            (Answer::Never, None) => return,
        };
        worker.callout_response(callout, answer);
    }
}

/// A request and the chain it runs through.
pub(crate) struct Exchange<'c> {
    pub(crate) headers: Headers,
    pub(crate) chunks: Vec<Bytes>,
    pub(crate) trailers: Headers,
    pub(crate) source_address: Cow<'static, str>,
    pub(crate) chain: &'c [usize],
}

impl Exchange<'_> {
    /// Runs until nothing moves any more. `deliver` runs the queue callbacks of all workers.
    pub(crate) fn run(
        self,
        worker: &mut Worker,
        script: &mut Script,
        clock: &Clock,
        deliver: &dyn Fn(&mut Worker, &mut Script),
    ) -> Reply {
        let stream = worker.open(
            self.chain,
            StreamInfo {
                source_address: self.source_address,
                destination_address: "127.0.0.1:10000".into(),
                protocol: "HTTP/1.1".into(),
                connection_id: 1,
                // Around a scripted host stand one virtual host and one cluster of one endpoint.
                virtual_host_name: "all".into(),
                cluster_name: UPSTREAM.into(),
                upstream_num_endpoints: 1,
                ..StreamInfo::default()
            },
        );
        let mut run = Run {
            stream,
            deliver,
            reply: Reply::default(),
            upstream: None,
            upstream_body: Vec::new(),
            upstream_done: false,
        };
        let bare = self.chunks.is_empty() && self.trailers.is_empty();
        worker.request_headers(stream, self.headers, bare);
        run.act(worker, script, clock);
        let has_trailers = !self.trailers.is_empty();
        if !bare {
            for chunk in self.chunks {
                worker.request_body(stream, chunk, false);
                run.act(worker, script, clock);
            }
            // HTTP/1 shape: the end is a piece of its own.
            if has_trailers {
                worker.request_trailers(stream, self.trailers);
            } else {
                worker.request_body(stream, Bytes::new(), true);
            }
            run.act(worker, script, clock);
        }
        run.reply.closed = worker.close(stream);
        run.act(worker, script, clock);
        run.reply
    }
}

/// A request under way.
struct Run<'h> {
    stream: StreamId,
    deliver: &'h dyn Fn(&mut Worker, &mut Script),
    reply: Reply,
    /// The request as far as it has reached the upstream.
    upstream: Option<Received>,
    upstream_body: Vec<u8>,
    upstream_done: bool,
}

impl Run<'_> {
    /// Carries out actions until there are none.
    fn act(&mut self, worker: &mut Worker, script: &mut Script, clock: &Clock) {
        let mut actions = std::mem::take(&mut script.actions);
        loop {
            // Before the upstream's answer can come, as Envoy posts them to the event loop.
            (self.deliver)(worker, script);
            worker.swap_actions(&mut actions);
            if actions.is_empty() {
                break;
            }
            for action in actions.drain(..) {
                self.act_once(action, worker, script, clock);
            }
        }
        script.actions = actions;
    }

    fn act_once(
        &mut self,
        action: Action,
        worker: &mut Worker,
        script: &mut Script,
        clock: &Clock,
    ) {
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
                    info.upstream_address = UPSTREAM_ADDRESS.into();
                });
                if end_stream {
                    self.answer(worker, script);
                }
            }
            Action::RequestBody {
                data, end_stream, ..
            } => {
                self.upstream_body.extend_from_slice(&data);
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
            Action::LocalReply { .. } => self.upstream_done = true,
            Action::Reset { .. } => {
                self.upstream_done = true;
                self.reply.reset = true;
            }
            Action::HttpCall {
                callout,
                cluster,
                headers,
                body,
                trailers,
                timeout,
            } => {
                let received = Received {
                    cluster,
                    headers,
                    body,
                    trailers,
                    bare: false,
                };
                script.answer_callout(worker, clock, callout, &received, timeout);
                self.reply.callouts.push(received);
            }
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
        if self.upstream_done {
            return;
        }
        let Some(mut received) = self.upstream.take() else {
            return;
        };
        received.body = std::mem::take(&mut self.upstream_body).into();
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
            Answer::Reset => {
                let headers = [(":status", "503")].into_iter().collect();
                let body = Bytes::from_static(CONNECTION_FAILURE.as_bytes());
                let details = "upstream_reset_before_response_started{connection_termination}";
                worker.local_reply(self.stream, headers, body, details);
            }
            Answer::Never => {}
        }
    }
}

/// Where the scripted upstream seems to be.
const UPSTREAM_ADDRESS: &str = "127.0.0.1:20000";

/// Envoy's words for an upstream that closes before it answers.
const CONNECTION_FAILURE: &str = "upstream connect error or disconnect/reset before headers. reset reason: connection termination";

/// What a callout gets from a cluster nobody listens at.
fn refused() -> CalloutAnswer {
    plain(
        503,
        "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure, transport failure reason: delayed connect error: Connection refused",
    )
}

fn plain(status: u16, body: &'static str) -> CalloutAnswer {
    let headers = [
        (":status", status.to_string()),
        ("content-length", body.len().to_string()),
        ("content-type", "text/plain".to_owned()),
    ];
    CalloutAnswer::Response {
        headers: headers.into_iter().collect(),
        body: Bytes::from_static(body.as_bytes()),
        trailers: Headers::new(),
    }
}
