//! The filter towards the host: callbacks into the core, decisions into hostcalls.

use std::cell::Cell;
use std::rc::Rc;

use filter_core::headers::Headers;
use filter_core::request::Request;
use filter_core::table::Set;
use filter_core::time::{Span, Timestamp};
use filter_shell::counters::Counters;
use filter_shell::fetched::Fetched;
use filter_shell::host::{self, HeaderMap, Status};
use filter_shell::log;
use filter_shell::setup::Setup;
use filter_shell::shared::{self, Failure, Plan, Stored};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

use crate::claim::Claim;
use crate::config::Config;
use crate::decision::{Cause, Count, Decision, Field, Verdict};
use crate::dues::{Bill, Dues};
use crate::held::Held;
use crate::leases::Leases;
use crate::policy::Policy;
use crate::usage::Scanner;

/// Filter state of a stream that was not plainly allowed: `%FILTER_STATE(wasm.…:PLAIN)%`.
const LOG_PROPERTY: &str = "rate_limit_decision";
const SEED_KEY: &str = "penstock.rate_limit.seed";
/// Races that a request may lose. Two workers at 30,000 writes a second on one key lose one in 150.
const TRIES: u32 = 32;
/// How often held requests are looked after; they are held so much longer at most.
const TICK_MILLISECONDS: u32 = 10;

/// Registers the filter with the dispatcher.
pub fn start() {
    filter_shell::start();
    proxy_wasm::set_root_context(|_| Box::new(Root { limiter: None }));
}

/// A plugin in this VM.
struct Root {
    limiter: Option<Rc<Limiter>>,
}

/// What the streams of a plugin share.
struct Limiter {
    policy: Policy,
    counters: Counters,
    /// What the keys of the table's sets begin with.
    prefix: String,
    failures: Cell<u64>,
    held: Held,
    leases: Leases,
}

/// A request on its way.
struct Stream {
    /// None if the plugin refused its configuration; no host starts a stream then.
    limiter: Option<Rc<Limiter>>,
    id: u32,
    /// To be added to the response; none to one that the filter made itself.
    fields: Vec<Field>,
    dues: Dues,
    /// The response's headers as the host handed them over, if a due is about them.
    response: Vec<u8>,
    /// What looks for numbers in the response's body, each for a rule.
    scanners: Vec<(usize, Scanner)>,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        match Limiter::configure() {
            Ok(limiter) => {
                self.limiter = Some(Rc::new(limiter));
                true
            }
            Err(message) => {
                log::error(&message);
                false
            }
        }
    }

    fn on_tick(&mut self) {
        if let Some(limiter) = &self.limiter {
            limiter.resume();
        }
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream {
            limiter: self.limiter.clone(),
            id,
            fields: Vec::new(),
            dues: Dues::default(),
            response: Vec::new(),
            scanners: Vec::new(),
        }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let Some(limiter) = &self.limiter else {
            return Action::Continue;
        };
        let (decision, now) = limiter.decide();
        for count in decision.counts {
            limiter.counters.add_one(count.index());
        }
        if let Some(value) = decision.log {
            let _ = host::set_property(LOG_PROPERTY, &value);
        }
        self.scanners = decision.dues.scanners(limiter.policy.config());
        self.dues = decision.dues;
        match decision.verdict {
            Verdict::Allow(fields) => {
                self.fields = fields;
                if decision.hold > Span::ZERO {
                    limiter.held.add(self.id, now.after(decision.hold));
                    return Action::Pause;
                }
                Action::Continue
            }
            Verdict::Deny(reply) => {
                if let Err(status) = host::send_reply(&reply) {
                    limiter.complain(status);
                }
                Action::Pause
            }
        }
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        if let Some(limiter) = &self.limiter
            && self.dues.ask_headers(limiter.policy.config())
        {
            match host::header_pairs(HeaderMap::Response) {
                Ok(headers) => self.response = headers,
                Err(status) => limiter.complain(status),
            }
        }
        for Field {
            name,
            value,
            is_list,
        } in self.fields.drain(..)
        {
            let put = if is_list {
                host::add_header
            } else {
                host::replace_header
            };
            // The response is better without it than none at all.
            let _ = put(HeaderMap::Response, name, &value);
        }
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, _: bool) -> Action {
        if !self.scanners.is_empty() && size > 0 {
            match host::response_body(size) {
                Ok(chunk) => {
                    let scanners = self.scanners.iter_mut();
                    scanners.for_each(|(_, scanner)| scanner.read(&chunk));
                }
                Err(status) => self
                    .limiter
                    .iter()
                    .for_each(|limiter| limiter.complain(status)),
            }
        }
        Action::Continue
    }
}

/// The end of a request, whatever it was: the dispatcher drops the stream in `on_delete`. A callback
/// of its own (`on_log`) would cost requests that have nothing to settle.
impl Drop for Stream {
    fn drop(&mut self) {
        let Some(limiter) = &self.limiter else { return };
        // It may have ended while it was held.
        limiter.held.remove(self.id);
        if self.dues.is_empty() {
            return;
        }
        let dues = std::mem::take(&mut self.dues);
        let scanners = std::mem::take(&mut self.scanners).into_iter();
        let found: Vec<_> = scanners
            .filter_map(|(rule, scanner)| Some((rule, scanner.total()?)))
            .collect();
        limiter.settle(dues, &self.response, &found);
    }
}

