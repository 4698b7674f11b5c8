//! What the streams of a plugin share, and what is done outside of them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use filter_core::metrics::labelled;
use filter_shell::complaints::Complaints;
use filter_shell::counters::Counters;
use filter_shell::host::{self, Status};
use filter_shell::log;
use filter_shell::setup::Setup;

use super::TICK_MILLIS;
use super::background::Background;
use super::remote::Remote;
use super::state::{Stage, State};
use super::store::Store;
use crate::collapse::Wake;
use crate::config::{Config, Rule};
use crate::decision::Outcome;
use crate::head::Head;
use crate::policy::Policy;
use crate::store::Settings;

/// Filter state of a stream: `%FILTER_STATE(wasm.cache_lookup_decision:PLAIN)%`.
const LOG_PROPERTY: &str = "cache_lookup_decision";
const SEED_KEY: &str = "penstock.cache_lookup.seed";

/// What a callback does with its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It goes on.
    Continue,
    /// It waits.
    Hold,
    /// It has its answer.
    Answered,
}

/// What the streams of a plugin share.
pub(super) struct Cache {
    pub(super) policy: Policy,
    pub(super) store: Store<Head>,
    pub(super) counters: Counters,
    pub(super) background: Background,
    pub(super) remote: Option<Remote>,
    pub(super) waiting: RefCell<BTreeMap<u32, Rc<RefCell<State>>>>,
    /// Requests that went to the origin before the remote tier answered, until either does.
    pub(super) hedged: RefCell<BTreeMap<u32, Rc<RefCell<State>>>>,
    /// Milliseconds between ticks, as the host was told last; and when the next one is due.
    pub(super) tick: Cell<u32>,
    pub(super) tick_at: Cell<u64>,
    complaints: Complaints,
}

/// Counters after those of outcomes, by position.
#[derive(Clone, Copy, Debug)]
pub(super) enum Count {
    Stored,
    NotStored,
    Evicted,
    Invalidated,
    Purged,
    Waited,
    BytesServed,
    StoreError,
    Background,
    RemoteRequest,
    RemoteHit,
    RemoteHedged,
}

impl Count {
    const NAMES: [&'static str; 12] = [
        "cache_lookup_stored_total",
        "cache_lookup_not_stored_total",
        "cache_lookup_evictions_total",
        "cache_lookup_invalidations_total",
        "cache_lookup_purges_total",
        "cache_lookup_waited_total",
        "cache_lookup_served_bytes_total",
        "cache_lookup_store_errors_total",
        "cache_lookup_background_total",
        "cache_lookup_remote_requests_total",
        "cache_lookup_remote_hits_total",
        "cache_lookup_remote_hedged_total",
    ];

    const fn offset(self) -> usize {
        match self {
            Self::Stored => 0,
            Self::NotStored => 1,
            Self::Evicted => 2,
            Self::Invalidated => 3,
            Self::Purged => 4,
            Self::Waited => 5,
            Self::BytesServed => 6,
            Self::StoreError => 7,
            Self::Background => 8,
            Self::RemoteRequest => 9,
            Self::RemoteHit => 10,
            Self::RemoteHedged => 11,
        }
    }
}

impl Cache {
    pub(super) fn configure() -> Result<Self, String> {
        let Setup {
            config,
            seed,
            counters,
        } = Setup::new(Config::read, SEED_KEY, |_| {
            let outcomes = Outcome::ALL.iter().map(|outcome| {
                labelled(
                    "cache_lookup_requests_total",
                    &[("outcome", outcome.name())],
                )
            });
            outcomes
                .chain(Count::NAMES.iter().map(|name| (*name).to_owned()))
                .collect::<Vec<_>>()
        })?;
        let settings = Settings {
            max_bytes: config.max_bytes,
            max_object_bytes: config.max_object_bytes,
            worker_bytes: config.worker_bytes,
        };
        let store = Store::configure(&settings, seed, config.collapse_wait, Head::decode)?;
        host::set_tick_period(TICK_MILLIS).map_err(|status| format!("no tick: {status}"))?;
        log::debug(&format!(
            "event=configured version={} rules={} max_bytes={}",
            env!("CARGO_PKG_VERSION"),
            config.rules.len(),
            config.max_bytes,
        ));
        let remote = config.remote.as_ref().map(|remote| {
            Remote::new(crate::remote::Settings::new(
                remote,
                config.max_object_bytes,
            ))
        });
        Ok(Self {
            policy: Policy::new(config),
            store,
            counters,
            background: Background::default(),
            remote,
            waiting: RefCell::default(),
            hedged: RefCell::default(),
            tick: Cell::new(TICK_MILLIS),
            tick_at: Cell::new(0),
            complaints: Complaints::default(),
        })
    }

