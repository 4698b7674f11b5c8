//! One request and its response: between the client, the filter chain and the upstream.
//!
//! An exchange is a state machine that whoever wants the next part of the response polls: first the
//! service, for the head; then the response's body, or a task of its own if the request is still
//! coming in. There is no channel between the two sides, and no task, in the common case.

mod attempt;
mod close;
mod failure;
mod forward;
mod request;
mod response;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::StatusCode;
use hyper::body::Incoming;
use tokio::time::Sleep;

use self::attempt::Sending;
use super::body::PipeWriter;
use super::cluster::Endpoint;
use super::connection::Client;
use super::filters::{Filters, Mailbox, Step};
use super::head::trailer_map;
use super::native::Metadata;
use super::record::Record;
use super::reply::Reply;
use super::router::Found;
use super::upstream::{Answer, Cause, Lease};
use crate::headers::Headers;
use crate::inspector::Tape;
use crate::worker::StreamId;

/// What the client is to be given next.
#[derive(Debug)]
pub(super) enum Part {
    /// Status and headers; `true` if nothing follows.
    Head(StatusCode, Headers, bool),
    /// A piece of the body; `true` for the last, which may be empty.
    Data(Bytes, bool),
    /// Trailers after the body; they end it.
    Trailers(Headers),
    /// The stream is broken off.
    Reset,
}

/// What may wait in a plugin that holds a message before its source is read no further; Envoy's
/// default `per_connection_buffer_limit_bytes`. One piece more is read: it is what breaks the limit.
const HOLD_LIMIT: usize = 1 << 20;

/// See the module's text.
pub(super) struct Exchange {
    client: Rc<Client>,
    /// The stream of the engine; `None` if no plugin is in the chain.
    stream: Option<StreamId>,
    mailbox: Rc<Mailbox>,
    /// As they stand last; empty while the chain has them.
    request: Headers,
    request_body: Option<Incoming>,
    /// Bytes that went into the chain since something last came out.
    request_held: usize,
    upload: Option<PipeWriter>,
    upstream: Upstream,
    /// How the request is sent, once it is.
    sending: Option<Box<Sending>>,
    endpoint: Option<Rc<Endpoint>>,
    metadata: Metadata,
    /// The host that a stateful session asks for, and whether no other will do.
    session: Option<(String, bool)>,
    /// The filters after the wasm filters have had the response.
    passed_back: bool,
    /// The connection is closed after the response.
    pub(super) close_after: bool,
    response_held: usize,
    out: VecDeque<Part>,
    /// As the client got them, for the access log.
    response: Headers,
    record: Record,
    timeout: Option<Pin<Box<Sleep>>>,
    route: Option<Found>,
    /// The route by which the chain was chosen.
    entered: Option<Found>,
    /// The whole request has left the chain.
    request_sent: bool,
    /// The chain has given its answer, and it can't be used.
    past_chain: bool,
    /// The response doesn't depend on the upstream or on more of the request.
    answered: bool,
    closed: bool,
    /// `None` unless requests are recorded.
    tape: Option<Box<Tape>>,
}

/// Where the upstream's part stands.
enum Upstream {
    /// Not asked yet, or done with.
    Idle,
    /// Asked; no head yet.
    Asked(Pin<Box<dyn Future<Output = Result<Answer, Cause>>>>),
    /// The body is coming.
    Answering(Incoming, Lease),
}

impl Exchange {
    /// Begins an exchange; `body` is `None` if the request has none.
    pub(super) fn new(
        client: Rc<Client>,
        request: Headers,
        body: Option<Incoming>,
        record: Record,
    ) -> Self {
        let mut exchange = Self::idle(client, body, record);
        exchange.start(request);
        exchange
    }

    /// Begins an exchange that is answered at once, past the filters.
    pub(super) fn refused(client: Rc<Client>, record: Record, reply: &Reply) -> Self {
        let mut exchange = Self::idle(client, None, record);
        exchange.reply(reply);
        exchange
    }

    fn idle(client: Rc<Client>, request_body: Option<Incoming>, record: Record) -> Self {
        client.local.enter();
        client.http_stats().requests.increment();
        client.http_stats().active_requests.increment();
        Self {
            client,
            stream: None,
            mailbox: Rc::default(),
            request: Headers::new(),
            request_body,
            request_held: 0,
            upload: None,
            upstream: Upstream::Idle,
            sending: None,
            endpoint: None,
            metadata: Metadata::default(),
            session: None,
            passed_back: false,
            close_after: false,
            response_held: 0,
            out: VecDeque::new(),
            response: Headers::new(),
            record,
            timeout: None,
            route: None,
            entered: None,
            request_sent: false,
            past_chain: false,
            answered: false,
            closed: false,
            tape: None,
        }
    }

