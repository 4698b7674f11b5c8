//! Requests: looked up, answered, held or sent upstream.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use filter_core::address;
use filter_core::headers::Headers;
use filter_core::metrics::labelled;
use filter_core::request::Request;
use filter_shell::complaints::Complaints;
use filter_shell::counters::Counters;
use filter_shell::host::{self, HeaderMap, Status};
use filter_shell::log;
use filter_shell::setup::Setup;

use super::TICK_MILLIS;
use super::background::Background;
use super::remote::Remote;
use super::reply::When;
use super::state::{Hit, Stage, State};
use super::store::Store;
use crate::collapse::{Outcome as Settled, Turn, Wake};
use crate::config::{Config, Rule};
use crate::decision::{Answer, Decision, Edit, Forward, Outcome};
use crate::head::Head;
use crate::lookup::{Found, Lookup};
use crate::policy::{Asked, Course, Policy, Start};
use crate::purge::{self, Order, Refused, Scope};
use crate::remote::fleet::Target;
use crate::request::Seen;
use crate::store::{self, Settings};

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

/// What a look at a request's headers came to.
enum Begun<'a> {
    /// That is all.
    Ended(Step),
    /// The store is to be asked, under this rule.
    Lookup(&'a Rule),
}

/// What the streams of a plugin share.
pub(super) struct Cache {
    pub(super) policy: Policy,
    pub(super) store: Store<Head>,
    pub(super) counters: Counters,
    pub(super) background: Background,
    pub(super) remote: Option<Remote>,
    waiting: RefCell<BTreeMap<u32, Rc<RefCell<State>>>>,
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

    pub(super) fn on_request(&self, id: u32, shared: &Rc<RefCell<State>>, has_body: bool) -> Step {
        let Ok(mut state) = shared.try_borrow_mut() else {
            return Step::Continue;
        };
        let step = host::header_pairs(HeaderMap::Request).and_then(|block| {
            let mut seen = Seen::of(Headers::decode(&block));
            let step = match self.begin(&mut state, &mut seen, has_body)? {
                Begun::Ended(step) => Ok(step),
                Begun::Lookup(rule) => self.look_and_act(id, &mut state, rule, &seen, true),
            };
            state.request = block;
            step
        });
        self.finish_request(id, shared, &mut state, step)
    }

    /// What a callback of a request comes to; the state is kept for those that wait.
    fn finish_request(
        &self,
        id: u32,
        shared: &Rc<RefCell<State>>,
        state: &mut State,
        step: Result<Step, Status>,
    ) -> Step {
        match step {
            // For its own body.
            Ok(Step::Hold) if matches!(state.stage, Stage::Body(_)) => Step::Hold,
            Ok(Step::Hold) => {
                state.stage = Stage::Waiting;
                self.waiting.borrow_mut().insert(id, Rc::clone(shared));
                self.count(Count::Waited, 1);
                Step::Hold
            }
            Ok(step) => step,
            Err(status) => {
                // A cache that doesn't work is better passed than in the way.
                self.complain(status);
                state.stage = Stage::Done;
                Step::Continue
            }
        }
    }