    /// Wakes the streams whose leaders have come to an end.
    pub(super) fn wake(&self, root: u32) {
        for (id, wake) in self.store.woken() {
            self.resume(id, wake == Wake::LookAgain);
        }
        let _ = host::set_effective_context(root);
        if let (Some(remote), Ok(now)) = (&self.remote, self.now()) {
            remote.flush(now);
        }
    }

    pub(super) fn on_tick(&self, root: u32) {
        self.store.look_anew();
        let now = self.now();
        if let Ok(now) = now {
            for (id, wake) in self.store.overdue(now) {
                self.resume(id, wake == Wake::LookAgain);
            }
            self.hedge(now);
        }
        let _ = host::set_effective_context(root);
        self.fetch_in_background();
        if let Ok(now) = now {
            self.tend_remote(now);
            self.next_tick(now);
        }
        self.count(
            Count::Evicted,
            usize::try_from(self.store.take_evictions()).unwrap_or(0),
        );
    }

    /// A request that waits.
    pub(super) fn waiting(&self, id: u32) -> Option<Rc<RefCell<State>>> {
        self.waiting.borrow().get(&id).cloned()
    }

    /// Lets a stream go on that has waited: it looks again, or goes upstream.
    pub(super) fn resume(&self, id: u32, may_wait: bool) {
        let Some(shared) = self.waiting.borrow_mut().remove(&id) else {
            return;
        };
        // One that has gone needs nothing.
        if host::set_effective_context(id).is_err() {
            return;
        }
        let Ok(mut state) = shared.try_borrow_mut() else {
            return;
        };
        let step = self.proceed(id, &mut state, may_wait);
        if self.finish_request(id, &shared, &mut state, step) == Step::Continue
            && let Err(status) = host::continue_request()
        {
            self.complain(status);
        }
    }

    /// Counts what became of a request, and tells the access log.
    pub(super) fn tell(&self, rule: &Rule, outcome: Outcome, bytes: usize) {
        self.counters.add_one(outcome.index());
        self.count(Count::BytesServed, bytes);
        if rule.name.is_empty() {
            let _ = host::set_property(LOG_PROPERTY, outcome.name());
        } else {
            let value = format!("{}:{}", rule.name, outcome.name());
            let _ = host::set_property(LOG_PROPERTY, &value);
        }
    }

    pub(super) fn count(&self, count: Count, by: usize) {
        let position = Outcome::ALL.len().saturating_add(count.offset());
        self.counters
            .add(position, u32::try_from(by).unwrap_or(u32::MAX));
    }

    /// Milliseconds of Unix time.
    pub(super) fn now(&self) -> Result<u64, Status> {
        host::wall_nanos().map(|nanos| nanos.div_euclid(1_000_000))
    }

    pub(super) fn on_end(&self, id: u32, state: &mut State) {
        if state.stage == Stage::Waiting {
            self.waiting.borrow_mut().remove(&id);
            self.store.leave(id);
            if let Some(remote) = &self.remote {
                remote.leave(id);
            }
        }
        if self.is_no_longer_hedged(state, false)
            && let Some(course) = &state.course
        {
            self.counters.add_one(course.outcome.index());
        }
        self.give_up(state);
    }

    /// Logs a refusal of the host, every one at first and then ever fewer.
    pub(super) fn complain(&self, status: Status) {
        self.count(Count::StoreError, 1);
        self.complaints.host_refused(status);
    }
}
