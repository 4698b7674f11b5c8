//! The checks of one token by one provider.

use super::{Check, Outcome};
use crate::claims::missing_scope;
use crate::config::Config;
use crate::config::provider::{KeySource, Provider};
use crate::jose::checks::{Audiences, check_issuer};
use crate::jose::claims::Claims;
use crate::jose::compact::Compact;
use crate::jose::date::NumericDate;
use crate::jose::header::Header;
use crate::jose::keys::KeySet;
use crate::jose::refusal::{Reason, Refusal};
use crate::jose::verify::Native;
use crate::requirement::{Ask, Requirement};
use crate::token::{is_of_type, verify_with};

/// The checks so far.
#[derive(Default)]
pub(super) struct Checks(Vec<Check>);

impl Checks {
    pub(super) fn done(self) -> Vec<Check> {
        self.0
    }

    fn push(&mut self, name: &'static str, outcome: Outcome, detail: String) {
        self.0.push(Check {
            name,
            outcome,
            detail,
        });
    }

    pub(super) fn unknown(&mut self, name: &'static str, why: &str) {
        self.push(name, Outcome::Unknown, why.to_owned());
    }

    pub(super) fn result(&mut self, name: &'static str, result: Result<(), Refusal>, said: String) {
        match result {
            Ok(()) => self.push(name, Outcome::Passed, said),
            Err(refusal) => {
                let detail = match said.is_empty() {
                    true => refusal.detail.to_owned(),
                    false => format!("{said}: {}", refusal.detail),
                };
                self.push(name, Outcome::Failed(refusal.reason), detail);
            }
        }
    }

    /// All checks of a token whose form is right. Returns what it claims.
    pub(super) fn whole(
        &mut self,
        config: &Config,
        number: usize,
        provider: &Provider,
        compact: &Compact<'_>,
        keys: Option<&KeySet>,
        now: NumericDate,
    ) -> Option<Claims> {
        let claims = match Claims::read(compact.payload.clone()) {
            Ok(claims) => claims,
            Err(refusal) => {
                self.result("claims", Err(refusal), String::new());
                self.unknown("issuer", "the claims can't be read");
                self.signature(provider, compact, keys);
                return None;
            }
        };
        let count = claims.root().members().count();
        self.result("claims", Ok(()), format!("{count} of them"));
        let iss = show(claims.issuer().as_deref());
        match &provider.issuer {
            Some(issuer) => {
                let said = format!("`iss` is {iss}, asked for {issuer:?}");
                self.result("issuer", check_issuer(&claims, issuer), said);
            }
            None => self.push("issuer", Outcome::NotAsked, format!("`iss` is {iss}")),
        }
        let Header { alg, typ, .. } = &compact.header;
        let refusal = Reason::AlgNotAllowed.because("the provider doesn't allow it");
        let is_allowed = provider.algorithms.contains(alg).then_some(());
        let said = format!("`alg` is {}", alg.name());
        self.result("algorithm", is_allowed.ok_or(refusal), said);
        let said = format!("`typ` is {}", show(typ.as_deref()));
        match provider.token_types.is_empty() {
            true => self.push("type", Outcome::NotAsked, said),
            false => {
                let refusal = Reason::WrongType.because("the provider doesn't allow it");
                let is_one = is_of_type(typ.as_deref(), &provider.token_types).then_some(());
                self.result("type", is_one.ok_or(refusal), said);
            }
        }
        self.times(provider, &claims, now);
        self.audience(config, number, provider, &claims);
        let said = format!("`sub` is {}", show(claims.subject().as_deref()));
        match &provider.subjects {
            None => self.push("subject", Outcome::NotAsked, said),
            Some(subjects) => {
                let subject = claims.subject();
                let fits = subject.is_some_and(|subject| subjects.matches(subject.as_bytes()));
                let refusal = Reason::WrongSubject.because("the provider doesn't allow it");
                self.result("subject", fits.then_some(()).ok_or(refusal), said);
            }
        }
        self.signature(provider, compact, keys);
        Some(claims)
    }

    /// The dates, in the order in which they are looked at: what comes after one that is wrong isn't.
    fn times(&mut self, provider: &Provider, claims: &Claims, now: NumericDate) {
        let times = &provider.times;
        let mut failed = times.check(claims, now).err();
        let seconds = |date: Option<NumericDate>| match date {
            Some(date) => {
                let (date, now) = (date.as_unix_seconds(), now.as_unix_seconds());
                let away = date.abs_diff(now);
                let way = if date < now { "ago" } else { "from now" };
                format!("{date}, {away} s {way}")
            }
            None => "not there".to_owned(),
        };
        let nbf = format!("`nbf` is {}", seconds(claims.not_before()));
        let exp = format!("`exp` is {}", seconds(claims.expires()));
        let iat = format!("`iat` is {}", seconds(claims.issued_at()));
        let lifetime = match times.max_lifetime {
            Some(most) => format!("at most {} s", most.as_secs()),
            None => String::new(),
        };
        let steps: [(&str, &[Reason], String, bool); 4] = [
            ("not before", &[Reason::NotYetValid], nbf, true),
            (
                "expiration",
                &[Reason::Expired, Reason::MissingExpiration],
                exp,
                true,
            ),
            (
                "lifetime",
                &[Reason::LifetimeTooLong],
                lifetime,
                times.max_lifetime.is_some(),
            ),
            (
                "issued at",
                &[Reason::IssuedInFuture],
                iat,
                times.check_issued_at,
            ),
        ];
        let mut is_over = false;
        for (name, reasons, said, is_asked) in steps {
            match failed {
                _ if !is_asked => self.push(name, Outcome::NotAsked, said),
                Some(refusal) if reasons.contains(&refusal.reason) => {
                    self.result(name, Err(refusal), said);
                    failed = None;
                    is_over = true;
                }
                _ if is_over => self.push(name, Outcome::Unknown, said),
                _ => self.result(name, Ok(()), said),
            }
        }
    }

