//! What the inspector wants to know besides: real time, log lines, metrics, and the message as each
//! filter got it.
//!
//! None of this is the same from run to run or small, so a trace that is compared holds none of it:
//! it is noted only if [`Observe::detail`](crate::worker::Observe::detail) asks for it.

use std::time::{Duration, Instant};

use crate::headers::Headers;
use crate::metrics::MetricKind;
use crate::state::Way;
use crate::worker::LogLine;

/// Of a body, this many bytes are kept at each place.
pub(crate) const BODY_KEPT: usize = 4 * 1024;

/// Of one stream, this many callbacks are kept: a body that is streamed has no end of them.
pub(crate) const CALLBACKS_KEPT: usize = 256;

/// Of one callback, this many hostcalls are kept.
pub(crate) const CALLS_KEPT: usize = 1_000;

/// Of one callback, this many log lines and changes of metrics are kept each.
const NOTES_KEPT: usize = 256;

/// Of one callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Detail {
    /// When it began.
    pub(crate) began: Instant,
    /// How long the guest ran, hostcalls included.
    pub(crate) took: Duration,
    /// What the guest logged.
    pub(crate) logs: Vec<LogLine>,
    /// What it did to metrics.
    pub(crate) metrics: Vec<MetricChange>,
    /// Hostcalls beyond those that are kept.
    pub(crate) more_calls: u64,
}

impl Detail {
    pub(crate) fn begin() -> Self {
        Self {
            began: Instant::now(),
            took: Duration::ZERO,
            logs: Vec::new(),
            metrics: Vec::new(),
            more_calls: 0,
        }
    }

    pub(crate) fn log(&mut self, line: LogLine) {
        if self.logs.len() < NOTES_KEPT {
            self.logs.push(line);
        }
    }

    pub(crate) fn metric(&mut self, change: MetricChange) {
        if self.metrics.len() < NOTES_KEPT {
            self.metrics.push(change);
        }
    }
}

/// A guest moved a metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MetricChange {
    pub(crate) name: String,
    pub(crate) kind: MetricKind,
    /// What was added, or, if it was recorded, the value.
    pub(crate) by: i64,
    /// `proxy_record_metric`, which sets a gauge.
    pub(crate) recorded: bool,
}

/// Of one hostcall, in real time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timing {
    /// Since the callback began.
    pub(crate) at: Duration,
    /// How long the host worked on it.
    pub(crate) took: Duration,
}

/// The two messages of a stream as they came to each filter and left the last one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Passages {
    /// By position: the request as it came to the first filter, …, as it left the chain.
    pub(crate) request: Vec<Point>,
    /// The same for the response, which passes the filters in reverse.
    pub(crate) response: Vec<Point>,
    /// The upstream's response as it came to the chain, if the chain answered instead.
    pub(crate) replaced: Option<Point>,
    /// Callbacks beyond those that are kept.
    pub(crate) more_callbacks: u64,
}

/// A message at one place of the chain, as far as it came there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Point {
    pub(crate) headers: Option<Headers>,
    pub(crate) body: Sample,
    pub(crate) trailers: Option<Headers>,
}

/// The beginning of a body.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    pub(crate) head: Vec<u8>,
    /// The size of the whole.
    pub(crate) size: u64,
}

impl Sample {
    /// Adds a piece, of which as much is kept as there is room for.
    pub(crate) fn push(&mut self, piece: &[u8], limit: usize) {
        let room = limit.saturating_sub(self.head.len()).min(piece.len());
        self.head.extend_from_slice(&piece[..room]);
        self.size += piece.len() as u64;
    }

    /// Whether the head is the whole.
    pub(crate) fn is_whole(&self) -> bool {
        self.head.len() as u64 == self.size
    }
}

impl Passages {
    fn point(&mut self, way: Way, position: usize) -> &mut Point {
        let points = match way {
            Way::Request => &mut self.request,
            Way::Response => &mut self.response,
        };
        if points.len() <= position {
            points.resize_with(position + 1, Point::default);
        }
        &mut points[position]
    }

    pub(crate) fn headers(&mut self, way: Way, position: usize, headers: &Headers) {
        self.point(way, position).headers = Some(headers.clone());
    }

    pub(crate) fn data(&mut self, way: Way, position: usize, data: &[u8]) {
        self.point(way, position).body.push(data, BODY_KEPT);
    }

    pub(crate) fn trailers(&mut self, way: Way, position: usize, trailers: &Headers) {
        self.point(way, position).trailers = Some(trailers.clone());
    }

    /// The chain answers: what has come of a response is not what the client gets.
    pub(crate) fn answered(&mut self) {
        let mut points = std::mem::take(&mut self.response).into_iter();
        if let Some(first) = points.next()
            && self.replaced.is_none()
        {
            self.replaced = Some(first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_body_the_beginning_is_kept_and_the_size_told() {
        let mut sample = Sample::default();
        sample.push(b"abc", 4);
        assert!(sample.is_whole());
        sample.push(b"def", 4);
        assert_eq!((sample.head.as_slice(), sample.size), (&b"abcd"[..], 6));
        assert!(!sample.is_whole());
    }

    #[test]
    fn a_replaced_response_keeps_what_the_upstream_sent() {
        let mut passages = Passages::default();
        let mut headers = Headers::new();
        headers.set(":status", "200");
        passages.headers(Way::Response, 0, &headers);
        passages.headers(Way::Response, 1, &headers);
        passages.answered();
        assert!(passages.response.is_empty());
        let replaced = passages.replaced.and_then(|point| point.headers);
        assert_eq!(replaced.unwrap().text(":status").as_deref(), Some("200"));
    }
}
