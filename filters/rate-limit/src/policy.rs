//! From a request to a decision, in two steps without I/O.
//!
//! [`Policy::claim`] finds out which rules apply and in which sets of the table their buckets live.
//! Whoever fetched those sets passes them to [`Claim::decide`], which edits them in place and says
//! what becomes of the request; if storing them fails half-way, [`Claim::take_back`] undoes a charge.
//!
//! All limits of a rule for one client live in one set, and everything is charged or nothing: the
//! enforced rules together, each shadow rule by itself.

use filter_core::hash::{Seed, digest};
use filter_core::reply::{GrpcStatus, Reply, details};
use filter_core::request::{Inputs, Request};
use filter_core::table::{Fingerprint, Geometry, Set};
use filter_core::time::{Span, Timestamp};

use crate::config::{Apply, Config, Limit, Missing, Mode, OnError, Rule};
use crate::decision::{Cause, Count, Decision, Field, Outcome, Verdict};
use crate::fields::{Standing, fields};
use crate::gcra::Answer;

/// A configuration at work.
#[derive(Clone, Debug)]
pub struct Policy {
    config: Config,
    /// For each rule what its keys begin with: rules don't share buckets.
    identities: Vec<[u8; 8]>,
    inputs: Inputs,
    seed: Seed,
}

/// What a request asks of the table; see the module's text.
#[derive(Clone, Debug)]
pub struct Claim<'p> {
    policy: &'p Policy,
    charges: Vec<Charge<'p>>,
    /// Numbers of the table sets, each once.
    sets: Vec<u32>,
    /// Outcomes that no bucket has to be asked for.
    settled: Vec<(usize, Outcome)>,
    malformed: bool,
}

/// One rule's part of a claim.
#[derive(Clone, Debug)]
struct Charge<'p> {
    rule: &'p Rule,
    /// The rule's position in the configuration.
    number: usize,
    /// Position in the claim's sets.
    set: usize,
    /// The bucket of each limit.
    owners: Vec<Fingerprint>,
}

/// What the limits of one rule said.
struct Asked<'p> {
    standings: Vec<Standing<'p>>,
    /// The longest time to wait if any limit refused.
    wait: Option<Span>,
    /// Limits whose bucket shares a record.
    shared: usize,
}

impl Policy {
    /// Puts a configuration to work. The seed must be the same in all workers that share a table.
    pub fn new(config: Config, seed: Seed) -> Self {
        let rules = config.rules.iter();
        let identities = rules.clone().map(identity).collect();
        let inputs = rules
            .map(|rule| rule.matcher.inputs().and(rule.key.inputs()))
            .collect();
        Self {
            config,
            identities,
            inputs,
            seed,
        }
    }

    /// Returns the configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns what must be known of each request.
    pub fn inputs(&self) -> Inputs {
        self.inputs
    }

    /// Returns the size of the table.
    pub fn geometry(&self) -> Geometry {
        self.config.geometry
    }

    /// Finds out which rules apply to a request, and where their buckets are.
    pub fn claim(&self, request: &Request<'_>) -> Claim<'_> {
        let mut claim = Claim {
            policy: self,
            charges: Vec::new(),
            sets: Vec::new(),
            settled: Vec::new(),
            malformed: request.headers.is_malformed(),
        };
        let mut found_first = false;
        for (number, (rule, identity)) in self.config.rules.iter().zip(&self.identities).enumerate()
        {
            let enforced = rule.mode == Mode::Enforce;
            if (enforced && found_first) || !rule.matcher.matches(request) {
                continue;
            }
            let mut key = identity.to_vec();
            let written = rule.key.write(request, &mut key);
            match (written, rule.missing, rule.mode) {
                (Ok(()), _, _) | (Err(_), Missing::Share, _) => {
                    claim.charge(rule, number, &key);
                }
                (Err(_), Missing::Skip, _) => {
                    claim.settled.push((number, Outcome::Skip));
                    continue;
                }
                (Err(_), Missing::Reject, Mode::Enforce) => {
                    claim.settled.push((number, Outcome::Reject));
                }
                (Err(_), Missing::Reject, Mode::Shadow) => {
                    claim.settled.push((number, Outcome::Shadow));
                }
            }
            found_first |= enforced && self.config.apply == Apply::First;
        }
        if claim.rejected().is_some() {
            // Refused whatever the buckets say, so nothing is charged.
            claim.charges.clear();
            claim.sets.clear();
        }
        claim
    }
}

impl<'p> Claim<'p> {
    /// Numbers of the table sets that a decision needs, each once. Without any there is nothing to
    /// fetch or to store, and the time doesn't matter.
    pub fn sets(&self) -> &[u32] {
        &self.sets
    }

