//! From a request, what is stored and the time to a decision; and from a response to what is stored
//! of it and what the client gets (RFC 9111 section 4).

mod judging;
mod using;

use filter_core::headers::Headers;
use filter_core::request::{Inputs, Request};

use crate::answer;
use crate::config::{Config, Rule};
use crate::decision::{Answer, Outcome, Plan};
use crate::freshness::Moments;
use crate::head::Response;
use crate::lookup::Found;
use crate::request::{Method, Seen};
use crate::status::{self, Facts};

pub use self::using::validators;

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
