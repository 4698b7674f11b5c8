//! From a request, what is stored and the time to a decision; and from a response to what is stored
//! of it and what the client gets (RFC 9111 section 4).

use filter_core::headers::Headers;
use filter_core::request::{Inputs, Request};

use crate::answer::{self, Range};
use crate::cache_control::Delta;
use crate::conditional;
use crate::config::{Config, Rule};
use crate::decision::{Answer, Decision, Edit, Forward, Outcome, Pass, Plan, Verdict};
use crate::fields;
use crate::freshness::Moments;
use crate::head::{Flags, Response};
use crate::invalidation;
use crate::lookup::Found;
use crate::request::{Method, Seen};
use crate::status::{self, Facts};
use crate::storing::{self, Exchange};

/// What decides about all requests of a plugin.
#[derive(Clone, Debug)]
pub struct Policy {
    config: Config,
    inputs: Inputs,
}

/// What is done with a request at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// It is left alone.
    Bypass,
    /// It is forwarded; a successful answer invalidates.
    Write,
    /// Its body is needed for its key, up to so many bytes.
    Body(u64),
    /// The store is asked.
    Lookup,
}

/// A stored response as it was found.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    /// The response.
    pub response: &'a Response,
    /// Bytes of its body.
    pub length: u64,
    /// Whether it was purged softly.
    pub is_purged: bool,
}

/// What the store was asked for a request, and what came of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// What the lookup came to.
    pub found: Found,
    /// The response that was found.
    pub stored: Option<Stored<'a>>,
    /// Whether the request waited for another one.
    pub collapsed: bool,
    /// The key, to be told.
    pub key: &'a [u8],
    /// Milliseconds of Unix time.
    pub now: u64,
}

/// A response that came from upstream.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Its fields, with `:status`.
    pub fields: Headers<'a>,
    /// When it came.
    pub moments: Moments,
    /// Whether its request waited for another one.
    pub collapsed: bool,
    /// The key, to be told.
    pub key: &'a [u8],
}

/// What the response of a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    /// The rule's position.
    pub rule: usize,
    /// What was planned.
    pub plan: Plan,
    /// Why the request was forwarded.
    pub outcome: Outcome,
    /// Whether its body is in the key.
    pub has_body_key: bool,
}

impl Policy {
    /// Makes a policy.
    pub fn new(config: Config) -> Self {
        let inputs = config.rules.iter().map(|rule| rule.matcher.inputs());
        let inputs = inputs.fold(Inputs::HEADERS, Inputs::and);
        Self { config, inputs }
    }

    /// The configuration.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// What rules look at.
    pub const fn inputs(&self) -> Inputs {
        self.inputs
    }

    /// The position of the rule that counts for a request.
    pub fn rule_of(&self, request: &Request<'_>) -> usize {
        let mut rules = self.config.rules.iter();
        let found = rules.position(|rule| rule.matcher.matches(request));
        found.unwrap_or_else(|| self.config.rules.len().saturating_sub(1))
    }

    /// The rule at a position.
    pub fn rule(&self, position: usize) -> Option<&Rule> {
        self.config
            .rules
            .get(position)
            .or_else(|| self.config.rules.last())
    }

    /// Says what is done with a request at first.
    pub fn start(&self, rule: &Rule, seen: &Seen<'_>, has_body: bool) -> Start {
        if rule.bypass || seen.is_no_plain_http {
            return Start::Bypass;
        }
        match (seen.method, rule.body_key) {
            (Method::Post | Method::Query, Some(most)) if has_body => Start::Body(most),
            (Method::Post | Method::Unsafe, _) => Start::Write,
            (Method::Query | Method::Safe, _) => Start::Bypass,
            // The body of a GET isn't in the key: a service that looks at it all the same would have
            // its answer given to others.
            (Method::Get | Method::Head, _) if has_body => Start::Bypass,
            // "The If-Match and If-Unmodified-Since header fields are not applicable to a cache".
            (Method::Get | Method::Head, _) if seen.has_origin_condition => Start::Bypass,
            (Method::Get | Method::Head, _) => Start::Lookup,
        }
    }

    /// Decides on a request, given what was found for it.
    pub fn decide(&self, rule: &Rule, seen: &Seen<'_>, asked: &Asked<'_>) -> Decision {
        let only_if_cached = seen.directives.only_if_cached;
        let forward = match asked.stored {
            None => Forward {
                edits: Vec::new(),
                plan: plan_without(seen),
                outcome: match asked.found {
                    Found::OtherVariants => Outcome::VaryMiss,
                    Found::Nothing | Found::Response => Outcome::Miss,
                },
                may_wait: may_wait(seen),
            },
            Some(stored) => match self.use_of(rule, seen, stored, asked) {
                Ok(answer) => return Decision::Answer(answer),
                Err(forward) => forward,
            },
        };
        if only_if_cached {
            return Decision::Answer(answer::gateway_timeout());
        }
        Decision::Forward(forward)
    }

