//! A plugin at work: what its streams share.

use std::cell::Cell;
use std::slice;

use filter_core::headers::Headers;
use filter_core::request::Request;
use filter_core::table::Set;
use filter_core::time::{Span, Timestamp};
use filter_shell::complaints::Complaints;
use filter_shell::counters::Counters;
use filter_shell::fetched::Fetched;
use filter_shell::host::{self, Status};
use filter_shell::log;
use filter_shell::setup::Setup;
use filter_shell::shared::{Failure, Stored};

use super::asking::Asking;
use super::table::Table;
use crate::claim::Claim;
use crate::config::Config;
use crate::decision::{Cause, Count, Decision, Verdict};
use crate::dues::Dues;
use crate::global::{Flight, Service};
use crate::held::Held;
use crate::leases::Leases;
use crate::policy::Policy;

const SEED_KEY: &str = "penstock.rate_limit.seed";
/// How often held requests are looked after; they are held so much longer at most.
const TICK_MILLISECONDS: u32 = 10;

/// What the streams of a plugin share.
pub(super) struct Limiter {
    pub(super) policy: Policy,
    pub(super) counters: Counters,
    table: Table,
    complaints: Complaints,
    pub(super) held: Held,
    leases: Leases,
    /// Who is asked about global rules.
    pub(super) service: Option<Service>,
    /// Calls to it that failed since that was last told, and when that was.
    unheard: Cell<(u64, Timestamp)>,
}

/// What the table has to say to a request, and what a service is still to be asked.
pub(super) enum Decided {
    /// This, as of then.
    Plain(Box<Decision>, Timestamp),
    /// To allow the request unless a service says otherwise.
    Asking(Box<Asking>),
}

impl Limiter {
    pub(super) fn configure() -> Result<Self, String> {
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
            table: Table::new(geometry),
            service: config.backend.clone().map(Service::new),
            unheard: Cell::default(),
            policy: Policy::new(config, seed),
            counters,
            complaints: Complaints::default(),
            held: Held::default(),
            leases: Leases::default(),
        })
    }

    pub(super) fn decide(&self) -> Decided {
        let fetched = match self.fetch() {
            Ok(fetched) => fetched,
            Err(status) => {
                self.complain(status);
                let decision = self.policy.claim(&Request::default()).fail(Cause::Host);
                return Decided::Plain(decision, Timestamp::ZERO);
            }
        };
        let mut claim = self.policy.claim(&fetched.request());
        let questions = claim.take_questions();
        if self.held.len() >= self.policy.config().max_delayed {
            claim.without_delay();
        }
        let (decision, now) = self.decide_claim(&mut claim);
        if questions.is_empty() || matches!(decision.verdict, Verdict::Deny(_)) {
            return Decided::Plain(decision, now);
        }
        let flight = Flight::new(questions);
        Decided::Asking(Box::new(Asking::new(fetched, decision, now, flight)))
    }

    fn fetch(&self) -> Result<Fetched, Status> {
        let policy = &self.policy;
        let mut fetched = Fetched::with_header(policy.inputs(), policy.only_header())?;
        fetched.add_properties(policy.properties())?;
        Ok(fetched)
    }

    /// Decides on a claim, by what was taken ahead or by the table.
    pub(super) fn decide_claim(&self, claim: &mut Claim<'_>) -> (Box<Decision>, Timestamp) {
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
                if !decision.leases.is_empty() {
                    self.leases.keep(std::mem::take(&mut decision.leases));
                }
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
    pub(super) fn take_back(&self, claim: &Claim<'_>, decision: &Decision, then: Timestamp) {
        for (at, number) in claim.sets().iter().enumerate() {
            let edit = |set: &mut Set, now| claim.take_back(decision, at, set, then, now);
            self.report(self.table.edit(*number, edit));
        }
    }

    /// Decides on the sets that a claim names and stores the outcome.
    fn store(&self, claim: &Claim<'_>) -> Result<Stored<(Box<Decision>, Timestamp)>, Failure> {
        let decide = |sets: &mut [Set], now| (claim.decide(now, sets), now);
        match claim.sets() {
            [] => Ok(Stored {
                output: decide(&mut [], Timestamp::ZERO),
                conflicts: 0,
            }),
            [number] => self
                .table
                .edit(*number, |set, now| decide(slice::from_mut(set), now)),
            numbers => self
                .table
                .edit_all(numbers, decide, |output, at, set, [then, now]| {
                    claim.take_back(&output.0, at, set, then, now);
                }),
        }
    }

    /// Lets the requests go on whose time has come.
    pub(super) fn resume(&self) {
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
    pub(super) fn settle(&self, dues: Dues, response: &[u8], found: &[(usize, u64)]) {
        let bill = dues.bill(self.policy.config(), &Headers::decode(response), found);
        for number in bill.sets() {
            let edit = |set: &mut Set, now| bill.settle(*number, set, now);
            self.report(self.table.edit(*number, edit));
        }
    }

    /// Counts what came of an edit that no request depends on any more.
    fn report(&self, outcome: Result<Stored<()>, Failure>) {
        match outcome {
            Ok(stored) => (0..stored.conflicts).for_each(|_| self.count(Count::Conflict)),
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
    pub(super) fn unheard(&self, why: &str, now: Timestamp) {
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
    pub(super) fn complain(&self, status: Status) {
        self.complaints.host_refused(status);
    }
}
