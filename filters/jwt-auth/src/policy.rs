//! From a request to a decision, without I/O.
//!
//! [`Policy::decide`] finds the rule, the tokens it asks for and whether they are right, from
//! memory where they were seen before. What workers don't share is in a [`Worker`]: the keys as it
//! knows them, and its memory. Where keys are still on their way, the request has to wait; it is
//! then decided about anew. Signatures that the host checks faster are passed to a function that
//! asks it: it is pure arithmetic, only elsewhere.

use std::rc::Rc;

use filter_core::hash::Seed;
use filter_core::headers::Headers;

use crate::case::Case;
use crate::config::provider::KeySource;
use crate::config::rule::Rule;
use crate::config::{AmbiguousPath, Config};
use crate::decision::{Cause, Count, Decision, Edit, Step};
use crate::jose::checks::Audiences;
use crate::jose::date::NumericDate;
use crate::jose::keys::KeySet;
use crate::jose::refusal::Refusal;
use crate::jose::verify::Native;
use crate::memory::Memory;
use crate::path::canonical;
use crate::requirement::{Ask, Requirement};
use crate::route;
use crate::token::{AskHost, Verified};

/// Refused tokens that are remembered for each ask.
const WRONG_TOKENS: usize = 4096;

/// A configuration at work.
#[derive(Debug)]
pub struct Policy {
    pub(crate) config: Config,
    /// What is asked of tokens: the configuration's asks, then one for each provider by itself.
    pub(crate) asks: Vec<Ask>,
    /// For each ask.
    pub(crate) audiences: Vec<Audiences>,
    /// Headers that only this filter may send upstream.
    own_headers: Vec<String>,
}

/// What one worker knows.
#[derive(Debug)]
pub struct Worker {
    /// What the host checks for us.
    pub native: Native,
    /// For each provider.
    pub(crate) keys: Vec<Keys>,
    /// For each ask.
    pub(crate) right: Vec<Memory<Rc<Verified>>>,
    pub(crate) wrong: Vec<Memory<Refusal>>,
}

/// A provider's keys as a worker knows them.
#[derive(Debug)]
pub struct Keys {
    /// The keys, as long as they may be used.
    pub set: Option<Rc<KeySet>>,
    /// Their version; tokens are remembered for one.
    pub version: u64,
    /// Whether others may come soon: a request that needs them should wait.
    pub awaited: bool,
    /// Whether an unknown `kid` may have them fetched again.
    pub may_want: bool,
    /// Whether a token had an unknown `kid`, so that they should be.
    pub wanted: bool,
}

/// What a request is decided by, as far as it isn't the configuration's.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    /// The time.
    pub now: NumericDate,
    /// Whether the request may wait for keys.
    pub may_wait: bool,
}

impl Policy {
    /// Puts a configuration to work.
    pub fn new(config: Config) -> Self {
        let plain = (0..config.providers.len()).map(|provider| Ask {
            provider,
            audiences: Vec::new(),
        });
        let asks: Vec<_> = config.asks.iter().cloned().chain(plain).collect();
        let audiences = asks
            .iter()
            .map(|ask| match config.providers.get(ask.provider) {
                Some(provider) if ask.audiences.is_empty() => Audiences::new(&provider.audiences),
                _ => Audiences::new(&ask.audiences),
            });
        let audiences = audiences.collect();
        let outputs = config.providers.iter().map(|provider| &provider.output);
        let of_tokens = outputs.flat_map(|output| {
            let claims = output.claims.iter().map(|(name, _)| name.clone());
            output.payload_header.clone().into_iter().chain(claims)
        });
        let rules = config.rules.iter();
        let statuses = rules.flat_map(|rule| rule.requirement.status_headers());
        let mut own_headers: Vec<String> = Vec::new();
        for name in of_tokens.chain(statuses.map(str::to_owned)) {
            if !own_headers.contains(&name) {
                own_headers.push(name);
            }
        }
        Self {
            config,
            asks,
            audiences,
            own_headers,
        }
    }

