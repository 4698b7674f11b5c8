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

use crate::claims::missing_scope;
use crate::config::provider::{KeySource, Provider};
use crate::config::rule::{Mode, Rule};
use crate::config::{AmbiguousPath, Config};
use crate::decision::{Cause, Count, Decision, Edit, Outcome, Step};
use crate::extract::{Found, Location, Place, without_parameter};
use crate::fields::reply;
use crate::jose::checks::Audiences;
use crate::jose::date::NumericDate;
use crate::jose::keys::KeySet;
use crate::jose::refusal::{Reason, Refusal};
use crate::jose::verify::Native;
use crate::memory::Memory;
use crate::path::canonical;
use crate::requirement::{Ask, Leaf, Requirement};
use crate::route;
use crate::token::{AskHost, Candidate, Verified, quote};

/// Refused tokens that are remembered for each ask, and for how long.
const WRONG_TOKENS: usize = 1024;
const WRONG_FOR: std::time::Duration = std::time::Duration::from_secs(60);

/// A configuration at work.
#[derive(Debug)]
pub struct Policy {
    config: Config,
    /// What is asked of tokens: the configuration's asks, then one for each provider by itself.
    asks: Vec<Ask>,
    /// For each ask.
    audiences: Vec<Audiences>,
    /// Headers that only this filter may send upstream.
    own_headers: Vec<String>,
}

