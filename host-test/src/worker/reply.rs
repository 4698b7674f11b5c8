//! Local replies and resets.

use super::guest::Verdict;
use super::{Action, Worker};
use crate::headers::Headers;
use crate::inline::{self, Kind};
use crate::state::{LaneMode, LaneWay, StreamId, Way};
use crate::vm::LocalReply;

impl Worker {
    /// The lane's VM is gone: 503, or a reset if the response is on its way.
    pub(super) fn fail(&mut self, id: StreamId, lane: usize) -> Verdict {
        self.with_lane(id, lane, |lane| lane.mode = LaneMode::Bypassed);
        let reply = LocalReply {
            status: 503,
            details: "wasm_fail_stream".into(),
            ..LocalReply::default()
        };
        self.reply(id, reply);
        Verdict::Over
    }

    /// The chain answers. Before the response has begun, the reply passes all lanes; while the
    /// response is in the chain it is replaced without asking them; once it has left, all that can
    /// be done is to break it off.
    pub(super) fn reply(&mut self, id: StreamId, reply: LocalReply) {
        let stage = self.with(id, |stream| {
            if stream.reset {
                return None;
            }
            let stage = (stream.response.started, stream.response_sent);
            stream.details = reply.details.clone().into();
            Some(stage)
        });
        match stage.flatten() {
            None => {}
            Some((_, true)) => self.reset(id),
            Some((started, false)) => {
                self.act(Action::LocalReply { stream: id });
                let (headers, body, end) = self.prepare(id, &reply);
                self.with(id, |stream| {
                    stream.answered = true;
                    if let Some(passages) = &mut stream.passages {
                        passages.answered();
                    }
                    stream.request.held = None;
                    stream.request.current = None;
                    stream.response.held = None;
                    stream.response.current = None;
                    stream.response.trailers = None;
                    stream.response.headers = headers;
                    stream.response.started = true;
                    stream.response.complete = true;
                    stream.response.body_bytes = body.len() as u64;
                    stream.response.edited = false;
                    for lane in &mut stream.lanes {
                        lane.response = LaneWay::default();
                        if started {
                            lane.mode = LaneMode::Bypassed;
                        }
                    }
                });
                self.pass_headers(id, Way::Response, 0, end);
                if !end {
                    self.pass_data(id, Way::Response, 0, body, true);
                }
            }
        }
    }

    /// A local reply's headers and body as Envoy makes them.
    pub(super) fn prepare(&self, id: StreamId, reply: &LocalReply) -> (Headers, Vec<u8>, bool) {
        let (grpc, head) = self
            .with(id, |stream| {
                let request = &stream.request.headers;
                let kind = request.first("content-type").unwrap_or_default();
                let grpc = kind == b"application/grpc" || kind.starts_with(b"application/grpc+");
                (grpc, request.first(":method") == Some(b"HEAD"))
            })
            .unwrap_or_default();
        let mut headers = Headers::new();
        headers.append(
            ":status",
            if grpc {
                "200".into()
            } else {
                reply.status.to_string()
            },
        );
        for (name, value) in reply.headers.iter().filter(|(name, _)| *name != b":status") {
            inline::add(&mut headers, Kind::Response, name, value);
        }
        if grpc {
            headers.set("content-type", "application/grpc");
            let status = reply
                .grpc_status
                .unwrap_or_else(|| grpc_status(reply.status));
            headers.set("grpc-status", status.to_string());
            if !reply.body.is_empty() {
                headers.set("grpc-message", percent_encoded(&reply.body));
            }
            headers.remove("content-length");
            return (headers, Vec::new(), true);
        }
        if reply.body.is_empty() {
            headers.remove("content-length");
            headers.remove("content-type");
        } else {
            headers.set("content-length", reply.body.len().to_string());
            if headers.first("content-type").is_none() {
                headers.append("content-type", "text/plain");
            }
        }
        // Guests get to see the body of a 204 or 304, the client doesn't.
        let bodiless = head || reply.body.is_empty();
        (
            headers,
            if bodiless {
                Vec::new()
            } else {
                reply.body.clone()
            },
            bodiless,
        )
    }

    /// `proxy_close_stream`.
    pub(super) fn close_by_guest(&self, id: StreamId) {
        self.with(id, |stream| {
            if stream.details.is_empty() {
                stream.details = "wasm_close_stream".into();
            }
        });
        self.reset(id);
    }

    pub(super) fn reset(&self, id: StreamId) {
        let first = self.with(id, |stream| !std::mem::replace(&mut stream.reset, true));
        if first == Some(true) {
            self.act(Action::Reset { stream: id });
        }
    }
}

/// A text as `grpc-message` carries it.
fn percent_encoded(text: &[u8]) -> String {
    use std::fmt::Write as _;

    text.iter().fold(String::new(), |mut out, &byte| {
        match byte {
            b'%' | ..0x20 | 0x7f.. => {
                let _ = write!(out, "%{byte:02X}");
            }
            _ => out.push(byte.into()),
        }
        out
    })
}

/// The gRPC status that Envoy maps an HTTP status to.
pub(crate) fn grpc_status(http: u32) -> i32 {
    match http {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}