    /// Decides, given the sets in the order of [`Claim::sets`], and charges what is allowed.
    ///
    /// `now` must be read from the clock after the sets were: then no other worker has decided on
    /// them at a later time.
    pub fn decide(&self, now: Timestamp, sets: &mut [Set]) -> Decision {
        let mut decision = self.undecided(sets);
        if let Some(rule) = self.rejected() {
            decision.verdict = Verdict::Deny(reject(rule));
            decision.log = Some(self.log(&decision.counts));
            return decision;
        }
        let before = self.is_divisible().then(|| sets.to_vec());
        let mut standings = Vec::new();
        let mut denied: Option<(&Rule, Span)> = None;
        for (at, charge) in self.of_mode(Mode::Enforce) {
            let asked = charge.ask(now, sets);
            decision.count_pressure(asked.shared);
            if let Some(wait) = asked.wait {
                let longest = denied.map_or(wait, |(_, longest)| longest.max(wait));
                denied = Some((denied.map_or(charge.rule, |(rule, _)| rule), longest));
                decision.count(charge, Outcome::Deny);
            } else {
                decision.charged.push(at);
            }
            standings.extend(asked.standings);
        }
        if let Some((rule, wait)) = denied {
            restore(sets, before);
            decision.charged.clear();
            // What was charged for a moment isn't, so a client stands as it did before.
            standings = self.standings(now, sets);
            // "Retry-After: 0" would invite the client to try again at once.
            let seconds = wait.as_secs_rounded_up().max(1);
            let style = self.policy.config.headers;
            let fields = fields(style, &standings, now, Some(seconds));
            decision.verdict = Verdict::Deny(deny(rule, seconds, fields));
        } else {
            let enforced: Vec<_> = self.of_mode(Mode::Enforce).collect();
            for (_, charge) in enforced {
                decision.count(charge, Outcome::Allow);
            }
            self.decide_shadow(now, sets, &mut decision);
            let fields = fields(self.policy.config.headers, &standings, now, None);
            decision.verdict = Verdict::Allow(fields);
        }
        let log = self.log(&decision.counts);
        decision.log = (!log.is_empty()).then_some(log);
        decision
    }

    /// Takes back from one set what a decision made at `then` charged there.
    pub fn take_back(
        &self,
        decision: &Decision,
        set: usize,
        stored: &mut Set,
        then: Timestamp,
        now: Timestamp,
    ) {
        let charged = decision
            .charged
            .iter()
            .filter_map(|at| self.charges.get(*at));
        for charge in charged.filter(|charge| charge.set == set) {
            for (limit, owner) in charge.rule.limits.iter().zip(&charge.owners) {
                // Since then the bucket may have been full, and lost what it couldn't hold: the
                // charge is worth less by the time that has gone by.
                let price = limit.gcra.price(charge.rule.cost).minus(now.since(then));
                stored.take_back(*owner, price, now);
            }
        }
    }

    /// Decides when there are no sets to decide on, by the configuration's `on_error`.
    pub fn fail(&self, cause: Cause) -> Decision {
        let mut decision = self.undecided(&[]);
        decision.counts.push(Count::Error(cause));
        decision.log = Some(format!("error={}", cause.word()));
        if self.policy.config.on_error == OnError::Deny {
            decision.verdict = Verdict::Deny(unavailable(cause));
        }
        decision
    }

    /// A decision that allows, with what is known before any bucket is asked.
    fn undecided(&self, sets: &[Set]) -> Decision {
        let settled = self.settled.iter();
        let mut counts: Vec<_> = settled
            .map(|(rule, outcome)| Count::Request {
                rule: *rule,
                outcome: *outcome,
            })
            .collect();
        if self.malformed {
            counts.push(Count::Error(Cause::Headers));
        }
        let foreign = sets.iter().filter(|set| set.is_foreign());
        counts.extend(foreign.map(|_| Count::Error(Cause::Foreign)));
        Decision {
            verdict: Verdict::Allow(Vec::new()),
            counts,
            log: None,
            charged: Vec::new(),
        }
    }

    /// Asks the shadow rules, each by itself, about a request that the others allow.
    fn decide_shadow(&self, now: Timestamp, sets: &mut [Set], decision: &mut Decision) {
        for (at, charge) in self.of_mode(Mode::Shadow) {
            let before = (charge.owners.len() > 1).then(|| sets.to_vec());
            let asked = charge.ask(now, sets);
            decision.count_pressure(asked.shared);
            if asked.wait.is_some() {
                restore(sets, before);
                decision.count(charge, Outcome::Shadow);
            } else {
                decision.charged.push(at);
                decision.count(charge, Outcome::Allow);
            }
        }
    }

    /// How the client stands with every enforced limit, charging nothing.
    fn standings(&self, now: Timestamp, sets: &[Set]) -> Vec<Standing<'p>> {
        let mut standings = Vec::new();
        for (_, charge) in self.of_mode(Mode::Enforce) {
            let Some(set) = sets.get(charge.set) else {
                continue;
            };
            for (limit, owner) in charge.rule.limits.iter().zip(&charge.owners) {
                let full = set.place(*owner, now).until;
                standings.push(Standing { limit, full });
            }
        }
        standings
    }