    /// Answers with a stored response, or says how the request is forwarded.
    fn use_of(
        &self,
        rule: &Rule,
        seen: &Seen<'_>,
        stored: Stored<'_>,
        asked: &Asked<'_>,
    ) -> Result<Answer, Forward> {
        let (response, now) = (stored.response, asked.now);
        let age = response.age(now);
        let stale = match response.staleness(now) {
            None if stored.is_purged => Some(0),
            staleness => staleness,
        };
        let is_bound = response.flags.has(Flags::NO_CACHE);
        let may_be_stale = !is_bound
            && !response.flags.has(Flags::MUST_REVALIDATE)
            && !response.flags.has(Flags::NO_STALE);
        let accepted = seen.accepts(age, response.lifetime, stale, may_be_stale);
        // As if it were fresh: the client's own limits count.
        let in_window = stale.is_some_and(|by| by < response.while_revalidate)
            && !is_bound
            && !matches!(seen.directives.min_fresh, Delta::Seconds(1..))
            && seen.accepts(age, response.lifetime.max(age), None, false);
        let is_private = seen.directives.no_store && rule.honours_clients;
        let usable = !is_bound && (accepted || in_window) && !is_private;
        let forward = |outcome, plan, edits| Forward {
            edits,
            plan,
            outcome,
            may_wait: may_wait(seen) && !is_private,
        };
        if usable {
            let outcome = if stale.is_some() {
                Outcome::Stale
            } else {
                Outcome::Hit
            };
            return match answer::answer(seen, &stored, outcome, now) {
                Ok(mut answer) => {
                    answer.refresh = stale.is_some() && !accepted;
                    Ok(self.with_status(answer, response, now, None, asked.key, asked.collapsed))
                }
                Err(Range::Missing) => Err(self.completing(seen, &stored)),
            };
        }
        let outcome = if is_private || (stale.is_none() && !is_bound) {
            Outcome::Request
        } else {
            Outcome::Expired
        };
        let edits = validators(seen, response);
        if edits.is_empty() || response.part.is_some() || is_private {
            return Err(forward(outcome, plan_without(seen), Vec::new()));
        }
        Err(forward(outcome, Plan::Validate, edits))
    }

    /// A request for what a stored part lacks.
    fn completing(&self, seen: &Seen<'_>, stored: &Stored<'_>) -> Forward {
        let fields = stored.response.fields();
        let tag = conditional::strong_tag(&fields);
        let begins = stored.response.part.is_some_and(|part| part.first == 0);
        let may = seen.method == Method::Get
            && seen.range.is_none()
            && !seen.is_conditional()
            && (tag.is_some() || self.config.partial.complete_without_validator);
        let mut forward = Forward {
            edits: Vec::new(),
            plan: plan_without(seen),
            outcome: Outcome::Partial,
            may_wait: false,
        };
        if begins && may {
            forward.plan = Plan::Complete;
            let range = format!("bytes={}-", stored.length);
            forward.edits.push(Edit::Set("range", range.into_bytes()));
            if let Some(tag) = tag {
                forward.edits.push(Edit::Set("if-range", tag.to_vec()));
            }
        }
        forward
    }

    /// Decides on a response, given what was stored when its request was forwarded.
    pub fn judge(
        &self,
        course: Course,
        seen: &Seen<'_>,
        arrival: &Arrival<'_>,
        stored: Option<Stored<'_>>,
    ) -> Verdict {
        let Some(rule) = self.rule(course.rule) else {
            return Verdict::Pass(Pass::default());
        };
        let now = arrival.moments.response;
        let status = status_of(&arrival.fields);
        let exchange = Exchange {
            config: &self.config,
            rule,
            seen,
            has_body_key: course.has_body_key,
            status,
            fields: &arrival.fields,
            moments: arrival.moments,
        };
        if let Some(stored) = stored
            && matches!(status, 500 | 502 | 503 | 504)
            && let Some(answer) = self.in_place_of_error(seen, stored, arrival, status)
        {
            return Verdict::Answer {
                answer: Box::new(answer),
                refreshed: None,
                drop: false,
            };
        }
        match (course.plan, stored) {
            (Plan::Validate, Some(stored)) if status == 304 => {
                self.validated(&exchange, stored, arrival, now)
            }
            (Plan::Complete, Some(stored)) if status == 206 => {
                self.completed(&exchange, course, stored)
            }
            _ => Verdict::Pass(self.passing(&exchange, course, stored, arrival)),
        }
    }

