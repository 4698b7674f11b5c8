//! What the streams of a plugin share: the policy, what the worker knows, and how it chooses.

use std::cell::{Cell, RefCell};

use filter_core::request::Request;
use filter_core::time::{Span, Timestamp};
use filter_shell::complaints::Complaints;
use filter_shell::counters::Counters;
use filter_shell::fetched::Fetched;
use filter_shell::host::{self, HeaderMap, Status};
use filter_shell::log;
use filter_shell::setup::Setup;

use super::metrics::{Gauges, Requests};
use super::tasks::Tasks;
use crate::config::{Config, Steer};
use crate::decision::{Choice, Count, Decision, Reason};
use crate::health::Board;
use crate::hot_keys::{Heat, HotKeys};
use crate::in_flight::{Others, Own};
use crate::lease::Name;
use crate::outcome::Outcome;
use crate::places::Places;
use crate::policy::{Chance, Head, Known, Policy};
use crate::view::View;
use placement::Placement;
use placement::hosts::{Host, HostId, HostSet};

const SEED_KEY: &str = "penstock.consistent_hash.seed";
/// Races that a request may lose.
pub(super) const TRIES: u32 = 64;
/// How often a worker looks at what others learned.
const TICK_MILLISECONDS: u32 = 100;
/// Work on a table in a tick: some two milliseconds.
const WORK_PER_TICK: usize = 300_000;
/// Work on a table when a worker begins: some twenty milliseconds, after which 97 of 100 places have a host
/// in a table for up to 6,553 of them.
const WORK_AT_START: usize = 2_400_000;
/// How often a worker gives a sign of life for its requests in flight.
const SIGN_OF_LIFE: Span = Span::from_secs(2);

/// What the streams of a plugin share.
pub(super) struct Chooser {
    pub(super) policy: Policy,
    counters: Counters,
    requests: Requests,
    gauges: Gauges,
    complaints: Complaints,
    /// This VM.
    pub(super) me: Name,
    pub(super) view: RefCell<Option<View>>,
    pub(super) building: RefCell<Option<(HostSet, Placement)>>,
    own_zone: Option<String>,
    hot_keys: RefCell<Option<HotKeys>>,
    pub(super) board: RefCell<Board>,
    pub(super) board_version: Cell<Option<u32>>,
    pub(super) hosts_version: Cell<Option<u32>>,
    own: RefCell<Own>,
    /// When it last gave a sign of life.
    alive: Cell<Timestamp>,
    /// The moment of the last tick: near enough for what lasts seconds, and no hostcall.
    now: Cell<Timestamp>,
    /// Whether there is something to be done again and again, whatever comes.
    ticks_always: bool,
    ticks: Cell<bool>,
    turn: Cell<u64>,
    chance: Cell<u64>,
    tasks: Tasks,
    pub(super) keys: Keys,
}

/// Names in shared data.
pub(super) struct Keys {
    pub(super) board: String,
    in_flight: String,
    pub(super) hosts: String,
    pub(super) lease: String,
}

