//! The client's part of an exchange: its request goes into the chain.

use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::Body;

use super::super::filters::Step;
use super::super::head::trailers;
use super::super::reply::Reply;
use super::{Exchange, HOLD_LIMIT};
use crate::headers::Headers;
use crate::worker::StreamInfo;

impl Exchange {
    pub(super) fn start(&mut self, request: Headers) {
        let client = Rc::clone(&self.client);
        let local = &client.local;
        let listener = client.listener();
        let routes = &listener.manager.routes;
        let prepared = client.prepared();
        self.route = prepared.router.find(routes, &request);
        self.entered = self.route;
        self.request = request;
        self.pass_natives(true);
        let request = std::mem::take(&mut self.request);
        let end = self.request_body.is_none();
        if end {
            self.record.request_end = Some(Instant::now());
        }
        let chain = prepared.chain(self.route);
        let Some(filters) = local.filters.as_ref().filter(|_| !chain.is_empty()) else {
            self.mailbox.put(Step::RequestHeaders(request, end));
            return;
        };
        let info = self.info(&request);
        let (stream, mailbox) = filters.open(chain, info);
        self.stream = Some(stream);
        self.mailbox = mailbox;
        filters.feed(|worker| worker.request_headers(stream, request, end));
    }

    /// What plugins can ask about the stream besides its headers.
    fn info(&self, request: &Headers) -> StreamInfo {
        let listener = self.client.listener();
        let mut info = StreamInfo {
            source_address: self.record.remote.to_string().into(),
            destination_address: self.client.peer.local.to_string().into(),
            protocol: self.record.protocol.into(),
            request_id: request
                .text("x-request-id")
                .unwrap_or_default()
                .into_owned()
                .into(),
            connection_id: self.client.peer.id,
            ..StreamInfo::default()
        };
        if let Some(found) = self.route {
            let (host, route) = found.of(&listener.manager.routes);
            info.virtual_host_name = host.name.clone().into();
            info.route_name = route.name.clone().into();
            if let Some(cluster) = self.client.first_cluster(found) {
                let clusters = &self.client.local.config.bootstrap.clusters;
                info.cluster_name = clusters[cluster].name.clone().into();
                let endpoints = self.client.local.clusters[cluster].len();
                info.upstream_num_endpoints = endpoints as u64;
            }
        }
        info
    }

    /// Reads on from the client, as long as what it sends can be put somewhere.
    pub(super) fn poll_request(&mut self, cx: &mut Context<'_>) -> bool {
        if self.answered {
            self.request_body = None;
        }
        if let Some(upload) = &self.upload
            && upload.poll_ready(cx).is_pending()
        {
            return false;
        }
        if self.request_held > HOLD_LIMIT && self.is_held(false) {
            return false;
        }
        let Some(body) = &mut self.request_body else {
            return false;
        };
        let frame = match Pin::new(body).poll_frame(cx) {
            Poll::Pending => return false,
            Poll::Ready(frame) => frame,
        };
        match frame {
            Some(Ok(frame)) => {
                match frame.into_data() {
                    Ok(data) => {
                        self.record.bytes_received += data.len() as u64;
                        if let Some(tape) = &mut self.tape {
                            tape.request_data(&data);
                        }
                        self.request_held += data.len();
                        self.feed_request(data, false);
                    }
                    // Not passed on over HTTP/1.1 unless asked for, as Envoy's default is.
                    Err(frame) if self.passes_trailers() => {
                        self.request_body = None;
                        self.record.request_end = Some(Instant::now());
                        let map = frame.into_trailers().unwrap_or_default();
                        self.feed_request_trailers(trailers(&map));
                    }
                    Err(_) => {}
                }
            }
            Some(Err(error)) if is_malformed(&error) && !self.answered => {
                self.request_body = None;
                self.cancel_upstream();
                self.reply(&Reply::codec_error());
            }
            Some(Err(_)) => {
                self.request_body = None;
                self.reset("downstream_remote_disconnect".to_owned(), "DC");
            }
            None => {
                self.request_body = None;
                self.record.request_end = Some(Instant::now());
                self.feed_request(Bytes::new(), true);
            }
        }
        true
    }

    fn feed_request(&self, data: Bytes, end: bool) {
        match self.chain() {
            Some((stream, filters)) => {
                filters.feed(|worker| worker.request_body(stream, data, end));
            }
            None => self.mailbox.put(Step::RequestBody(data, end)),
        }
    }

    fn feed_request_trailers(&self, trailers: Headers) {
        match self.chain() {
            Some((stream, filters)) => {
                filters.feed(|worker| worker.request_trailers(stream, trailers));
            }
            None => self.mailbox.put(Step::RequestTrailers(trailers)),
        }
    }

    /// The request has been given to the upstream to its end: the route's time-out begins.
    pub(super) fn end_upload(&mut self, trailers: Option<HeaderMap>) {
        self.request_sent = true;
        let trailers = trailers.filter(|_| self.sends_trailers());
        if let Some(sending) = &mut self.sending {
            sending.keep_end(trailers.as_ref());
        }
        if let Some(upload) = self.upload.take() {
            match trailers {
                Some(trailers) => upload.end_with(trailers),
                None => upload.end(),
            }
        }
        self.start_timeout();
        self.start_per_try();
    }

    /// Whether the upstream gets trailers.
    fn sends_trailers(&self) -> bool {
        let clusters = &self.client.local.config.bootstrap.clusters;
        self.record.cluster.is_some_and(|cluster| {
            let protocol = &clusters[cluster].protocol;
            protocol.http2 || protocol.trailers
        })
    }

    /// Starts the time-out of the route, which runs from the end of the request to the end of the
    /// response.
    pub(super) fn start_timeout(&mut self) {
        if let Some(sending) = &self.sending
            && !sending.timeout.is_zero()
            && !self.answered
        {
            self.timeout = Some(Box::pin(tokio::time::sleep(sending.timeout)));
        }
    }
}

/// Whether a body ended because it couldn't be parsed, and not because the client went away.
fn is_malformed(error: &hyper::Error) -> bool {
    let cause = error.source();
    let cause = cause.and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| {
        matches!(
            cause.kind(),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData
        )
    })
}
