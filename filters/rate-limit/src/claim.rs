//! What a request asks of the table, and the decision about it.
//!
//! All limits of a rule for one client live in one set, and everything is charged or nothing: the
//! enforced rules together, each shadow rule by itself.

use filter_core::hash::Hash;
use filter_core::table::Set;
use filter_core::time::{Span, Timestamp};

use crate::charge::{Applied, Charge};
use crate::config::{Config, HeaderStyle, OnError, Rule};
use crate::decision::{Cause, Count, Decision, Outcome, Verdict};
use crate::dues::Dues;
use crate::few::Few;
use crate::fields::{Fields, Standing, fields};
use crate::global::Question;
use crate::leases::Leases;
use crate::policy::Policy;
use crate::replies::{deny, reject, unavailable};

/// What a request asks of the table; see the module's text.
#[derive(Clone, Debug)]
pub struct Claim<'p> {
    pub(crate) policy: &'p Policy,
    pub(crate) charges: Few<Charge<'p>>,
    /// Numbers of the table sets, each once.
    pub(crate) sets: Few<u32>,
    /// Outcomes that no bucket has to be asked for.
    pub(crate) settled: Few<(usize, Outcome)>,
    pub(crate) malformed: bool,
    /// What a service is to be asked if the table allows the request.
    pub(crate) questions: Few<Question>,
}

impl<'p> Claim<'p> {
    /// Numbers of the table sets that a decision needs, each once. Without any there is nothing to
    /// fetch or to store, and the time doesn't matter.
    pub fn sets(&self) -> &[u32] {
        &self.sets
    }

    /// What a service is to be asked about the request, should the decision be to allow it.
    pub fn take_questions(&mut self) -> Few<Question> {
        std::mem::take(&mut self.questions)
    }

    /// Decides, given the sets in the order of [`Claim::sets`], and charges what is allowed.
    ///
    /// `now` must be read from the clock after the sets were: then no other worker has decided on
    /// them at a later time.
    pub fn decide(&self, now: Timestamp, sets: &mut [Set]) -> Box<Decision> {
        let mut decision = self.undecided(sets);
        if let Some(rule) = self.rejected() {
            decision.verdict = Verdict::Deny(Box::new(reject(rule)));
            decision.log = Some(self.log(&decision.counts));
            return decision;
        }
        let is_plain = matches!(&*self.charges, [charge] if charge.is_plain());
        let before = (!is_plain && self.is_divisible()).then(|| sets.to_vec());
        let style = self.policy.config().headers;
        let mut standings = Few::default();
        let mut denied: Option<(&Rule, Span)> = None;
        let hold = match is_plain {
            true => Span::ZERO,
            false => self.hold(now, sets),
        };
        let let_in = now.after(hold);
        let times = [now, let_in];
        for (at, charge) in self.enforced(true) {
            let told = (style != HeaderStyle::None).then_some(&mut standings);
            let asked = charge.ask(times, sets, told);
            decision.count_pressure(asked.shared);
            if let Some(wait) = asked.wait {
                let longest = denied.map_or(wait, |(_, longest)| longest.max(wait));
                denied = Some((denied.map_or(charge.rule, |(rule, _)| rule), longest));
                decision.count(charge, Outcome::Deny);
            } else {
                decision.charged.push(at);
            }
        }
        if let Some((rule, wait)) = denied {
            restore(sets, before);
            decision.charged.clear();
            // What was charged for a moment isn't, so a client stands as it did before.
            standings = self.standings(now, sets);
            // "Retry-After: 0" would invite the client to try again at once.
            let seconds = wait.as_secs_rounded_up().max(1);
            let fields = fields(style, &standings, Some(seconds));
            decision.verdict = Verdict::Deny(Box::new(deny(rule, seconds, &fields)));
        } else {
            for (_, charge) in self.enforced(true) {
                let is_why = hold > Span::ZERO && charge.patience > Span::ZERO;
                let outcome = if is_why {
                    Outcome::Delay
                } else {
                    Outcome::Allow
                };
                decision.count(charge, outcome);
            }
            if !is_plain {
                decision.hold = hold;
                self.decide_more(times, sets, &mut decision);
            }
            decision.verdict = Verdict::Allow(fields(style, &standings, None));
        }
        let log = self.log(&decision.counts);
        decision.log = (!log.is_empty()).then_some(log);
        decision
    }

