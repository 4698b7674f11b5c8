//! What becomes of a request, as data: the shell carries it out and decides nothing.

use filter_core::metrics::labelled;
use filter_core::reply::Reply;

use crate::config::Config;
use crate::jose::refusal::{Reason, Refusal};

/// What the shell must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The request is decided about.
    Done(Decision),
    /// It can't be yet.
    Wait(Awaited),
}

/// What a request waits for. Providers and asks are told by their positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// The keys of this provider, which are on their way.
    Keys(usize),
    /// The list of what this provider revoked, which is on its way.
    Revocations(usize),
    /// An answer about a token, which nobody may have asked for yet.
    Introspection(Question),
}

/// A token that an introspection endpoint is to be asked about.
#[derive(Clone, PartialEq, Eq)]
pub struct Question {
    /// What is asked of it.
    pub ask: usize,
    /// The provider.
    pub provider: usize,
    /// The token.
    pub token: Vec<u8>,
    /// Headers of the request that tell its way through the services (`x-request-id`, `traceparent`).
    pub trace: Vec<(&'static str, String)>,
}

impl Question {
    /// Whether two are answered by the same answer.
    pub fn is_alike(&self, other: &Self) -> bool {
        self.ask == other.ask && self.token == other.token
    }
}

impl std::fmt::Debug for Question {
    /// Leaves the token out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Question(provider {})", self.provider)
    }
}

/// What becomes of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// An answer in place of the upstream's.
    pub reply: Option<Reply>,
    /// Changes of the request's headers, in order; none with an answer.
    pub edits: Vec<Edit>,
    /// Filter state: keys and values.
    pub properties: Vec<(String, String)>,
    /// Whether the route is to be chosen anew.
    pub clear_route_cache: bool,
    /// Proofs of possession to be remembered before all else; if one of them was used before, the
    /// request is to be decided about anew, as [`Circumstances::replayed`].
    ///
    /// [`Circumstances::replayed`]: crate::policy::Circumstances::replayed
    pub proofs: Vec<Used>,
    /// Counters to add one to.
    pub counts: Vec<Count>,
    /// The value for access logs; nothing for a request that was plainly allowed.
    pub log: Option<String>,
}

/// A proof of possession that is used up by a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    /// Where it is remembered.
    pub slot: u64,
    /// What it is there.
    pub identity: u64,
    /// The second, since 1970, until which that matters.
    pub until: u64,
}

/// A change of a request's headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Add it beside those of the same name.
    Add(String, String),
    /// Remove all of this name.
    Remove(String),
    /// Set the target, path and query.
    Target(Vec<u8>),
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It selects one rule as it was sent and another once its path is decoded and resolved, its
    /// method in upper and its host in lower case.
    AmbiguousPath,
    /// Its headers can't be read.
    Headers,
    /// Its tokens aren't what a rule asks for.
    Token(Refusal),
}

/// What a rule says to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Serve it.
    Allow,
    /// Refuse it.
    Deny,
    /// It would be refused if the rule were enforced.
    Shadow,
}

/// A counter of the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// A CORS preflight request that no rule was asked about.
    Preflight,
    /// A token that was remembered.
    Remembered,
    /// A token that wasn't.
    Fresh,
    /// Something that the host refused.
    HostError,
    /// A refusal for its path, or its headers.
    Refused {
        /// Whether it was the path.
        for_path: bool,
    },
    /// A refusal, also one by a rule in shadow mode, for its tokens.
    Reason(Reason),
    /// A request that a rule had a say in.
    Request {
        /// The rule's position.
        rule: usize,
        /// What it said.
        outcome: Outcome,
    },
    /// A call for a provider.
    Fetch {
        /// The provider's position.
        provider: usize,
        /// What for.
        what: Call,
        /// Whether it was answered.
        good: bool,
    },
}

/// What is called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Whether a token is active.
    Introspection,
    /// A provider's keys.
    Keys,
    /// What is revoked.
    Revocations,
}

const CALLS: [(Call, &str); 3] = [
    (Call::Keys, "jwt_auth_jwks_fetches_total"),
    (Call::Introspection, "jwt_auth_introspections_total"),
    (Call::Revocations, "jwt_auth_revocation_fetches_total"),
];

const OUTCOMES: [(Outcome, &str); 3] = [
    (Outcome::Allow, "allow"),
    (Outcome::Deny, "deny"),
    (Outcome::Shadow, "shadow"),
];

const FIXED: [Count; 6] = [
    Count::Preflight,
    Count::Remembered,
    Count::Fresh,
    Count::HostError,
    Count::Refused { for_path: true },
    Count::Refused { for_path: false },
];

impl Cause {
    /// Returns the word in metrics, response details and logs.
    pub const fn slug(&self) -> &'static str {
        match self {
            Self::AmbiguousPath => "ambiguous_path",
            Self::Headers => "headers",
            Self::Token(refusal) => refusal.reason.slug(),
        }
    }

    /// Returns what exactly is wrong, in a sentence without its full stop.
    pub const fn detail(&self) -> &'static str {
        match self {
            Self::AmbiguousPath => "the request can be read in two ways to which other rules apply",
            Self::Headers => "the request's headers can't be read",
            Self::Token(refusal) => refusal.detail,
        }
    }

    /// Returns the counter of such refusals.
    pub const fn count(&self) -> Count {
        match self {
            Self::AmbiguousPath => Count::Refused { for_path: true },
            Self::Headers => Count::Refused { for_path: false },
            Self::Token(refusal) => Count::Reason(refusal.reason),
        }
    }
}