impl Chooser {
    pub(super) fn configure() -> Result<Self, String> {
        let setup = Setup::new(Config::read, SEED_KEY, |_| Count::names())?;
        let config: Config = setup.config;
        let failed = |what: &str, status: Status| format!("{what}: {status}");
        let random = host::random::<8>().map_err(|status| failed("no chance", status))?;
        let me = Name::from_le_bytes(random);
        let key = |what: &str| format!("penstock.consistent_hash.{}.{what}", config.state);
        let keys = Keys {
            board: key("health"),
            in_flight: key("in_flight"),
            hosts: key("hosts"),
            lease: key("lease"),
        };
        let own_zone = own_zone(&config);
        if config.zones.is_some() && own_zone.is_none() {
            log::warn("event=no_zone the gateway's node has no locality.zone; zones are ignored");
        }
        let drains = |hosts: &HostSet| hosts.iter().any(|host| host.draining);
        let ticks_always = config.health.is_watched()
            || config.discovery.is_some()
            || config.counts_requests
            || config.hosts.as_ref().is_some_and(drains);
        let view = config.hosts.clone().map(|hosts| {
            let mut placement = Placement::begin(&hosts, config.algorithm);
            placement.step(WORK_AT_START);
            View::new(hosts, placement, own_zone.as_deref(), None)
        });
        let is_unfinished = |view: &View| !view.placement().is_finished();
        let is_unfinished = view.as_ref().is_some_and(is_unfinished);
        if ticks_always || is_unfinished {
            host::set_tick_period(TICK_MILLISECONDS).map_err(|status| failed("no tick", status))?;
        }
        let now = host::monotonic_now().map_err(|status| failed("no clock", status))?;
        log::debug(&format!(
            "event=configured version={} hosts={}",
            env!("CARGO_PKG_VERSION"),
            config.hosts.as_ref().map_or(0, HostSet::len),
        ));
        let chooser = Self {
            hot_keys: RefCell::new(config.hot_keys.map(HotKeys::new)),
            policy: Policy::new(config),
            counters: setup.counters,
            requests: Requests::default(),
            gauges: Gauges::default(),
            complaints: Complaints::default(),
            me,
            view: RefCell::new(view),
            building: RefCell::default(),
            own_zone,
            board: RefCell::default(),
            board_version: Cell::new(None),
            hosts_version: Cell::new(None),
            own: RefCell::default(),
            alive: Cell::new(now),
            now: Cell::new(now),
            ticks_always,
            ticks: Cell::new(ticks_always || is_unfinished),
            turn: Cell::new(me),
            chance: Cell::new(me | 1),
            tasks: Tasks::default(),
            keys,
        };
        if let Some(view) = &*chooser.view.borrow() {
            chooser.requests.define(view.hosts());
        }
        // What other workers learned before this one began.
        chooser.learn(now, WORK_AT_START);
        Ok(chooser)
    }

    /// What is known of a request if one header is all that must be; the short way for most.
    pub(super) fn know_by_header(&self) -> Option<Known> {
        let name = self.policy.lone_header()?;
        let value = host::header(HeaderMap::Request, name).unwrap_or_else(|status| {
            self.check(Err(status));
            None
        });
        Some(self.policy.know_by_header(value))
    }

    /// Reads the head of a request.
    pub(super) fn head(&self, has_body: bool) -> Head {
        let fetched = Fetched::of(self.policy.inputs())
            .and_then(|fetched| fetched.with_properties(self.policy.properties()));
        let seconds = self.seconds();
        match fetched {
            Ok(fetched) => {
                let request = fetched.request();
                if request.headers.is_malformed() {
                    self.count(Count::Headers);
                }
                self.policy.find_key(&request, has_body, seconds)
            }
            Err(status) => {
                self.check(Err(status));
                self.policy.find_key(&Request::default(), has_body, seconds)
            }
        }
    }

    /// What is known of a request, and the seconds since 1970 if they matter.
    pub(super) fn know(&self, head: &Head, key: Option<Vec<u8>>) -> (Known, u64) {
        let known = self.policy.know(head, key, || host::random::<16>().ok());
        let seconds = match known.session {
            Some(_) => self.seconds(),
            None => 0,
        };
        (known, seconds)
    }

    fn seconds(&self) -> u64 {
        const NANOS: u64 = 1_000_000_000;
        if !self.policy.reads_sessions() {
            return 0;
        }
        let nanos = host::wall_nanos().unwrap_or_else(|status| {
            self.check(Err(status));
            0
        });
        nanos.checked_div(NANOS).unwrap_or(0)
    }

