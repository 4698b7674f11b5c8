//! Callouts on their way, and those of requests that aren't over.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::entry::{Answer, Call};
use super::{Inspector, Tape};
use crate::headers::Headers;
use crate::state::{CalloutId, StreamId};
use crate::trace::detail::Sample;
use crate::worker::CalloutAnswer;

/// Callouts of a request that are kept.
const OF_A_REQUEST: usize = 100;

/// The callouts of one worker.
pub(crate) struct Calls {
    inspector: Arc<Inspector>,
    waiting: HashMap<CalloutId, Waiting>,
    of_streams: HashMap<StreamId, Vec<Call>>,
}

/// A callout without an answer yet.
enum Waiting {
    /// Which one of its stream it is.
    OfStream(StreamId, usize),
    OfRoot(Box<Call>),
}

impl Calls {
    pub(crate) fn new(inspector: Arc<Inspector>) -> Self {
        Self {
            inspector,
            waiting: HashMap::new(),
            of_streams: HashMap::new(),
        }
    }

    pub(crate) fn inspector(&self) -> &Inspector {
        &self.inspector
    }

    /// A plugin has made a callout.
    pub(crate) fn made(
        &mut self,
        id: CalloutId,
        stream: Option<StreamId>,
        cluster: &str,
        headers: &Headers,
        body: &Bytes,
    ) {
        let mut sample = Sample::default();
        sample.push(body, Tape::BODY_KEPT);
        let call = Call {
            cluster: cluster.to_owned(),
            headers: headers.clone(),
            body: sample,
            began: Some(Instant::now()),
            took: None,
            answer: None,
        };
        match stream {
            None => self.waiting.insert(id, Waiting::OfRoot(Box::new(call))),
            Some(stream) => {
                let calls = self.of_streams.entry(stream).or_default();
                if calls.len() >= OF_A_REQUEST {
                    return;
                }
                calls.push(call);
                let place = calls.len() - 1;
                self.waiting.insert(id, Waiting::OfStream(stream, place))
            }
        };
    }

    /// The answer has come.
    pub(crate) fn answered(&mut self, id: CalloutId, answer: &CalloutAnswer) {
        let Some(waiting) = self.waiting.remove(&id) else {
            return;
        };
        let answer = match answer {
            CalloutAnswer::Reset => Answer::Reset,
            CalloutAnswer::Response { headers, body, .. } => {
                let mut sample = Sample::default();
                sample.push(body, Tape::BODY_KEPT);
                Answer::Response(headers.clone(), sample)
            }
        };
        let end = |call: &mut Call| {
            call.took = call.began.map(|began| began.elapsed());
            call.answer = Some(answer);
        };
        match waiting {
            Waiting::OfStream(stream, place) => {
                // A request that is over has been told without the answer.
                let calls = self.of_streams.get_mut(&stream);
                if let Some(call) = calls.and_then(|calls| calls.get_mut(place)) {
                    end(call);
                }
            }
            Waiting::OfRoot(mut call) => {
                end(&mut call);
                self.inspector.background_callout(*call);
            }
        }
    }

    /// The callouts of a request that is over.
    pub(crate) fn take(&mut self, stream: StreamId) -> Vec<Call> {
        self.of_streams.remove(&stream).unwrap_or_default()
    }
}
