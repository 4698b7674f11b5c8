//! What goes wrong with an exchange, and the answers that the gateway makes itself.

use std::error::Error as _;
use std::future::Future as _;
use std::io;
use std::task::Context;

use bytes::Bytes;

use super::super::filters::Step;
use super::super::reply::{Reply, transport_failure};
use super::super::upstream::Cause;
use super::{Exchange, Part, Upstream};
use crate::headers::Headers;

impl Exchange {
    /// There will be no response.
    pub(super) fn fail(&mut self, cause: &Cause) {
        self.upstream = Upstream::Idle;
        self.record.upstream_failure = transport_failure(cause);
        if let Some(status) = cause.status() {
            self.judge(status);
        }
        if self.try_again(|retries| retries.wants(cause)) {
            return;
        }
        self.upload = None;
        self.reply(&Reply::failure(cause));
    }

    /// The response ends in its middle.
    pub(super) fn break_off(&mut self, error: &hyper::Error) {
        // Less than was announced is a mistake of the upstream's; a reset needn't be.
        let cause = error
            .source()
            .and_then(|source| source.downcast_ref::<io::Error>());
        let cut = cause.is_some_and(|cause| cause.kind() == io::ErrorKind::UnexpectedEof);
        let (flags, reason) = if cut || error.is_incomplete_message() || error.is_parse() {
            ("UPE", "protocol_error")
        } else {
            ("UC", "connection_termination")
        };
        let details = format!("upstream_reset_after_response_started{{{reason}}}");
        self.reset(details, flags);
    }

    /// Breaks the stream off: whoever reads the response must see that it isn't whole.
    pub(super) fn reset(&mut self, details: String, flags: &'static str) {
        self.cancel_upstream();
        self.record.details = Some(details);
        self.record.flags = flags.into();
        self.out.push_back(Part::Reset);
    }

    pub(super) fn poll_timeout(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(timeout) = &mut self.timeout else {
            return false;
        };
        if timeout.as_mut().poll(cx).is_pending() {
            return false;
        }
        self.timeout = None;
        if let Some(cluster) = self.record.cluster {
            self.client.local.stats.clusters[cluster]
                .timeouts
                .increment();
        }
        if matches!(self.upstream, Upstream::Asked(_)) || self.waits() {
            self.judge(504);
            if let Some(endpoint) = &self.endpoint {
                let timeouts = &endpoint.host.numbers.timeouts;
                timeouts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
            self.cancel_upstream();
            self.reply(&Reply::timeout());
        } else {
            self.reset("response_timeout".to_owned(), "UT");
        }
        true
    }

    /// Answers by itself, through the response side of the chain.
    pub(super) fn reply(&mut self, reply: &Reply) {
        let mut headers = Headers::new();
        if reply.flags == "UO" {
            headers.set("x-envoy-overloaded", "true");
        }
        self.reply_with(
            reply,
            headers,
            Bytes::copy_from_slice(reply.body.as_bytes()),
        );
    }

    /// Answers by itself with headers and a body.
    pub(super) fn reply_with(&mut self, reply: &Reply, mut headers: Headers, body: Bytes) {
        if !reply.flags.is_empty() {
            self.add_flag(reply.flags);
        }
        self.answered = true;
        self.close_after |= reply.close;
        if let (Some(cluster), Upstream::Idle) = (self.record.cluster, &self.upstream) {
            self.client.local.stats.clusters[cluster].responded(reply.status);
        }
        headers.set(":status", reply.status.to_string());
        if let Some((stream, filters)) = self.chain() {
            filters.feed(|worker| worker.local_reply(stream, headers, body, &reply.details));
            return;
        }
        // With plugins it is the engine that knows the details: a plugin may replace the reply.
        self.record.details = Some(reply.details.clone().into_owned());
        let bodiless = self.request.first(":method") == Some(b"HEAD")
            || matches!(reply.status, 204 | 304)
            || body.is_empty();
        if !body.is_empty() {
            headers.set("content-length", body.len().to_string());
            if headers.first("content-type").is_none() {
                headers.append("content-type", "text/plain");
            }
        }
        self.mailbox.put(Step::ResponseHeaders(headers, bodiless));
        if !bodiless {
            self.mailbox.put(Step::ResponseBody(body, true));
        }
    }

    /// Stops the upstream's part; its connection is closed.
    pub(super) fn cancel_upstream(&mut self) {
        self.answered = true;
        self.timeout = None;
        self.upload = None;
        self.upstream = Upstream::Idle;
        self.sending = None;
    }
}
