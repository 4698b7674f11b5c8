//! What a configuration makes of a token, check by check, for people who wonder why it is refused.
//! Not in the module.
//!
//! The checks are those of [`crate::token`] in the same order, each called by itself, so that all are
//! told and not the first that fails alone. The signature's bytes are never in it.

use crate::claims::missing_scope;
use crate::config::Config;
use crate::config::provider::{KeySource, Provider};
use crate::introspection;
use crate::jose::checks::{Audiences, check_issuer};
use crate::jose::claims::Claims;
use crate::jose::compact::Compact;
use crate::jose::date::NumericDate;
use crate::jose::header::Header;
use crate::jose::keys::KeySet;
use crate::jose::refusal::{Reason, Refusal};
use crate::jose::verify::Native;
use crate::requirement::Requirement;
use crate::token::{is_of_type, verify_with};

/// What became of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The token is as it should be.
    Passed,
    /// It isn't; the request would be refused for this reason.
    Failed(Reason),
    /// It can't be told here, or comes after what failed.
    Unknown,
    /// The configuration doesn't ask.
    NotAsked,
}

/// A check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What is checked.
    pub name: &'static str,
    /// What became of it.
    pub outcome: Outcome,
    /// What the token says, and what is wrong with it.
    pub detail: String,
}

/// What one provider makes of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The provider's name.
    pub provider: String,
    /// The checks in order.
    pub checks: Vec<Check>,
    /// Rules that ask for a token of the provider, and whether this one is enough.
    pub rules: Vec<Check>,
}

impl Explanation {
    /// Whether the provider takes the token: nothing failed, and nothing is unknown.
    pub fn is_accepted(&self) -> bool {
        let is_fine = |check: &Check| matches!(check.outcome, Outcome::Passed | Outcome::NotAsked);
        self.checks.iter().all(is_fine)
    }
}

/// Explains a token to all providers, or to one. `keys` take the place of a provider's own.
///
/// # Errors
/// If there is no such provider, or the keys are no key set.
pub fn explain(
    config: &Config,
    token: &[u8],
    only: Option<&str>,
    keys: Option<&[u8]>,
    now: NumericDate,
) -> Result<Vec<Explanation>, String> {
    if let Some(name) = only
        && !config.providers.iter().any(|p| p.name == name)
    {
        let names: Vec<_> = config.providers.iter().map(|p| &*p.name).collect();
        let names = names.join(", ");
        return Err(format!(
            "there is no provider \"{name}\"; there are: {names}"
        ));
    }
    let providers = config.providers.iter().enumerate();
    let providers = providers.filter(|(_, p)| only.is_none_or(|name| p.name == name));
    providers
        .map(|(number, provider)| {
            let own = match &provider.keys {
                KeySource::Local(text) => Some(text.as_bytes()),
                KeySource::Remote(_) | KeySource::None => None,
            };
            let keys = keys.or(own).map(|text| KeySet::read(text.to_vec()));
            let keys = keys.transpose().map_err(|problem| problem.to_string())?;
            Ok(one(config, number, provider, token, keys.as_ref(), now))
        })
        .collect()
}

fn one(
    config: &Config,
    number: usize,
    provider: &Provider,
    token: &[u8],
    keys: Option<&KeySet>,
    now: NumericDate,
) -> Explanation {
    let mut checks = Checks::default();
    let mut rules = Vec::new();
    if introspection::decides(provider, token) {
        checks.unknown(
            "introspection",
            "the authorization server is asked about this token",
        );
    } else {
        match Compact::parse(token, provider.max_token_bytes) {
            Err(refusal) => {
                checks.result("form", Err(refusal), format!("{} bytes", token.len()));
                for name in ["claims", "issuer", "signature"] {
                    checks.unknown(name, "the token can't be read");
                }
            }
            Ok(compact) => {
                checks.result("form", Ok(()), format!("{} bytes", token.len()));
                if let Some(claims) = checks.whole(provider, &compact, keys, now) {
                    rules = of_rules(config, number, &claims);
                }
            }
        }
    }
    let bound = [
        (
            provider.revocation.is_some(),
            "revocation",
            "the list is fetched",
        ),
        (
            provider.certificate.is_some(),
            "certificate",
            "depends on the client's connection",
        ),
        (
            provider.dpop.is_some(),
            "proof",
            "depends on the request's header `DPoP`",
        ),
    ];
    for (is_asked, name, why) in bound {
        if is_asked {
            checks.unknown(name, why);
        }
    }
    Explanation {
        provider: provider.name.clone(),
        checks: checks.0,
        rules,
    }
}

