//! From a request to a decision, in two steps without I/O.
//!
//! [`Policy::claim`] finds out which rules apply and in which sets of the table their buckets live.
//! Whoever fetched those sets passes them to [`Claim::decide`], which edits them in place and says
//! what becomes of the request; if storing them fails half-way, [`Claim::take_back`] undoes a charge.

use filter_core::hash::{Seed, digest};
use filter_core::request::{Inputs, Request};
use filter_core::table::Geometry;

use crate::claim::Claim;
use crate::config::{Apply, Config, Missing, Mode, Rule};
use crate::decision::Outcome;

/// A configuration at work.
#[derive(Clone, Debug)]
pub struct Policy {
    config: Config,
    /// For each rule what its keys begin with: rules don't share buckets.
    identities: Vec<[u8; 8]>,
    inputs: Inputs,
    seed: Seed,
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
                    claim.charge(rule, number, self.seed.hash(&key));
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

/// What a rule's keys begin with: its name and what its key is made of.
fn identity(rule: &Rule) -> [u8; 8] {
    let name = &rule.name;
    digest(format!("{name} {}", rule.key).as_bytes()).to_le_bytes()
}
