//! What is still to be done about a request when it has ended.
//!
//! Requests in flight are taken back, and rules that charge for responses charge for this one. The
//! units are taken whether they are there or not: the work is done. A client in debt waits until it
//! has paid.

use filter_core::headers::Headers;
use filter_core::table::Set;
use filter_core::time::Timestamp;

use crate::algorithm::{Algorithm, Owners};
use crate::config::{ChargeOn, Config, ResponseCharge};
use crate::few::Few;
use crate::policy::number;
use crate::usage::Scanner;

/// What is due at the end of a request.
#[derive(Clone, Debug, Default)]
pub struct Dues {
    pub(crate) entries: Few<Box<Due>>,
}

/// What is due of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// The rule's position in the configuration.
    pub(crate) rule: usize,
    /// The number of the table set.
    pub(crate) set: u32,
    pub(crate) records: Vec<(Algorithm, Owners)>,
    /// What the request costs unless the response says otherwise.
    pub(crate) cost: u64,
    /// When it was let in.
    pub(crate) then: Timestamp,
}

/// Dues whose sums are known.
#[derive(Clone, Debug)]
pub struct Bill {
    /// Each with the units that it charges.
    entries: Vec<(Box<Due>, u64)>,
    /// Numbers of the table sets, each once.
    sets: Vec<u32>,
}

impl Dues {
    /// Whether nothing is due.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether the response's headers have a say.
    pub fn ask_headers(&self, config: &Config) -> bool {
        self.responses(config).next().is_some()
    }

    /// What reads the response's body, for the rules that want to know something of it.
    pub fn scanners(&self, config: &Config) -> Vec<(usize, Scanner)> {
        let wanted = self.responses(config);
        wanted
            .filter(|(_, charge)| !charge.usage.is_empty())
            .map(|(rule, charge)| (rule, Scanner::new(&charge.usage)))
            .collect()
    }

    /// Finds out what is to be charged, given the response's headers, none if there was no response,
    /// and what was found in its body by each rule.
    pub fn bill(self, config: &Config, response: &Headers<'_>, found: &[(usize, u64)]) -> Bill {
        let mut sets = Vec::new();
        let entries = self.entries.into_iter().map(|due| {
            if !sets.contains(&due.set) {
                sets.push(due.set);
            }
            let units = match config.rules.get(due.rule).map(|rule| &rule.charge) {
                Some(ChargeOn::Response(charge)) => {
                    let mut found = found.iter();
                    let found = found.find(|(rule, _)| *rule == due.rule);
                    charge.units(response, found.map(|(_, units)| *units), due.cost)
                }
                _ => 0,
            };
            (due, units)
        });
        Bill {
            entries: entries.collect(),
            sets,
        }
    }

    fn responses<'c>(
        &self,
        config: &'c Config,
    ) -> impl Iterator<Item = (usize, &'c ResponseCharge)> {
        self.entries.iter().filter_map(|due| {
            match config.rules.get(due.rule).map(|rule| &rule.charge) {
                Some(ChargeOn::Response(charge)) => Some((due.rule, charge)),
                _ => None,
            }
        })
    }
}

impl ResponseCharge {
    /// What a response costs; nothing if the charge isn't about it.
    fn units(&self, response: &Headers<'_>, found: Option<u64>, cost: u64) -> u64 {
        let status = response.first(":status").and_then(number);
        let fits = status.is_some_and(|status| {
            let mut statuses = self.statuses.iter();
            self.statuses.is_empty() || statuses.any(|range| range.contains(&status))
        });
        if !fits {
            return 0;
        }
        let said = self
            .cost_header
            .as_ref()
            .and_then(|name| number(response.first(name)?));
        found.or(said).unwrap_or(cost)
    }
}

impl Bill {
    /// Numbers of the table sets that it is about, each once.
    pub fn sets(&self) -> &[u32] {
        &self.sets
    }

    /// Settles it in one of the sets, read from shared data before `now` was from the clock.
    pub fn settle(&self, number: u32, set: &mut Set, now: Timestamp) {
        for (due, units) in self.entries.iter().filter(|(due, _)| due.set == number) {
            for (algorithm, owners) in &due.records {
                if matches!(algorithm, Algorithm::InFlight(_)) {
                    algorithm.take_back(set, *owners, 1, [due.then, now]);
                } else if *units > 0 {
                    let level = algorithm.level(set, *owners, now);
                    let charged = algorithm.force(&level, *units, now);
                    algorithm.put(set, *owners, level, charged, now);
                }
            }
        }
    }
}
