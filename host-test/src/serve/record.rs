//! What is noted of a stream for its access logs.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::format::View;
use super::head::Peer;
use crate::worker::Closed;

/// Notes on one stream.
pub(super) struct Record {
    started: Instant,
    started_wall: SystemTime,
    /// The last byte of the request has come.
    pub(super) request_end: Option<Instant>,
    /// The first byte of the upstream's response has come.
    pub(super) response_start: Option<Instant>,
    pub(super) bytes_received: u64,
    pub(super) bytes_sent: u64,
    pub(super) status: Option<u16>,
    pub(super) details: Option<String>,
    pub(super) flags: Cow<'static, str>,
    /// `HTTP/1.1` or `HTTP/2`.
    pub(super) protocol: &'static str,
    pub(super) cluster: Option<usize>,
    pub(super) upstream: Option<SocketAddr>,
    pub(super) upstream_failure: Option<String>,
    pub(super) remote: SocketAddr,
}

impl Record {
    pub(super) fn new(remote: SocketAddr) -> Self {
        Self {
            started: Instant::now(),
            started_wall: SystemTime::now(),
            request_end: None,
            response_start: None,
            bytes_received: 0,
            bytes_sent: 0,
            status: None,
            details: None,
            flags: Cow::Borrowed(""),
            protocol: "HTTP/1.1",
            cluster: None,
            upstream: None,
            upstream_failure: None,
            remote,
        }
    }

    /// Time since the request came in whole, which is how long the upstream takes.
    pub(super) fn service_time(&self) -> Duration {
        self.request_end.unwrap_or(self.started).elapsed()
    }

    /// The record as format strings see it, but for headers and names.
    pub(super) fn view<'v>(&'v self, peer: &Peer, closed: Option<&'v Closed>) -> View<'v> {
        let since_start = |end: Option<Instant>| end.map(|end| end.duration_since(self.started));
        let wall = self.started_wall.duration_since(UNIX_EPOCH);
        let of_chain = closed.map(|closed| closed.details.as_ref());
        View {
            start: wall.unwrap_or_default(),
            duration: Some(self.started.elapsed()),
            request_duration: since_start(self.request_end),
            response_duration: since_start(self.response_start),
            bytes_received: self.bytes_received,
            bytes_sent: self.bytes_sent,
            status: self.status,
            details: self.details.as_deref().or(of_chain),
            flags: &self.flags,
            protocol: self.protocol,
            upstream: self.upstream,
            upstream_failure: self.upstream_failure.as_deref().unwrap_or_default(),
            remote: Some(self.remote),
            local: Some(peer.local),
            connection: peer.id,
            filter_state: closed.map(|closed| &closed.filter_state),
            ..View::default()
        }
    }
}
