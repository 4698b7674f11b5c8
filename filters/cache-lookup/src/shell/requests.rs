//! Requests: looked up, answered, held or sent upstream.

use std::cell::RefCell;
use std::rc::Rc;

use filter_core::address;
use filter_core::headers::Headers;
use filter_core::request::Request;
use filter_shell::host::{self, HeaderMap, Status};

use super::cache::{Cache, Count, Step};
use super::reply::When;
use super::state::{Hit, Stage, State};
use crate::collapse::{Outcome as Settled, Turn};
use crate::config::Rule;
use crate::decision::{Answer, Decision, Edit, Forward, Outcome};
use crate::lookup::{Found, Lookup};
use crate::policy::{Asked, Course, Start};
use crate::purge;
use crate::request::Seen;

/// What a look at a request's headers came to.
enum Begun<'a> {
    /// That is all.
    Ended(Step),
    /// The store is to be asked, under this rule.
    Lookup(&'a Rule),
}

impl Cache {
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
    pub(super) fn finish_request(
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
    pub(super) fn proceed(
        &self,
        id: u32,
        state: &mut State,
        may_wait: bool,
    ) -> Result<Step, Status> {
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
}