    /// Whether the worker may be able to decide by what it has taken ahead, given the time.
    pub fn is_leased(&self) -> bool {
        self.settled.is_empty()
            && !self.charges.is_empty()
            && self
                .charges
                .iter()
                .all(|charge| charge.enforced && charge.rule.lease > 1)
    }

    /// Decides by what the worker has taken ahead; `None` if that isn't enough, and then how many
    /// requests are to be charged for in the table is up to what they were worth so far.
    pub fn decide_leased(&mut self, leases: &Leases, now: Timestamp) -> Option<Box<Decision>> {
        // Of several all must have some; one alone shows when it is taken.
        let mut holders = self.charges.iter().map(Charge::holder);
        let decision = if self.charges.len() == 1 || holders.all(|holder| leases.has(holder, now)) {
            self.take_leased(leases, now)
        } else {
            None
        };
        if decision.is_none() {
            for charge in self.charges.iter_mut() {
                charge.batch = leases.worth(charge.holder(), charge.rule.lease);
            }
        }
        decision
    }

    fn take_leased(&self, leases: &Leases, now: Timestamp) -> Option<Box<Decision>> {
        let mut decision = self.undecided(&[]);
        let style = self.policy.config().headers;
        let mut standings = Few::default();
        for charge in self.charges.iter() {
            leases.take(charge.holder(), now, |levels| {
                if style != HeaderStyle::None {
                    standings.extend(charge.leased(levels, now));
                }
            })?;
            decision.count(charge, Outcome::Allow);
        }
        let fields = fields(style, &standings, None);
        decision.verdict = Verdict::Allow(fields);
        Some(decision)
    }

    /// Sees to it that no request is held: what would be, is denied.
    pub fn without_delay(&mut self) {
        for charge in self.charges.iter_mut() {
            charge.patience = Span::ZERO;
        }
    }

