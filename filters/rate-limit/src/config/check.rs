//! From what is written to what works, with all that is wrong on the way.

use filter_core::config::Place;
use filter_core::config::fields::{Count, Name};
use filter_core::key;
use filter_core::table::Geometry;
use filter_core::time::Span;

use super::{
    AlgorithmName, Backend, BackendError, ChargeOn, Config, Limit, RawConcurrent, RawConfig,
    RawLimit, RawRule, RawSelector, Rule, Scope,
};
use crate::algorithm::Algorithm;
use crate::fields;
use crate::gcra::Gcra;
use crate::window::Window;

/// The longest time that a request is held. Clients and gateways give up after not much longer.
const LONGEST_DELAY: Span = Span::from_secs(60);
const MOST_LIMITS: usize = 8;
/// The longest time that an empty bucket may take to fill; below the table's horizon.
const LONGEST_REFILL: Span = Span::from_secs(366 * 24 * 60 * 60);

impl RawConfig {
    /// Makes a configuration, or reports all that is wrong.
    pub fn check(self, place: &Place<'_>) -> Option<Config> {
        let ways = self.table.ways.get_u32();
        let geometry = Geometry::new(self.table.sets.get_u32(), ways);
        let at = place.field("rules");
        if self.rules.is_empty() {
            at.refuse("a list with at least one rule");
        }
        let at_backend = place.field("backend");
        let backend = self.backend.map(|raw| raw.check(&at_backend));
        let is_global = |raw: &RawRule| raw.scope == Scope::Global;
        if backend.is_some() && !self.rules.iter().any(is_global) {
            at_backend.report("no rule has \"scope\": \"global\", so it has nothing to do");
        }
        let mut rules: Vec<Option<Rule>> = Vec::with_capacity(self.rules.len());
        let mut names: Vec<Name> = Vec::with_capacity(self.rules.len());
        for (index, raw) in self.rules.into_iter().enumerate() {
            let at = at.index(index);
            if names.contains(&raw.name) {
                at.field("name").report(&format!(
                    "another rule is called \"{}\" too; names must differ",
                    raw.name
                ));
            }
            names.push(raw.name.clone());
            rules.push(raw.check(ways, backend.as_ref().map(Option::as_ref), &at));
        }
        let rules: Vec<_> = rules.into_iter().collect::<Option<_>>()?;
        Some(Config {
            rules,
            apply: self.apply,
            headers: self.headers,
            max_delayed: usize::try_from(self.max_delayed.get()).ok()?,
            geometry: geometry?,
            on_error: self.on_error,
            backend: match backend {
                Some(checked) => Some(checked?),
                None => None,
            },
        })
    }
}

