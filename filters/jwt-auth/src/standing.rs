//! What is asked of a token besides its signature and claims, with every request, also where the
//! token is remembered: that it isn't revoked, and that whoever sends it may.

use std::rc::Rc;

use filter_core::hash::digest;
use filter_core::headers::Headers;

use crate::case::Case;
use crate::certificate;
use crate::config::binding::{Binding, CertificateBound, CertificateSource, Dpop};
use crate::config::provider::Provider;
use crate::config::rule::Rule;
use crate::decision::{Awaited, Count, Question, Used};
use crate::extract::Found;
use crate::fields::origin;
use crate::introspection::check_form;
use crate::jose::refusal::{Reason, Refusal};
use crate::policy::{INTROSPECTED, Policy, Revoked, Worker};
use crate::proof::{self, Expected};
use crate::replay;
use crate::requirement::Ask;
use crate::route;
use crate::token::Verified;

/// Headers that calls of ours carry on, so that a trace is whole.
const TRACE: [&str; 2] = ["x-request-id", "traceparent"];

/// Whether a token may be used, or `None` where that can't be told yet.
type Standing = Option<Result<(), Refusal>>;

impl Case<'_> {
    /// Remembers what an introspection endpoint said of a token, or has it asked.
    pub(crate) fn introspected(
        &mut self,
        number: usize,
        ask: &Ask,
        provider: &Provider,
        token: &[u8],
    ) -> Option<Result<Rc<Verified>, Refusal>> {
        let Worker { right, wrong, .. } = &mut *self.worker;
        let (right, wrong) = (right.get_mut(number)?, wrong.get_mut(number)?);
        let now = self.circumstances.now;
        if let Some(verified) = right.find(token, INTROSPECTED, now) {
            self.counts.push(Count::Remembered);
            return Some(Ok(verified));
        }
        if let Some(refusal) = wrong.find(token, INTROSPECTED, now) {
            self.counts.push(Count::Remembered);
            return Some(Err(refusal));
        }
        self.counts.push(Count::Fresh);
        if let Err(refusal) = check_form(token, provider.max_token_bytes) {
            return Some(Err(refusal));
        }
        if !self.circumstances.may_wait {
            let detail = "the introspection endpoint can't be asked";
            return Some(Err(Reason::IntrospectionUnavailable.because(detail)));
        }
        let trace = TRACE.into_iter().filter_map(|name| {
            let value = std::str::from_utf8(self.headers.first(name)?).ok()?;
            Some((name, value.to_owned()))
        });
        self.awaited = Some(Awaited::Introspection(Question {
            ask: number,
            provider: ask.provider,
            token: token.to_vec(),
            trace: trace.collect(),
        }));
        None
    }

    /// Checks a right token once more: revocation, certificate, proof. `for_bearers` says that it came
    /// as one for whoever has it.
    pub(crate) fn standing(
        &mut self,
        provider: &Provider,
        verified: &Verified,
        token: &[u8],
        for_bearers: bool,
    ) -> Standing {
        match self.worker.revoked.get(verified.provider)? {
            Revoked::Nothing => {}
            Revoked::List(list) if list.forbids(&verified.claims) => {
                return Some(Err(Reason::Revoked.because("the token was revoked")));
            }
            Revoked::List(_) => {}
            Revoked::Awaited if self.circumstances.may_wait => {
                self.awaited = Some(Awaited::Revocations(verified.provider));
                return None;
            }
            Revoked::Awaited | Revoked::Unavailable => {
                let detail = "the list of revoked tokens can't be had";
                return Some(Err(Reason::RevocationsUnavailable.because(detail)));
            }
        }
        let bound = provider
            .certificate
            .map(|bound| self.certified(bound, verified));
        if let Some(Err(detail)) = bound {
            return Some(Err(Reason::ProofFailed.because(detail)));
        }
        let proven = provider.dpop.as_ref();
        let proven = proven.map(|dpop| self.proven(dpop, verified, token, for_bearers));
        if let Some(Err(detail)) = proven {
            return Some(Err(Reason::ProofFailed.because(detail)));
        }
        Some(Ok(()))
    }

    /// RFC 8705 section 3: the token is bound to the certificate of the client.
    fn certified(&self, bound: CertificateBound, verified: &Verified) -> Result<(), &'static str> {
        let Some(wanted) = confirmation(verified, "x5t#S256") else {
            return match bound.tokens {
                Binding::IfBound => Ok(()),
                Binding::Required => Err("the token isn't bound to a certificate (`cnf`)"),
            };
        };
        let digest = match bound.source {
            CertificateSource::Connection => certificate::of_hex(self.circumstances.certificate),
            CertificateSource::ForwardedHeader => {
                let mut values = self.headers.all("x-forwarded-client-cert");
                match (values.next(), values.next()) {
                    (Some(value), None) => certificate::of_forwarded(value),
                    _ => None,
                }
            }
        };
        match digest {
            Some(digest) if digest == wanted => Ok(()),
            Some(_) => Err("the token is bound to another certificate"),
            None => Err("the token is bound to a certificate, and the client shows none"),
        }
    }

    /// RFC 9449 section 7: the token is bound to a key, and the request proves that it is the sender's.
    fn proven(
        &mut self,
        dpop: &Dpop,
        verified: &Verified,
        token: &[u8],
        for_bearers: bool,
    ) -> Result<(), &'static str> {
        let key = confirmation(verified, "jkt");
        let key = match (key, for_bearers, dpop.tokens) {
            (None, true, Binding::IfBound) => return Ok(()),
            (None, _, _) => return Err("the token isn't bound to a key (`cnf.jkt`)"),
            (Some(_), true, _) => return Err("the token must come as `Authorization: DPoP`"),
            (Some(key), false, _) => key,
        };
        let mut proofs = self.headers.all("dpop");
        let proof = match (proofs.next(), proofs.next()) {
            (Some(proof), None) => proof,
            (None, _) => return Err("the request has no header `DPoP`"),
            (Some(_), Some(_)) => return Err("the request has more than one header `DPoP`"),
        };
        if self.circumstances.replayed {
            return Err("the proof was used before");
        }
        let own = origin(self.headers);
        let origin = match &dpop.origin {
            Some((scheme, authority)) => (scheme.as_bytes(), authority.as_bytes()),
            None => own,
        };
        let expected = Expected {
            method: self.headers.method().unwrap_or_default(),
            origin,
            path: route::path(self.headers),
            token,
            key: &key,
            now: self.circumstances.now,
        };
        let proof = proof::check(proof, dpop, &expected, self.worker.native, self.ask_host)?;
        let hash = self.worker.seed.hash(&proof.identity);
        self.proofs.push(Used {
            slot: replay::slot(hash, dpop.remembered),
            identity: hash.identity,
            until: proof.until.as_unix_seconds(),
        });
        Ok(())
    }
}

impl Policy {
    /// Whether a rule can refuse a request, or only says that it would.
    pub(crate) fn is_enforced(&self, rule: &Rule, headers: &Headers<'_>) -> bool {
        if rule.percent >= 100 {
            return true;
        }
        let mut locations = self.config.providers.iter().flat_map(|p| &p.locations);
        let token = locations.find_map(|location| match location.find(headers) {
            Found::Token(token) => Some(token),
            Found::Nothing | Found::Ambiguous => None,
        });
        let client = || {
            let forwarded = headers.all("x-forwarded-for").last()?;
            forwarded.rsplit(|&byte| byte == b',').next()
        };
        let who = match &token {
            Some(token) => token,
            None => client().unwrap_or_default().trim_ascii(),
        };
        // Not the memory's seed: all gateways choose alike.
        digest(who)
            .checked_rem(100)
            .is_some_and(|at| at < rule.percent)
    }
}

/// Returns what a token is bound to (RFC 7800 section 3.1): a member of its `cnf`.
fn confirmation(verified: &Verified, name: &str) -> Option<String> {
    let value = verified.claims.get("cnf")?.get(name)?.string()?;
    Some(value.into_owned())
}
