//! One rule's part of a claim: which records of one table set, and how much.

use filter_core::hash::Hash;
use filter_core::table::Set;
use filter_core::time::{Span, Timestamp};

use crate::algorithm::{Algorithm, Level, Owners};
use crate::config::{ChargeOn, Limit, Rule};
use crate::dues::Due;
use crate::few::Few;
use crate::fields::Standing;
use crate::gcra::Answer;
use crate::leases::{Holder, Lease};

/// What a rule charges a client for a request.
#[derive(Clone, Debug)]
pub(crate) struct Charge<'p> {
    pub(crate) rule: &'p Rule,
    /// The rule's position in the configuration.
    pub(crate) number: usize,
    /// Position in the claim's sets.
    pub(crate) set: usize,
    /// Whether it can deny the request.
    pub(crate) enforced: bool,
    /// The rule's limits, or others for requests like this.
    limits: &'p [Limit],
    /// Units.
    cost: u64,
    /// Whether the units are charged once the response is known.
    later: bool,
    /// How long the request can be held rather than denied.
    pub(crate) patience: Span,
    /// Whose key.
    client: Hash,
    /// How many requests to charge for at once, this one included.
    pub(crate) batch: u64,
}

/// A rule that applies to a request, and what it says there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Applied<'p> {
    pub(crate) rule: &'p Rule,
    /// The rule's position in the configuration.
    pub(crate) number: usize,
    pub(crate) enforced: bool,
    pub(crate) limits: &'p [Limit],
    pub(crate) cost: u64,
}

/// What the limits of one rule said.
#[derive(Default)]
pub(crate) struct Asked {
    /// The longest time to wait if any limit refused.
    pub(crate) wait: Option<Span>,
    /// Limits whose bucket shares a record.
    pub(crate) shared: usize,
}

impl<'p> Charge<'p> {
    /// A charge to the client whose key has that hash.
    pub(crate) fn new(applied: Applied<'p>, set: usize, client: Hash) -> Self {
        let Applied {
            rule,
            number,
            enforced,
            limits,
            cost,
        } = applied;
        Self {
            rule,
            number,
            set,
            enforced,
            limits,
            cost,
            later: rule.charge != ChargeOn::Request,
            patience: rule.delay_up_to,
            client,
            batch: 1,
        }
    }

    /// The rule's limits with the client's records. They are named when it comes to them: for what was
    /// taken ahead it doesn't.
    fn records(&self) -> impl Iterator<Item = (&'p Limit, Owners)> {
        let client = self.client.identity;
        let limits = self.limits.iter();
        limits.map(move |limit| (limit, limit.algorithm.owners(client)))
    }

    /// Whether it is one limit's, can deny the request, and is done with when it has.
    pub(crate) fn is_plain(&self) -> bool {
        self.enforced
            && self.limits.len() == 1
            && self.patience == Span::ZERO
            && self.rule.lease <= 1
            && !self.is_due()
    }

    /// Whether something is to be done about it when the request has ended.
    fn is_due(&self) -> bool {
        let in_flight = |limit: &Limit| matches!(limit.algorithm, Algorithm::InFlight(_));
        self.later || self.limits.iter().any(in_flight)
    }

    /// Whether one limit could be charged and another refuse.
    pub(crate) fn is_divisible(&self) -> bool {
        self.limits.len() > 1
    }

    /// Returns how long the request must be held until every limit has the units; `None` if that is
    /// longer than it can be.
    pub(crate) fn hold(&self, now: Timestamp, sets: &[Set]) -> Option<Span> {
        let set = sets.get(self.set)?;
        let mut longest = Span::ZERO;
        for (limit, owners) in self.records() {
            let level = limit.algorithm.level(set, owners, now);
            if let Answer::Refuse(wait) = limit.algorithm.charge(&level, self.units(limit), now) {
                longest = longest.max(wait);
            }
        }
        (longest <= self.patience).then_some(longest)
    }

