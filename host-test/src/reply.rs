//! All that was observed of one request.

use std::collections::BTreeMap;

use crate::exchange::Received;
use crate::headers::Headers;
use crate::worker::{Closed, LogLine};

/// What the client, the upstream and the host saw of one request.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    pub(crate) headers: Headers,
    pub(crate) answered: bool,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Headers,
    pub(crate) complete: bool,
    /// The headers were all of the response.
    pub(crate) bare: bool,
    pub(crate) reset: bool,
    pub(crate) upstream: Option<Received>,
    pub(crate) callouts: Vec<Received>,
    pub(crate) logs: Vec<LogLine>,
    pub(crate) closed: Closed,
}

impl Reply {
    /// The status the client saw; `None` if no response head came.
    pub fn status(&self) -> Option<u16> {
        self.headers
            .text(":status")
            .and_then(|status| status.parse().ok())
    }

    /// The response headers as they left the chain, `:status` included.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The first value of a response header as text.
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers.text(name).map(std::borrow::Cow::into_owned)
    }

    /// The response body, as far as it came.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The response trailers.
    pub fn trailers(&self) -> &Headers {
        &self.trailers
    }

    /// The request as the upstream received it; `None` if it never did.
    pub fn upstream_request(&self) -> Option<&Received> {
        self.upstream.as_ref()
    }

    /// The callouts that the request's own contexts made, in order. What root contexts called is with
    /// [`Host::take_callouts`](crate::host::Host::take_callouts).
    pub fn callouts(&self) -> &[Received] {
        &self.callouts
    }

    /// `%RESPONSE_CODE_DETAILS%`.
    pub fn details(&self) -> &str {
        &self.closed.details
    }

    /// Filter state written with `set_property`, each under its `wasm.` name.
    pub fn filter_state(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.closed.filter_state
    }

    /// Log lines written while the request ran.
    pub fn logs(&self) -> &[LogLine] {
        &self.logs
    }

    /// Hostcalls made for this request, by name.
    pub fn hostcalls(&self) -> &BTreeMap<&'static str, u64> {
        &self.closed.hostcalls
    }

    /// Whether the connection was closed without a complete response.
    pub fn is_reset(&self) -> bool {
        self.reset
    }

    /// Whether the response came to its end.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Whether a plugin still held the request or the response when the client went away. A request
    /// that is to be moved on is a [`Flight`](crate::flight::Flight).
    pub fn is_paused(&self) -> bool {
        self.closed.paused && !self.complete && !self.reset
    }

    /// What strict mode found; empty when all is well.
    pub fn violations(&self) -> &[String] {
        &self.closed.violations
    }
}
