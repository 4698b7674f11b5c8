//! The filter chain of a worker: the engine, and which stream each of its actions belongs to.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;

use super::callout::{Callout, Wanted};
use super::grpc::{self, Open};
use crate::clock::Clock;
use crate::headers::Headers;
use crate::inspector::{Call, Calls};
use crate::worker::{Action, CalloutAnswer, CalloutId, Closed, StreamId, StreamInfo, Worker};

/// What is next on a stream: an [`Action`] without its stream.
#[derive(Debug)]
pub(super) enum Step {
    RequestHeaders(Headers, bool),
    RequestBody(Bytes, bool),
    RequestTrailers(Headers),
    ResponseHeaders(Headers, bool),
    ResponseBody(Bytes, bool),
    ResponseTrailers(Headers),
    LocalReply,
    Reset,
}

/// The steps that wait for a stream.
#[derive(Default)]
pub(super) struct Mailbox {
    steps: RefCell<VecDeque<Step>>,
    waker: RefCell<Option<Waker>>,
}

impl Mailbox {
    pub(super) fn put(&self, step: Step) {
        self.steps.borrow_mut().push_back(step);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    pub(super) fn take(&self) -> Option<Step> {
        self.steps.borrow_mut().pop_front()
    }

    /// Forgets the task that waits.
    pub(super) fn dont_wait(&self) {
        self.waker.borrow_mut().take();
    }

    /// Has the task woken by the next step.
    pub(super) fn wait(&self, cx: &Context<'_>) {
        *self.waker.borrow_mut() = Some(cx.waker().clone());
    }
}

/// The engine of a worker.
pub(super) struct Filters {
    worker: RefCell<Worker>,
    streams: RefCell<HashMap<StreamId, Rc<Mailbox>>>,
    callouts: UnboundedSender<Wanted>,
    /// The gRPC callouts that are under way.
    pub(super) grpc: RefCell<HashMap<CalloutId, Open>>,
    clock: Clock,
    /// When the timer task will look next.
    armed: Cell<Option<Duration>>,
    sooner: Notify,
    /// `None` unless requests are recorded.
    calls: Option<RefCell<Calls>>,
}

impl Filters {
    pub(super) fn new(
        worker: Worker,
        clock: Clock,
        callouts: UnboundedSender<Wanted>,
        calls: Option<Calls>,
    ) -> Self {
        let filters = Self {
            worker: RefCell::new(worker),
            streams: RefCell::default(),
            callouts,
            grpc: RefCell::default(),
            clock,
            armed: Cell::new(None),
            sooner: Notify::new(),
            calls: calls.map(RefCell::new),
        };
        // What the plugins asked for while they were configured.
        filters.feed(|_| ());
        filters
    }

    /// Opens a stream through the plugins at these positions.
    pub(super) fn open(&self, chain: &[usize], info: StreamInfo) -> (StreamId, Rc<Mailbox>) {
        let mailbox = Rc::<Mailbox>::default();
        let stream = self.worker.borrow_mut().open(chain, info);
        self.streams
            .borrow_mut()
            .insert(stream, Rc::clone(&mailbox));
        self.deliver();
        (stream, mailbox)
    }

    /// Hands something to the engine and delivers what it wants done.
    pub(super) fn feed<T>(&self, feed: impl FnOnce(&mut Worker) -> T) -> T {
        let result = feed(&mut self.worker.borrow_mut());
        self.deliver();
        result
    }

    /// An object of a stream's filter state.
    pub(super) fn filter_state(&self, stream: StreamId, key: &str) -> Option<Vec<u8>> {
        self.worker.borrow().filter_state(stream, key)
    }

    /// Whether a direction of a stream is held by a plugin.
    pub(super) fn is_held(&self, stream: StreamId, response: bool) -> bool {
        self.worker.borrow().is_held(stream, response)
    }

    /// The stream is over: its last callbacks run.
    pub(super) fn close(&self, stream: StreamId) -> Closed {
        self.streams.borrow_mut().remove(&stream);
        self.feed(|worker| worker.close(stream))
    }