impl RawRule {
    /// `backend` is the one there is, and none inside if it has mistakes of its own.
    fn check(
        self,
        ways: u32,
        backend: Option<Option<&Backend>>,
        place: &Place<'_>,
    ) -> Option<Rule> {
        let backend = match self.scope {
            Scope::Local => None,
            Scope::Global => {
                if backend.is_none() {
                    place
                        .field("scope")
                        .report("a global rule needs \"backend\", which names the service to ask");
                }
                backend.flatten()
            }
        };
        let server_knows = backend
            .is_some_and(|backend| !backend.is_redis() && backend.on_error != BackendError::Local);
        let matcher = self.matching.check(&place.field("match"));
        let key = key::check(self.key, &place.field("key"));
        let cost = self.cost.get();
        let header = self.cost_header.as_ref().map(|header| header.max.get());
        let at = place.field("concurrent");
        let concurrent = self
            .concurrent
            .map(|raw| raw.check(self.name.as_str(), &at));
        let most_cost = cost.max(header.unwrap_or(cost));
        let limits = Limits {
            rule: self.name.as_str(),
            most_cost,
            ways,
            concurrent: concurrent.as_ref().and_then(Option::as_ref),
            taken_ahead: self.lease.get() > 1 && self.scope == Scope::Local,
            server_knows,
        };
        let own = limits.check(self.limits, &place.field("limits"));
        let at = place.field("allow");
        let allow = self.allow.into_iter().enumerate();
        let allow: Vec<_> = allow
            .map(|(index, raw)| raw.check(&at.index(index)))
            .collect();
        let at = place.field("overrides");
        let overrides = self.overrides.into_iter().enumerate();
        let overrides: Vec<_> = overrides
            .map(|(index, raw)| {
                let at = at.index(index);
                let selector = RawSelector {
                    matching: raw.matching,
                    addresses: raw.addresses,
                };
                let selector = selector.check(&at);
                selector.zip(limits.check(raw.limits, &at.field("limits")))
            })
            .collect();
        let charge = self.charge.check(&place.field("charge"));
        let at = place.field("delay_up_to");
        let delay = self
            .delay_up_to
            .map_or(Span::ZERO, |text| Span::from_duration(text.get()));
        if delay > LONGEST_DELAY {
            at.refuse("a duration up to \"1m\"");
        }
        let lists = overrides.iter().flatten().map(|(_, limits)| limits);
        let mut limits = own.iter().chain(lists).flatten();
        let is_gcra = |limit: &Limit| matches!(limit.algorithm, Algorithm::Gcra(_));
        let known = matches!(charge, None | Some(ChargeOn::Request)) && limits.all(is_gcra);
        if self.scope == Scope::Global && !known {
            place.field("scope").report(
                "a service is asked for \"gcra\" and before the response alone: no windows, no \
                 \"concurrent\" and no charge by the response",
            );
        }
        let is_held = delay > Span::ZERO;
        if self.scope == Scope::Global && is_held {
            at.report("a service doesn't tell when a request can go on; leave it out");
        }
        if delay > Span::ZERO && !known {
            at.report(
                "when a request can go on is known for \"gcra\" alone, \
                 not beside windows, \"concurrent\" or a charge by the response",
            );
        }
        let lease = self.lease.get();
        let is_plain = known && delay == Span::ZERO && self.cost_header.is_none();
        if lease > 1 && !is_plain {
            place.field("lease").report(
                "what can be taken ahead is known for \"gcra\" and a constant cost alone, not beside \
                 windows, \"concurrent\", \"cost_header\", \"delay_up_to\" or a charge by the response",
            );
        }
        let on_limit = self.on_limit.check(&place.field("on_limit"));
        let share = |limits: &Vec<Limit>, backend: &Backend| -> Vec<Limit> {
            let limits = limits.iter();
            limits
                .map(|limit| limit.share(backend.local_share, most_cost))
                .collect()
        };
        let falls_back = backend.filter(|backend| backend.on_error == BackendError::Local);
        let fallback = falls_back.map_or_else(Vec::new, |backend| {
            let others = overrides.iter().flatten().map(|(_, limits)| limits);
            let lists = own.iter().chain(others);
            lists.map(|limits| share(limits, backend)).collect()
        });
        Some(Rule {
            matcher: matcher?,
            key: key?,
            missing: self.missing,
            allow: allow.into_iter().collect::<Option<_>>()?,
            scope: self.scope,
            fallback,
            limits: own?,
            overrides: overrides.into_iter().collect::<Option<_>>()?,
            mode: self.mode,
            percent: self.percent.get(),
            charge: charge?,
            delay_up_to: delay,
            lease,
            cost,
            cost_header: self
                .cost_header
                .map(|header| (header.name.as_str().to_owned(), header.max.get())),
            on_limit: on_limit?,
            name: self.name.as_str().to_owned(),
        })
    }
}

/// What all lists of limits of a rule have in common.
struct Limits<'a> {
    rule: &'a str,
    /// The most that a request can cost.
    most_cost: u64,
    ways: u32,
    /// The limit of requests in flight, which stands beside every list of limits.
    concurrent: Option<&'a Limit>,
    /// Whether units can be taken ahead.
    taken_ahead: bool,
    /// Whether the limits are somebody else's to know.
    server_knows: bool,
}

impl Limits<'_> {
    fn check(&self, raw: Vec<RawLimit>, place: &Place<'_>) -> Option<Vec<Limit>> {
        let count = raw.len();
        let least = usize::from(self.concurrent.is_none() && !self.server_knows);
        if count < least || count > MOST_LIMITS {
            place.report(&format!(
                "{count} limits; allowed: {least} to {MOST_LIMITS}"
            ));
        }
        let mut limits: Vec<Option<Limit>> = Vec::new();
        for (index, raw) in raw.into_iter().enumerate() {
            let at = place.index(index);
            let limit = raw.check(self, count > 1, &at);
            let same = |other: &Limit| {
                limit.as_ref().is_some_and(|limit| {
                    limit.policy == other.policy || limit.algorithm == other.algorithm
                })
            };
            if limits.iter().flatten().any(same) {
                at.report("says the same as another limit of the rule; leave one out");
            }
            limits.push(limit);
        }
        limits.extend(self.concurrent.cloned().map(Some));
        let limits = limits.into_iter().collect::<Option<Vec<_>>>();
        let known = limits.iter().flatten();
        let records: usize = known.map(|limit| limit.algorithm.records()).sum();
        if u32::try_from(records).is_ok_and(|records| records > self.ways) {
            let ways = self.ways;
            place.report(&format!(
                "{records} records don't fit into a table set of {ways} ways; raise table.ways"
            ));
        }
        limits
    }
}