#[derive(Default)]
struct Checks(Vec<Check>);

impl Checks {
    fn push(&mut self, name: &'static str, outcome: Outcome, detail: String) {
        self.0.push(Check {
            name,
            outcome,
            detail,
        });
    }

    fn unknown(&mut self, name: &'static str, why: &str) {
        self.push(name, Outcome::Unknown, why.to_owned());
    }

    fn result(&mut self, name: &'static str, result: Result<(), Refusal>, said: String) {
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
    fn whole(
        &mut self,
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
        self.result("claims", Ok(()), format!("{count} claims"));
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
        let aud: Vec<_> = claims.audiences().collect();
        let said = format!("`aud` is {aud:?}, asked for {:?}", provider.audiences);
        match provider.audiences.is_empty() {
            true => self.push("audience", Outcome::NotAsked, format!("`aud` is {aud:?}")),
            false => {
                let audiences = Audiences::new(&provider.audiences);
                self.result("audience", audiences.check(&claims), said);
            }
        }
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
        let mut failed = provider.times.check(claims, now).err();
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
        let lifetime = match provider.times.max_lifetime {
            Some(most) => format!("at most {} s", most.as_secs()),
            None => String::new(),
        };
        let steps: [(&str, &[Reason], String, bool); 3] = [
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
                provider.times.max_lifetime.is_some(),
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

    fn signature(&mut self, provider: &Provider, compact: &Compact<'_>, keys: Option<&KeySet>) {
        let kid = show(compact.header.kid.as_deref());
        let Some(keys) = keys else {
            let from = match &provider.keys {
                KeySource::Remote(remote) => &*remote.endpoint.authority,
                KeySource::Local(_) | KeySource::None => "elsewhere",
            };
            let why = format!("`kid` is {kid}; keys are fetched from {from}, give them by --jwks");
            self.unknown("key", &why);
            self.unknown("signature", "there are no keys to check it with");
            return;
        };
        match keys.candidates(&compact.header) {
            Err(refusal) => {
                self.result("key", Err(refusal), format!("`kid` is {kid}"));
                self.unknown("signature", "there is no key to check it with");
            }
            Ok(mut candidates) => {
                let count = candidates.clone().count();
                let said = format!(
                    "`kid` is {kid}, {count} of {} keys may be its own",
                    keys.len()
                );
                self.result("key", Ok(()), said);
                let is_right = |key| verify_with(key, compact, Native::default(), &mut |_| None);
                let refusal = Reason::BadSignature.because("none of these keys made it");
                let is_right = candidates.any(is_right).then_some(());
                self.result("signature", is_right.ok_or(refusal), String::new());
            }
        }
    }
}

/// Whether the token is enough for the rules that ask for one of its provider.
fn of_rules(config: &Config, number: usize, claims: &Claims) -> Vec<Check> {
    let asks = |requirement: &Requirement| requirement.asks_of(config, number);
    let rules = config.rules.iter().filter(|rule| asks(&rule.requirement));
    rules
        .map(|rule| {
            let mut checks = Checks::default();
            let outcome = match (missing_scope(claims, &rule.scopes), &rule.claims) {
                (Some(_), _) => Err(Reason::InsufficientScope.because("the token lacks a scope")),
                (None, Some(wanted)) if !wanted.holds(claims) => {
                    let detail = "the token doesn't claim what is needed";
                    Err(Reason::ClaimDenied.because(detail))
                }
                _ => Ok(()),
            };
            let name = &rule.name;
            let said = match rule.scopes.is_empty() {
                true => name.clone(),
                false => format!("{name}, scopes {:?}", rule.scopes),
            };
            checks.result("rule", outcome, said);
            checks.0.remove(0)
        })
        .collect()
}

fn show(text: Option<&str>) -> String {
    text.map_or_else(|| "not there".to_owned(), |text| format!("{text:?}"))
}
