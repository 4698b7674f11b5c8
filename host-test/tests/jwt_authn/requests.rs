//! What is sent, and what is seen of it.

use std::collections::BTreeMap;

/// A request without body.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, String)>,
}

impl Request {
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self {
            method: "GET",
            path: path.into(),
            headers: Vec::new(),
        }
    }

    pub(crate) fn method(self, method: &'static str) -> Self {
        Self { method, ..self }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }
}

/// What the client and the upstream saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) status: u16,
    /// The headers of the forwarded request, and its path as `:path`; `None` if it was refused.
    pub(crate) upstream: Option<BTreeMap<String, Vec<String>>>,
}

/// Whether a header of the forwarded request is the filter's business. The others are the
/// connection manager's and the router's.
pub(crate) fn compared(name: &str) -> bool {
    let plumbing = [
        ":authority",
        ":method",
        ":scheme",
        "content-length",
        "host",
        "connection",
        "x-forwarded-proto",
        "x-request-id",
        "x-envoy-expected-rq-timeout-ms",
    ];
    !plumbing.contains(&name)
}
