//! What is noted of a request while the gateway carries it: both messages at the client's end.

use std::sync::Arc;
use std::time::Instant;

use http::request::Parts;

use super::entry::{Call, Message, Seen};
use super::ring::Original;
use super::{Inspector, now};
use crate::headers::Headers;
use crate::trace::detail::{BODY_KEPT, Sample};
use crate::worker::Closed;

/// See the module's text.
pub(crate) struct Tape {
    inspector: Arc<Inspector>,
    began: Instant,
    at: f64,
    original: Original,
    /// As long as the body that can be sent again.
    body: Sample,
    request: Headers,
    response: Message,
}

/// What is known when a request is over.
pub(crate) struct End {
    pub(crate) closed: Option<Closed>,
    pub(crate) callouts: Vec<Call>,
    /// The plugins of the chain.
    pub(crate) filters: Vec<String>,
    pub(crate) listener: String,
    pub(crate) client: String,
    pub(crate) status: Option<u16>,
    pub(crate) details: Option<String>,
    pub(crate) flags: String,
    pub(crate) route: String,
    pub(crate) cluster: String,
    pub(crate) upstream: String,
}

impl Tape {
    /// Of a body, this much is kept to be sent again, or for a scenario.
    pub(crate) const BODY_KEPT: usize = 64 * 1024;

    /// Begins with a request's head.
    pub(crate) fn begin(inspector: &Arc<Inspector>, parts: &Parts, listener: usize) -> Box<Self> {
        let target = match parts.uri.path_and_query() {
            Some(path) => path.as_str(),
            None => parts.uri.path(),
        };
        let mut request = Headers::new();
        request.append(":method", parts.method.as_str());
        request.append(":path", target);
        for (name, value) in &parts.headers {
            request.append(name.as_str(), value.as_bytes());
        }
        let headers = parts.headers.iter();
        let headers = headers.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
        Box::new(Self {
            inspector: Arc::clone(inspector),
            began: Instant::now(),
            at: now(),
            original: Original {
                listener,
                method: parts.method.to_string(),
                target: target.to_owned(),
                headers: headers.collect(),
                body: None,
            },
            body: Sample::default(),
            request,
            response: Message::default(),
        })
    }

    /// A piece of the request's body has come.
    pub(crate) fn request_data(&mut self, data: &[u8]) {
        self.body.push(data, Self::BODY_KEPT);
    }

    /// The client is given the response's head.
    pub(crate) fn response_head(&mut self, headers: &Headers) {
        self.response.headers = headers.clone();
    }

    /// The client is given a piece of the response's body.
    pub(crate) fn response_data(&mut self, data: &[u8]) {
        self.response.body.push(data, BODY_KEPT);
    }

    /// The request is over.
    pub(crate) fn end(self, end: End) {
        let Self {
            inspector,
            began,
            at,
            mut original,
            mut body,
            request,
            response,
        } = self;
        original.body = body.is_whole().then(|| body.head.clone());
        body.head.truncate(BODY_KEPT);
        let closed = end.closed.unwrap_or_default();
        let seen = Seen {
            at,
            took: began.elapsed(),
            listener: end.listener,
            client: end.client,
            request: Message {
                headers: request,
                body,
            },
            status: end.status,
            response,
            filters: end.filters,
            details: end.details.unwrap_or_else(|| closed.details.into_owned()),
            flags: end.flags,
            route: end.route,
            cluster: end.cluster,
            upstream: end.upstream,
            trace: closed.trace,
            passages: closed.passages,
            callouts: end.callouts,
            violations: closed.violations,
            counted: inspector.settings.instructions,
        };
        inspector.keep(&seen, began, Some(original));
    }
}
