//! A request that a service is asked about: calls out, answers in.

use std::time::Duration;

use filter_core::headers::Headers;
use filter_core::time::Timestamp;
use filter_shell::fetched::Fetched;
use filter_shell::host::{self, HeaderMap};
use proxy_wasm::hostcalls::{dispatch_grpc_call, dispatch_http_call};

use super::limiter::Limiter;
use crate::decision::{Decision, Verdict};
use crate::dues::Dues;
use crate::global::{At, Call, Flight, Service, redis, rls};

/// The longest answer of a server that is read.
const LONGEST_MESSAGE: usize = 64 * 1024;

/// What a request waits for.
pub(super) struct Asking {
    /// Its own copy: the host's is gone once the request goes on.
    fetched: Fetched,
    /// What the table said, and when.
    decision: Box<Decision>,
    then: Timestamp,
    flight: Flight,
    /// The call that is under way.
    token: Option<u32>,
}

impl Asking {
    pub(super) fn new(
        fetched: Fetched,
        decision: Box<Decision>,
        then: Timestamp,
        flight: Flight,
    ) -> Self {
        Self {
            fetched,
            decision,
            then,
            flight,
            token: None,
        }
    }

    /// Whether that is the call it waits for.
    pub(super) fn is_call(&self, token: u32) -> bool {
        self.token == Some(token)
    }

    /// Begins; returns whether there is anything to wait for.
    pub(super) fn begins(&mut self, limiter: &Limiter) -> bool {
        self.go_on(limiter, |flight, at| flight.next(at))
    }

    /// Takes what came of a call; returns whether there is another one to wait for.
    pub(super) fn answered(&mut self, limiter: &Limiter, answer: Option<&[u8]>) -> bool {
        if answer.is_none() {
            limiter.unheard("no answer", self.now());
        }
        self.go_on(limiter, |flight, at| flight.answer(at, answer))
    }

    fn go_on(
        &mut self,
        limiter: &Limiter,
        step: impl FnOnce(&mut Flight, &At<'_>) -> Option<Call>,
    ) -> bool {
        self.token = None;
        let Some(service) = &limiter.service else {
            return false;
        };
        let now = self.now();
        let request = self.fetched.request();
        let at = At {
            service,
            policy: &limiter.policy,
            request: &request,
            now,
        };
        let mut next = step(&mut self.flight, &at);
        while let Some(call) = next {
            match make(service, &call) {
                Ok(token) => {
                    self.token = Some(token);
                    return true;
                }
                Err(why) => {
                    limiter.unheard(why, now);
                    next = self.flight.answer(&at, None);
                }
            }
        }
        false
    }

    /// What becomes of the request, and as of when.
    pub(super) fn end(self, limiter: &Limiter) -> (Box<Decision>, Timestamp) {
        let request = self.fetched.request();
        let mut ending = self.flight.ending();
        for (name, value) in &ending.request_headers {
            // The request is better without it than none at all.
            let _ = host::replace_header(HeaderMap::Request, name, value);
        }
        if ending.falls_back {
            let mut claim = limiter.policy.fallback(&request);
            let (decision, _) = limiter.decide_claim(&mut claim);
            ending = ending.decided(*decision);
        }
        if matches!(ending.verdict, Verdict::Deny(_)) {
            let claim = limiter.policy.claim(&request);
            limiter.take_back(&claim, &self.decision, self.then);
        }
        let decision = ending.joined(self.decision, limiter.policy.config());
        (decision, self.then)
    }

    /// What is to be done if the request ends now.
    pub(super) fn into_dues(self) -> Dues {
        self.decision.dues
    }

    fn now(&self) -> Timestamp {
        host::monotonic_now().unwrap_or(self.then)
    }
}

/// Makes a call; the answer comes to the stream that is in a callback. By the SDK's hostcalls, for
/// otherwise its dispatcher wouldn't know whose the answer is.
fn make(service: &Service, call: &Call) -> Result<u32, &'static str> {
    let backend = service.backend();
    let cluster = &*backend.cluster;
    let timeout = Duration::from_millis(u64::from(backend.timeout_millis()));
    let token = match call {
        Call::Http(path) => {
            let headers = vec![
                (":method", "GET"),
                (":path", &**path),
                (":authority", cluster),
            ];
            dispatch_http_call(cluster, headers, None, Vec::new(), timeout)
        }
        Call::Grpc(message) => dispatch_grpc_call(
            cluster,
            rls::SERVICE,
            rls::METHOD,
            Vec::new(),
            Some(message),
            timeout,
        ),
    };
    token.map_err(|_| "the cluster can't be called")
}

/// The body of an answer; `None` if there is no answer, or it isn't 200.
pub(super) fn http_answer(headers: usize, body: usize) -> Option<Vec<u8>> {
    if headers == 0 {
        return None;
    }
    let pairs = host::header_pairs(HeaderMap::CallResponse).ok()?;
    if Headers::decode(&pairs).first(":status") != Some(b"200") {
        return None;
    }
    host::call_response_body(body.min(redis::LONGEST_ANSWER)).ok()
}

/// The message of an answer; `None` if there is none.
pub(super) fn grpc_answer(status: u32, size: usize) -> Option<Vec<u8>> {
    (status == 0).then(|| host::grpc_message(size.min(LONGEST_MESSAGE)).ok())?
}
