//! One request's way through the service.
//!
//! The enforced rules are asked together, in one call, and charged together or not at all. Rules in
//! shadow mode are asked about requests that those allow, each by itself.

use std::borrow::Cow;
use std::ops::Range;

use filter_core::time::{Span, Timestamp};

use super::redis::{self, Bucket, Refusal};
use super::rls::{self, Entries, Response};
use super::{At, Call, Question};
use crate::algorithm::Algorithm;
use crate::claim::log;
use crate::config::{BackendError, Config, Limit, Protocol, Rule};
use crate::decision::{Cause, Count, Decision, Outcome, Verdict};
use crate::few::Few;
use crate::fields::{Entry, Field, Fields, Standing, Window, fields, merged};
use crate::gcra::{Answer, Gcra};
use crate::replies::{deny, unavailable};

/// The longest value of a descriptor; a longer one is named by its hash.
const LONGEST_VALUE: usize = 256;

/// A request on its way through the service.
#[derive(Debug)]
pub struct Flight {
    /// The enforced ones first.
    questions: Vec<Question>,
    /// Those that are being asked.
    round: Range<usize>,
    /// Requests to be charged for ahead.
    ahead: u64,
    /// Whether the call brings the script that Redis didn't know.
    whole: bool,
    is_over: bool,
    ending: Ending,
}

/// What became of a request at the service.
#[derive(Debug)]
pub struct Ending {
    /// Whether it is served.
    pub verdict: Verdict,
    /// Counters to add one to.
    pub counts: Few<Count>,
    /// Headers for the upstream.
    pub request_headers: Vec<(String, String)>,
    /// Whether the gateway has to decide by itself: there was no answer.
    pub falls_back: bool,
}

impl Flight {
    /// Sets out with these questions. [`Flight::next`] says what to ask first.
    pub fn new(questions: Few<Question>) -> Self {
        let (mut enforced, shadow): (Vec<_>, Vec<_>) =
            questions.into_iter().partition(|asked| asked.enforced);
        enforced.extend(shadow);
        Self {
            questions: enforced,
            round: 0..0,
            ahead: 0,
            whole: false,
            is_over: false,
            ending: Ending {
                verdict: Verdict::Allow(Fields::default()),
                counts: Few::default(),
                request_headers: Vec::new(),
                falls_back: false,
            },
        }
    }

    /// What became of the request, to be asked when there is no call left to make.
    pub fn ending(self) -> Ending {
        self.ending
    }

    /// The next call to be made; `None` if none is.
    pub fn next(&mut self, at: &At<'_>) -> Option<Call> {
        while !self.is_over && self.round.end < self.questions.len() {
            let start = self.round.end;
            let enforced = self.questions.iter().filter(|asked| asked.enforced).count();
            let end = if start < enforced {
                enforced
            } else {
                start.saturating_add(1)
            };
            self.round = start..end;
            if let Some(call) = self.ask(at) {
                return Some(call);
            }
        }
        None
    }

    /// Takes what came of a call: the answer, if there was one. Returns the next call, if any.
    pub fn answer(&mut self, at: &At<'_>, answer: Option<&[u8]>) -> Option<Call> {
        let understood = match &at.service.backend.protocol {
            Protocol::Redis { .. } => {
                let buckets = self.buckets(at);
                match answer.map(|answer| redis::read(answer, buckets.len())) {
                    Some(Ok(answer)) => {
                        self.charged(at, &buckets, &answer);
                        true
                    }
                    Some(Err(Refusal::NoScript)) if !self.whole => {
                        self.whole = true;
                        return Some(self.call(at));
                    }
                    _ => false,
                }
            }
            Protocol::Rls { .. } => match answer.and_then(Response::read) {
                Some(response) if response.is_over && self.ahead > 0 => {
                    // Too much at once; perhaps not for the request alone.
                    self.settle_ahead(at, 0, None);
                    self.ahead = 0;
                    return Some(self.call(at));
                }
                Some(response) => {
                    self.judged(at, response);
                    true
                }
                None => false,
            },
        };
        if understood {
            at.service.breaker.succeeded();
        } else {
            at.service.breaker.failed(at.now);
            self.fail(at, Cause::Service);
        }
        self.next(at)
    }