impl Count {
    /// Returns all counters of a configuration, in the order of [`Count::index`].
    pub fn all(config: &Config) -> Vec<Self> {
        let reasons = Reason::ALL.into_iter().map(Self::Reason);
        let requests = (0..config.rules.len()).flat_map(|rule| {
            OUTCOMES
                .into_iter()
                .map(move |(outcome, _)| Self::Request { rule, outcome })
        });
        let fetches = (0..config.providers.len()).flat_map(|provider| {
            CALLS.into_iter().flat_map(move |(what, _)| {
                [true, false].map(|good| Self::Fetch {
                    provider,
                    what,
                    good,
                })
            })
        });
        FIXED
            .into_iter()
            .chain(reasons)
            .chain(requests)
            .chain(fetches)
            .collect()
    }

    /// Returns the position among all counters of a configuration with so many rules.
    pub fn index(self, rules: usize) -> usize {
        let reasons = FIXED.len();
        let requests = reasons.saturating_add(Reason::ALL.len());
        let fetches = requests.saturating_add(rules.saturating_mul(OUTCOMES.len()));
        let at = |start: usize, offset: Option<usize>| offset.and_then(|o| start.checked_add(o));
        let index = match self {
            Self::Reason(reason) => at(reasons, Reason::ALL.iter().position(|r| *r == reason)),
            Self::Request { rule, outcome } => {
                let word = OUTCOMES.iter().position(|(other, _)| *other == outcome);
                let first = requests.saturating_add(rule.saturating_mul(OUTCOMES.len()));
                at(first, word)
            }
            Self::Fetch {
                provider,
                what,
                good,
            } => {
                let call = CALLS.iter().position(|(other, _)| *other == what);
                let call = call.unwrap_or_default();
                let first = provider.saturating_mul(CALLS.len()).saturating_add(call);
                let first = fetches.saturating_add(first.saturating_mul(2));
                at(first, Some(usize::from(!good)))
            }
            fixed => FIXED.iter().position(|count| *count == fixed),
        };
        index.unwrap_or(usize::MAX)
    }

    /// Returns the name of the metric.
    pub fn name(self, config: &Config) -> String {
        let prefix = config.stat_prefix.as_deref();
        let name = |base: &str, labels: &[(&str, &str)]| {
            let filter = prefix.map(|prefix| ("filter", prefix));
            let labels: Vec<_> = filter.into_iter().chain(labels.iter().copied()).collect();
            labelled(base, &labels)
        };
        match self {
            Self::Preflight => name("jwt_auth_cors_preflight_bypassed_total", &[]),
            Self::Remembered => name("jwt_auth_tokens_total", &[("memory", "hit")]),
            Self::Fresh => name("jwt_auth_tokens_total", &[("memory", "miss")]),
            Self::HostError => name("jwt_auth_errors_total", &[("cause", "host")]),
            Self::Refused { for_path } => {
                let reason = match for_path {
                    true => Cause::AmbiguousPath.slug(),
                    false => Cause::Headers.slug(),
                };
                name("jwt_auth_refusals_total", &[("reason", reason)])
            }
            Self::Reason(reason) => name("jwt_auth_refusals_total", &[("reason", reason.slug())]),
            Self::Request { rule, outcome } => {
                let rule = config.rules.get(rule).map_or("", |rule| &rule.name);
                let word = OUTCOMES.into_iter().find(|(other, _)| *other == outcome);
                let outcome = word.map_or("", |(_, word)| word);
                name(
                    "jwt_auth_requests_total",
                    &[("rule", rule), ("outcome", outcome)],
                )
            }
            Self::Fetch {
                provider,
                what,
                good,
            } => {
                let provider = config.providers.get(provider).map_or("", |p| &p.name);
                // Names of providers are the user's, and metrics have few letters.
                let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
                let provider: String = provider.chars().map(plain).collect();
                let outcome = if good { "success" } else { "failure" };
                let base = CALLS.into_iter().find(|(other, _)| *other == what);
                let base = base.map_or("", |(_, base)| base);
                name(base, &[("provider", &provider), ("outcome", outcome)])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &[u8] = br#"{
        "stat_prefix": "edge",
        "providers": {
            "a/b": {"remote_jwks": {"http_uri": {"uri": "http://a/", "cluster": "c", "timeout": "1s"}}},
            "c": {"remote_jwks": {"http_uri": {"uri": "http://a/", "cluster": "c", "timeout": "1s"}}}
        },
        "rules": [
            {"match": {"prefix": "/a"}, "name": "api"},
            {"match": {"prefix": "/"}, "requires": {"provider_name": "c"}}
        ]
    }"#;

    #[test]
    fn every_counter_is_at_its_index_and_has_a_name_of_its_own() {
        let config = Config::read(CONFIG).unwrap();
        let all = Count::all(&config);
        assert_eq!(all.len(), 6 + Reason::ALL.len() + 2 * 3 + 2 * 3 * 2);
        let mut names: Vec<_> = all.iter().map(|count| count.name(&config)).collect();
        for (index, count) in all.into_iter().enumerate() {
            assert_eq!(count.index(config.rules.len()), index, "{count:?}");
        }
        for name in [
            "jwt_auth_requests_total_filter=edge_rule=api_outcome=shadow",
            "jwt_auth_requests_total_filter=edge_rule=rule-1_outcome=deny",
            "jwt_auth_refusals_total_filter=edge_reason=expired",
            "jwt_auth_refusals_total_filter=edge_reason=ambiguous_path",
            "jwt_auth_jwks_fetches_total_filter=edge_provider=a-b_outcome=failure",
            "jwt_auth_introspections_total_filter=edge_provider=c_outcome=success",
        ] {
            assert!(
                names.iter().any(|other| other == name),
                "{name} in {names:?}"
            );
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 6 + Reason::ALL.len() + 2 * 3 + 2 * 3 * 2);
    }
}