    /// How long the request must be held to be let in by every enforced rule. Nothing if it need not
    /// be, or if that is too long for any of them.
    fn hold(&self, now: Timestamp, sets: &[Set]) -> Span {
        let charges = || self.enforced(true).map(|(_, charge)| charge);
        if charges().all(|charge| charge.patience == Span::ZERO) {
            return Span::ZERO;
        }
        charges()
            .map(|charge| charge.hold(now, sets))
            .try_fold(Span::ZERO, |longest, hold| Some(longest.max(hold?)))
            .unwrap_or(Span::ZERO)
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
            charge.take_back(stored, [then.after(decision.hold), now]);
        }
    }

    /// Decides when there are no sets to decide on, by the configuration's `on_error`.
    pub fn fail(&self, cause: Cause) -> Box<Decision> {
        let mut decision = self.undecided(&[]);
        decision.counts.push(Count::Error(cause));
        decision.log = Some(format!("error={}", cause.word()));
        if self.policy.config().on_error == OnError::Deny {
            decision.verdict = Verdict::Deny(Box::new(unavailable(cause)));
        }
        decision
    }

    /// A decision that allows, with what is known before any bucket is asked. It is handed on often enough
    /// to be worth memory of its own.
    fn undecided(&self, sets: &[Set]) -> Box<Decision> {
        let settled = self.settled.iter();
        let mut counts: Few<_> = settled
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
        Box::new(Decision {
            verdict: Verdict::Allow(Fields::default()),
            counts,
            log: None,
            charged: Few::default(),
            dues: Dues::default(),
            hold: Span::ZERO,
            leases: Few::default(),
        })
    }

    /// What else there is to decide about a request that is allowed: what the shadow rules say, what is
    /// taken ahead, and what is due in the end.
    fn decide_more(&self, times: [Timestamp; 2], sets: &mut [Set], decision: &mut Decision) {
        self.decide_shadow(times, sets, decision);
        let [now, let_in] = times;
        let ahead = self.charges.iter();
        let ahead = ahead.filter(|charge| charge.enforced && charge.rule.lease > 1);
        let leases = ahead.filter_map(|charge| charge.lease(now, sets));
        decision.leases = leases.map(Box::new).collect();
        let charges = decision.charged.iter();
        let charges = charges.filter_map(|at| self.charges.get(*at));
        let dues = charges.filter_map(|charge| charge.due(*self.sets.get(charge.set)?, let_in));
        decision.dues = Dues {
            entries: dues.map(Box::new).collect(),
        };
    }

    /// Asks the shadow rules, each by itself, about a request that the others allow.
    fn decide_shadow(&self, times: [Timestamp; 2], sets: &mut [Set], decision: &mut Decision) {
        for (at, charge) in self.enforced(false) {
            let before = charge.is_divisible().then(|| sets.to_vec());
            let asked = charge.ask(times, sets, None);
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
    fn standings(&self, now: Timestamp, sets: &[Set]) -> Few<Standing<'p>> {
        let mut standings = Few::default();
        for (_, charge) in self.enforced(true) {
            let Some(set) = sets.get(charge.set) else {
                continue;
            };
            standings.extend(charge.standings(set, now));
        }
        standings
    }

    /// Adds a rule's charge to a client whose key has that hash.
    pub(crate) fn charge(&mut self, applied: Applied<'p>, client: Hash) {
        let set = self.policy.geometry().set_of(client);
        let known = self.sets.iter().position(|candidate| *candidate == set);
        let position = known.unwrap_or_else(|| {
            self.sets.push(set);
            self.sets.len().saturating_sub(1)
        });
        self.charges.push(Charge::new(applied, position, client));
    }

    fn enforced(&self, enforced: bool) -> impl Iterator<Item = (usize, &Charge<'p>)> {
        let charges = self.charges.iter().enumerate();
        charges.filter(move |(_, charge)| charge.enforced == enforced)
    }

    /// Whether a part could be allowed and another refused.
    fn is_divisible(&self) -> bool {
        let mut charges = self.enforced(true).map(|(_, charge)| charge);
        charges.next().is_some_and(Charge::is_divisible) || charges.next().is_some()
    }

    pub(crate) fn rejected(&self) -> Option<&'p Rule> {
        let mut settled = self.settled.iter();
        let (rule, _) = settled.find(|(_, outcome)| *outcome == Outcome::Reject)?;
        self.policy.config().rules.get(*rule)
    }

    fn log(&self, counts: &[Count]) -> String {
        log(self.policy.config(), counts)
    }
}

/// The value for access logs: which rules delayed, denied, refused or would have. Empty if none.
pub(crate) fn log(config: &Config, counts: &[Count]) -> String {
    let is_plain = |count: &Count| match count {
        Count::Request { outcome, .. } => matches!(outcome, Outcome::Allow | Outcome::Skip),
        _ => true,
    };
    if counts.iter().all(is_plain) {
        return String::new();
    }
    let words = [
        (Outcome::Delay, "delay"),
        (Outcome::Deny, "deny"),
        (Outcome::Reject, "reject"),
        (Outcome::Shadow, "shadow"),
    ];
    let mut log = String::new();
    for (wanted, word) in words {
        let names = counts.iter().filter_map(|count| match count {
            Count::Request { rule, outcome } if *outcome == wanted => config.rules.get(*rule),
            _ => None,
        });
        for (at, rule) in names.enumerate() {
            match (at, log.is_empty()) {
                (0, true) => log.push_str(word),
                (0, false) => {
                    log.push(' ');
                    log.push_str(word);
                }
                _ => {}
            }
            log.push(if at == 0 { '=' } else { ',' });
            log.push_str(&rule.name);
        }
    }
    log
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

fn restore(sets: &mut [Set], before: Option<Vec<Set>>) {
    for (set, before) in sets.iter_mut().zip(before.into_iter().flatten()) {
        *set = before;
    }
}
