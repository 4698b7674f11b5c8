//! The filter towards the host: callbacks into the core, decisions into hostcalls.

mod asking;

use std::cell::Cell;
use std::rc::Rc;

use filter_core::headers::Headers;
use filter_core::request::Request;
use filter_core::table::Set;
use filter_core::time::{Span, Timestamp};
use filter_shell::complaints::Complaints;
use filter_shell::counters::Counters;
use filter_shell::fetched::Fetched;
use filter_shell::host::{self, HeaderMap, Status};
use filter_shell::log;
use filter_shell::setup::Setup;
use filter_shell::shared::{self, Failure, Plan, Stored};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

use self::asking::Asking;
use crate::claim::Claim;
use crate::config::Config;
use crate::decision::{Cause, Count, Decision, Field, Verdict};
use crate::dues::Dues;
use crate::global::{Flight, Service};
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
    complaints: Complaints,
    held: Held,
    leases: Leases,
    /// Who is asked about global rules.
    service: Option<Service>,
    /// Calls to it that failed since that was last told, and when that was.
    unheard: Cell<(u64, Timestamp)>,
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
    /// What it waits for, if it is held for a service's answer.
    asking: Option<Box<Asking>>,
}

/// What the table has to say to a request, and what a service is still to be asked.
struct Decided {
    decision: Decision,
    /// When it was decided.
    now: Timestamp,
    asking: Option<(Fetched, Flight)>,
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
            asking: None,
        }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Context for Stream {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body: usize, _: usize) {
        let answered = |asking: &Asking| asking.is_call(token);
        if self.asking.as_deref().is_some_and(answered) {
            self.answered(asking::http_answer(headers, body).as_deref());
        }
    }

    fn on_grpc_call_response(&mut self, token: u32, status: u32, size: usize) {
        let answered = |asking: &Asking| asking.is_call(token);
        if self.asking.as_deref().is_some_and(answered) {
            self.answered(asking::grpc_answer(status, size).as_deref());
        }
    }
}

