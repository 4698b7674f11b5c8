//! One decision in the making: the tokens of a request against what its rule asks for.

use std::borrow::Cow;
use std::rc::Rc;
use std::time::Duration;

use filter_core::headers::Headers;

use crate::claims::missing_scope;
use crate::config::Config;
use crate::config::provider::Provider;
use crate::config::rule::{Mode, Rule};
use crate::decision::{Awaited, Cause, Count, Decision, Edit, Outcome, Step, Used};
use crate::extract::{Found, Location, Place, without_parameter};
use crate::fields::reply;
use crate::introspection;
use crate::jose::refusal::{Reason, Refusal};
use crate::policy::{Circumstances, Policy, Worker};
use crate::requirement::{Ask, Leaf};
use crate::token::{AskHost, Candidate, Verified, quote};
/// How long a refused token is remembered.
const WRONG_FOR: Duration = Duration::from_secs(60);

/// A token that was found to be right, and where it was.
pub(crate) struct Accepted {
    token: Rc<Verified>,
    /// Empty where the token stays.
    place: Option<Place>,
}

/// One decision in the making.
pub(crate) struct Case<'c> {
    pub(crate) policy: &'c Policy,
    pub(crate) worker: &'c mut Worker,
    pub(crate) headers: &'c Headers<'c>,
    pub(crate) circumstances: Circumstances<'c>,
    pub(crate) ask_host: &'c mut AskHost<'c>,
    pub(crate) accepted: Vec<Accepted>,
    pub(crate) counts: Vec<Count>,
    pub(crate) properties: Vec<(String, String)>,
    /// Proofs of possession that the request uses up.
    pub(crate) proofs: Vec<Used>,
    /// What is awaited.
    pub(crate) awaited: Option<Awaited>,
    /// Whether the upstream is to be told that a token isn't right.
    pub(crate) failed: bool,
}

