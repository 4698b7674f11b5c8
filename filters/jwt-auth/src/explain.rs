//! What a configuration makes of a token, check by check, for people who wonder why it is refused.
//! Not in the module.
//!
//! The checks are those of [`crate::token`] in the same order, each called by itself, so that all are
//! told and not the first that fails alone. What becomes of a whole request is decided by
//! [`crate::policy`] itself. The signature's bytes are never in any of it.

mod checks;
mod request;

pub use request::{Answer, Refusal, Request, answer};

use crate::config::Config;
use crate::config::provider::{KeySource, Provider};
use crate::introspection;
use crate::jose::compact::Compact;
use crate::jose::date::NumericDate;
use crate::jose::keys::KeySet;
use crate::jose::refusal::Reason;
use checks::{Checks, of_rules};

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

/// What is made of a token, or of a request with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is let through.
    Accepted,
    /// It is refused, for what is found first.
    Refused(&'static str),
    /// That depends on what isn't known here.
    Unknown,
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
    /// Returns what the provider makes of the token, whatever the rules then say.
    pub fn verdict(&self) -> Verdict {
        let failed = self.checks.iter().find_map(|check| match check.outcome {
            Outcome::Failed(reason) => Some(reason.slug()),
            Outcome::Passed | Outcome::Unknown | Outcome::NotAsked => None,
        });
        let is_unknown = |check: &Check| check.outcome == Outcome::Unknown;
        match failed {
            Some(slug) => Verdict::Refused(slug),
            None if self.checks.iter().any(is_unknown) => Verdict::Unknown,
            None => Verdict::Accepted,
        }
    }

    /// Whether a check of this name was passed.
    fn passed(&self, name: &str) -> bool {
        let is_it = |check: &Check| check.name == name && check.outcome == Outcome::Passed;
        self.checks.iter().any(is_it)
    }
}

/// Key sets in place of those that are fetched.
#[derive(Clone, Debug, Default)]
pub struct Sets {
    fetched: Option<Vec<u8>>,
    named: Vec<(String, Vec<u8>)>,
}

impl Sets {
    /// Gives the text of a set to all providers whose keys are fetched, or to the named one, whatever
    /// keys it has.
    pub fn add(&mut self, provider: Option<&str>, text: Vec<u8>) {
        match provider {
            Some(name) => self.named.push((name.to_owned(), text)),
            None => self.fetched = Some(text),
        }
    }

    /// Returns the keys of a provider, if they can be known here.
    fn of(&self, provider: &Provider) -> Result<Option<KeySet>, String> {
        let mut named = self.named.iter();
        let given = named.find(|(name, _)| *name == provider.name);
        let given = given.map(|(_, text)| text);
        let set = match (&provider.keys, given) {
            (KeySource::Local(_), Some(text)) => KeySet::read(text.clone()),
            (KeySource::Local(text), None) => KeySet::read(text.clone().into_bytes()),
            (_, Some(text)) => KeySet::read_remote(text.clone()),
            (KeySource::Remote(_), None) => match &self.fetched {
                Some(text) => KeySet::read_remote(text.clone()),
                None => return Ok(None),
            },
            (KeySource::None, None) => return Ok(None),
        };
        set.map(Some).map_err(|problem| problem.to_string())
    }

    /// Complains of sets that nobody asks for.
    fn check(&self, config: &Config) -> Result<(), String> {
        for (name, _) in &self.named {
            position(config, name)?;
        }
        let is_fetched = |provider: &Provider| matches!(provider.keys, KeySource::Remote(_));
        match self.fetched.is_some() && !config.providers.iter().any(is_fetched) {
            true => Err("no provider fetches its keys".to_owned()),
            false => Ok(()),
        }
    }
}

/// Explains a token to all providers, or to one.
///
/// # Errors
/// If there is no such provider, or what is given as keys is no key set.
pub fn explain(
    config: &Config,
    token: &[u8],
    only: Option<&str>,
    sets: &Sets,
    now: NumericDate,
) -> Result<Vec<Explanation>, String> {
    sets.check(config)?;
    let only = only.map(|name| position(config, name)).transpose()?;
    let providers = config.providers.iter().enumerate();
    let providers = providers.filter(|(number, _)| only.is_none_or(|only| only == *number));
    providers
        .map(|(number, provider)| {
            let keys = sets.of(provider)?;
            Ok(one(config, number, provider, token, keys.as_ref(), now))
        })
        .collect()
}

/// Returns the number of a provider.
fn position(config: &Config, name: &str) -> Result<usize, String> {
    let mut providers = config.providers.iter();
    providers.position(|p| p.name == name).ok_or_else(|| {
        let names: Vec<_> = config.providers.iter().map(|p| &*p.name).collect();
        let names = names.join(", ");
        format!("there is no provider \"{name}\"; there are: {names}")
    })
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
        let why = "the authorization server is asked about this token";
        checks.unknown("introspection", why);
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
                let claims = checks.whole(config, number, provider, &compact, keys, now);
                if let Some(claims) = claims {
                    rules = of_rules(config, number, &claims);
                }
            }
        }
    }
    let besides = [
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
    for (is_asked, name, why) in besides {
        if is_asked {
            checks.unknown(name, why);
        }
    }
    Explanation {
        provider: provider.name.clone(),
        checks: checks.done(),
        rules,
    }
}
