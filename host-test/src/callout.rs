//! Callouts of guests against scripted services: those that wait for an answer, and the answers
//! that Envoy makes itself when nothing comes.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::exchange::{Answer, Received};
use crate::headers::Headers;
use crate::worker::{CalloutAnswer, CalloutId};

/// A larger response counts as broken off, as in Envoy.
const MAX_RESPONSE: usize = 32 << 20;

/// Envoy's words where no one listens.
pub(crate) const REFUSED: &str = "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure";

/// Envoy's words for an upstream that closes before it answers.
pub(crate) const TERMINATED: &str = "upstream connect error or disconnect/reset before headers. reset reason: connection termination";

/// Envoy's words when the time is up.
pub(crate) const TIMED_OUT: &str = "upstream request timeout";

/// A callout that no answer has come to yet.
#[derive(Clone, Debug)]
pub struct Callout {
    pub(crate) worker: usize,
    pub(crate) id: CalloutId,
    /// Which of the host's callouts it is, counted over all workers.
    pub(crate) number: u64,
    pub(crate) deadline: Option<Duration>,
    /// `None` for an HTTP callout.
    pub(crate) rpc: Option<Rpc>,
    /// What the service received.
    pub request: Received,
    /// How long the guest waits; `None` for ever.
    pub timeout: Option<Duration>,
}

/// How far a gRPC callout is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rpc {
    /// It is a stream, not a call.
    pub(crate) streams: bool,
    /// The guest has ended its side.
    pub(crate) ended: bool,
    /// The answer has begun.
    pub(crate) begun: bool,
    /// What is answered once the guest has ended its side.
    pub(crate) answer: Option<Answer>,
}

/// A callout that was to be answered and is over: it was answered before, or its time was up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CalloutOver {
    cluster: String,
}

impl CalloutOver {
    pub(crate) fn new(callout: &Callout) -> Self {
        Self {
            cluster: callout.request.cluster.clone(),
        }
    }
}

impl fmt::Display for CalloutOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the callout to {:?} can't be answered: it was answered before, or its time was up",
            self.cluster
        )
    }
}

impl std::error::Error for CalloutOver {}

/// How a callout ends that gets this answer; `None` if it goes on waiting.
pub(crate) fn outcome(answer: Answer) -> Option<CalloutAnswer> {
    Some(match answer {
        Answer::Respond {
            headers,
            chunks,
            trailers,
        } => {
            let body = Bytes::from(chunks.concat());
            if body.len() > MAX_RESPONSE {
                return Some(CalloutAnswer::Reset);
            }
            CalloutAnswer::Response {
                headers,
                body,
                trailers,
            }
        }
        Answer::Break { .. } => CalloutAnswer::Reset,
        Answer::Reset => made(503, TERMINATED),
        Answer::Refused => made(503, REFUSED),
        Answer::Never | Answer::Open { .. } => return None,
    })
}

/// What a guest gets whose callout has waited for too long.
pub(crate) fn timed_out() -> CalloutAnswer {
    made(504, TIMED_OUT)
}

/// An answer that Envoy makes itself.
fn made(status: u16, body: &'static str) -> CalloutAnswer {
    let headers = [
        (":status", status.to_string()),
        ("content-length", body.len().to_string()),
        ("content-type", "text/plain".to_owned()),
    ];
    CalloutAnswer::Response {
        headers: headers.into_iter().collect(),
        body: Bytes::from_static(body.as_bytes()),
        trailers: Headers::new(),
    }
}