    fn charge(&mut self, rule: &'p Rule, number: usize, key: &[u8]) {
        let hash = self.policy.seed.hash(key);
        let set = self.policy.geometry().set_of(hash);
        let known = self.sets.iter().position(|candidate| *candidate == set);
        let position = known.unwrap_or_else(|| {
            self.sets.push(set);
            self.sets.len().saturating_sub(1)
        });
        let owner = |limit: &Limit| {
            let [interval, capacity] = limit.gcra.numbers();
            let mut identity = [0; 24];
            let parts = [hash.identity, interval, capacity];
            for (chunk, part) in identity.as_chunks_mut().0.iter_mut().zip(parts) {
                *chunk = part.to_le_bytes();
            }
            Fingerprint::new(digest(&identity))
        };
        let owners = rule.limits.iter().map(owner).collect();
        self.charges.push(Charge {
            rule,
            number,
            set: position,
            owners,
        });
    }

    fn of_mode(&self, mode: Mode) -> impl Iterator<Item = (usize, &Charge<'p>)> {
        let charges = self.charges.iter().enumerate();
        charges.filter(move |(_, charge)| charge.rule.mode == mode)
    }

    /// Whether a part could be allowed and another refused.
    fn is_divisible(&self) -> bool {
        let limits = self.of_mode(Mode::Enforce);
        limits.map(|(_, charge)| charge.owners.len()).sum::<usize>() > 1
    }

    fn rejected(&self) -> Option<&'p Rule> {
        let mut settled = self.settled.iter();
        let (rule, _) = settled.find(|(_, outcome)| *outcome == Outcome::Reject)?;
        self.policy.config.rules.get(*rule)
    }

    /// The value for access logs: which rules denied, refused or would have. Empty if none.
    fn log(&self, counts: &[Count]) -> String {
        let words = [
            (Outcome::Deny, "deny"),
            (Outcome::Reject, "reject"),
            (Outcome::Shadow, "shadow"),
        ];
        let entries = words.into_iter().filter_map(|(wanted, word)| {
            let names: Vec<_> = counts
                .iter()
                .filter_map(|count| match count {
                    Count::Request { rule, outcome } if *outcome == wanted => {
                        Some(&*self.policy.config.rules.get(*rule)?.name)
                    }
                    _ => None,
                })
                .collect();
            (!names.is_empty()).then(|| format!("{word}={}", names.join(",")))
        });
        entries.collect::<Vec<_>>().join(" ")
    }
}

impl<'p> Charge<'p> {
    /// Asks every limit of the rule and charges those that have the units.
    fn ask(&self, now: Timestamp, sets: &mut [Set]) -> Asked<'p> {
        let mut asked = Asked {
            standings: Vec::new(),
            wait: None,
            shared: 0,
        };
        let Some(set) = sets.get_mut(self.set) else {
            return asked;
        };
        for (limit, owner) in self.rule.limits.iter().zip(&self.owners) {
            let place = set.place(*owner, now);
            asked.shared = asked.shared.saturating_add(usize::from(place.shared));
            let mut full = place.until;
            match limit.gcra.charge(place.until, self.rule.cost, now) {
                Answer::Allow(charged) => {
                    full = charged;
                    set.put(place, *owner, charged);
                }
                Answer::Refuse(wait) => asked.wait = asked.wait.max(Some(wait)),
            }
            asked.standings.push(Standing { limit, full });
        }
        asked
    }
}

impl Decision {
    fn count(&mut self, charge: &Charge<'_>, outcome: Outcome) {
        self.counts.push(Count::Request {
            rule: charge.number,
            outcome,
        });
    }

    fn count_pressure(&mut self, shared: usize) {
        self.counts
            .extend(std::iter::repeat_n(Count::Pressure, shared));
    }
}

/// What a rule's keys begin with: its name and what its key is made of.
fn identity(rule: &Rule) -> [u8; 8] {
    let name = &rule.name;
    digest(format!("{name} {}", rule.key).as_bytes()).to_le_bytes()
}

fn restore(sets: &mut [Set], before: Option<Vec<Set>>) {
    for (set, before) in sets.iter_mut().zip(before.into_iter().flatten()) {
        *set = before;
    }
}

fn deny(rule: &Rule, seconds: u64, fields: Vec<Field>) -> Reply {
    let mut headers = vec![("retry-after".to_owned(), seconds.to_string())];
    headers.extend(
        fields
            .into_iter()
            .map(|field| (field.name.to_owned(), field.value)),
    );
    Reply {
        status: 429,
        headers,
        body: format!("Too many requests. Try again in {seconds} s."),
        details: details("rate_limited", &[("rule", &rule.name)]),
        grpc_status: Some(GrpcStatus::ResourceExhausted),
    }
}

fn reject(rule: &Rule) -> Reply {
    Reply {
        status: 400,
        headers: Vec::new(),
        body: "The request doesn't say who it is from.".to_owned(),
        details: details("rate_limit_key_missing", &[("rule", &rule.name)]),
        grpc_status: Some(GrpcStatus::InvalidArgument),
    }
}

fn unavailable(cause: Cause) -> Reply {
    Reply {
        status: 503,
        headers: Vec::new(),
        body: "The request could not be checked. Try again.".to_owned(),
        details: details("rate_limit_error", &[("cause", cause.word())]),
        grpc_status: Some(GrpcStatus::Unavailable),
    }
}
