//! From a request to a decision, without I/O.
//!
//! [`Policy::decide`] finds the rule, the tokens it asks for and whether they are right, from
//! memory where they were seen before. What workers don't share is in a [`Worker`]: the keys as it
//! knows them, and its memory. Where keys are still on their way, the request has to wait; it is
//! then decided about anew. Signatures that the host checks faster are passed to a function that
//! asks it: it is pure arithmetic, only elsewhere.

use std::rc::Rc;
use std::time::Duration;

use filter_core::hash::Seed;
use filter_core::headers::Headers;

use crate::case::Case;
use crate::config::binding::{CertificateBound, CertificateSource};
use crate::config::provider::{KeySource, Provider};
use crate::config::rule::Rule;
use crate::config::{AmbiguousPath, Config};
use crate::decision::{Cause, Count, Decision, Edit, Question, Step};
use crate::introspection;
use crate::jose::checks::Audiences;
use crate::jose::date::NumericDate;
use crate::jose::keys::KeySet;
use crate::jose::refusal::{Reason, Refusal};
use crate::jose::verify::Native;
use crate::memory::Memory;
use crate::path::{canonical, recased};
use crate::requirement::{Ask, Requirement};
use crate::revocation::DenyList;
use crate::route;
use crate::token::{AskHost, Verified, until};

/// Refused tokens that are remembered for each ask.
const WRONG_TOKENS: usize = 4096;
/// The version of keys that introspected tokens are remembered for: no keys' (they don't depend on
/// any).
pub(crate) const INTROSPECTED: u64 = u64::MAX;

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
    /// For each provider.
    pub(crate) revoked: Vec<Revoked>,
    pub(crate) seed: Seed,
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
pub struct Circumstances<'r> {
    /// The time.
    pub now: NumericDate,
    /// Whether the request may wait for keys.
    pub may_wait: bool,
    /// The digest of the client's certificate in hex, where [`Policy::needs_certificate`] and the
    /// connection has one.
    pub certificate: &'r [u8],
    /// Whether the proof that comes with the request was used before.
    pub replayed: bool,
}

impl Circumstances<'_> {
    /// Those of a request at a moment, of which nothing else is known.
    pub const fn at(now: NumericDate, may_wait: bool) -> Self {
        Self {
            now,
            may_wait,
            certificate: b"",
            replayed: false,
        }
    }
}

/// What a worker knows of a provider's revoked tokens.
#[derive(Clone, Debug)]
pub enum Revoked {
    /// Nothing yet, but it may come soon.
    Awaited,
    /// These are.
    List(Rc<DenyList>),
    /// The provider has no such list, or its list can't be had and is done without.
    Nothing,
    /// The list can't be had.
    Unavailable,
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
                KeySource::None => Keys::none(),
            });
        let revoked = self.config.providers.iter().map(|p| match p.revocation {
            Some(_) => Revoked::Awaited,
            None => Revoked::Nothing,
        });
        let provider = |ask: &Ask| self.config.providers.get(ask.provider);
        let right = self.asks.iter().map(|ask| {
            let (size, longest) = provider(ask).map_or((0, 0), |provider| {
                (provider.memory, longest_remembered(provider))
            });
            Memory::new(size, longest, seed)
        });
        let wrong = self.asks.iter().map(|ask| {
            let longest = provider(ask).map_or(0, longest_remembered);
            Memory::new(WRONG_TOKENS, longest, seed)
        });
        Worker {
            native,
            keys: keys.collect(),
            revoked: revoked.collect(),
            seed,
            right: right.collect(),
            wrong: wrong.collect(),
        }
    }

    /// Decides about a request.
    pub fn decide<'c>(
        &'c self,
        worker: &'c mut Worker,
        headers: &'c Headers<'c>,
        circumstances: Circumstances<'c>,
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
        if self.config.ambiguous_path == AmbiguousPath::Refuse
            && !self.is_unambiguous(headers, path, rule)
        {
            let rule = rule.map(|(_, rule)| rule);
            decision.refuse(&self.config, rule, Cause::AmbiguousPath, headers);
            return Step::Done(decision);
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
            proofs: Vec::new(),
            awaited: None,
            failed: false,
        };
        case.decide(number, rule, decision)
    }

    /// Takes what an introspection endpoint answered to a question, or that it didn't. It counts for
    /// the next requests with that token.
    pub fn answered(
        &self,
        worker: &mut Worker,
        question: &Question,
        answer: Option<Vec<u8>>,
        now: NumericDate,
    ) -> Result<(), Refusal> {
        let token = &question.token;
        let asked = self.config.providers.get(question.provider);
        let asked = asked.and_then(|p| Some((p, p.introspection.as_ref()?)));
        let (Some((provider, settings)), Some(audiences), Some(right), Some(wrong)) = (
            asked,
            self.audiences.get(question.ask),
            worker.right.get_mut(question.ask),
            worker.wrong.get_mut(question.ask),
        ) else {
            return Ok(());
        };
        let claims = match answer {
            Some(answer) => introspection::read(answer, provider, audiences, now),
            None => {
                let detail = "the introspection endpoint can't be asked";
                Err(Reason::IntrospectionUnavailable.because(detail))
            }
        };
        // Whatever it is, it is good for the request that asked.
        let soonest = now.after(Duration::from_secs(1));
        match claims {
            Ok(claims) => {
                let until = until(&claims, provider).min(now.after(settings.active_for));
                let verified = Verified::of_claims(question.provider, claims, &provider.output);
                right.put(token, INTROSPECTED, until.max(soonest), Rc::new(verified));
                Ok(())
            }
            Err(refusal) => {
                let until = match refusal.reason {
                    Reason::IntrospectionUnavailable => soonest,
                    _ => now.after(settings.inactive_for),
                };
                right.forget(token);
                wrong.put(token, INTROSPECTED, until.max(soonest), refusal);
                Err(refusal)
            }
        }
    }

    /// Whether the digest of the connection's certificate is needed.
    pub fn needs_certificate(&self) -> bool {
        let is_needed = |bound: CertificateBound| bound.source == CertificateSource::Connection;
        let mut providers = self.config.providers.iter();
        providers.any(|provider| provider.certificate.is_some_and(is_needed))
    }

    fn rule(&self, headers: &Headers<'_>, path: &[u8]) -> Option<(usize, &Rule)> {
        let mut rules = self.config.rules.iter().enumerate();
        rules.find(|(_, rule)| rule.matching.matches(headers, path))
    }

    /// Whether a rule is also that of the request as a server may read it.
    fn is_unambiguous(
        &self,
        headers: &Headers<'_>,
        path: &[u8],
        rule: Option<(usize, &Rule)>,
    ) -> bool {
        let recased = recased(headers);
        // CONNECT has no path.
        let canonical = match headers.target() {
            Some(_) => canonical(path),
            None => path.into(),
        };
        if recased.is_none() && *canonical == *path {
            return true;
        }
        let read = recased.as_deref().map(Headers::decode);
        alike(rule, self.rule(&read.unwrap_or(*headers), &canonical))
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

    /// Returns what is known of a provider's revoked tokens, to be kept up to date.
    pub fn revoked_mut(&mut self, provider: usize) -> Option<&mut Revoked> {
        self.revoked.get_mut(provider)
    }
}

/// Tokens that are introspected are remembered whatever their length.
fn longest_remembered(provider: &Provider) -> usize {
    match provider.introspection {
        Some(_) => provider.max_token_bytes,
        None => provider.memory_token_bytes,
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
                    percent,
                    scopes,
                    claims,
                    ..
                } = rule.clone();
                (requirement, mode, percent, scopes, claims)
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