    fn asked(&self) -> &[Question] {
        self.questions.get(self.round.clone()).unwrap_or_default()
    }

    /// Begins the round: decides it by what is known, or says what to ask.
    fn ask(&mut self, at: &At<'_>) -> Option<Call> {
        let service = at.service;
        (self.ahead, self.whole) = (0, false);
        let over = self.asked().iter().enumerate().find_map(|(index, asked)| {
            let until = service.memory.over(asked.holder, asked.cost, at.now)?;
            Some((index, until.since(at.now)))
        });
        if let Some((index, wait)) = over.filter(|_| service.backend.precheck) {
            let limits = self
                .asked()
                .get(index)
                .map_or(&[][..], |asked| limits(at, asked));
            // Of several limits nobody remembers which it was.
            let standing = match limits {
                [limit] => vec![Standing::with(limit, 0, seconds(wait))],
                _ => Vec::new(),
            };
            self.deny(at, index, wait, &standing, None);
            return None;
        }
        let mut asked = self.asked().iter();
        if asked.all(|asked| service.memory.has(asked.holder, at.now)) {
            for asked in self.asked() {
                service.memory.take(asked.holder);
            }
            self.allow(Fields::default());
            return None;
        }
        if !service.breaker.lets_through(at.now) {
            self.fail(at, Cause::ServicePaused);
            return None;
        }
        let leases = self.asked().iter().map(|asked| lease(at, asked));
        let deadline = at.now.after(service.backend.timeout);
        if leases.clone().all(|lease| lease > 1) {
            let worth =
                self.asked().iter().zip(leases).map(|(asked, lease)| {
                    service.memory.worth(asked.holder, lease, at.now, deadline)
                });
            self.ahead = worth.min().unwrap_or(0);
        }
        Some(self.call(at))
    }

    /// The call that asks the round's questions.
    fn call(&mut self, at: &At<'_>) -> Call {
        self.ending.counts.push(Count::Call);
        match &at.service.backend.protocol {
            Protocol::Redis { .. } => {
                Call::Http(redis::path(&self.buckets(at), self.ahead, self.whole))
            }
            Protocol::Rls { domain } => {
                let requests = self.ahead.saturating_add(1);
                let descriptors: Vec<_> = self
                    .asked()
                    .iter()
                    .map(|asked| (entries(at, asked), asked.cost.saturating_mul(requests)))
                    .collect();
                Call::Grpc(rls::request(domain, &descriptors))
            }
        }
    }

    fn buckets(&self, at: &At<'_>) -> Vec<Bucket> {
        let Protocol::Redis { prefix } = &at.service.backend.protocol else {
            return Vec::new();
        };
        let mut buckets = Vec::new();
        for asked in self.asked() {
            let name = rule(at, asked).map_or("", |rule| &rule.name);
            for limit in limits(at, asked) {
                // The configuration has no other for global rules.
                if let Algorithm::Gcra(gcra) = limit.algorithm {
                    buckets.push(Bucket::new(prefix, name, &asked.key, asked.cost, gcra));
                }
            }
        }
        buckets
    }

    /// Takes Redis' answer.
    fn charged(&mut self, at: &At<'_>, buckets: &[Bucket], answer: &redis::Answer) {
        let mut known = buckets.iter().zip(&answer.debts);
        let mut standings = Vec::new();
        let mut over: Option<usize> = None;
        for (index, asked) in self.asked().iter().enumerate() {
            let mut wait = Span::ZERO;
            for limit in limits(at, asked) {
                let Some((bucket, debt)) = known.next() else {
                    continue;
                };
                let full = at.now.after(*debt);
                standings.push(standing(limit, &bucket.gcra, full, at.now));
                if let Answer::Refuse(longer) = bucket.gcra.charge(full, asked.cost, at.now) {
                    wait = wait.max(longer);
                }
            }
            if !answer.allowed && wait > Span::ZERO {
                over = over.or(Some(index));
                let until = at.now.after(wait);
                let memory = &at.service.memory;
                memory.remember_over(asked.holder, asked.cost, until);
            }
        }
        self.settle_ahead(at, answer.ahead, None);
        if answer.allowed {
            self.allow(fields(at.policy.config().headers, &standings, None));
        } else {
            self.deny(at, over.unwrap_or(0), answer.wait, &standings, None);
        }
    }