/// What one worker knows.
#[derive(Debug)]
pub struct Worker {
    /// What the host checks for us.
    pub native: Native,
    /// For each provider.
    keys: Vec<Keys>,
    /// For each ask.
    right: Vec<Memory<Rc<Verified>>>,
    wrong: Vec<Memory<Refusal>>,
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

/// A token that was found to be right, and where it was.
struct Accepted {
    token: Rc<Verified>,
    /// Empty where the token stays.
    place: Option<Place>,
}

/// One decision in the making.
struct Case<'c> {
    policy: &'c Policy,
    worker: &'c mut Worker,
    headers: &'c Headers<'c>,
    circumstances: Circumstances,
    ask_host: &'c mut AskHost<'c>,
    accepted: Vec<Accepted>,
    counts: Vec<Count>,
    properties: Vec<(String, String)>,
    /// The provider whose keys are awaited.
    awaited: Option<usize>,
    /// Whether claims go upstream that weren't verified.
    unverified: bool,
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
        let mut own_headers: Vec<_> = of_tokens.chain(statuses.map(str::to_owned)).collect();
        own_headers.sort();
        own_headers.dedup();
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
        if self.config.ambiguous_path == AmbiguousPath::Refuse {
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
            unverified: false,
        };
        case.decide(number, rule, decision)
    }

    fn rule(&self, headers: &Headers<'_>, path: &[u8]) -> Option<(usize, &Rule)> {
        let mut rules = self.config.rules.iter().enumerate();
        rules.find(|(_, rule)| rule.matching.matches(headers, path))
    }

    /// Removes what only this filter may send upstream, whoever sent it.
    fn strip(&self, headers: &Headers<'_>) -> Vec<Edit> {
        let is_there = |name: &&String| {
            let mut names = headers.iter().map(|(name, _)| name);
            names.any(|other| other.eq_ignore_ascii_case(name.as_bytes()))
        };
        let forged = self.own_headers.iter().filter(is_there);
        forged.map(|name| Edit::Remove(name.clone())).collect()
    }

    /// Returns the number of the ask for a provider by itself.
    fn plain_ask(&self, provider: usize) -> usize {
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

impl Case<'_> {
    fn decide(mut self, number: usize, rule: &Rule, mut decision: Decision) -> Step {
        let outcome = rule.requirement.evaluate(&mut |leaf| self.leaf(leaf));
        let Some(outcome) = outcome else {
            return Step::Wait(self.awaited.unwrap_or_default());
        };
        let outcome = outcome.and_then(|()| self.authorize(rule));
        decision.counts = self.counts;
        decision.properties = self.properties;
        let strip = self.policy.strip(self.headers);
        let said = match (outcome, rule.mode) {
            (Ok(()), _) => {
                decision.edits = strip;
                let status = self.unverified.then(|| rule.requirement.status_headers());
                hand_on(&mut decision, self.policy, self.accepted, self.headers);
                for name in status.into_iter().flatten() {
                    let edit = Edit::Add(name.to_owned(), "false".to_owned());
                    decision.edits.push(edit);
                }
                Outcome::Allow
            }
            (Err(refusal), Mode::Enforce) => {
                let cause = Cause::Token(refusal);
                decision.refuse(&self.policy.config, Some(rule), cause, self.headers);
                Outcome::Deny
            }
            (Err(refusal), Mode::Shadow) => {
                decision.edits = strip;
                let cause = Cause::Token(refusal);
                decision.counts.push(cause.count());
                decision.log = Some(log("shadow", Some(rule), cause));
                Outcome::Shadow
            }
        };
        decision.counts.push(Count::Request {
            rule: number,
            outcome: said,
        });
        Step::Done(decision)
    }

    /// Compares the accepted tokens with what the rule wants claimed.
    fn authorize(&self, rule: &Rule) -> Result<(), Refusal> {
        if rule.scopes.is_empty() && rule.claims.is_none() {
            return Ok(());
        }
        let mut refusal = Reason::Missing.because("the request has no token");
        for Accepted { token, .. } in &self.accepted {
            let claims = &token.claims;
            if missing_scope(claims, &rule.scopes).is_some() {
                refusal = Reason::InsufficientScope.because("the token lacks a scope");
            } else if rule
                .claims
                .as_ref()
                .is_some_and(|wanted| !wanted.holds(claims))
            {
                refusal = Reason::ClaimDenied.because("the token doesn't claim what is needed");
            } else {
                return Ok(());
            }
        }
        Err(refusal)
    }

    fn leaf(&mut self, leaf: Leaf) -> Option<Result<(), Refusal>> {
        match leaf {
            Leaf::Every => self.every(true),
            Leaf::Token(ask) => self.one(ask),
            Leaf::Unverified => self.every(false),
        }
    }

    /// Verifies the token of one provider: there must be exactly one.
    fn one(&mut self, number: usize) -> Option<Result<(), Refusal>> {
        let policy = self.policy;
        let ask = policy.asks.get(number)?;
        let provider = policy.config.providers.get(ask.provider)?;
        let mut found: Option<(&Location, std::borrow::Cow<'_, [u8]>)> = None;
        for location in &provider.locations {
            match (location.find(self.headers), &found) {
                (Found::Nothing, _) => {}
                (Found::Token(token), None) => found = Some((location, token)),
                (Found::Token(token), Some((_, other))) if token == *other => {}
                (Found::Token(_) | Found::Ambiguous, _) => {
                    let detail = "the request has more than one token";
                    return Some(Err(
                        self.refused(provider, Reason::DuplicateToken.because(detail))
                    ));
                }
            }
        }
        let Some((location, token)) = found else {
            let refusal = Reason::Missing.because("the request has no token");
            return Some(Err(self.refused(provider, refusal)));
        };
        let outcome = self.verify(number, ask, provider, &token)?;
        Some(match outcome {
            Ok(verified) => {
                self.accept(verified, provider, location);
                Ok(())
            }
            Err(refusal) => Err(self.refused(provider, refusal)),
        })
    }

    /// Looks at all tokens in all places: each is that of the provider whose issuer it names.
    fn every(&mut self, verified: bool) -> Option<Result<(), Refusal>> {
        let policy = self.policy;
        let mut outcome = Ok(());
        let mut seen: Vec<&Location> = Vec::new();
        for location in policy.config.providers.iter().flat_map(|p| &p.locations) {
            if seen.contains(&location) {
                continue;
            }
            seen.push(location);
            let result = match location.find(self.headers) {
                Found::Nothing => continue,
                Found::Ambiguous => {
                    let detail = "the request has more than one token";
                    Err(Reason::DuplicateToken.because(detail))
                }
                Found::Token(token) => match self.by_issuer(location, &token, verified) {
                    None => return None,
                    Some(result) => result,
                },
            };
            outcome = outcome.and(result);
        }
        Some(outcome)
    }

    fn by_issuer(
        &mut self,
        location: &Location,
        token: &[u8],
        verified: bool,
    ) -> Option<Result<(), Refusal>> {
        let policy = self.policy;
        let providers = &policy.config.providers;
        let most = providers.iter().map(|p| p.max_token_bytes).max();
        let candidate = match Candidate::parse(token, most.unwrap_or_default()) {
            Ok(candidate) => candidate,
            Err(refusal) => return Some(Err(refusal)),
        };
        let issuer = candidate.issuer();
        let at = |issuer: Option<&String>| {
            let fits = |p: &Provider| p.issuer.as_ref() == issuer && p.locations.contains(location);
            providers.iter().position(fits)
        };
        let own = issuer.as_ref().and_then(|issuer| at(Some(issuer)));
        let Some(number) = own.or_else(|| at(None)) else {
            let detail = "`iss` isn't the issuer of any provider";
            return Some(Err(Reason::UnknownIssuer.because(detail)));
        };
        let provider = providers.get(number)?;
        if !verified {
            self.unverified = true;
            let verified = candidate.into_verified(number, &provider.output);
            self.accept(Rc::new(verified), provider, location);
            return Some(Ok(()));
        }
        let ask = policy.plain_ask(number);
        let outcome = self.verify(ask, policy.asks.get(ask)?, provider, token)?;
        Some(match outcome {
            Ok(verified) => {
                self.accept(verified, provider, location);
                Ok(())
            }
            Err(refusal) => Err(self.refused(provider, refusal)),
        })
    }

    /// Verifies a token, or remembers what it was found to be. `None` where keys are awaited.
    fn verify(
        &mut self,
        number: usize,
        ask: &Ask,
        provider: &Provider,
        token: &[u8],
    ) -> Option<Result<Rc<Verified>, Refusal>> {
        let Worker {
            native,
            keys,
            right,
            wrong,
        } = &mut *self.worker;
        let keys = keys.get_mut(ask.provider)?;
        let (right, wrong) = (right.get_mut(number)?, wrong.get_mut(number)?);
        let Circumstances { now, may_wait } = self.circumstances;
        // Without keys, what was verified by them isn't remembered either.
        if keys.set.is_some() {
            if let Some(verified) = right.find(token, keys.version, now) {
                self.counts.push(Count::Remembered);
                return Some(Ok(verified));
            }
            if let Some(refusal) = wrong.find(token, keys.version, now) {
                self.counts.push(Count::Remembered);
                return Some(Err(refusal));
            }
        }
        self.counts.push(Count::Fresh);
        let audiences = self.policy.audiences.get(number)?;
        let candidate = match Candidate::read(token, provider, audiences, now) {
            Ok(candidate) => candidate,
            Err(refusal) => {
                if is_for_good(refusal.reason) {
                    wrong.put(token, keys.version, now.after(WRONG_FOR), refusal);
                }
                return Some(Err(refusal));
            }
        };
        let Some(set) = &keys.set else {
            if keys.awaited && may_wait {
                self.awaited = Some(ask.provider);
                return None;
            }
            let detail = "the provider's keys can't be had";
            return Some(Err(Reason::JwksUnavailable.because(detail)));
        };
        match candidate.check(set, *native, self.ask_host) {
            Ok(()) => {
                let until = candidate.until(provider);
                let verified = Rc::new(candidate.into_verified(ask.provider, &provider.output));
                right.put(token, keys.version, until, Rc::clone(&verified));
                Some(Ok(verified))
            }
            Err(refusal) if refusal.reason == Reason::UnknownKey => {
                if keys.may_want {
                    keys.wanted = true;
                    if may_wait {
                        self.awaited = Some(ask.provider);
                        return None;
                    }
                }
                Some(Err(refusal))
            }
            Err(refusal) => {
                wrong.put(token, keys.version, now.after(WRONG_FOR), refusal);
                Some(Err(refusal))
            }
        }
    }

    fn accept(&mut self, token: Rc<Verified>, provider: &Provider, location: &Location) {
        let place = (!provider.output.forward).then(|| location.place.clone());
        self.accepted.push(Accepted { token, place });
    }

    /// Notes a refusal in filter state, where the provider wants it.
    fn refused(&mut self, provider: &Provider, refusal: Refusal) -> Refusal {
        if let Some(key) = &provider.failed_status {
            let (code, message) = (refusal.reason.slug(), refusal.detail);
            let json = format!(
                "{{\"code\":{},\"message\":{}}}",
                quote(code),
                quote(message)
            );
            self.properties.push((key.clone(), json));
        }
        refusal
    }
}

impl Decision {
    fn refuse(
        &mut self,
        config: &Config,
        rule: Option<&Rule>,
        cause: Cause,
        headers: &Headers<'_>,
    ) {
        self.counts.push(cause.count());
        self.log = Some(log("deny", rule, cause));
        self.reply = Some(reply(config, rule, cause, headers));
    }
}

/// Puts into a decision what goes upstream of the accepted tokens.
fn hand_on(
    decision: &mut Decision,
    policy: &Policy,
    accepted: Vec<Accepted>,
    headers: &Headers<'_>,
) {
    let mut target: Option<Vec<u8>> = None;
    let mut removed: Vec<String> = Vec::new();
    for Accepted { token, place } in accepted {
        for (name, value) in &token.headers {
            let edit = Edit::Add(name.clone(), value.clone());
            if !decision.edits.contains(&edit) {
                decision.edits.push(edit);
            }
        }
        decision.properties.extend(token.properties.iter().cloned());
        let provider = policy.config.providers.get(token.provider);
        let output = provider.map(|provider| &provider.output);
        decision.clear_route_cache |= output.is_some_and(|output| {
            output.clear_route_cache && !(token.headers.is_empty() && token.properties.is_empty())
        });
        match place {
            Some(Place::Header(name)) if !removed.contains(&name) => {
                // Before what is added, which may be a header of the same name.
                decision.edits.insert(0, Edit::Remove(name.clone()));
                removed.push(name);
            }
            Some(Place::Parameter(name)) => {
                let sent = || headers.target().unwrap_or_default().to_vec();
                let left = without_parameter(&target.take().unwrap_or_else(sent), &name);
                target = Some(left);
            }
            // As in jwt_authn, a cookie stays.
            Some(Place::Cookie(_) | Place::Header(_)) | None => {}
        }
    }
    decision.edits.extend(target.map(Edit::Target));
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

/// The value for access logs.
fn log(word: &str, rule: Option<&Rule>, cause: Cause) -> String {
    let slug = cause.slug();
    match rule {
        Some(rule) => format!("{word}={slug} rule={}", rule.name),
        None => format!("{word}={slug}"),
    }
}

/// Whether a token that was refused so will be refused again with the same keys.
const fn is_for_good(reason: Reason) -> bool {
    !matches!(
        reason,
        Reason::IssuedInFuture | Reason::LifetimeTooLong | Reason::NotYetValid
    )
}

/// Whether a browser asks whether it may ask.
fn is_preflight(headers: &Headers<'_>) -> bool {
    let is_given = |name| headers.first(name).is_some_and(|value| !value.is_empty());
    headers.method() == Some(b"OPTIONS")
        && is_given("origin")
        && is_given("access-control-request-method")
}