    /// Asks every limit of the rule and charges those that have the units when the request is let in,
    /// which is at `at`, now or later. How the client stands then is added to `told`, if anybody wants
    /// to know.
    pub(crate) fn ask(
        &self,
        [now, at]: [Timestamp; 2],
        sets: &mut [Set],
        mut told: Option<&mut Few<Standing<'p>>>,
    ) -> Asked {
        let mut asked = Asked::default();
        let Some(set) = sets.get_mut(self.set) else {
            return asked;
        };
        for (limit, owners) in self.records() {
            let algorithm = &limit.algorithm;
            let mut level = algorithm.level_at(set, owners, now, at);
            asked.shared = asked.shared.saturating_add(usize::from(level.is_shared()));
            match algorithm.charge(&level, self.units(limit), at) {
                Answer::Allow(_) if self.is_later(limit) => {}
                Answer::Allow(charged) => {
                    level = algorithm.put(set, owners, level, charged, at);
                }
                Answer::Refuse(wait) => asked.wait = asked.wait.max(Some(wait)),
            }
            if let Some(standings) = &mut told {
                standings.push(Standing::new(limit, &level, now));
            }
        }
        asked
    }

    /// Whose units, where requests can be taken ahead.
    pub(crate) fn holder(&self) -> Holder {
        Holder {
            client: self.client,
            rule: self.number,
        }
    }

    /// Charges for requests to come, as many as are worth it and leave half of each bucket.
    ///
    /// To be called after the request's own charge.
    pub(crate) fn lease(&self, now: Timestamp, sets: &mut [Set]) -> Option<Lease> {
        let set = sets.get_mut(self.set)?;
        let mut count = self.batch.saturating_sub(1);
        for (limit, owners) in self.records() {
            let Algorithm::Gcra(gcra) = limit.algorithm else {
                return None;
            };
            let level = limit.algorithm.level(set, owners, now);
            let left = limit.algorithm.remaining(&level, now);
            let spare = left.saturating_sub(gcra.burst().div_ceil(2));
            count = count.min(spare.checked_div(self.cost)?);
        }
        let mut lease = Lease {
            holder: self.holder(),
            moments: Vec::with_capacity(self.limits.len()),
            levels: Vec::with_capacity(self.limits.len()),
            count,
            gone: 0,
            used: 0,
        };
        for (limit, owners) in self.records() {
            let algorithm = &limit.algorithm;
            let mut level = algorithm.level(set, owners, now);
            let full = level.moment().max(now);
            if count > 0 {
                let charged = algorithm.force(&level, self.cost.saturating_mul(count), now);
                level = algorithm.put(set, owners, level, charged, now);
            }
            if let Algorithm::Gcra(gcra) = algorithm {
                let until = full.after(gcra.slack());
                lease.moments.push((until, gcra.price(self.cost)));
            }
            lease.levels.push(level);
        }
        Some(lease)
    }

    /// How the client stood when its units were taken.
    pub(crate) fn leased(
        &self,
        levels: &[Level],
        now: Timestamp,
    ) -> impl Iterator<Item = Standing<'p>> {
        let limits = self.limits.iter().zip(levels);
        limits.map(move |(limit, level)| Standing::new(limit, level, now))
    }

    /// Takes back from the set what was charged at `then`.
    ///
    /// Where units are taken ahead nothing is: others may have taken some since, whose moments would
    /// then be later than they may.
    pub(crate) fn take_back(&self, set: &mut Set, then_and_now: [Timestamp; 2]) {
        if self.rule.lease > 1 {
            return;
        }
        for (limit, owners) in self.records() {
            if !self.is_later(limit) {
                let algorithm = &limit.algorithm;
                algorithm.take_back(set, owners, self.units(limit), then_and_now);
            }
        }
    }

    /// What is to be done about the charge once the request has ended, if anything.
    pub(crate) fn due(&self, set: u32, then: Timestamp) -> Option<Due> {
        self.is_due().then(|| {
            let limits = self.records();
            Due {
                rule: self.number,
                set,
                records: limits
                    .map(|(limit, owners)| (limit.algorithm, owners))
                    .collect(),
                cost: self.cost,
                then,
            }
        })
    }

    /// Units that must be there. Of a charge that comes later nobody knows how much it will be, and
    /// one unit is enough to begin.
    fn units(&self, limit: &Limit) -> u64 {
        let cost = if self.later { 1 } else { self.cost };
        limit.algorithm.units(cost)
    }

    fn is_later(&self, limit: &Limit) -> bool {
        self.later && !matches!(limit.algorithm, Algorithm::InFlight(_))
    }

    /// How the client stands with every limit, charging nothing.
    pub(crate) fn standings(
        &self,
        set: &Set,
        now: Timestamp,
    ) -> impl Iterator<Item = Standing<'p>> {
        self.records().map(move |(limit, owners)| {
            let level = limit.algorithm.level(set, owners, now);
            Standing::new(limit, &level, now)
        })
    }
}
