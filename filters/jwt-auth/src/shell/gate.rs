//! What the streams of a plugin share: the policy, this worker's knowledge, and requests that wait.

mod held;

use std::cell::RefCell;

use filter_core::headers::Headers;
use filter_core::time::Timestamp;
use filter_shell::complaints::Complaints;
use filter_shell::counters::Counters;
use filter_shell::host::{self, HeaderMap, Status};
use filter_shell::log;
use filter_shell::setup::Setup;

use self::held::Held;
use super::call;
use super::remote::{Remote, answer_text};
use crate::certificate;
use crate::config::Config;
use crate::config::introspection::Introspection;
use crate::decision::{Call, Count, Decision, Edit, Question, Step, Used};
use crate::feed::Feed;
use crate::foreign;
use crate::introspection;
use crate::jose::date::NumericDate;
use crate::jose::probe::probe;
use crate::jose::refusal::Reason;
use crate::jose::verify::HostCheck;
use crate::policy::{Circumstances, Policy, Worker};
use crate::replay;

/// Filter state of a stream that was not plainly allowed: `%FILTER_STATE(wasm.…:PLAIN)%`.
const LOG_PROPERTY: &str = "jwt_auth_decision";
const SEED_KEY: &str = "penstock.jwt_auth.seed";
/// Before the number of a slot of used proofs.
const PROOFS_KEY: &str = "penstock.jwt_auth.proofs.";
/// Races for a slot that may be lost before the request is refused.
const PROOF_TRIES: u32 = 32;

pub(super) struct Gate {
    policy: Policy,
    needs_certificate: bool,
    worker: RefCell<Worker>,
    counters: Counters,
    remotes: Vec<Remote>,
    held: RefCell<Vec<Held>>,
    /// Introspections that are under way.
    asked: RefCell<Vec<Asked>>,
    complaints: Complaints,
}