    /// A stored response in place of an error (RFC 5861 section 4; RFC 9111 section 4.3.3).
    fn in_place_of_error(
        &self,
        seen: &Seen<'_>,
        stored: Stored<'_>,
        arrival: &Arrival<'_>,
        status: u16,
    ) -> Option<Answer> {
        let (response, now) = (stored.response, arrival.moments.response);
        let forbids =
            response.flags.has(Flags::NO_CACHE) || response.flags.has(Flags::MUST_REVALIDATE);
        let in_window = response
            .staleness(now)
            .is_none_or(|by| by < response.if_error);
        let is_better = response.status < 500 && !seen.directives.no_store;
        if forbids || !in_window || !is_better {
            return None;
        }
        let answer = answer::answer(seen, &stored, Outcome::StaleIfError, now).ok()?;
        Some(self.with_status(
            answer,
            response,
            now,
            Some(status),
            arrival.key,
            arrival.collapsed,
        ))
    }

    fn validated(
        &self,
        exchange: &Exchange<'_>,
        stored: Stored<'_>,
        arrival: &Arrival<'_>,
        now: u64,
    ) -> Verdict {
        let old = stored.response;
        // "If the new response contains any strong validators …, then … the cache MUST NOT use the
        // new response to update any stored responses" that have others (section 4.3.4).
        let new_tag = conditional::strong_tag(exchange.fields);
        let old_fields = old.fields();
        let old_tag = conditional::strong_tag(&old_fields);
        let contradicts = new_tag.is_some() && old_tag.is_some() && new_tag != old_tag;
        let updated = if contradicts {
            None
        } else {
            exchange.updated(old).ok()
        };
        let current = Stored {
            response: updated.as_ref().map_or(old, |updated| &updated.shown),
            is_purged: false,
            ..stored
        };
        let answer = answer::answer(exchange.seen, &current, Outcome::Revalidated, now);
        let Ok(answer) = answer else {
            return Verdict::Pass(Pass::default());
        };
        let answer = self.with_status(
            answer,
            current.response,
            now,
            Some(304),
            arrival.key,
            arrival.collapsed,
        );
        Verdict::Answer {
            answer: Box::new(answer),
            drop: updated.is_none(),
            refreshed: updated.and_then(|updated| updated.kept).map(Box::new),
        }
    }

    fn completed(&self, exchange: &Exchange<'_>, course: Course, stored: Stored<'_>) -> Verdict {
        let line = exchange.fields.first("content-range").unwrap_or_default();
        let part = crate::range::content_range(line).map(|(first, last, total)| {
            let part = crate::head::Part { first, total };
            (part, last.saturating_add(1) == total)
        });
        let fits = part.filter(|(part, reaches_end)| {
            let total = stored.response.part.map(|part| part.total);
            let is_same = storing::is_same_representation(stored.response, *part, exchange.fields)
                || self.config.partial.complete_without_validator;
            part.first == stored.length && total == Some(part.total) && *reaches_end && is_same
        });
        let Some((part, _)) = fits else {
            // The client asked for the whole and there is none: it may try again.
            return Verdict::Answer {
                answer: Box::new(answer::bad_gateway()),
                refreshed: None,
                drop: true,
            };
        };
        let mut candidate = exchange.candidate().ok();
        if let Some(candidate) = &mut candidate {
            candidate.range = None;
            candidate.length = Some(part.total);
            candidate.response.status = 200;
        }
        let mut edits = vec![
            Edit::Set(":status", b"200".to_vec()),
            Edit::Set("content-length", part.total.to_string().into_bytes()),
            Edit::Remove("content-range"),
        ];
        if let Some(name) = &self.config.cache_name {
            let facts = Facts {
                name,
                outcome: Some(course.outcome),
                forwarded_status: Some(206),
                stored: candidate.is_some(),
                ..Facts::default()
            };
            let text = status::member(&facts);
            edits.push(Edit::Set("cache-status", text.into_bytes()));
        }
        Verdict::Complete {
            edits,
            candidate: candidate.map(Box::new),
        }
    }