impl Stream {
    /// Carries a decision out. What is left to do is let the request go on, or not.
    fn carry_out(&mut self, limiter: &Limiter, decision: Decision, now: Timestamp) -> Action {
        for count in decision.counts {
            limiter.counters.add_one(count.index());
        }
        if let Some(value) = decision.log {
            let _ = host::set_property(LOG_PROPERTY, &value);
        }
        match decision.verdict {
            Verdict::Allow(fields) => {
                self.scanners = decision.dues.scanners(limiter.policy.config());
                self.dues = decision.dues;
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

    /// Goes on with what came of a call to the service.
    fn answered(&mut self, answer: Option<&[u8]>) {
        let (Some(limiter), Some(mut asking)) = (self.limiter.clone(), self.asking.take()) else {
            return;
        };
        if asking.answered(&limiter, answer) {
            self.asking = Some(asking);
            return;
        }
        let (decision, now) = asking.end(&limiter);
        if self.carry_out(&limiter, decision, now) == Action::Continue
            && let Err(status) = host::continue_request()
        {
            limiter.complain(status);
        }
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let Some(limiter) = self.limiter.clone() else {
            return Action::Continue;
        };
        let Decided {
            decision,
            now,
            asking,
        } = limiter.decide();
        let Some((fetched, flight)) = asking else {
            return self.carry_out(&limiter, decision, now);
        };
        let mut asking = Asking::new(fetched, decision, now, flight);
        if asking.begins(&limiter) {
            self.asking = Some(Box::new(asking));
            return Action::Pause;
        }
        let (decision, now) = asking.end(&limiter);
        self.carry_out(&limiter, decision, now)
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
            let _ = put(HeaderMap::Response, &name, &value);
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
        if let Some(asking) = self.asking.take() {
            // It ended before the answer came.
            self.dues = asking.into_dues();
        }
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
            service: config.backend.clone().map(Service::new),
            unheard: Cell::default(),
            policy: Policy::new(config, seed),
            counters,
            complaints: Complaints::default(),
            held: Held::default(),
            leases: Leases::default(),
        })
    }

    fn decide(&self) -> Decided {
        let plain = |decision, now| Decided {
            decision,
            now,
            asking: None,
        };
        let fetched = match Fetched::of(self.policy.inputs())
            .and_then(|fetched| fetched.with_properties(self.policy.properties()))
        {
            Ok(fetched) => fetched,
            Err(status) => {
                self.complain(status);
                let decision = self.policy.claim(&Request::default()).fail(Cause::Host);
                return plain(decision, Timestamp::ZERO);
            }
        };
        let mut claim = self.policy.claim(&fetched.request());
        let questions = claim.take_questions();
        if self.held.len() >= self.policy.config().max_delayed {
            claim.without_delay();
        }
        let (decision, now) = self.decide_claim(&mut claim);
        if questions.is_empty() || matches!(decision.verdict, Verdict::Deny(_)) {
            return plain(decision, now);
        }
        Decided {
            decision,
            now,
            asking: Some((fetched, Flight::new(questions))),
        }
    }

    /// Decides on a claim, by what was taken ahead or by the table.
    fn decide_claim(&self, claim: &mut Claim<'_>) -> (Decision, Timestamp) {
        let never = |decision| (decision, Timestamp::ZERO);
        if claim.is_leased() {
            let decided = host::monotonic_now().map(|now| claim.decide_leased(&self.leases, now));
            if let Ok(Some(decision)) = decided {
                return never(decision);
            }
        }
        match self.store(claim) {
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

    /// Takes back what a decision charged at `then`, because another rule denied the request.
    fn take_back(&self, claim: &Claim<'_>, decision: &Decision, then: Timestamp) {
        let geometry = self.policy.geometry();
        for (at, number) in claim.sets().iter().enumerate() {
            let outcome = self.edit_set(*number, |stored, now| {
                let mut set = Set::read(stored, geometry);
                claim.take_back(decision, at, &mut set, then, now);
                set.is_changed().then(|| set.into_bytes())
            });
            self.report(outcome);
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
        let geometry = self.policy.geometry();
        for number in bill.sets() {
            let outcome = self.edit_set(*number, |stored, now| {
                bill.settled(*number, stored, geometry, now)
            });
            self.report(outcome);
        }
    }

    /// Edits one set of the table; returns how many races were lost before.
    fn edit_set(
        &self,
        number: u32,
        edit: impl Fn(Option<Vec<u8>>, Timestamp) -> Option<Vec<u8>>,
    ) -> Result<u32, Failure> {
        let key = format!("{}{number}", self.prefix);
        for conflicts in 0..TRIES {
            let (stored, cas) = host::shared(key.as_bytes())?;
            let now = host::monotonic_now()?;
            let stored = match edit(stored, now) {
                Some(value) => host::set_shared(key.as_bytes(), &value, cas)?,
                None => true,
            };
            if stored {
                return Ok(conflicts);
            }
        }
        Err(Failure::Contention { conflicts: TRIES })
    }

    /// Counts what came of an edit that no request depends on any more.
    fn report(&self, outcome: Result<u32, Failure>) {
        match outcome {
            Ok(conflicts) => (0..conflicts).for_each(|_| self.count(Count::Conflict)),
            Err(Failure::Contention { .. }) => self.count(Count::Error(Cause::Contention)),
            Err(Failure::Host(status)) => {
                self.complain(status);
                self.count(Count::Error(Cause::Host));
            }
        }
    }

    fn count(&self, count: Count) {
        self.counters.add_one(count.index());
    }

    /// Logs that the service didn't answer, at most once a second.
    fn unheard(&self, why: &str, now: Timestamp) {
        let (times, last) = self.unheard.get();
        let times = times.saturating_add(1);
        if last > Timestamp::ZERO && now.since(last) < Span::from_secs(1) {
            self.unheard.set((times, last));
            return;
        }
        self.unheard.set((0, now));
        log::warn(&format!("event=service_failed why={why:?} times={times}"));
    }

    /// Logs a refusal of the host, every one at first and then ever fewer.
    fn complain(&self, status: Status) {
        self.complaints.host_refused(status);
    }
}