    /// Looks at the headers.
    fn begin<'a>(
        &'a self,
        state: &mut State,
        seen: &mut Seen<'_>,
        has_body: bool,
    ) -> Result<Begun<'a>, Status> {
        let inputs = self.policy.inputs();
        let property = |wanted: bool, path: &str| match wanted {
            true => host::property(path).map(Option::unwrap_or_default),
            false => Ok(Vec::new()),
        };
        if let Some(purge) = &self.policy.config().purge
            && purge::is_purge(purge, seen)
        {
            let address = property(purge.addresses.is_some(), "source\0address")?;
            let order = purge::order(purge, seen, address::parse(&address));
            self.purge(seen, order)?;
            return Ok(Begun::Ended(Step::Answered));
        }
        let route_name = property(inputs.route_name, "xds\0route_name")?;
        let request = Request {
            headers: seen.headers,
            route_name: &route_name,
            ..Request::default()
        };
        state.rule = self.policy.rule_of(&request);
        let Some(rule) = self.policy.rule(state.rule) else {
            return Ok(Begun::Ended(Step::Continue));
        };
        if !rule.honours_clients {
            seen.ignore_directives();
        }
        match self.policy.start(rule, seen, has_body) {
            Start::Bypass => {
                self.tell(rule, Outcome::Bypass, 0);
                Ok(Begun::Ended(Step::Continue))
            }
            Start::Write => {
                self.tell(rule, Outcome::Method, 0);
                state.course = Some(Course {
                    plan: crate::decision::Plan::Store,
                    ..state.passing(Outcome::Method)
                });
                // What is stored of its response must be younger than this.
                state.view = self.store.view().ok();
                state.sent = self.now()?;
                state.stage = Stage::Upstream;
                Ok(Begun::Ended(Step::Continue))
            }
            Start::Body(most) => {
                state.stage = Stage::Body(usize::try_from(most).unwrap_or(usize::MAX));
                Ok(Begun::Ended(Step::Hold))
            }
            Start::Lookup => Ok(Begun::Lookup(rule)),
        }
    }

    pub(super) fn on_request_body(
        &self,
        id: u32,
        shared: &Rc<RefCell<State>>,
        size: usize,
        is_last: bool,
    ) -> Step {
        let Ok(mut state) = shared.try_borrow_mut() else {
            return Step::Continue;
        };
        match state.stage {
            Stage::Waiting => return Step::Hold,
            Stage::Body(most) if size > most => {
                // Too long to be a key.
                state.stage = Stage::Done;
                return Step::Continue;
            }
            Stage::Body(_) if !is_last => return Step::Hold,
            Stage::Body(_) => state.stage = Stage::Done,
            Stage::Done | Stage::Upstream => return Step::Continue,
        }
        let step = host::request_body(0, size).and_then(|body| {
            state.body = Some(body);
            self.proceed(id, &mut state, true)
        });
        self.finish_request(id, shared, &mut state, step)
    }

    /// Asks the store, decides and acts on it.
    fn proceed(&self, id: u32, state: &mut State, may_wait: bool) -> Result<Step, Status> {
        let step = self.with_request(state, |state, rule, seen| {
            self.look_and_act(id, state, rule, seen, may_wait)
        });
        step.unwrap_or(Ok(Step::Continue))
    }

    /// Does something with a request as its rule sees it.
    pub(super) fn with_request<T>(
        &self,
        state: &mut State,
        act: impl FnOnce(&mut State, &Rule, &Seen<'_>) -> T,
    ) -> Option<T> {
        let rule = self.policy.rule(state.rule)?;
        let block = std::mem::take(&mut state.request);
        let mut seen = Seen::of(Headers::decode(&block));
        if !rule.honours_clients {
            seen.ignore_directives();
        }
        let done = act(state, rule, &seen);
        state.request = block;
        Some(done)
    }

    /// Asks the store, and decides. `None` if the request's key is too long.
    pub(super) fn decide(
        &self,
        state: &mut State,
        rule: &Rule,
        seen: &Seen<'_>,
        now: u64,
    ) -> Result<Option<Decision>, Status> {
        let Some(lookup) = Lookup::new(&rule.key, seen, state.body.as_deref()) else {
            return Ok(None);
        };
        self.look(state, rule, seen, lookup, now)?;
        let asked = Asked {
            found: state.found,
            stored: state.hit.as_ref().and_then(Hit::stored),
            collapsed: state.collapsed,
            key: state.lookup.as_ref().map_or(&[], |lookup| lookup.primary()),
            now,
        };
        Ok(Some(self.policy.decide(rule, seen, &asked)))
    }

    /// Answers a request with what is stored, and has that fetched anew if it is time.
    pub(super) fn answer_from_store(
        &self,
        state: &mut State,
        rule: &Rule,
        seen: &Seen<'_>,
        answer: &Answer,
        now: u64,
    ) -> Result<(), Status> {
        self.answer(state, rule, answer, When::Request)?;
        // The remote tier had it.
        self.settle(state, Settled::Stored, now);
        if answer.refresh {
            self.refresh_later(state, rule, seen, now);
        }
        Ok(())
    }

    fn look_and_act(
        &self,
        id: u32,
        state: &mut State,
        rule: &Rule,
        seen: &Seen<'_>,
        may_wait: bool,
    ) -> Result<Step, Status> {
        let now = self.now()?;
        match self.decide(state, rule, seen, now)? {
            None => {
                self.tell(rule, Outcome::Bypass, 0);
                state.stage = Stage::Done;
                Ok(Step::Continue)
            }
            Some(Decision::Answer(answer)) => {
                self.answer_from_store(state, rule, seen, &answer, now)?;
                Ok(Step::Answered)
            }
            Some(Decision::Forward(forward)) => {
                let may_wait = may_wait && forward.may_wait;
                let mut asks_remote = may_wait;
                if may_wait && state.lease.is_none() && self.policy.config().collapse {
                    let lookup = state.lookup.as_ref();
                    let key = lookup.map(|lookup| lookup.shared_key(&seen.headers));
                    let hash = self.store.hash(&key.unwrap_or_default());
                    match self.store.join(hash, id, now)? {
                        Turn::Lead(lease) => state.lease = Some(lease),
                        Turn::Wait(_) => {
                            state.collapsed = true;
                            return Ok(Step::Hold);
                        }
                        Turn::Go => asks_remote = false,
                    }
                }
                if asks_remote && self.ask_remote(id, state, seen, now) {
                    return Ok(Step::Hold);
                }
                self.forward(state, rule, forward, now)
            }
        }
    }

    /// Follows a lookup to its end.
    pub(super) fn look(
        &self,
        state: &mut State,
        rule: &Rule,
        seen: &Seen<'_>,
        mut lookup: Lookup,
        now: u64,
    ) -> Result<(), Status> {
        /// More than any lookup takes.
        const MOST_STEPS: usize = 6;
        let view = self.store.view()?;
        // What the remote tier has isn't known here.
        if !view.has_searches() && self.remote.is_none() {
            lookup.skip_searches();
        }
        state.hit = None;
        state.found = Found::Nothing;
        for _ in 0..MOST_STEPS {
            let hash = self.store.hash(lookup.key());
            let found = self.store.find(&view, hash, now)?;
            let found = found.or_else(|| state.imported(hash));
            let head = found.as_ref().map(|found| &found.object.head);
            let Some(outcome) = lookup.step(&rule.key, seen, head) else {
                continue;
            };
            state.found = outcome;
            if let (Found::Response, Some(found)) = (outcome, found) {
                state.hit = Some(Hit {
                    hash,
                    key: match &self.remote {
                        Some(_) => lookup.key().to_vec(),
                        None => Vec::new(),
                    },
                    is_purged: found.stale,
                    object: found.object,
                });
            }
            break;
        }
        state.lookup = Some(lookup);
        state.view = Some(view);
        Ok(())
    }

    fn forward(
        &self,
        state: &mut State,
        rule: &Rule,
        forward: Forward,
        now: u64,
    ) -> Result<Step, Status> {
        if state.hedged.is_none() {
            self.tell(rule, forward.outcome, 0);
        }
        for edit in &forward.edits {
            match edit {
                Edit::Set(name, value) => {
                    host::replace_header_bytes(HeaderMap::Request, name, value)?;
                }
                Edit::Remove(name) => host::remove_header(HeaderMap::Request, name)?,
            }
        }
        state.course = Some(Course {
            rule: state.rule,
            plan: forward.plan,
            outcome: forward.outcome,
            has_body_key: state.body.is_some(),
        });
        state.sent = now;
        state.stage = Stage::Upstream;
        Ok(Step::Continue)
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

    /// Carries a purge out and answers.
    fn purge(&self, seen: &Seen<'_>, order: Result<Order, Refused>) -> Result<(), Status> {
        let reply = |status: u16, text: &str| {
            let fields = [
                (&b"content-type"[..], &b"application/json"[..]),
                (b"cache-control", b"no-store"),
            ];
            host::send_bytes(
                status,
                "cache_purge",
                &Headers::encode(fields),
                text.as_bytes(),
            )
        };
        let order = match order {
            Ok(order) => order,
            Err(Refused::Forbidden) => return reply(403, "{\"error\":\"forbidden\"}\n"),
            Err(Refused::Unclear) => return reply(400, "{\"error\":\"unclear\"}\n"),
        };
        let now = self.now()?;
        let soft = order.soft;
        let scopes = match order.scope {
            Scope::Target(target) => {
                let keys = self.invalidate_target(seen, &target, soft, now)?;
                self.publish_keys(seen, &target, keys, soft, now);
                Vec::new()
            }
            Scope::Prefix(prefix) => vec![store::Scope::Prefix(prefix)],
            Scope::Tags(tags) => tags.into_iter().map(store::Scope::Tag).collect(),
            Scope::All => vec![store::Scope::All],
        };
        for what in scopes {
            self.publish(Target::Many(what.clone()), soft, now);
            self.store.purge(store::Purge { what, soft })?;
        }
        self.count(Count::Purged, 1);
        reply(200, "{\"purged\":true}\n")
    }

    /// Makes all that is stored for a target of the request's host worthless, under every rule's
    /// keys; returns those.
    pub(super) fn invalidate_target(
        &self,
        seen: &Seen<'_>,
        target: &[u8],
        soft: bool,
        now: u64,
    ) -> Result<Vec<Vec<u8>>, Status> {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        let as_get = Seen {
            target,
            ..seen.clone()
        };
        for rule in &self.policy.config().rules {
            let own = [
                crate::key::primary(&rule.key, &as_get, target, None),
                crate::key::search_entry(&rule.key, &as_get),
            ];
            for key in own {
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
        }
        for key in &keys {
            if self.store.invalidate(self.store.hash(key), soft, now)? {
                self.count(Count::Invalidated, 1);
            }
        }
        Ok(keys)
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
