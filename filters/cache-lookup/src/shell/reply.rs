//! Answers out of the store.
//!
//! Envoy copies the body of a local reply into a string, and that into a buffer. What a filter puts into
//! the buffer of a response is copied once. So a long body is left out of the reply, which has some bytes
//! in its place, and is put in when those pass the filter on their way to the client.

use std::rc::Rc;

use filter_shell::host::{self, HeaderMap, Status};

use super::cache::Cache;
use super::state::{Body, Stage, State};
use crate::config::Rule;
use crate::decision::{Answer, Outcome};

/// Bytes from which on a body is put in later: below, two more hostcalls take longer than copies.
const LONG: usize = 16 * 1024;
/// In place of a long body. Of a length that other answers hardly have, and less than what is compressed.
const STAND_IN: &[u8] = b"\x1astands in for a long body\x1a";
const STAND_IN_LENGTH: &[u8] = b"27";

/// When an answer is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// In place of a request to the origin: the answer passes the filter's own callbacks.
    Request,
    /// In place of the origin's response: it doesn't.
    Response,
}

impl Cache {
    /// Sends an answer.
    pub(super) fn answer(
        &self,
        state: &mut State,
        rule: &Rule,
        answer: &Answer,
        when: When,
    ) -> Result<(), Status> {
        let body = state.hit.as_ref().zip(answer.body);
        let body = body.map(|(hit, (from, to))| Body {
            object: Rc::clone(&hit.object),
            range: from..to,
        });
        let bytes = body.as_ref().map(Body::bytes).unwrap_or_default();
        self.tell(rule, answer.outcome, bytes.len());
        let details = if answer.status == 304 && answer.outcome == Outcome::Hit {
            "cache_not_modified"
        } else {
            answer.outcome.details()
        };
        // The filter's own callbacks see it pass: they must not take it for an origin's.
        state.stage = Stage::Done;
        if when == When::Request && bytes.len() >= LONG && self.policy.config().late_bodies {
            host::send_bytes(answer.status, details, &answer.fields, STAND_IN)?;
            state.body_to_come = body;
            return Ok(());
        }
        host::send_bytes(answer.status, details, &answer.fields, bytes)
    }

    /// Gives the headers of an answer the length of the body that is to come.
    pub(super) fn own_headers(&self, state: &mut State) {
        let Some(body) = &state.body_to_come else {
            return;
        };
        let done = host::header(HeaderMap::Response, "content-length").and_then(|length| {
            match length.as_deref() {
                Some(STAND_IN_LENGTH) => {
                    let length = body.bytes().len().to_string();
                    host::replace_header(HeaderMap::Response, "content-length", &length)?;
                    Ok(true)
                }
                // A filter nearer to the router had it chunked.
                None => Ok(true),
                // Such a filter, or Envoy, gave another answer in place of this one.
                Some(_) => Ok(false),
            }
        });
        match done {
            Ok(true) => {}
            Ok(false) => state.body_to_come = None,
            Err(status) => self.complain(status),
        }
    }

    /// Puts the body in that is to come, if what stands in for it is still there: no other answer gets it.
    pub(super) fn own_body(&self, state: &mut State, size: usize) {
        let Some(body) = state.body_to_come.take() else {
            return;
        };
        if size != STAND_IN.len() {
            return;
        }
        let done = host::response_body(size).and_then(|bytes| match &*bytes {
            STAND_IN => host::replace_response_body(size, body.bytes()),
            _ => Ok(()),
        });
        if let Err(status) = done {
            self.complain(status);
        }
    }
}