    /// Takes the answer of a server of the Rate Limit Service protocol.
    fn judged(&mut self, at: &At<'_>, response: Response) {
        let memory = &at.service.memory;
        let mut standings = Vec::new();
        let mut over: Option<(usize, Span)> = None;
        let mut reset: Option<Span> = None;
        let asked = self.asked();
        // Statuses that don't match the questions say nothing about any of them.
        let statuses = Some(&response.statuses).filter(|statuses| statuses.len() == asked.len());
        for (index, (asked, status)) in asked.iter().zip(statuses.into_iter().flatten()).enumerate()
        {
            let until_reset = status.reset.unwrap_or(Span::ZERO);
            if status.is_over {
                over = over.or(Some((index, until_reset)));
                if until_reset > Span::ZERO {
                    memory.remember_over(asked.holder, asked.cost, at.now.after(until_reset));
                }
            }
            reset = match (reset, status.reset) {
                (Some(known), Some(other)) => Some(known.min(other)),
                (known, other) => known.or(other),
            };
            let room = status.remaining.checked_div(asked.cost.saturating_mul(8));
            if status.limit.is_some() {
                memory.has_room(asked.holder, room.unwrap_or(0));
            }
            if let (Some(limit), Some(rule)) = (status.limit, rule(at, asked)) {
                standings.push(Standing {
                    policy: &rule.name,
                    quota: limit.requests,
                    entry: Entry::Of(limit.window.map_or(Window::Unsaid, Window::Seconds)),
                    remaining: status.remaining,
                    reset: until_reset.as_secs_rounded_up(),
                });
            }
        }
        if response.is_over {
            let (index, wait) = over.unwrap_or((0, Span::ZERO));
            self.deny(at, index, wait, &standings, Some(response));
        } else {
            self.settle_ahead(at, self.ahead, reset);
            let mut more = fields(at.policy.config().headers, &standings, None);
            let others = response.response_headers.into_iter().map(field);
            others.for_each(|field| more.push(field));
            self.ending.request_headers.extend(response.request_headers);
            self.allow(more);
        }
    }

    /// Takes down for how many requests the call charged ahead, and when they are worthless.
    fn settle_ahead(&self, at: &At<'_>, ahead: u64, reset: Option<Span>) {
        if self.ahead == 0 {
            return;
        }
        let lasts = at.service.backend.sync_every;
        let until = at.now.after(reset.map_or(lasts, |reset| reset.min(lasts)));
        for asked in self.asked() {
            at.service.memory.granted(asked.holder, ahead, until);
        }
    }

    fn allow(&mut self, fields: Fields) {
        self.count(None, Outcome::Allow);
        // What later rounds are about are rules in shadow mode, of which nobody is told.
        if self.round.start == 0 {
            self.ending.verdict = Verdict::Allow(fields);
        }
    }

    /// One of the round's questions is over its limit.
    fn deny(
        &mut self,
        at: &At<'_>,
        index: usize,
        wait: Span,
        standings: &[Standing<'_>],
        response: Option<Response>,
    ) {
        let asked = self.asked().get(index);
        let Some((rule, enforced)) =
            asked.and_then(|asked| Some((rule(at, asked)?, asked.enforced)))
        else {
            return;
        };
        if !enforced {
            self.count(Some(index), Outcome::Shadow);
            return;
        }
        self.count(Some(index), Outcome::Deny);
        self.is_over = true;
        let seconds = seconds(wait);
        let fields = fields(at.policy.config().headers, standings, Some(seconds));
        let mut reply = deny(rule, seconds, &fields);
        if let Some(response) = response {
            reply.headers.extend(response.response_headers);
            if !response.body.is_empty() {
                reply.headers.retain(|(name, _)| name != "content-type");
                reply.body = response.body;
            }
        }
        self.ending.verdict = Verdict::Deny(Box::new(reply));
    }

    /// The round's questions have no answer.
    fn fail(&mut self, at: &At<'_>, cause: Cause) {
        self.ending.counts.push(Count::Error(cause));
        if self.asked().iter().any(|asked| !asked.enforced) {
            // Nothing depended on it.
            return;
        }
        self.is_over = true;
        match at.service.backend.on_error {
            BackendError::Allow => {}
            BackendError::Deny => {
                self.ending.verdict = Verdict::Deny(Box::new(unavailable(cause)));
            }
            BackendError::Local => self.ending.falls_back = true,
        }
    }

    /// Counts an outcome for one of the round's rules, or for all.
    fn count(&mut self, index: Option<usize>, outcome: Outcome) {
        let asked = self.questions.get(self.round.clone()).unwrap_or_default();
        let asked = asked.iter().enumerate();
        let asked = asked.filter(|(at, _)| index.is_none_or(|index| *at == index));
        let counts = asked.map(|(_, asked)| Count::Request {
            rule: asked.holder.rule,
            outcome,
        });
        self.ending.counts.extend(counts);
    }
}

impl Ending {
    /// The ending where the gateway decided by itself so.
    pub fn decided(mut self, decision: Decision) -> Self {
        self.verdict = decision.verdict;
        self.counts.extend(decision.counts);
        self
    }

