//! From a request to a decision, in two steps without I/O.
//!
//! [`Policy::claim`] finds out which rules apply and in which sets of the table their buckets live.
//! Whoever fetched those sets passes them to [`Claim::decide`], which edits them in place and says
//! what becomes of the request; if storing them fails half-way, [`Claim::take_back`] undoes a charge.

use std::cell::RefCell;
use std::rc::Rc;

use filter_core::hash::{Seed, digest};
use filter_core::request::{Inputs, Looks, Request};
use filter_core::table::Geometry;

use crate::charge::Applied;
use crate::claim::Claim;
use crate::config::{Apply, Config, Limit, Missing, Mode, Rule, Scope, Selector};
use crate::decision::Outcome;
use crate::few::Few;
use crate::global::{Holder, Question};

/// A configuration at work.
#[derive(Clone, Debug)]
pub struct Policy {
    config: Config,
    /// For each rule what its keys begin with: rules don't share buckets.
    identities: Vec<[u8; 8]>,
    inputs: Inputs,
    /// The only header that rules look at, and at its first value alone.
    only_header: Option<Rc<str>>,
    /// Each once; parts parted by NUL.
    properties: Vec<String>,
    seed: Seed,
    /// Room for one key.
    key: RefCell<Vec<u8>>,
}

impl Policy {
    /// Puts a configuration to work. The seed must be the same in all workers that share a table.
    pub fn new(config: Config, seed: Seed) -> Self {
        let rules = config.rules.iter();
        let identities = rules.clone().map(identity).collect();
        let inputs = rules.clone().map(Rule::inputs).collect();
        let only_header = match rules.clone().map(Rule::looks).collect() {
            Looks::First(name) => Some(name.into()),
            Looks::All | Looks::Nothing => None,
        };
        let mut properties: Vec<String> = Vec::new();
        for path in rules.flat_map(|rule| rule.key.properties()) {
            if !properties.iter().any(|known| known == path) {
                properties.push(path.to_owned());
            }
        }
        Self {
            config,
            identities,
            inputs,
            only_header,
            properties,
            seed,
            key: RefCell::default(),
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

    /// Returns the only header that must be known, if it is one and its first value is enough.
    pub fn only_header(&self) -> Option<&Rc<str>> {
        self.only_header.as_ref()
    }

    /// Returns the paths of properties that must be known besides, parts parted by NUL.
    pub fn properties(&self) -> &[String] {
        &self.properties
    }

    /// Returns the size of the table.
    pub fn geometry(&self) -> Geometry {
        self.config.geometry
    }

    /// Finds out which rules apply to a request, and where their buckets are.
    pub fn claim(&self, request: &Request<'_>) -> Claim<'_> {
        self.claim_of(request, false)
    }

    /// The same for the rules that a service should have been asked about, by the shares of their
    /// limits that the gateway serves by itself.
    pub fn fallback(&self, request: &Request<'_>) -> Claim<'_> {
        self.claim_of(request, true)
    }

    fn claim_of(&self, request: &Request<'_>, in_place_of_service: bool) -> Claim<'_> {
        let mut claim = Claim {
            policy: self,
            charges: Few::default(),
            sets: Few::default(),
            settled: Few::default(),
            malformed: request.headers.is_malformed(),
            questions: Few::default(),
        };
        // Nobody else makes a key meanwhile.
        let mut other = Vec::new();
        let mut own = self.key.try_borrow_mut();
        let key = own.as_deref_mut().unwrap_or(&mut other);
        let mut found_first = false;
        for (number, (rule, identity)) in self.config.rules.iter().zip(&self.identities).enumerate()
        {
            let applies = rule.matcher.matches(request)
                && !rule
                    .allow
                    .iter()
                    .any(|some| some.matches(request, &rule.key));
            if !applies || (found_first && rule.mode == Mode::Enforce) {
                continue;
            }
            key.clear();
            key.extend_from_slice(identity);
            let written = rule.key.write(request, key);
            let enforced = rule.is_enforced(key);
            // Already decided on, but it may have been the first.
            if in_place_of_service && rule.scope == Scope::Local {
                let can_be_first = written.is_ok() || rule.missing != Missing::Skip;
                found_first |= can_be_first && enforced && self.config.apply == Apply::First;
                continue;
            }
            match (written, rule.missing) {
                (Ok(()), _) | (Err(_), Missing::Share) => {
                    let client = self.seed.hash(key);
                    let tier = rule.tier(request);
                    let cost = rule.cost(request);
                    let limits = match rule.scope {
                        Scope::Local => Some(rule.limits(tier)),
                        Scope::Global if in_place_of_service => rule.fallback.get(tier),
                        Scope::Global => {
                            let holder = Holder {
                                client,
                                rule: number,
                                tier,
                            };
                            claim.questions.push(Question {
                                holder,
                                enforced,
                                cost,
                                key: key.clone(),
                            });
                            None
                        }
                    };
                    if let Some(limits) = limits {
                        let applied = Applied {
                            rule,
                            number,
                            enforced,
                            limits,
                            cost,
                        };
                        claim.charge(applied, client);
                    }
                }
                (Err(_), Missing::Skip) => {
                    claim.settled.push((number, Outcome::Skip));
                    continue;
                }
                (Err(_), Missing::Reject) if enforced => {
                    claim.settled.push((number, Outcome::Reject));
                }
                (Err(_), Missing::Reject) => claim.settled.push((number, Outcome::Shadow)),
            }
            found_first |= enforced && self.config.apply == Apply::First;
        }
        if in_place_of_service {
            // Counted before the service was asked.
            claim.settled.clear();
        }
        if claim.rejected().is_some() {
            // Refused whatever the buckets say, so nothing is charged.
            claim.charges.clear();
            claim.sets.clear();
            claim.questions.clear();
        }
        claim
    }
}

impl Rule {
    fn inputs(&self) -> Inputs {
        let overrides = self.overrides.iter().map(|(selector, _)| selector);
        let selectors = self.allow.iter().chain(overrides);
        let exceptions: Inputs = selectors.map(Selector::inputs).collect();
        let cost = match self.cost_header {
            Some(_) => Inputs::HEADERS,
            None => Inputs::NONE,
        };
        let own = self.matcher.inputs().and(self.key.inputs());
        own.and(exceptions).and(cost)
    }

    fn looks(&self) -> Looks<'_> {
        let overrides = self.overrides.iter().map(|(selector, _)| selector);
        let selectors = self.allow.iter().chain(overrides).map(Selector::looks);
        let cost = self.cost_header.as_ref();
        let cost = cost.map(|(name, _)| Looks::First(name));
        let own = [self.matcher.looks(), self.key.looks()];
        own.into_iter().chain(cost).chain(selectors).collect()
    }

    /// Whether the rule can deny requests with that key.
    fn is_enforced(&self, key: &[u8]) -> bool {
        // Not the table's seed: all gateways choose the same keys.
        self.mode == Mode::Enforce
            && (self.percent >= 100
                || digest(key)
                    .checked_rem(100)
                    .is_some_and(|at| at < self.percent))
    }

    /// Which limits are for a request: 0 for the rule's own, or the position of an override from 1 on.
    fn tier(&self, request: &Request<'_>) -> usize {
        let mut overrides = self.overrides.iter();
        let found = overrides.position(|(selector, _)| selector.matches(request, &self.key));
        found.map_or(0, |at| at.saturating_add(1))
    }

    /// The limits of a tier.
    pub(crate) fn limits(&self, tier: usize) -> &Vec<Limit> {
        let at = tier.checked_sub(1).and_then(|at| self.overrides.get(at));
        at.map_or(&self.limits, |(_, limits)| limits)
    }

    fn cost(&self, request: &Request<'_>) -> u64 {
        let said = self.cost_header.as_ref().and_then(|(name, most)| {
            let units = number(request.headers.first(name)?)?;
            Some(units.clamp(1, *most))
        });
        said.unwrap_or(self.cost)
    }
}

/// Reads a whole number; one too large to be told is as large as can be.
pub(crate) fn number(text: &[u8]) -> Option<u64> {
    let digits = text.trim_ascii();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = std::str::from_utf8(digits).ok()?;
    Some(digits.parse().unwrap_or(u64::MAX))
}

/// What a rule's keys begin with: its name and what its key is made of.
fn identity(rule: &Rule) -> [u8; 8] {
    let name = &rule.name;
    digest(format!("{name} {}", rule.key).as_bytes()).to_le_bytes()
}