impl Limit {
    fn new(policy: String, requests: u64, per: Span, algorithm: Algorithm) -> Self {
        Self {
            entry: fields::entry(&policy, requests, &algorithm, per),
            policy,
            requests,
            per,
            algorithm,
        }
    }

    /// A share of the limit in percent, of which a request of that cost can still be served.
    fn share(&self, percent: u64, most_cost: u64) -> Self {
        let Algorithm::Gcra(gcra) = self.algorithm else {
            return self.clone();
        };
        let share = |number: u64| {
            let part = number.saturating_mul(percent).checked_div(100);
            part.unwrap_or(number).max(1)
        };
        let requests = share(self.requests);
        let burst = share(gcra.burst()).max(most_cost);
        // Less of a limit always makes one, unless its bucket takes too long to fill.
        let shared = Gcra::new(requests, self.per, burst, LONGEST_REFILL).unwrap_or(gcra);
        Self::new(
            self.policy.clone(),
            requests,
            self.per,
            Algorithm::Gcra(shared),
        )
    }
}

impl RawConcurrent {
    fn check(self, rule: &str, place: &Place<'_>) -> Option<Limit> {
        let requests = self.requests.get();
        let per = Span::from_duration(self.timeout.get());
        let at = place.field("timeout");
        if per.times(2) > LONGEST_REFILL {
            at.report("a request in flight can be remembered for 183 days at most");
            return None;
        }
        let Some(window) = Window::new(requests, per) else {
            at.report("too short to count so many requests; a microsecond each is the least");
            return None;
        };
        Some(Limit::new(
            format!("{rule}/concurrent"),
            requests,
            per,
            Algorithm::InFlight(window),
        ))
    }
}

impl RawLimit {
    fn check(self, rule: &Limits<'_>, one_of_many: bool, place: &Place<'_>) -> Option<Limit> {
        let (cost, rule, taken_ahead) = (rule.most_cost, rule.rule, rule.taken_ahead);
        let requests = self.requests.get();
        let burst = self.burst.map_or(requests, Count::get);
        let span = Span::from_duration(self.per.get());
        if requests > span.divided_by(Span::from_nanos(1_000)) {
            place
                .field("requests")
                .report("more than one request per microsecond can't be told apart");
            return None;
        }
        if self.burst.is_some() && self.algorithm != AlgorithmName::Gcra {
            place
                .field("burst")
                .report("windows know no burst; leave it out, or take the algorithm \"gcra\"");
            return None;
        }
        if self.algorithm == AlgorithmName::SlidingWindow && span.times(2) > LONGEST_REFILL {
            place
                .field("per")
                .report("a sliding window remembers two windows and can be 183 days long at most");
            return None;
        }
        let algorithm = match self.algorithm {
            AlgorithmName::Gcra => {
                Gcra::new(requests, span, burst, LONGEST_REFILL).map(Algorithm::Gcra)
            }
            AlgorithmName::SlidingWindow => {
                Window::new(requests, span).map(Algorithm::SlidingWindow)
            }
            AlgorithmName::FixedWindow => Window::new(requests, span).map(Algorithm::FixedWindow),
        };
        let Some(algorithm) = algorithm else {
            place.field("burst").report(&format!(
                "a burst of {burst} at this rate takes more than 366 days to come back"
            ));
            return None;
        };
        let (algorithm, burst) = match algorithm {
            Algorithm::Gcra(gcra) if taken_ahead => {
                let gcra = gcra.with_slack();
                (Algorithm::Gcra(gcra), gcra.burst())
            }
            algorithm => (algorithm, burst),
        };
        if cost > burst {
            place.report(&format!(
                "a request costs {cost} and never fits into a burst of {burst}"
            ));
            return None;
        }
        let policy = if one_of_many {
            format!("{rule}/{requests}-per-{}", short(span))
        } else {
            rule.to_owned()
        };
        Some(Limit::new(policy, requests, span, algorithm))
    }
}

/// Writes a span in the largest unit that it is a whole number of.
fn short(span: Span) -> String {
    let units = [
        (24 * 60 * 60 * 1_000, "d"),
        (60 * 60 * 1_000, "h"),
        (60 * 1_000, "m"),
        (1_000, "s"),
        (1, "ms"),
    ];
    let millis = span.divided_by(Span::from_nanos(1_000_000));
    let fits = |(unit, name): (u64, &'static str)| {
        let whole = millis.is_multiple_of(unit);
        whole.then_some((millis.checked_div(unit)?, name))
    };
    let (count, unit) = units.into_iter().find_map(fits).unwrap_or((millis, "ms"));
    format!("{count}{unit}")
}