    /// The provider's own audiences, unless every rule has others in their place.
    fn audience(&mut self, config: &Config, number: usize, provider: &Provider, claims: &Claims) {
        let aud: Vec<_> = claims.audiences().collect();
        let said = format!("`aud` is {aud:?}");
        let mut asks = config.asks.iter().filter(|ask| ask.provider == number);
        let is_asked = config.asks.iter().all(|ask| ask.provider != number)
            || asks.any(|ask| ask.audiences.is_empty());
        if provider.audiences.is_empty() || !is_asked {
            self.push("audience", Outcome::NotAsked, said);
            return;
        }
        let said = format!("{said}, asked for one of {:?}", provider.audiences);
        let audiences = Audiences::new(&provider.audiences);
        self.result("audience", audiences.check(claims), said);
    }

    fn signature(&mut self, provider: &Provider, compact: &Compact<'_>, keys: Option<&KeySet>) {
        let kid = show(compact.header.kid.as_deref());
        let Some(keys) = keys else {
            let from = match &provider.keys {
                KeySource::Remote(remote) => &*remote.endpoint.authority,
                KeySource::Local(_) | KeySource::None => "elsewhere",
            };
            let why = format!("`kid` is {kid}; the keys are fetched from {from}");
            self.unknown("key", &why);
            self.unknown("signature", "there are no keys to check it with");
            return;
        };
        let unusable = unusable(keys);
        match keys.candidates(&compact.header) {
            Err(refusal) => {
                let said = format!("`kid` is {kid}{unusable}");
                self.result("key", Err(refusal), said);
                self.unknown("signature", "there is no key to check it with");
            }
            Ok(mut candidates) => {
                let count = candidates.clone().count();
                let all = keys.len();
                let said = format!("`kid` is {kid}, {count} of {all} may be its own{unusable}");
                self.result("key", Ok(()), said);
                let is_right = |key| verify_with(key, compact, Native::default(), &mut |_| None);
                let refusal = Reason::BadSignature.because("none of these keys made it");
                let is_right = candidates.any(is_right).then_some(());
                self.result("signature", is_right.ok_or(refusal), String::new());
            }
        }
    }
}

/// What is said of keys that are left out of a set.
fn unusable(keys: &KeySet) -> String {
    let skipped = keys.skipped().iter();
    let causes = skipped.map(|skipped| {
        let place = skipped.index.saturating_add(1);
        format!("; key {place} of the set isn't used: {}", skipped.cause)
    });
    causes.collect()
}

/// Whether the token is enough for the rules that ask for one of its provider.
pub(super) fn of_rules(config: &Config, number: usize, claims: &Claims) -> Vec<Check> {
    let rules = config.rules.iter();
    let rules = rules.filter(|rule| rule.requirement.asks_of(config, number));
    rules
        .map(|rule| {
            let mut asks = Vec::new();
            collect_asks(&rule.requirement, config, number, &mut asks);
            let is_for = |ask: &&Ask| Audiences::new(&ask.audiences).check(claims).is_ok();
            let wanted = rule.claims.as_ref();
            let outcome = if !asks.is_empty() && !asks.iter().any(is_for) {
                Err(Reason::WrongAudience.because("`aud` has none of the rule's audiences"))
            } else if missing_scope(claims, &rule.scopes).is_some() {
                Err(Reason::InsufficientScope.because("the token lacks a scope"))
            } else if wanted.is_some_and(|wanted| !wanted.holds(claims)) {
                Err(Reason::ClaimDenied.because("the token doesn't claim what is needed"))
            } else {
                Ok(())
            };
            let said = match rule.scopes.is_empty() {
                true => rule.name.clone(),
                false => format!("{}, scopes {:?}", rule.name, rule.scopes),
            };
            let mut checks = Checks::default();
            checks.result("rule", outcome, said);
            checks.0.remove(0)
        })
        .collect()
}

/// Collects what a requirement asks of one provider.
fn collect_asks<'c>(
    requirement: &Requirement,
    config: &'c Config,
    number: usize,
    asks: &mut Vec<&'c Ask>,
) {
    match requirement {
        Requirement::All(list) | Requirement::Any(list) => {
            for inner in list {
                collect_asks(inner, config, number, asks);
            }
        }
        Requirement::Token(ask) => {
            let ask = config.asks.get(*ask);
            asks.extend(ask.filter(|ask| ask.provider == number));
        }
        Requirement::AllowMissing
        | Requirement::AllowMissingOrFailed
        | Requirement::ExtractOnly(_)
        | Requirement::Nothing => {}
    }
}

fn show(text: Option<&str>) -> String {
    text.map_or_else(|| "not there".to_owned(), |text| format!("{text:?}"))
}
