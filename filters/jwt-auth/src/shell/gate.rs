//! What the streams of a plugin share: the policy, this worker's knowledge, and requests that wait.

use std::cell::{Cell, RefCell};

use filter_core::headers::Headers;
use filter_core::time::Timestamp;
use filter_shell::counters::Counters;
use filter_shell::host::{self, HeaderMap, Status};
use filter_shell::log;
use filter_shell::setup::Setup;

use super::remote::Remote;
use crate::config::Config;
use crate::config::provider::KeySource;
use crate::decision::{Count, Decision, Edit, Step};
use crate::foreign;
use crate::jose::date::NumericDate;
use crate::jose::probe::probe;
use crate::jose::verify::HostCheck;
use crate::policy::{Circumstances, Policy, Worker};

/// Filter state of a stream that was not plainly allowed: `%FILTER_STATE(wasm.…:PLAIN)%`.
const LOG_PROPERTY: &str = "jwt_auth_decision";
const SEED_KEY: &str = "penstock.jwt_auth.seed";

pub(super) struct Gate {
    policy: Policy,
    worker: RefCell<Worker>,
    counters: Counters,
    remotes: Vec<Remote>,
    held: RefCell<Vec<Held>>,
    failures: Cell<u64>,
}

/// A request that waits for keys.
struct Held {
    stream: u32,
    /// Position among the remotes.
    remote: usize,
    until: Timestamp,
    /// What the remote's epoch was when the request was last looked at.
    epoch: u64,
}

impl Gate {
    pub(super) fn configure(tick_millis: u32) -> Result<Self, String> {
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
        let remotes = config.providers.iter().enumerate();
        let remotes: Vec<_> = remotes
            .filter_map(|(number, provider)| match &provider.keys {
                KeySource::Local(_) => None,
                KeySource::Remote(source) => {
                    Some(Remote::new(number, &provider.name, (**source).clone()))
                }
            })
            .collect();
        if !remotes.is_empty() {
            host::set_tick_period(tick_millis)
                .map_err(|status| format!("the host has no timer: {status}"))?;
        }
        let native = probe(ask_host);
        log::debug(&format!(
            "event=configured version={} providers={} rules={} native_rsa={} native_p256={}",
            env!("CARGO_PKG_VERSION"),
            config.providers.len(),
            config.rules.len(),
            native.rsa,
            native.p256,
        ));
        let policy = Policy::new(config);
        let worker = policy.worker(native, seed);
        Ok(Self {
            policy,
            worker: RefCell::new(worker),
            counters,
            remotes,
            held: RefCell::default(),
            failures: Cell::new(0),
        })
    }

    /// Decides about a request whose headers are in the filter. Returns whether it goes on.
    pub(super) fn on_request(&self, stream: u32) -> bool {
        match self.decide(true) {
            Ok(Step::Done(decision)) => self.carry_out(decision),
            Ok(Step::Wait(provider)) => {
                if !self.hold(stream, provider) {
                    return self.finish();
                }
                false
            }
            Err(status) => self.fail(status),
        }
    }

    /// Lets a request wait for keys, unless too many do.
    fn hold(&self, stream: u32, provider: usize) -> bool {
        let remotes = &mut self.remotes.iter().enumerate();
        let Some((remote, source)) = remotes.find(|(_, remote)| remote.provider == provider) else {
            return false;
        };
        let (Ok(now), Ok(mut held)) = (host::monotonic_now(), self.held.try_borrow_mut()) else {
            return false;
        };
        let waiting = held.iter().filter(|held| held.remote == remote).count();
        if waiting >= source.source.max_held {
            return false;
        }
        held.push(Held {
            stream,
            remote,
            until: now.after(source.source.hold),
            epoch: source.epoch(),
        });
        true
    }

    /// Decides about a request without letting it wait.
    fn finish(&self) -> bool {
        match self.decide(false) {
            Ok(Step::Done(decision)) => self.carry_out(decision),
            // Doesn't come, since it may not wait.
            Ok(Step::Wait(_)) => self.fail(Status::NOT_FOUND),
            Err(status) => self.fail(status),
        }
    }

    /// A stream has ended.
    pub(super) fn forget(&self, stream: u32) {
        if let Ok(mut held) = self.held.try_borrow_mut() {
            held.retain(|held| held.stream != stream);
        }
    }

    /// Looks at what other workers have fetched, and fetches what is due.
    pub(super) fn on_tick(&self) {
        let Ok(now) = host::monotonic_now() else {
            return;
        };
        for remote in &self.remotes {
            if let Err(status) = self.tend(remote, now) {
                self.complain(status);
            }
        }
    }