    fn passing(
        &self,
        exchange: &Exchange<'_>,
        course: Course,
        stored: Option<Stored<'_>>,
        arrival: &Arrival<'_>,
    ) -> Pass {
        let (seen, status) = (exchange.seen, exchange.status);
        let mut pass = Pass {
            invalidate: invalidation::targets(seen, status, exchange.fields),
            groups: invalidation::groups(seen, status, exchange.fields),
            ..Pass::default()
        };
        let line = exchange.fields.first("cache-control");
        if let Some(spaced) = line.and_then(fields::spaced) {
            pass.edits.push(Edit::Set("cache-control", spaced));
        }
        let is_stored_kind = !matches!(course.plan, Plan::Pass);
        if seen.method == Method::Head {
            if let Some(stored) = stored {
                self.after_head(exchange, stored, &mut pass);
            }
        } else if is_stored_kind && status != 304 {
            let mut candidate = exchange.candidate().map(Box::new);
            let is_whole = stored.is_some_and(|stored| stored.response.part.is_none());
            if status == 206 && is_whole {
                // A part never takes the place of a whole; but if it is of another representation,
                // the whole is outdated.
                pass.drop = stored.is_some_and(|stored| {
                    let old = stored.response.fields();
                    old.first("etag") != exchange.fields.first("etag")
                });
                candidate = Err(storing::Refusal::Partial);
            }
            pass.store = Some(candidate);
        }
        if let Some(name) = &self.config.cache_name
            && course.outcome != Outcome::Bypass
        {
            let refusal = match &pass.store {
                Some(Err(refusal)) => Some(refusal.slug()),
                _ => None,
            };
            let facts = Facts {
                name,
                outcome: Some(course.outcome),
                forwarded_status: Some(status),
                stored: matches!(pass.store, Some(Ok(_))),
                collapsed: arrival.collapsed,
                key: (self.config.tell_key && !arrival.key.is_empty()).then_some(arrival.key),
                detail: refusal,
                ..Facts::default()
            };
            pass.status = Some(status::member(&facts));
        }
        pass
    }

    /// What a HEAD's response tells of the stored one (section 4.3.5).
    fn after_head(&self, exchange: &Exchange<'_>, stored: Stored<'_>, pass: &mut Pass) {
        if exchange.status != 200 || stored.response.status != 200 {
            return;
        }
        let old = stored.response.fields();
        let same = |name: &str| {
            let new = exchange.fields.first(name);
            new.is_none() || new == old.first(name)
        };
        let length = exchange.fields.first("content-length");
        let length = length.and_then(crate::cache_control::number);
        let is_same = same("etag")
            && same("last-modified")
            && length.is_none_or(|length| length == stored.length);
        match exchange.updated(stored.response) {
            Ok(updated) if is_same => pass.refreshed = updated.kept.map(Box::new),
            _ => pass.drop = true,
        }
    }

    /// Adds `Age` and `Cache-Status` to an answer.
    fn with_status(
        &self,
        mut answer: Answer,
        response: &Response,
        now: u64,
        forwarded: Option<u16>,
        key: &[u8],
        collapsed: bool,
    ) -> Answer {
        if let Some(name) = &self.config.cache_name {
            // It was a miss, and another request's response came for it.
            let is_shared = collapsed && forwarded.is_none();
            let number = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
            let facts = Facts {
                name,
                outcome: Some(if is_shared {
                    Outcome::Miss
                } else {
                    answer.outcome
                }),
                forwarded_status: forwarded,
                ttl: Some(number(response.lifetime).saturating_sub(number(response.age(now)))),
                collapsed,
                key: (self.config.tell_key && !key.is_empty()).then_some(key),
                ..Facts::default()
            };
            let text = status::member(&facts);
            answer::add(&mut answer, "cache-status", text.as_bytes());
        }
        answer
    }
}

/// The status of a response.
pub fn status_of(fields: &Headers<'_>) -> u16 {
    let status = fields
        .first(":status")
        .and_then(crate::cache_control::number);
    status
        .and_then(|status| u16::try_from(status).ok())
        .unwrap_or_default()
}

/// What the response to a request is for, if nothing that is stored helps.
fn plan_without(seen: &Seen<'_>) -> Plan {
    match seen.method {
        Method::Head => Plan::Pass,
        _ => Plan::Store,
    }
}

/// Whether a request may wait for the response to another one: whatever comes may be its answer.
const fn may_wait(seen: &Seen<'_>) -> bool {
    matches!(seen.method, Method::Get | Method::Post | Method::Query)
        && seen.range.is_none()
        && !seen.is_conditional()
        && !seen.is_authorized
        && !seen.directives.no_store
        && !seen.directives.only_if_cached
}

/// The conditions that validate a stored response (section 4.3.1), in place of the client's own.
pub(crate) fn validators(seen: &Seen<'_>, stored: &Response) -> Vec<Edit> {
    let fields = stored.fields();
    let mut edits = Vec::new();
    let pairs = [
        ("if-none-match", fields.first("etag"), seen.if_none_match),
        (
            "if-modified-since",
            fields.first("last-modified"),
            seen.if_modified_since.is_some(),
        ),
    ];
    if pairs.iter().all(|(_, value, _)| value.is_none()) {
        return edits;
    }
    for (name, value, is_there) in pairs {
        match value {
            Some(value) => edits.push(Edit::Set(name, value.to_vec())),
            None if is_there => edits.push(Edit::Remove(name)),
            None => {}
        }
    }
    if seen.if_range.is_some() {
        edits.push(Edit::Remove("if-range"));
    }
    edits
}