    /// Decides about a request; `counted` is the host that it counts for from now on.
    pub(super) fn decide(
        &self,
        known: &Known,
        seconds: u64,
        counted: &mut Option<HostId>,
    ) -> Decision<'_> {
        if self.policy.refuses(known) {
            return self.policy.refuse_missing();
        }
        if !self.policy.config().steer.chooses() {
            return self.policy.hand_over(known, seconds);
        }
        let view = self.view.borrow();
        let choice = match &*view {
            Some(view) => self.choose(view, known.key.as_deref(), counted),
            None => Choice {
                hosts: Places::default(),
                reason: Reason::None,
                hash: known.key.as_deref().map(Policy::hash),
            },
        };
        self.policy.decide(view.as_ref(), &choice, known, seconds)
    }

    fn choose(&self, view: &View, key: Option<&[u8]>, counted: &mut Option<HostId>) -> Choice {
        let mut chance = Chance {
            heat: Heat::Cold,
            loads: None,
            turn: 0,
            random: 0,
        };
        if key.is_none() {
            chance.turn = self.turn.get();
            self.turn.set(chance.turn.wrapping_add(1));
            chance.random = self.draw();
        } else if self.policy.config().hot_keys.is_some()
            && let Ok(now) = host::monotonic_now()
        {
            chance.heat = Policy::note(self.hot_keys.borrow_mut().as_mut(), key, now);
        }
        if !self.policy.config().counts_requests {
            return self.policy.choose(view, key, chance);
        }
        match self.choose_counted(view, key, chance, counted) {
            Ok(Some(choice)) => return choice,
            Ok(None) => self.count(Count::Contention),
            Err(status) => self.check(Err(status)),
        }
        self.policy.choose(view, key, chance)
    }

    /// Chooses by the requests in flight and adds this one to them; `None` if others were always faster.
    fn choose_counted(
        &self,
        view: &View,
        key: Option<&[u8]>,
        chance: Chance<'_>,
        counted: &mut Option<HostId>,
    ) -> Result<Option<Choice>, Status> {
        let name = self.keys.in_flight.as_bytes();
        for _ in 0..TRIES {
            let (stored, cas) = host::shared(name)?;
            let now = self.now.get();
            let others = Others::read(stored.as_deref(), self.me, now);
            let mut own = self.own.borrow_mut();
            let loads = view.loads(others.iter().chain(own.iter()));
            let chance = Chance {
                loads: Some(&loads),
                ..chance
            };
            let choice = self.policy.choose(view, key, chance);
            let Some(host) = choice.hosts.first().and_then(|place| view.id(place)) else {
                return Ok(Some(choice));
            };
            own.add(host.as_u64());
            let stored = host::set_shared(name, &others.and(self.me, &own, now), cas);
            if stored == Ok(true) {
                *counted = Some(host);
                self.alive.set(now);
                return Ok(Some(choice));
            }
            own.take(host.as_u64());
            stored?;
            self.count(Count::Conflict);
        }
        Ok(None)
    }

    /// A request that counted has ended.
    pub(super) fn release(&self, host: HostId) {
        self.own.borrow_mut().take(host.as_u64());
        self.check(self.restate());
    }

    /// Writes this worker's requests in flight. If others are always faster, the next time does.
    fn restate(&self) -> Result<(), Status> {
        let name = self.keys.in_flight.as_bytes();
        for _ in 0..TRIES {
            let (stored, cas) = host::shared(name)?;
            let now = self.now.get();
            let others = Others::read(stored.as_deref(), self.me, now);
            let value = others.and(self.me, &self.own.borrow(), now);
            if host::set_shared(name, &value, cas)? {
                self.alive.set(now);
                return Ok(());
            }
            self.count(Count::Conflict);
        }
        self.count(Count::Contention);
        Ok(())
    }

    /// What is done again and again.
    pub(super) fn tick(&self) {
        let has_told = self.requests.tell(&self.counters);
        match host::monotonic_now() {
            Ok(now) => {
                self.now.set(now);
                self.tasks.run(self, now);
                self.learn(now, WORK_PER_TICK);
                let is_busy = !self.own.borrow().is_empty();
                if is_busy && now.since(self.alive.get()) > SIGN_OF_LIFE {
                    self.check(self.restate());
                }
            }
            Err(status) => self.check(Err(status)),
        }
        let is_placed = |view: &View| view.placement().is_finished();
        if !has_told && !self.ticks_always && self.view.borrow().as_ref().is_none_or(is_placed) {
            self.ticks.set(false);
            self.check(host::set_tick_period(0));
        }
    }

    /// Takes over what other workers learned, and brings the view up to date.
    fn learn(&self, now: Timestamp, work: usize) {
        let config = self.policy.config();
        if config.health.is_watched() {
            self.check(self.learn_health());
        }
        if config.discovery.is_some() {
            self.check(self.learn_hosts());
        }
        self.build(work);
        self.refresh(now);
    }

    /// Goes on with a table in the making. Where there was one before, that serves until the new one is
    /// finished; otherwise the unfinished one does.
    fn build(&self, work: usize) {
        let mut view = self.view.borrow_mut();
        let mut building = self.building.borrow_mut();
        if let Some((_, placement)) = &mut *building {
            let is_finished = placement.step(work);
            if (is_finished || view.is_none())
                && let Some((hosts, placement)) = building.take()
            {
                self.requests.define(&hosts);
                let next = View::new(hosts, placement, self.own_zone.as_deref(), view.as_ref());
                *view = Some(next);
            }
        } else if let Some(view) = &mut *view {
            view.place(work);
        }
    }

    pub(super) fn refresh(&self, now: Timestamp) {
        if let Some(view) = &mut *self.view.borrow_mut() {
            view.refresh(self.policy.config(), &self.board.borrow(), now);
            let available = view.available().0.len();
            self.gauges.tell([view.hosts().len(), available]);
        }
    }

    /// The hosts that this worker knows.
    pub(super) fn hosts(&self) -> Vec<Host> {
        let view = self.view.borrow();
        let hosts = view.iter().flat_map(|view| view.hosts().iter());
        hosts.cloned().collect()
    }

    /// Learns from a request that has ended.
    pub(super) fn ended(&self, named: &[HostId], is_slow: bool) {
        let number = |path: &str| {
            let value = host::property(path).ok().flatten()?;
            let bytes = <[u8; 8]>::try_from(value.get(..8)?).ok()?;
            Some(u64::from_le_bytes(bytes))
        };
        let address = host::property("upstream\0address").ok().flatten();
        let address = address.and_then(|value| String::from_utf8(value).ok());
        // Envoy says nothing, an empty text or a dash where no host was found.
        let Some(address) = address.filter(|address| address.contains(':')) else {
            return;
        };
        let first = named.first().copied();
        let host = match self.policy.config().steer {
            // One of the cluster's; there are no others.
            Steer::ClusterHeader { .. } => first,
            _ => Some(HostId::of(&address)),
        };
        // Only for a host that was named later than first does it matter.
        let position = host.and_then(|host| named.iter().position(|other| *other == host));
        let attempts = match position {
            None | Some(0) => 1,
            Some(_) => number("upstream\0request_attempt_count").unwrap_or(1),
        };
        let outcome = Outcome {
            status: number("response\0code").unwrap_or(0),
            flags: number("response\0flags").unwrap_or(0),
            host,
            attempts,
            is_slow,
        };
        self.report(&outcome.events(named));
    }

    pub(super) fn answered(&self, token: u32, headers: usize, body: usize) {
        self.tasks.answered(self, token, headers, body);
    }

    /// A number by chance: xorshift64, which is good enough to choose between equals.
    pub(super) fn draw(&self) -> u64 {
        let mut state = self.chance.get();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.chance.set(state);
        state
    }

    /// The moment of the last tick.
    pub(super) fn lately(&self) -> Timestamp {
        self.now.get()
    }

    pub(super) fn count(&self, count: Count) {
        self.counters.add_one(count.index());
    }

    /// Counts a request, to the host at a place if there is one.
    pub(super) fn count_request(&self, place: Option<usize>, reason: Reason) {
        self.requests.add(place, reason);
        if !self.ticks.replace(true) {
            self.check(host::set_tick_period(TICK_MILLISECONDS));
        }
    }

    /// Counts a refusal of the host and logs it, every one at first and then ever fewer.
    pub(super) fn check(&self, result: Result<(), Status>) {
        let Err(status) = result else { return };
        self.count(Count::Host);
        self.complaints.host_refused(status);
    }
}

impl Drop for Chooser {
    /// Another configuration takes over, or the gateway ends.
    fn drop(&mut self) {
        self.requests.tell(&self.counters);
    }
}

/// The zone of the gateway.
fn own_zone(config: &Config) -> Option<String> {
    let zones = config.zones.as_ref()?;
    zones.own.clone().or_else(|| {
        let value = host::property("xds\0node\0locality\0zone").ok().flatten()?;
        String::from_utf8(value)
            .ok()
            .filter(|zone| !zone.is_empty())
    })
}