    fn tend(&self, remote: &Remote, now: Timestamp) -> Result<(), Status> {
        let Ok(mut worker) = self.worker.try_borrow_mut() else {
            return Ok(());
        };
        let Some(keys) = worker.keys_mut(remote.provider) else {
            return Ok(());
        };
        remote.refresh(now, keys)?;
        remote.fetch_if_due(now, keys)
    }

    /// A call was answered, or wasn't.
    pub(super) fn on_answer(&self, token: u32, headers: usize, body: usize) {
        let Some(remote) = self.remotes.iter().find(|remote| remote.is_call(token)) else {
            return;
        };
        let take = || {
            let now = host::monotonic_now()?;
            let chance = u64::from_le_bytes(host::random()?);
            let good = remote.take_answer(now, chance, headers, body)?;
            self.count(Count::Fetch {
                provider: remote.provider,
                good,
            });
            self.tend(remote, now)
        };
        if let Err(status) = take() {
            self.complain(status);
        }
    }

    /// Lets requests go on that wait for nothing any more. Never to be called for a stream's own
    /// callback: answering another stream there stops that one.
    pub(super) fn wake(&self, root: u32) {
        let Ok(waiting) = self
            .held
            .try_borrow_mut()
            .map(|mut held| std::mem::take(&mut *held))
        else {
            return;
        };
        if waiting.is_empty() {
            return;
        }
        let now = host::monotonic_now().unwrap_or_default();
        let mut left = Vec::new();
        for mut held in waiting {
            let epoch = self.remotes.get(held.remote).map(Remote::epoch);
            let is_over = held.until <= now;
            if !is_over && epoch == Some(held.epoch) {
                left.push(held);
                continue;
            }
            // The stream has ended in the meantime, unless the host knows it.
            if host::set_effective_context(held.stream).is_err() {
                continue;
            }
            let goes_on = match self.decide(!is_over) {
                Ok(Step::Done(decision)) => self.carry_out(decision),
                Ok(Step::Wait(_)) => {
                    held.epoch = epoch.unwrap_or_default();
                    left.push(held);
                    continue;
                }
                Err(status) => self.fail(status),
            };
            if goes_on && let Err(status) = host::continue_request() {
                self.complain(status);
            }
        }
        let _ = host::set_effective_context(root);
        if let Ok(mut held) = self.held.try_borrow_mut() {
            held.append(&mut left);
        }
    }

    fn decide(&self, may_wait: bool) -> Result<Step, Status> {
        let block = host::header_pairs(HeaderMap::Request)?;
        let now = NumericDate::from_unix_nanos(host::wall_nanos()?);
        let circumstances = Circumstances { now, may_wait };
        let headers = Headers::decode(&block);
        let mut worker = self
            .worker
            .try_borrow_mut()
            .map_err(|_| Status::NOT_FOUND)?;
        let mut ask = ask_host;
        Ok(self
            .policy
            .decide(&mut worker, &headers, circumstances, &mut ask))
    }

    /// Returns whether the request goes on.
    fn carry_out(&self, decision: Decision) -> bool {
        for count in decision.counts {
            self.count(count);
        }
        for (key, value) in &decision.properties {
            let _ = host::set_property(key, value);
        }
        if let Some(value) = decision.log {
            let _ = host::set_property(LOG_PROPERTY, &value);
        }
        if let Some(reply) = decision.reply {
            if let Err(status) = host::send_reply(&reply) {
                self.complain(status);
            }
            return false;
        }
        for edit in decision.edits {
            let done = match edit {
                Edit::Add(name, value) => host::add_header(HeaderMap::Request, &name, &value),
                Edit::Remove(name) => host::remove_header(HeaderMap::Request, &name),
                Edit::Target(target) => {
                    host::replace_header_bytes(HeaderMap::Request, ":path", &target)
                }
            };
            // A forged header that stays would be taken for ours.
            if let Err(status) = done {
                return self.fail(status);
            }
        }
        if decision.clear_route_cache {
            let _ = host::call_foreign("clear_route_cache", b"");
        }
        true
    }

    /// Refuses a request that can't be decided about: nobody passes unchecked.
    fn fail(&self, status: Status) -> bool {
        self.complain(status);
        self.count(Count::HostError);
        let reply = crate::fields::host_error();
        if let Err(status) = host::send_reply(&reply) {
            self.complain(status);
        }
        false
    }

    fn count(&self, count: Count) {
        let rules = self.policy.config().rules.len();
        self.counters.add_one(count.index(rules));
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

/// Has the host check a signature; `None` if it can't.
fn ask_host(check: &HostCheck<'_>) -> Option<bool> {
    let arguments = foreign::arguments(check);
    let result = host::call_foreign(foreign::VERIFY_SIGNATURE, &arguments).ok()?;
    Some(foreign::is_right(&result))
}