    /// A callout's answer has come.
    pub(super) fn answer(&self, callout: CalloutId, answer: CalloutAnswer) {
        if let Some(calls) = &self.calls {
            calls.borrow_mut().answered(callout, &answer);
        }
        self.feed(|worker| worker.callout_response(callout, answer));
    }

    /// The recorded callouts of a stream that is over.
    pub(super) fn calls_of(&self, stream: StreamId) -> Vec<Call> {
        let calls = self.calls.as_ref();
        calls.map_or_else(Vec::new, |calls| calls.borrow_mut().take(stream))
    }

    fn deliver(&self) {
        let mut worker = self.worker.borrow_mut();
        let actions = worker.take_actions();
        let next = worker.next_timer();
        if let Some(calls) = &self.calls {
            let trace = worker.take_trace();
            if !trace.is_empty() {
                calls.borrow().inspector().background(&trace);
            }
        }
        drop(worker);
        let armed = self.armed.get();
        if next.is_some_and(|next| armed.is_none_or(|armed| next < armed)) {
            self.sooner.notify_one();
        }
        for action in actions {
            let (stream, step) = match action {
                Action::RequestHeaders {
                    stream,
                    headers,
                    end_stream,
                } => (stream, Step::RequestHeaders(headers, end_stream)),
                Action::RequestBody {
                    stream,
                    data,
                    end_stream,
                } => (stream, Step::RequestBody(data, end_stream)),
                Action::RequestTrailers { stream, trailers } => {
                    (stream, Step::RequestTrailers(trailers))
                }
                Action::ResponseHeaders {
                    stream,
                    headers,
                    end_stream,
                } => (stream, Step::ResponseHeaders(headers, end_stream)),
                Action::ResponseBody {
                    stream,
                    data,
                    end_stream,
                } => (stream, Step::ResponseBody(data, end_stream)),
                Action::ResponseTrailers { stream, trailers } => {
                    (stream, Step::ResponseTrailers(trailers))
                }
                Action::LocalReply { stream } => (stream, Step::LocalReply),
                Action::Reset { stream } => (stream, Step::Reset),
                Action::GrpcOpen {
                    callout,
                    cluster,
                    headers,
                    message,
                    timeout,
                    stream: _,
                } => {
                    let (open, wanted) = grpc::open(callout, cluster, headers, message, timeout);
                    self.grpc.borrow_mut().insert(callout, open);
                    let _ = self.callouts.send(Wanted::Grpc(wanted));
                    continue;
                }
                Action::GrpcSend {
                    callout,
                    message,
                    end_stream,
                } => {
                    if let Some(open) = self.grpc.borrow_mut().get_mut(&callout) {
                        open.send(message, end_stream);
                    }
                    continue;
                }
                Action::GrpcCancel { callout } => {
                    // Whoever carries it out is told by the loss of its other end.
                    self.grpc.borrow_mut().remove(&callout);
                    continue;
                }
                Action::GrpcUnreachable { callout, cause } => {
                    let _ = self.callouts.send(Wanted::Unreachable(callout, cause));
                    continue;
                }
                Action::HttpCall {
                    callout,
                    cluster,
                    headers,
                    body,
                    timeout,
                    stream,
                } => {
                    if let Some(calls) = &self.calls {
                        let mut calls = calls.borrow_mut();
                        calls.made(callout, stream, &cluster, &headers, &body);
                    }
                    // The receiver lives as long as the worker.
                    let _ = self.callouts.send(Wanted::Http(Callout {
                        id: callout,
                        cluster,
                        headers,
                        body,
                        timeout,
                    }));
                    continue;
                }
            };
            // A stream that is gone has nobody to carry its steps out.
            if let Some(mailbox) = self.streams.borrow().get(&stream) {
                mailbox.put(step);
            }
        }
    }

    /// Runs ticks when they are due, for ever.
    pub(super) async fn run_timers(&self) {
        loop {
            let next = self.worker.borrow().next_timer();
            self.armed.set(next);
            let Some(next) = next else {
                self.sooner.notified().await;
                continue;
            };
            let wait = next.saturating_sub(self.clock.elapsed());
            // A time-out of the wait means that the tick is due.
            if tokio::time::timeout(wait, self.sooner.notified())
                .await
                .is_err()
            {
                self.feed(Worker::run_timers);
            }
        }
    }
}