/// A question that was sent. It dies with the request that had it sent; another one that waits for
/// the same then sends it anew.
struct Asked {
    call: u32,
    stream: u32,
    question: Question,
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
        let providers = config.providers.iter().enumerate();
        let remotes: Vec<_> = providers
            .flat_map(|(number, provider)| {
                let feeds = Feed::all(provider).into_iter();
                feeds.map(move |feed| Remote::new(number, &provider.name, feed))
            })
            .collect();
        let mut providers = config.providers.iter();
        if !remotes.is_empty() || providers.any(|provider| provider.introspection.is_some()) {
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
            needs_certificate: policy.needs_certificate(),
            policy,
            worker: RefCell::new(worker),
            counters,
            remotes,
            held: RefCell::default(),
            asked: RefCell::default(),
            complaints: Complaints::default(),
        })
    }

    /// Decides about a request whose headers are in the filter. Returns whether it goes on.
    pub(super) fn on_request(&self, stream: u32) -> bool {
        self.settle(stream).unwrap_or(false)
    }

    /// Decides about the request that is the effective context, or has it wait: then there is nothing
    /// to return. Otherwise whether it goes on.
    fn settle(&self, stream: u32) -> Option<bool> {
        match self.decide(true, false) {
            Ok(Step::Done(decision)) => Some(self.carry_out(decision)),
            Ok(Step::Wait(awaited)) => match self.hold(stream, awaited) {
                true => None,
                false => Some(self.finish()),
            },
            Err(status) => Some(self.fail(status)),
        }
    }

    /// Decides about a request without letting it wait.
    fn finish(&self) -> bool {
        match self.decide(false, false) {
            Ok(Step::Done(decision)) => self.carry_out(decision),
            // Doesn't come, since it may not wait.
            Ok(Step::Wait(_)) => self.fail(Status::NOT_FOUND),
            Err(status) => self.fail(status),
        }
    }

    fn introspection(&self, provider: usize) -> Option<&Introspection> {
        let provider = self.policy.config().providers.get(provider)?;
        provider.introspection.as_ref()
    }

    /// Sends a question for the stream that is the effective context, unless another stream did.
    /// Returns whether an answer may come.
    fn ask(&self, stream: u32, question: &Question) -> bool {
        let Ok(mut asked) = self.asked.try_borrow_mut() else {
            return false;
        };
        if asked.iter().any(|other| other.question.is_alike(question)) {
            return true;
        }
        let client = self.introspection(question.provider);
        let Some(call) = client.and_then(|client| call::ask(client, question)) else {
            drop(asked);
            self.answered(question, None);
            return false;
        };
        asked.push(Asked {
            call,
            stream,
            question: question.clone(),
        });
        true
    }

    /// Takes what came of a question.
    fn answered(&self, question: &Question, answer: Option<Vec<u8>>) {
        let now = host::wall_nanos().map(NumericDate::from_unix_nanos);
        let (Ok(now), Ok(mut worker)) = (now, self.worker.try_borrow_mut()) else {
            return;
        };
        let outcome = self.policy.answered(&mut worker, question, answer, now);
        let reason = outcome.map_err(|refusal| refusal.reason).err();
        let good = reason != Some(Reason::IntrospectionUnavailable);
        self.count(Count::Fetch {
            provider: question.provider,
            what: Call::Introspection,
            good,
        });
        if let (false, Err(refusal)) = (good, outcome) {
            self.warn("introspection_failed", refusal.detail);
        }
    }

    /// A stream has ended.
    pub(super) fn forget(&self, stream: u32) {
        if let Ok(mut held) = self.held.try_borrow_mut() {
            held.retain(|held| held.stream != stream);
        }
        // The host forgets its calls too.
        if let Ok(mut asked) = self.asked.try_borrow_mut() {
            asked.retain(|asked| asked.stream != stream);
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
        match self.worker.try_borrow_mut() {
            Ok(mut worker) => remote.tend(now, &mut worker),
            Err(_) => Ok(()),
        }
    }

    /// A call was answered, or wasn't. `stream` is the stream whose callback this is, if it is one's.
    pub(super) fn on_answer(&self, token: u32, headers: usize, body: usize, stream: Option<u32>) {
        if let Some(remote) = self.remotes.iter().find(|remote| remote.is_call(token)) {
            let take = || {
                let now = host::monotonic_now()?;
                let chance = u64::from_le_bytes(host::random()?);
                if let Some(good) = remote.take_answer(now, chance, headers, body)? {
                    self.count(Count::Fetch {
                        provider: remote.provider,
                        what: remote.feed.call(),
                        good,
                    });
                }
                self.tend(remote, now)
            };
            if let Err(status) = take() {
                self.complain(status);
            }
            return;
        }
        let asked = self.asked.try_borrow_mut().ok().and_then(|mut asked| {
            let at = asked.iter().position(|asked| asked.call == token)?;
            Some(asked.swap_remove(at))
        });
        let Some(Asked { question, .. }) = asked else {
            return;
        };
        let answer = answer_text(headers, body, introspection::MOST_BYTES);
        self.answered(&question, answer.ok());
        // Others that wait for the same are woken on a tick.
        let is_held = |stream| {
            let mut held = self.held.try_borrow_mut().ok()?;
            let at = held.iter().position(|held| held.stream == stream)?;
            Some(held.swap_remove(at))
        };
        if let Some(stream) = stream
            && is_held(stream).is_some()
            && self.settle(stream) == Some(true)
            && let Err(status) = host::continue_request()
        {
            self.complain(status);
        }
    }

    /// Remembers proofs of possession; returns whether all were new.
    fn use_up(&self, proofs: &[Used]) -> Result<bool, Status> {
        let now = NumericDate::from_unix_nanos(host::wall_nanos()?).as_unix_seconds();
        for proof in proofs {
            let key = format!("{PROOFS_KEY}{}", proof.slot).into_bytes();
            let mut tries = 0_u32;
            loop {
                let (stored, cas) = host::shared(&key)?;
                let slot = stored.unwrap_or_default();
                let Some(slot) = replay::insert(&slot, proof.identity, proof.until, now) else {
                    return Ok(false);
                };
                if host::set_shared(&key, &slot, cas)? {
                    break;
                }
                tries = tries.saturating_add(1);
                if tries > PROOF_TRIES {
                    return Err(Status::CAS_MISMATCH);
                }
            }
        }
        Ok(true)
    }

    fn decide(&self, may_wait: bool, replayed: bool) -> Result<Step, Status> {
        let block = host::header_pairs(HeaderMap::Request)?;
        let now = NumericDate::from_unix_nanos(host::wall_nanos()?);
        let certificate = match self.needs_certificate {
            true => host::property(certificate::PROPERTY)?.unwrap_or_default(),
            false => Vec::new(),
        };
        let circumstances = Circumstances {
            now,
            may_wait,
            certificate: &certificate,
            replayed,
        };
        let headers = Headers::decode(&block);
        let step = {
            let mut worker = self
                .worker
                .try_borrow_mut()
                .map_err(|_| Status::NOT_FOUND)?;
            let mut ask = ask_host;
            self.policy
                .decide(&mut worker, &headers, circumstances, &mut ask)
        };
        match &step {
            Step::Done(decision)
                if !decision.proofs.is_empty() && !self.use_up(&decision.proofs)? =>
            {
                self.decide(may_wait, true)
            }
            _ => Ok(step),
        }
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

    fn complain(&self, status: Status) {
        self.warn("host_refused", &status.to_string());
    }

    /// Logs what goes wrong, every time at first and then ever less often.
    fn warn(&self, event: &str, problem: &str) {
        self.complaints
            .warn(|| format!("event={event} problem=\"{problem}\""));
    }
}

/// Has the host check a signature; `None` if it can't.
fn ask_host(check: &HostCheck<'_>) -> Option<bool> {
    let arguments = foreign::arguments(check);
    let result = host::call_foreign(foreign::VERIFY_SIGNATURE, &arguments).ok()?;
    Some(foreign::is_right(&result))
}
