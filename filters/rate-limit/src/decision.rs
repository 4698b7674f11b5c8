//! What becomes of a request, as data: the shell carries it out and decides nothing.

use filter_core::metrics::labelled;
use filter_core::reply::Reply;
use filter_core::time::Span;

use crate::config::Config;
use crate::dues::Dues;
use crate::few::Few;
use crate::fields::Fields;
use crate::leases::Lease;

/// What the shell must do.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Whether the request is served.
    pub verdict: Verdict,
    /// Counters to add one to.
    pub counts: Few<Count>,
    /// The value for access logs; nothing for a request that was plainly allowed.
    pub log: Option<String>,
    /// Positions in the claim of what was charged, to be taken back if the charge can't be stored.
    pub(crate) charged: Few<usize>,
    /// What was charged for requests to come, to be kept if it could be stored.
    pub leases: Few<Box<Lease>>,
    /// How long the request is to be held before it is let in. Its charges are for that moment.
    pub hold: Span,
    /// What is to be done when the request has ended.
    pub dues: Dues,
}

impl Decision {
    /// Counts the races that were lost on the way to this decision.
    pub fn add_conflicts(&mut self, conflicts: u32) {
        for _ in 0..conflicts {
            self.counts.push(Count::Conflict);
        }
    }
}

/// Whether a request is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Serve it, and put these headers into the response.
    Allow(Fields),
    /// Answer so instead.
    Deny(Box<Reply>),
}

/// A counter of the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// A request that a rule had a say in. A request that one rule denied is not counted by rules
    /// that would have allowed it.
    Request {
        /// The rule's position in the configuration.
        rule: usize,
        /// What the rule said.
        outcome: Outcome,
    },
    /// A bucket that shares another's record because its table set is full.
    Pressure,
    /// A write to shared data that another worker's came before.
    Conflict,
    /// A call to the service of the global rules.
    Call,
    /// Something that should not happen.
    Error(Cause),
}

/// What a rule says to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Serve it.
    Allow,
    /// Serve it after a while.
    Delay,
    /// Deny it: too many.
    Deny,
    /// Refuse it: it lacks a part of the key.
    Reject,
    /// It would be denied or refused if the rule were enforced.
    Shadow,
    /// The rule doesn't apply: it lacks a part of the key.
    Skip,
}

/// Why the limiter couldn't do its work on a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Other workers were faster too often.
    Contention,
    /// A value in shared data isn't this table's; it was taken for an empty set.
    Foreign,
    /// The host's header block doesn't add up; it was taken for no headers.
    Headers,
    /// The host refused the clock or shared data.
    Host,
    /// The service of the global rules gave no answer, or none that makes sense.
    Service,
    /// It isn't asked for a moment, because it gave none several times.
    ServicePaused,
}

const OUTCOMES: [(Outcome, &str); 6] = [
    (Outcome::Allow, "allow"),
    (Outcome::Delay, "delay"),
    (Outcome::Deny, "deny"),
    (Outcome::Reject, "reject"),
    (Outcome::Shadow, "shadow"),
    (Outcome::Skip, "skip"),
];

const CAUSES: [(Cause, &str); 6] = [
    (Cause::Contention, "contention"),
    (Cause::Foreign, "foreign"),
    (Cause::Headers, "headers"),
    (Cause::Host, "host"),
    (Cause::Service, "service"),
    (Cause::ServicePaused, "service_paused"),
];

impl Cause {
    /// Returns the word in metrics, logs and details.
    pub fn word(self) -> &'static str {
        let found = CAUSES.into_iter().find(|(cause, _)| *cause == self);
        found.map_or("", |(_, word)| word)
    }
}

impl Count {
    /// Returns all counters of a configuration, in the order of [`Count::index`].
    pub fn all(config: &Config) -> Vec<Self> {
        let fixed = [Self::Pressure, Self::Conflict, Self::Call];
        let causes = CAUSES.into_iter().map(|(cause, _)| Self::Error(cause));
        let requests = (0..config.rules.len()).flat_map(|rule| {
            OUTCOMES
                .into_iter()
                .map(move |(outcome, _)| Self::Request { rule, outcome })
        });
        fixed.into_iter().chain(causes).chain(requests).collect()
    }

    /// Returns the position among all counters.
    pub fn index(self) -> usize {
        let error = |cause| CAUSES.iter().position(|(candidate, _)| *candidate == cause);
        let request = |rule: usize, outcome| {
            let at = OUTCOMES
                .iter()
                .position(|(candidate, _)| *candidate == outcome)?;
            let fixed = CAUSES.len().checked_add(3)?;
            rule.checked_mul(OUTCOMES.len())?
                .checked_add(at)?
                .checked_add(fixed)
        };
        let index = match self {
            Self::Pressure => Some(0),
            Self::Conflict => Some(1),
            Self::Call => Some(2),
            Self::Error(cause) => error(cause).and_then(|at| at.checked_add(3)),
            Self::Request { rule, outcome } => request(rule, outcome),
        };
        index.unwrap_or(usize::MAX)
    }

    /// Returns the name of the metric.
    pub fn name(self, config: &Config) -> String {
        match self {
            Self::Pressure => "rate_limit_table_pressure_total".to_owned(),
            Self::Conflict => "rate_limit_conflicts_total".to_owned(),
            Self::Call => "rate_limit_calls_total".to_owned(),
            Self::Error(cause) => labelled("rate_limit_errors_total", &[("cause", cause.word())]),
            Self::Request { rule, outcome } => {
                let rule = config.rules.get(rule).map_or("", |rule| &rule.name);
                let word = OUTCOMES
                    .into_iter()
                    .find(|(candidate, _)| *candidate == outcome);
                let outcome = word.map_or("", |(_, word)| word);
                labelled(
                    "rate_limit_requests_total",
                    &[("rule", rule), ("outcome", outcome)],
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config::read(
            br#"{"rules": [{"name": "a", "limits": [{"requests": 1, "per": "1s"}]},
                           {"name": "b", "limits": [{"requests": 1, "per": "1s"}]}]}"#,
        )
        .unwrap()
    }

    #[test]
    fn every_counter_is_at_its_index() {
        let all = Count::all(&config());
        assert_eq!(all.len(), 3 + 6 + 2 * 6);
        for (index, count) in all.into_iter().enumerate() {
            assert_eq!(count.index(), index, "{count:?}");
        }
    }

    #[test]
    fn names_carry_rule_and_outcome() {
        let config = config();
        let names: Vec<_> = Count::all(&config)
            .into_iter()
            .map(|count| count.name(&config))
            .collect();
        assert!(names.contains(&"rate_limit_requests_total_rule=b_outcome=shadow".to_owned()));
        assert!(names.contains(&"rate_limit_errors_total_cause=host".to_owned()));
    }
}
