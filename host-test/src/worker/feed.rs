//! Feeding a stream: what came from the client and from the upstream.

use bytes::Bytes;

use super::Worker;
use crate::headers::Headers;
use crate::state::{StreamId, Way};
use crate::vm::LocalReply;

impl Worker {
    /// The client's headers. `end_stream` means that neither body nor trailers follow.
    pub fn request_headers(&mut self, stream: StreamId, headers: Headers, end_stream: bool) {
        self.feed_headers(stream, Way::Request, headers, end_stream);
    }

    /// A piece of the client's body. In HTTP/1 shape the end is an empty piece of its own.
    pub fn request_body(&mut self, stream: StreamId, data: Bytes, end_stream: bool) {
        self.feed_data(stream, Way::Request, data, end_stream);
    }

    /// The client's trailers.
    pub fn request_trailers(&mut self, stream: StreamId, trailers: Headers) {
        self.feed_trailers(stream, Way::Request, trailers);
    }

    /// The upstream's headers, with `:status`.
    pub fn response_headers(&mut self, stream: StreamId, headers: Headers, end_stream: bool) {
        if self.set_details(stream, "via_upstream") {
            self.feed_headers(stream, Way::Response, headers, end_stream);
        }
    }

    /// A piece of the upstream's body.
    pub fn response_body(&mut self, stream: StreamId, data: Bytes, end_stream: bool) {
        self.feed_data(stream, Way::Response, data, end_stream);
    }

    /// The upstream's trailers.
    pub fn response_trailers(&mut self, stream: StreamId, trailers: Headers) {
        self.feed_trailers(stream, Way::Response, trailers);
    }

    /// The router answers by itself (no route, direct response, upstream failure): the reply runs
    /// through the response side of the chain. `headers` holds `:status` and what else is to be
    /// set; content-length and content-type are added as Envoy adds them.
    pub fn local_reply(&mut self, stream: StreamId, headers: Headers, body: Bytes, details: &str) {
        let status = headers
            .text(":status")
            .and_then(|status| status.parse().ok())
            .unwrap_or(500);
        let reply = LocalReply {
            status,
            headers,
            body: body.to_vec(),
            details: details.to_owned(),
            grpc_status: None,
        };
        self.reply(stream, reply);
        self.settle();
    }

    /// The upstream broke off within its answer: so does the client's stream. Nothing happens to a
    /// stream that a plugin has answered.
    pub fn upstream_reset(&mut self, stream: StreamId) {
        let answered = self.with(stream, |stream| stream.answered);
        if answered == Some(false) {
            self.set_details(
                stream,
                "upstream_reset_after_response_started{connection_termination}",
            );
            self.reset(stream);
        }
    }

    pub(super) fn feed_headers(&mut self, id: StreamId, way: Way, headers: Headers, end: bool) {
        let fed = self.with(id, |stream| {
            let blocked = stream.reset || stream.answered;
            let message = stream.message(way);
            if blocked || message.started {
                return false;
            }
            message.headers = headers;
            message.started = true;
            message.complete = end;
            true
        });
        if fed == Some(true) {
            self.pass_headers(id, way, 0, end);
            self.settle();
        }
    }

    pub(super) fn feed_data(&mut self, id: StreamId, way: Way, data: Bytes, end: bool) {
        let fed = self.with(id, |stream| {
            let blocked = stream.reset || stream.answered;
            let message = stream.message(way);
            if blocked || message.complete {
                return false;
            }
            message.complete = end;
            message.body_bytes += data.len() as u64;
            true
        });
        if fed == Some(true) {
            self.pass_data(id, way, 0, data.to_vec(), end);
            self.settle();
        }
    }

    pub(super) fn feed_trailers(&mut self, id: StreamId, way: Way, trailers: Headers) {
        let fed = self.with(id, |stream| {
            let blocked = stream.reset || stream.answered;
            let message = stream.message(way);
            if blocked || message.complete {
                return false;
            }
            message.complete = true;
            message.trailers = Some(trailers);
            true
        });
        if fed == Some(true) {
            self.pass_trailers(id, way, 0);
            self.settle();
        }
    }

    /// Sets `%RESPONSE_CODE_DETAILS%`; tells whether the stream is there.
    pub(super) fn set_details(&self, id: StreamId, details: &str) -> bool {
        self.with(id, |stream| {
            if !stream.answered {
                details.clone_into(&mut stream.details);
            }
        })
        .is_some()
    }
}
