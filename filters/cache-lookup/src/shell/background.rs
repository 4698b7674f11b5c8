//! Responses that are fetched while a stale one is used (RFC 5861 section 3).
//!
//! A call of a stream would end with it, so they are queued and made on the root context's tick.

use std::cell::RefCell;
use std::collections::BTreeMap;

use filter_core::headers::Headers;
use filter_shell::host::{self, HeaderMap, Status};

use super::cache::{Cache, Count};
use super::state::{Hit, State};
use crate::collapse::{Lease, Outcome as Settled, Turn};
use crate::config::Rule;
use crate::decision::{Edit, Outcome, Plan, Verdict};
use crate::freshness::Moments;
use crate::policy::{Arrival, Course};
use crate::request::Seen;

/// Requests that wait for the tick; more are left to later clients.
const MOST_QUEUED: usize = 256;
const TIMEOUT_MILLIS: u64 = 15_000;
/// No stream has this id.
const NOBODY: u32 = 0;

/// What is fetched in the background.
#[derive(Debug, Default)]
pub(super) struct Background {
    queued: RefCell<Vec<Job>>,
    under_way: RefCell<BTreeMap<u32, Job>>,
}

#[derive(Debug)]
struct Job {
    cluster: String,
    /// As the client sent it.
    request: Vec<u8>,
    fields: Vec<(String, String)>,
    state: State,
    lease: Lease,
    course: Course,
}

impl Cache {
    /// Queues a request for a new response.
    pub(super) fn refresh_later(&self, state: &State, rule: &Rule, seen: &Seen<'_>, now: u64) {
        if self.background.queued.borrow().len() >= MOST_QUEUED || state.body.is_some() {
            return;
        }
        let (Some(hit), Some(lookup)) = (&state.hit, &state.lookup) else {
            return;
        };
        // One for all workers.
        let hash = self.store.hash(lookup.primary());
        let lease = match self.store.join(hash, NOBODY, now) {
            Ok(Turn::Lead(lease)) => lease,
            Ok(Turn::Wait(_)) => return self.store.leave(NOBODY),
            Ok(Turn::Go) | Err(_) => return,
        };
        let cluster = match &rule.stale.cluster {
            Some(cluster) => Some(cluster.clone()),
            None => host::property("xds\0cluster_name")
                .ok()
                .flatten()
                .and_then(|name| String::from_utf8(name).ok()),
        };
        let fields = fields(seen, hit);
        let (Some(cluster), Some(fields)) = (cluster, fields) else {
            let _ = self.store.settle(lease, Settled::Failed, now);
            return;
        };
        let request = Headers::encode(seen.headers.iter().map(|(name, value)| match name {
            // What comes is to be stored under the key of a GET.
            b":method" => (name, &b"GET"[..]),
            _ => (name, value),
        }));
        let job = Job {
            cluster,
            request,
            fields,
            course: Course {
                rule: state.rule,
                plan: Plan::Validate,
                outcome: Outcome::Expired,
                has_body_key: false,
            },
            state: State {
                rule: state.rule,
                lookup: state.lookup.clone(),
                view: state.view.clone(),
                hit: state.hit.clone(),
                ..State::default()
            },
            lease,
        };
        self.background.queued.borrow_mut().push(job);
    }

    /// Sends what is queued; to be called on the root context's tick.
    pub(super) fn fetch_in_background(&self) {
        let queued = std::mem::take(&mut *self.background.queued.borrow_mut());
        for mut job in queued {
            let now = self.now().unwrap_or_default();
            job.state.sent = now;
            let fields = job
                .fields
                .iter()
                .map(|(name, value)| (&**name, &**value))
                .collect();
            // The SDK's own call: its dispatcher traps on answers to others.
            let token = proxy_wasm::hostcalls::dispatch_http_call(
                &job.cluster,
                fields,
                None,
                Vec::new(),
                std::time::Duration::from_millis(TIMEOUT_MILLIS),
            );
            match token {
                Ok(token) => {
                    self.count(Count::Background, 1);
                    self.background.under_way.borrow_mut().insert(token, job);
                }
                Err(_) => {
                    let _ = self.store.settle(job.lease, Settled::Failed, now);
                }
            }
        }
    }

    /// Takes what came of a call.
    pub(super) fn on_background(&self, token: u32, headers: usize, body: usize) {
        let Some(mut job) = self.background.under_way.borrow_mut().remove(&token) else {
            return;
        };
        let now = self.now().unwrap_or_default();
        let stored = match self.take_response(&mut job, headers, body, now) {
            Ok(stored) => stored,
            Err(status) => {
                self.complain(status);
                false
            }
        };
        let outcome = if stored {
            Settled::Stored
        } else {
            Settled::Failed
        };
        if let Err(status) = self.store.settle(job.lease, outcome, now) {
            self.complain(status);
        }
    }

    fn take_response(
        &self,
        job: &mut Job,
        headers: usize,
        body: usize,
        now: u64,
    ) -> Result<bool, Status> {
        let (true, Some(rule)) = (headers > 0, self.policy.rule(job.course.rule)) else {
            return Ok(false);
        };
        let block = host::header_pairs(HeaderMap::CallResponse)?;
        let seen = Seen::of(Headers::decode(&job.request));
        let arrival = Arrival {
            fields: Headers::decode(&block),
            moments: Moments {
                request: job.state.sent,
                response: now,
            },
            collapsed: false,
            key: &[],
        };
        let stored = job.state.hit.as_ref().and_then(Hit::stored);
        match self.policy.judge(job.course, &seen, &arrival, stored) {
            Verdict::Answer {
                refreshed, drop, ..
            } => {
                self.refreshed(&job.state, rule, refreshed.as_deref(), drop, now)?;
                Ok(refreshed.is_some())
            }
            Verdict::Pass(pass) => {
                let status = crate::policy::status_of(&arrival.fields);
                let Some(Ok(candidate)) = pass.store else {
                    if (200..400).contains(&status) {
                        // There is a new one and it can't be stored: the old one isn't it.
                        self.refreshed(&job.state, rule, None, true, now)?;
                    }
                    return Ok(false);
                };
                self.copy(&mut job.state, rule, &seen, *candidate, now);
                let Some(mut copy) = job.state.copy.take() else {
                    return Ok(false);
                };
                let is_whole = copy.draft.append(&host::call_response_body(body)?);
                if is_whole {
                    self.keep(copy, rule, now)
                } else {
                    Ok(false)
                }
            }
            Verdict::Complete { .. } => Ok(false),
        }
    }
}

/// The request's headers with the conditions that validate what is stored; `None` if a value isn't
/// text, which the SDK's call can't send.
fn fields(seen: &Seen<'_>, hit: &Hit) -> Option<Vec<(String, String)>> {
    let conditions = crate::policy::validators(seen, hit.response()?);
    let left_out = |name: &[u8]| {
        matches!(
            name,
            b"range"
                | b"if-range"
                | b"if-none-match"
                | b"if-modified-since"
                | b"content-length"
                | b"transfer-encoding"
                | b"expect"
                | b"x-envoy-internal"
                | b"x-envoy-expected-rq-timeout-ms"
        )
    };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    let mut fields = Vec::new();
    for (name, value) in seen.headers.iter().filter(|(name, _)| !left_out(name)) {
        let value = if name == b":method" { b"GET" } else { value };
        fields.push((text(name)?, text(value)?));
    }
    for condition in conditions {
        if let Edit::Set(name, value) = condition {
            fields.push((name.to_owned(), text(&value)?));
        }
    }
    Some(fields)
}
