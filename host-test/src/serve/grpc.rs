//! gRPC callouts of plugins, over HTTP/2.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::oneshot;

use super::body::{PipeReader, PipeWriter, UpstreamBody, pipe};
use super::callout::pass_upstream_filters;
use super::head::{response_head, trailers, upstream_request};
use super::local::Local;
use super::reply::failure_reply;
use super::steer::Steer;
use super::upstream::{Cause, send};
use crate::grpc::{self, Event, frame};
use crate::headers::Headers;
use crate::worker::CalloutId;

/// A gRPC callout that a plugin wants made.
pub(super) struct Call {
    id: CalloutId,
    cluster: String,
    headers: Headers,
    body: PipeReader,
    /// A call: one message is the answer.
    unary: bool,
    timeout: Option<Duration>,
    cancelled: oneshot::Receiver<()>,
}

/// The plugin's end of a gRPC callout. Dropped, it cancels the callout.
pub(super) struct Open {
    writer: Option<PipeWriter>,
    _cancel: oneshot::Sender<()>,
}

/// Opens a callout; a `message` is all of the request.
pub(super) fn open(
    id: CalloutId,
    cluster: String,
    headers: Headers,
    message: Option<Bytes>,
    timeout: Option<Duration>,
) -> (Open, Call) {
    let (writer, body) = pipe();
    let (cancel, cancelled) = oneshot::channel();
    let unary = message.is_some();
    let mut open = Open {
        writer: Some(writer),
        _cancel: cancel,
    };
    if unary {
        open.send(message, true);
    }
    let call = Call {
        id,
        cluster,
        headers,
        body,
        unary,
        timeout,
        cancelled,
    };
    (open, call)
}

impl Open {
    /// Sends a message, ends the plugin's side, or both.
    pub(super) fn send(&mut self, message: Option<Bytes>, end: bool) {
        if let (Some(writer), Some(message)) = (&self.writer, message) {
            writer.push(frame(&message).into());
        }
        if end && let Some(writer) = self.writer.take() {
            writer.end();
        }
    }
}

/// Carries a callout out and tells the plugin what comes.
pub(super) async fn run(local: Rc<Local>, mut call: Call) {
    let (id, unary, timeout) = (call.id, call.unary, call.timeout);
    let (_keep, never) = oneshot::channel();
    let cancelled = std::mem::replace(&mut call.cancelled, never);
    let seen = RefCell::new(Vec::new());
    // The client of a call is told one thing, at the end.
    let tell = |event: Event| {
        if unary {
            seen.borrow_mut().push(event);
        } else if let Some(filters) = &local.filters {
            filters.feed(|worker| worker.grpc_event(id, event));
        }
    };
    let work = exchange(&local, call, &tell);
    let timed = async {
        match timeout {
            None => work.await,
            Some(limit) => {
                if tokio::time::timeout(limit, work).await.is_err() {
                    seen.borrow_mut().clear();
                    tell(grpc::timed_out());
                }
            }
        }
    };
    tokio::select! {
        // An error is that the other end is gone.
        _ = cancelled => return,
        () = timed => {}
    }
    if let Some(filters) = &local.filters {
        // Before the plugin is told: it may open another one.
        let open = filters.grpc.borrow_mut().remove(&id);
        let outcome = unary.then(|| grpc::only(seen.take())).flatten();
        if let Some(event) = outcome {
            filters.feed(|worker| worker.grpc_event(id, event));
        }
        drop(open);
    }
}

async fn exchange(local: &Rc<Local>, call: Call, tell: &impl Fn(Event)) {
    let fail = |cause: &Cause| {
        let (_, message, details, _) = failure_reply(cause);
        grpc::refused(&message, &details).into_iter().for_each(tell);
    };
    let Some(cluster) = local.config.cluster(&call.cluster) else {
        grpc::no_cluster().into_iter().for_each(tell);
        return;
    };
    let endpoints = &local.clusters[cluster];
    let http2 = endpoints.group.cluster.protocol.http2;
    let body = UpstreamBody::Piped(call.body);
    let mut headers = call.headers;
    let mut steer = Steer::of_callout(&endpoints.group.cluster, &headers);
    pass_upstream_filters(&endpoints.group.cluster, &mut headers);
    let Ok(request) = upstream_request(&headers, false, body, http2) else {
        fail(&Cause::Protocol);
        return;
    };
    let sent = match local.pick(cluster, &mut steer) {
        Some(endpoint) => send(Rc::clone(endpoints), endpoint, request).await,
        None => Err(Cause::NoHost),
    };
    let answer = match sent {
        Ok(answer) => answer,
        Err(cause) => {
            fail(&cause);
            return;
        }
    };
    let (parts, mut body) = answer.response.into_parts();
    endpoints.stats.responded(parts.status.as_u16());
    let headers = response_head(&parts);
    if parts.status != http::StatusCode::OK {
        let status = grpc::http_status(u32::from(parts.status.as_u16()));
        tell(Event::Initial(Headers::new()));
        grpc::failed(status, grpc::VIA_UPSTREAM)
            .into_iter()
            .for_each(tell);
        return;
    }
    // Headers alone may be the trailers too.
    if hyper::body::Body::is_end_stream(&body) && headers.first("grpc-status").is_some() {
        tell(Event::Initial(Headers::new()));
        grpc::ended(&headers, grpc::VIA_UPSTREAM)
            .into_iter()
            .for_each(tell);
        return;
    }
    tell(Event::Initial(headers));
    read(&mut body, tell).await;
    answer.lease.give_back();
}

/// Reads messages and trailers.
async fn read(body: &mut Incoming, tell: &impl Fn(Event)) {
    let mut buffer = BytesMut::new();
    loop {
        let frame = match Pin::new(&mut *body).frame().await {
            Some(Ok(frame)) => frame,
            Some(Err(_)) => {
                let details = grpc::BROKEN_OFF;
                grpc::failed(grpc::INTERNAL, details)
                    .into_iter()
                    .for_each(tell);
                return;
            }
            None => {
                grpc::failed(grpc::UNKNOWN, grpc::VIA_UPSTREAM)
                    .into_iter()
                    .for_each(tell);
                return;
            }
        };
        match frame.into_data() {
            Ok(data) => buffer.extend_from_slice(&data),
            Err(frame) => {
                let map = frame.into_trailers().unwrap_or_default();
                let events = grpc::ended(&trailers(&map), grpc::VIA_UPSTREAM);
                events.into_iter().for_each(tell);
                return;
            }
        }
        while let Some((head, _)) = buffer.split_first_chunk::<5>() {
            let [compressed, size @ ..] = *head;
            let size = usize::try_from(u32::from_be_bytes(size)).unwrap_or(usize::MAX);
            if compressed != 0 || size > MAX_MESSAGE {
                grpc::failed(grpc::INTERNAL, grpc::VIA_UPSTREAM)
                    .into_iter()
                    .for_each(tell);
                return;
            }
            if buffer.len() < 5 + size {
                break;
            }
            let _head = buffer.split_to(5);
            tell(Event::Message(buffer.split_to(size).freeze()));
        }
    }
}

/// Larger messages count as broken off.
const MAX_MESSAGE: usize = 32 << 20;