    /// Returns the configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Makes what a worker starts with. The seed is a secret.
    pub fn worker(&self, native: Native, seed: Seed) -> Worker {
        let keys = self
            .config
            .providers
            .iter()
            .map(|provider| match &provider.keys {
                // The text was read before; a set without keys refuses every token.
                KeySource::Local(text) => Keys {
                    set: KeySet::read(text.clone().into_bytes()).ok().map(Rc::new),
                    version: 1,
                    ..Keys::none()
                },
                KeySource::Remote(_) => Keys {
                    awaited: true,
                    ..Keys::none()
                },
            });
        let provider = |ask: &Ask| self.config.providers.get(ask.provider);
        let right = self.asks.iter().map(|ask| {
            let (size, longest) = provider(ask).map_or((0, 0), |provider| {
                (provider.memory, provider.memory_token_bytes)
            });
            Memory::new(size, longest, seed)
        });
        let wrong = self.asks.iter().map(|ask| {
            let longest = provider(ask).map_or(0, |provider| provider.memory_token_bytes);
            Memory::new(WRONG_TOKENS, longest, seed)
        });
        Worker {
            native,
            keys: keys.collect(),
            right: right.collect(),
            wrong: wrong.collect(),
        }
    }

    /// Decides about a request.
    pub fn decide<'c>(
        &'c self,
        worker: &'c mut Worker,
        headers: &'c Headers<'c>,
        circumstances: Circumstances,
        ask_host: &'c mut AskHost<'c>,
    ) -> Step {
        let mut decision = Decision::default();
        if headers.is_malformed() {
            decision.refuse(&self.config, None, Cause::Headers, headers);
            return Step::Done(decision);
        }
        if self.config.bypass_cors_preflight && is_preflight(headers) {
            decision.counts.push(Count::Preflight);
            decision.edits = self.strip(headers);
            return Step::Done(decision);
        }
        let path = route::path(headers);
        let rule = self.rule(headers, path);
        // CONNECT has no path.
        if self.config.ambiguous_path == AmbiguousPath::Refuse && headers.target().is_some() {
            let canonical = canonical(path);
            if *canonical != *path && !alike(rule, self.rule(headers, &canonical)) {
                let rule = rule.map(|(_, rule)| rule);
                decision.refuse(&self.config, rule, Cause::AmbiguousPath, headers);
                return Step::Done(decision);
            }
        }
        let Some((number, rule)) = rule else {
            decision.edits = self.strip(headers);
            return Step::Done(decision);
        };
        let case = Case {
            policy: self,
            worker,
            headers,
            circumstances,
            ask_host,
            accepted: Vec::new(),
            counts: Vec::new(),
            properties: Vec::new(),
            awaited: None,
            failed: false,
        };
        case.decide(number, rule, decision)
    }

    fn rule(&self, headers: &Headers<'_>, path: &[u8]) -> Option<(usize, &Rule)> {
        let mut rules = self.config.rules.iter().enumerate();
        rules.find(|(_, rule)| rule.matching.matches(headers, path))
    }

    /// Removes what only this filter may send upstream, whoever sent it.
    pub(crate) fn strip(&self, headers: &Headers<'_>) -> Vec<Edit> {
        let is_there = |name: &&String| {
            let mut names = headers.iter().map(|(name, _)| name);
            names.any(|other| other.eq_ignore_ascii_case(name.as_bytes()))
        };
        let forged = self.own_headers.iter().filter(is_there);
        forged.map(|name| Edit::Remove(name.clone())).collect()
    }

    /// Returns the number of the ask for a provider by itself.
    pub(crate) fn plain_ask(&self, provider: usize) -> usize {
        self.config.asks.len().saturating_add(provider)
    }
}

impl Worker {
    /// Returns a provider's keys, to be kept up to date.
    pub fn keys_mut(&mut self, provider: usize) -> Option<&mut Keys> {
        self.keys.get_mut(provider)
    }
}

impl Keys {
    const fn none() -> Self {
        Self {
            set: None,
            version: 0,
            awaited: false,
            may_want: false,
            wanted: false,
        }
    }
}

/// Whether two rules ask for the same.
fn alike(one: Option<(usize, &Rule)>, other: Option<(usize, &Rule)>) -> bool {
    let is_nothing = |rule: &Rule| rule.requirement == Requirement::Nothing;
    match (one, other) {
        (None, None) => true,
        (Some((_, rule)), None) | (None, Some((_, rule))) => is_nothing(rule),
        (Some((_, one)), Some((_, other))) => {
            let asks = |rule: &Rule| {
                let Rule {
                    requirement,
                    mode,
                    scopes,
                    claims,
                    ..
                } = rule.clone();
                (requirement, mode, scopes, claims)
            };
            std::ptr::eq(one, other) || asks(one) == asks(other)
        }
    }
}

/// Whether a browser asks whether it may ask.
fn is_preflight(headers: &Headers<'_>) -> bool {
    let is_given = |name| headers.first(name).is_some_and(|value| !value.is_empty());
    headers.method() == Some(b"OPTIONS")
        && is_given("origin")
        && is_given("access-control-request-method")
}