    /// Has the exchange recorded.
    pub(super) fn record_on(&mut self, tape: Option<Box<Tape>>) {
        self.tape = tape;
    }

    /// The next part of the response; `None` once it is over.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Part>> {
        // Steps that come of this very call are no news.
        self.mailbox.dont_wait();
        loop {
            while let Some(step) = self.mailbox.take() {
                self.step(step);
            }
            if let Some(part) = self.out.pop_front() {
                return Poll::Ready(Some(self.give(part)));
            }
            if self.closed {
                return Poll::Ready(None);
            }
            let mut progress = self.poll_request(cx);
            progress |= self.poll_upstream(cx);
            progress |= self.poll_timeout(cx);
            progress |= self.poll_per_try(cx);
            progress |= self.poll_back_off(cx);
            if !progress {
                self.mailbox.wait(cx);
                return Poll::Pending;
            }
        }
    }

    /// Lets the request go on while nobody takes the response.
    pub(super) fn poll_request_alone(&mut self, cx: &mut Context<'_>) {
        self.mailbox.dont_wait();
        loop {
            while let Some(step) = self.mailbox.take() {
                self.step(step);
            }
            if self.closed || !self.poll_request(cx) {
                self.mailbox.wait(cx);
                return;
            }
        }
    }

    /// Takes the rest of the response if all of it is known already.
    pub(super) fn take_rest(&mut self) -> Option<Bytes> {
        match self.out.make_contiguous() {
            [Part::Data(_, true)] => {}
            [Part::Data(_, false), Part::Data(end, true)] if end.is_empty() => {}
            _ => return None,
        }
        match self.out.pop_front().map(|part| self.give(part)) {
            Some(Part::Data(data, true)) => Some(data),
            _ => None,
        }
    }

    /// Whether more of the request is to come and wanted.
    pub(super) fn wants_request(&self) -> bool {
        self.request_body.is_some() && !self.answered
    }

    /// Whether the response is given before the request has come in whole.
    pub(super) fn is_request_unread(&self) -> bool {
        self.record.request_end.is_none()
    }

    /// Counts a part that the client is given, and closes the stream after the last.
    fn give(&mut self, mut part: Part) -> Part {
        // An empty end is given together with what is before it.
        if let Part::Data(_, end @ false) = &mut part
            && let Some(Part::Data(next, true)) = self.out.front()
            && next.is_empty()
        {
            self.out.pop_front();
            *end = true;
        }
        let over = match &part {
            Part::Head(_, _, end) => *end,
            Part::Data(data, end) => {
                self.record.bytes_sent += data.len() as u64;
                if let Some(tape) = &mut self.tape {
                    tape.response_data(data);
                }
                *end
            }
            Part::Trailers(_) | Part::Reset => true,
        };
        if over {
            self.close();
        }
        part
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::RequestHeaders(headers, end) => {
                self.request_held = 0;
                self.request_sent = end;
                self.forward(headers, end);
            }
            Step::RequestBody(data, end) => {
                self.request_held = 0;
                if let Some(sending) = &mut self.sending {
                    sending.keep(&data);
                }
                if let Some(upload) = &self.upload {
                    upload.push(data);
                }
                if end {
                    self.end_upload(None);
                }
            }
            Step::RequestTrailers(trailers) => self.end_upload(Some(trailer_map(&trailers))),
            Step::ResponseHeaders(headers, end) => {
                self.response_held = 0;
                self.respond(headers, end);
            }
            Step::ResponseBody(data, end) => {
                self.response_held = 0;
                if end || !data.is_empty() {
                    self.out.push_back(Part::Data(data, end));
                }
            }
            Step::ResponseTrailers(trailers) if self.passes_trailers() => {
                self.out.push_back(Part::Trailers(trailers));
            }
            // Envoy drops trailers of HTTP/1.1 unless it is told to pass them.
            Step::ResponseTrailers(_) => self.out.push_back(Part::Data(Bytes::new(), true)),
            Step::LocalReply => self.cancel_upstream(),
            Step::Reset => {
                self.cancel_upstream();
                self.out.push_back(Part::Reset);
            }
        }
    }

    /// Whether the client gets trailers, and its own are passed on.
    fn passes_trailers(&self) -> bool {
        self.record.protocol == "HTTP/2" || self.client.listener().manager.trailers
    }

    /// The stream of the engine, as long as it takes part.
    fn chain(&self) -> Option<(StreamId, &Filters)> {
        let filters = self.client.local.filters.as_ref()?;
        self.stream
            .filter(|_| !self.past_chain)
            .map(|stream| (stream, filters))
    }

    fn is_held(&self, response: bool) -> bool {
        self.chain()
            .is_some_and(|(stream, filters)| filters.is_held(stream, response))
    }
}