impl Limiter {
    fn configure() -> Result<Self, String> {
        let Setup {
            config,
            seed,
            counters,
        } = Setup::new(Config::read, SEED_KEY, |config| {
            Count::all(config)
                .into_iter()
                .map(|count| count.name(config))
                .collect::<Vec<_>>()
        })?;
        if config.delays() {
            host::set_tick_period(TICK_MILLISECONDS)
                .map_err(|status| format!("no tick to wake held requests by: {status}"))?;
        }
        let geometry = config.geometry;
        log::debug(&format!(
            "event=configured version={} rules={} buckets={}",
            env!("CARGO_PKG_VERSION"),
            config.rules.len(),
            geometry.capacity(),
        ));
        Ok(Self {
            // A table of another size is another table.
            prefix: format!(
                "penstock.rate_limit.{}x{}.",
                geometry.sets(),
                geometry.ways()
            ),
            policy: Policy::new(config, seed),
            counters,
            failures: Cell::new(0),
            held: Held::default(),
            leases: Leases::default(),
        })
    }

    fn decide(&self) -> (Decision, Timestamp) {
        let never = |decision| (decision, Timestamp::ZERO);
        let fetched = match Fetched::of(self.policy.inputs())
            .and_then(|fetched| fetched.with_properties(self.policy.properties()))
        {
            Ok(fetched) => fetched,
            Err(status) => {
                self.complain(status);
                return never(self.policy.claim(&Request::default()).fail(Cause::Host));
            }
        };
        let mut claim = self.policy.claim(&fetched.request());
        if self.held.len() >= self.policy.config().max_delayed {
            claim.without_delay();
        }
        if claim.is_leased() {
            let decided = host::monotonic_now().map(|now| claim.decide_leased(&self.leases, now));
            if let Ok(Some(decision)) = decided {
                return never(decision);
            }
        }
        match self.store(&claim) {
            Ok(stored) => {
                let (mut decision, now) = stored.output;
                decision.add_conflicts(stored.conflicts);
                self.leases.keep(std::mem::take(&mut decision.leases));
                (decision, now)
            }
            Err(Failure::Contention { conflicts }) => {
                let mut decision = claim.fail(Cause::Contention);
                decision.add_conflicts(conflicts);
                never(decision)
            }
            Err(Failure::Host(status)) => {
                self.complain(status);
                never(claim.fail(Cause::Host))
            }
        }
    }

    /// Decides on the sets that a claim names and stores the outcome.
    fn store(&self, claim: &Claim<'_>) -> Result<Stored<(Decision, Timestamp)>, Failure> {
        let geometry = self.policy.geometry();
        let keys: Vec<_> = claim
            .sets()
            .iter()
            .map(|set| format!("{}{set}", self.prefix))
            .collect();
        if keys.is_empty() {
            let output = (claim.decide(Timestamp::ZERO, &mut []), Timestamp::ZERO);
            return Ok(Stored {
                output,
                conflicts: 0,
            });
        }
        shared::transact(
            &keys,
            TRIES,
            |values| {
                let mut sets: Vec<_> = values
                    .into_iter()
                    .map(|value| Set::read(value, geometry))
                    .collect();
                // Read after the sets were: see `Claim::decide`.
                let now = host::monotonic_now()?;
                let decision = claim.decide(now, &mut sets);
                let changed = sets.into_iter().enumerate();
                Ok(Plan {
                    output: (decision, now),
                    writes: changed
                        .filter(|(_, set)| set.is_changed())
                        .map(|(at, set)| (at, set.into_bytes()))
                        .collect(),
                })
            },
            |(decision, then), at, value| {
                let mut set = Set::read(value, geometry);
                let now = host::monotonic_now()?;
                claim.take_back(decision, at, &mut set, *then, now);
                Ok(set.into_bytes())
            },
        )
    }

    /// Lets the requests go on whose time has come.
    fn resume(&self) {
        if self.held.is_empty() {
            return;
        }
        match host::monotonic_now() {
            Ok(now) => {
                for stream in self.held.take_due(now) {
                    // One that has gone needs nothing.
                    let _ =
                        host::set_effective_context(stream).and_then(|()| host::continue_request());
                }
            }
            Err(status) => self.complain(status),
        }
    }

    /// Does what is to be done at the end of a request.
    fn settle(&self, dues: Dues, response: &[u8], found: &[(usize, u64)]) {
        let bill = dues.bill(self.policy.config(), &Headers::decode(response), found);
        for number in bill.sets() {
            match self.settle_set(&bill, *number) {
                Ok(conflicts) => (0..conflicts).for_each(|_| self.count(Count::Conflict)),
                Err(Failure::Contention { .. }) => self.count(Count::Error(Cause::Contention)),
                Err(Failure::Host(status)) => {
                    self.complain(status);
                    self.count(Count::Error(Cause::Host));
                }
            }
        }
    }

    /// Settles a bill in one set; returns how many races were lost before.
    fn settle_set(&self, bill: &Bill, number: u32) -> Result<u32, Failure> {
        let key = format!("{}{number}", self.prefix);
        for conflicts in 0..TRIES {
            let (stored, cas) = host::shared(key.as_bytes())?;
            let now = host::monotonic_now()?;
            let settled = bill.settled(number, stored, self.policy.geometry(), now);
            let stored = match settled {
                Some(value) => host::set_shared(key.as_bytes(), &value, cas)?,
                None => true,
            };
            if stored {
                return Ok(conflicts);
            }
        }
        Err(Failure::Contention { conflicts: TRIES })
    }

    fn count(&self, count: Count) {
        self.counters.add_one(count.index());
    }

    /// Logs a refusal of the host, every one at first and then ever fewer.
    fn complain(&self, status: Status) {
        let failures = self.failures.get().saturating_add(1);
        self.failures.set(failures);
        if failures.is_power_of_two() {
            log::warn(&format!(
                "event=host_refused status={} times={failures}",
                status.0
            ));
        }
    }
}