impl Case<'_> {
    pub(crate) fn decide(mut self, number: usize, rule: &Rule, mut decision: Decision) -> Step {
        let outcome = rule.requirement.evaluate(&mut |leaf| self.leaf(leaf));
        let Some(outcome) = outcome else {
            return Step::Wait(self.awaited.unwrap_or(Awaited::Keys(0)));
        };
        let outcome = outcome.and_then(|()| self.authorize(rule));
        decision.counts = self.counts;
        decision.properties = self.properties;
        let strip = self.policy.strip(self.headers);
        let mode = match outcome {
            Err(_) if !self.policy.is_enforced(rule, self.headers) => Mode::Shadow,
            _ => rule.mode,
        };
        let said = match (outcome, mode) {
            (Ok(()), _) => {
                decision.edits = strip;
                decision.proofs = self.proofs;
                let status = self.failed.then(|| rule.requirement.status_headers());
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
            Leaf::Every => self.every(),
            Leaf::Reported => {
                let outcome = self.every()?;
                self.failed |= outcome.is_err();
                Some(outcome)
            }
            Leaf::Token(ask) => self.one(ask),
        }
    }

    /// Verifies the token of one provider: there must be exactly one, in whatever places.
    fn one(&mut self, number: usize) -> Option<Result<(), Refusal>> {
        let policy = self.policy;
        let ask = policy.asks.get(number)?;
        let provider = policy.config.providers.get(ask.provider)?;
        let mut found: Option<Cow<'_, [u8]>> = None;
        let mut places: Vec<&Location> = Vec::new();
        for location in &provider.locations {
            match (location.find(self.headers), &found) {
                (Found::Nothing, _) => {}
                (Found::Token(token), None) => {
                    found = Some(token);
                    places.push(location);
                }
                (Found::Token(token), Some(other)) if token == *other => places.push(location),
                (Found::Token(_) | Found::Ambiguous, _) => {
                    let detail = "the request has more than one token";
                    return Some(Err(
                        self.refused(provider, Reason::DuplicateToken.because(detail))
                    ));
                }
            }
        }
        let Some(token) = found else {
            let refusal = Reason::Missing.because("the request has no token");
            return Some(Err(self.refused(provider, refusal)));
        };
        let outcome = self.verify(number, ask, provider, &token)?;
        let outcome = match outcome {
            Ok(verified) => {
                let for_bearers = places.iter().any(|place| place.is_for_bearers());
                let standing = self.standing(provider, &verified, &token, for_bearers)?;
                standing.map(|()| verified)
            }
            Err(refusal) => Err(refusal),
        };
        Some(match outcome {
            Ok(verified) => {
                for location in places {
                    self.accept(Rc::clone(&verified), provider, location);
                }
                Ok(())
            }
            Err(refusal) => Err(self.refused(provider, refusal)),
        })
    }

    /// Looks at all tokens in all places: each is that of the provider whose issuer it names.
    fn every(&mut self) -> Option<Result<(), Refusal>> {
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
                Found::Token(token) => self.by_issuer(location, &token)?,
            };
            outcome = outcome.and(result);
        }
        Some(outcome)
    }

    fn by_issuer(&mut self, location: &Location, token: &[u8]) -> Option<Result<(), Refusal>> {
        let policy = self.policy;
        let providers = &policy.config.providers;
        let number = match self.provider_of(location, token) {
            Ok(number) => number,
            Err(refusal) => return Some(Err(refusal)),
        };
        let provider = providers.get(number)?;
        let ask = policy.plain_ask(number);
        let outcome = self.verify(ask, policy.asks.get(ask)?, provider, token)?;
        let outcome = match outcome {
            Ok(verified) => {
                let for_bearers = location.is_for_bearers();
                let standing = self.standing(provider, &verified, token, for_bearers)?;
                standing.map(|()| verified)
            }
            Err(refusal) => Err(refusal),
        };
        Some(match outcome {
            Ok(verified) => {
                self.accept(verified, provider, location);
                Ok(())
            }
            Err(refusal) => Err(self.refused(provider, refusal)),
        })
    }

    /// Finds the provider of a token by the issuer that it names; one that names none is that of the
    /// provider who is asked about it.
    fn provider_of(&self, location: &Location, token: &[u8]) -> Result<usize, Refusal> {
        let providers = &self.policy.config.providers;
        let is_here = |p: &Provider| p.locations.contains(location);
        let is_asked = |p: &Provider| is_here(p) && introspection::decides(p, token);
        let most = providers.iter().map(|p| p.max_token_bytes).max();
        let issuer = match Candidate::parse(token, most.unwrap_or_default()) {
            Ok(candidate) => candidate.issuer(),
            Err(refusal) => return providers.iter().position(is_asked).ok_or(refusal),
        };
        let at = |issuer: Option<&String>| {
            let fits = |p: &Provider| p.issuer.as_ref() == issuer && is_here(p);
            providers.iter().position(fits)
        };
        let own = issuer.as_ref().and_then(|issuer| at(Some(issuer)));
        let other = || providers.iter().position(is_asked);
        own.or_else(|| at(None))
            .or_else(other)
            .ok_or_else(|| Reason::UnknownIssuer.because("`iss` isn't the issuer of any provider"))
    }

    /// Verifies a token, or remembers what it was found to be. `None` where keys are awaited.
    fn verify(
        &mut self,
        number: usize,
        ask: &Ask,
        provider: &Provider,
        token: &[u8],
    ) -> Option<Result<Rc<Verified>, Refusal>> {
        if introspection::decides(provider, token) {
            return self.introspected(number, ask, provider, token);
        }
        let Worker {
            native,
            keys,
            right,
            wrong,
            ..
        } = &mut *self.worker;
        let keys = keys.get_mut(ask.provider)?;
        let (right, wrong) = (right.get_mut(number)?, wrong.get_mut(number)?);
        let Circumstances { now, may_wait, .. } = self.circumstances;
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
                self.awaited = Some(Awaited::Keys(ask.provider));
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
                        self.awaited = Some(Awaited::Keys(ask.provider));
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
    pub(crate) fn refuse(
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