    /// Puts it together with what the gateway's own rules decided, which was to allow the request.
    /// If it is denied now, their charges are to be taken back.
    pub fn joined(self, mut ours: Box<Decision>, config: &Config) -> Box<Decision> {
        let mut counts = std::mem::take(&mut ours.counts);
        ours.verdict = match (ours.verdict, self.verdict) {
            (Verdict::Allow(fields), Verdict::Allow(more)) => Verdict::Allow(merged(fields, more)),
            (_, denied) => {
                // Denied by one rule, it isn't counted by those that would have allowed it.
                counts.retain(|count| !matches!(count, Count::Request { .. }));
                denied
            }
        };
        counts.extend(self.counts);
        let mut words = log(config, &counts);
        let error = counts.iter().find_map(|count| match count {
            Count::Error(cause) => Some(cause.word()),
            _ => None,
        });
        if let Some(word) = error {
            let space = if words.is_empty() { "" } else { " " };
            words.push_str(&format!("{space}error={word}"));
        }
        ours.log = (!words.is_empty()).then_some(words);
        ours.counts = counts;
        ours
    }
}

fn rule<'a>(at: &At<'a>, asked: &Question) -> Option<&'a Rule> {
    at.policy.config().rules.get(asked.holder.rule)
}

fn limits<'a>(at: &At<'a>, asked: &Question) -> &'a [Limit] {
    rule(at, asked).map_or(&[], |rule| rule.limits(asked.holder.tier))
}

fn lease(at: &At<'_>, asked: &Question) -> u64 {
    rule(at, asked).map_or(1, |rule| rule.lease)
}

/// What a client is called: the rule, then what it is told apart by.
fn entries(at: &At<'_>, asked: &Question) -> Entries {
    let Some(rule) = rule(at, asked) else {
        return Entries::new();
    };
    let mut entries = vec![("generic_key".to_owned(), rule.name.clone())];
    for (name, value) in rule.key.named(at.request) {
        // One that a request lacks is left out; the rule lets such requests share a limit.
        if let Some(value) = value {
            entries.push((name.into_owned(), text(value)));
        }
    }
    entries
}

/// A value as text. One that can't be, or is too long for others to keep, goes by its hash.
fn text(value: Vec<u8>) -> String {
    if value.len() > LONGEST_VALUE {
        return format!("sha256:{}", redis::hex(&value));
    }
    match String::from_utf8(value) {
        Ok(text) => text,
        Err(error) => format!("sha256:{}", redis::hex(error.as_bytes())),
    }
}

fn standing<'a>(limit: &'a Limit, gcra: &Gcra, full: Timestamp, now: Timestamp) -> Standing<'a> {
    let next_unit = gcra.next_unit(full, now);
    Standing::with(
        limit,
        gcra.remaining(full, now),
        next_unit.as_secs_rounded_up(),
    )
}

/// "Retry-After: 0" would invite the client to try again at once.
fn seconds(wait: Span) -> u64 {
    wait.as_secs_rounded_up().max(1)
}

fn field((name, value): (String, String)) -> Field {
    Field {
        name: Cow::Owned(name),
        value: value.into_bytes(),
        is_list: false,
    }
}
