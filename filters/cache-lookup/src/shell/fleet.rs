//! What the filter asks the remote tier, and tells it.

use std::rc::Rc;

use filter_core::hash::Hash;
use filter_shell::host::{self, Status};

use super::TICK_MILLIS;
use super::cache::{Cache, Count};
use super::remote::{Event, Remote};
use super::state::{Hit, Stage, State};
use super::store::{Found, Object};
use crate::decision::Decision;
use crate::fields;
use crate::head::Head;
use crate::key;
use crate::lookup;
use crate::remote::fleet::{Line, List, Target};
use crate::remote::value::Value;
use crate::request::Seen;
use crate::store::{Loaded, Meta, Purge, Scope};

/// Questions of one request: for what lies under its primary key, and for a variant.
const MOST_QUESTIONS: usize = 2;

impl State {
    /// What the remote tier had under that hash.
    pub(super) fn imported(&self, hash: Hash) -> Option<Found<Head>> {
        let imported = self.imported.iter().find(|(known, ..)| *known == hash);
        imported.map(|(_, object, stale)| Found {
            object: Rc::clone(object),
            stale: *stale,
            remembered: true,
        })
    }
}

impl Cache {
    /// Asks the remote tier for what the store doesn't have. True if the request is to wait for the
    /// answer.
    pub(super) fn ask_remote(&self, id: u32, state: &mut State, seen: &Seen<'_>, now: u64) -> bool {
        let (Some(remote), Some(lookup)) = (&self.remote, &state.lookup) else {
            return false;
        };
        let is_asked = state.hedged.is_some() || state.asked.len() >= MOST_QUESTIONS;
        if state.found == lookup::Found::Response || is_asked {
            return false;
        }
        let key = match &lookup.spec {
            Some(spec) => lookup.variant(spec, &seen.headers, false),
            None => lookup.primary().to_vec(),
        };
        // Both questions together wait no longer than one.
        let hedge_at = now.saturating_add(remote.hedge_after());
        let hedge_at = state.hedge_at.unwrap_or(hedge_at);
        if state.asked.contains(&key)
            || hedge_at <= now
            || self.store.is_quiet(now)
            || !remote.get(&key, id, hedge_at, now)
        {
            return false;
        }
        self.count(Count::RemoteRequest, 1);
        state.asked.push(key);
        state.hedge_at = Some(hedge_at);
        self.tick_by(hedge_at, now);
        true
    }

    /// Has the next tick come by then, if it would be later.
    fn tick_by(&self, then: u64, now: u64) {
        if self.tick_at.get() > then {
            self.set_tick(Some(then), now);
        }
    }

    fn set_tick(&self, then: Option<u64>, now: u64) {
        let period = then.and_then(|then| u32::try_from(then.saturating_sub(now)).ok());
        let period = period.unwrap_or(TICK_MILLIS).clamp(1, TICK_MILLIS);
        self.tick_at.set(now.saturating_add(period.into()));
        if self.tick.replace(period) != period
            && let Err(status) = host::set_tick_period(period)
        {
            self.complain(status);
        }
    }

    /// Has the next tick come when it is needed; to be called in `on_tick`, last.
    pub(super) fn next_tick(&self, now: u64) {
        self.set_tick(self.remote.as_ref().and_then(Remote::next_overdue), now);
    }

    /// Sends requests to the origin that have waited long enough for the remote tier.
    pub(super) fn hedge(&self, now: u64) {
        let Some(remote) = &self.remote else { return };
        for id in remote.overdue(now) {
            let Some(shared) = self.waiting(id) else {
                continue;
            };
            if let Ok(mut state) = shared.try_borrow_mut() {
                state.hedged = Some(id);
            }
            self.resume(id, true);
            let Ok(mut state) = shared.try_borrow_mut() else {
                continue;
            };
            if state.stage == Stage::Upstream {
                self.count(Count::RemoteHedged, 1);
                self.hedged.borrow_mut().insert(id, Rc::clone(&shared));
            } else {
                state.hedged = None;
                remote.leave(id);
            }
        }
    }

    /// The origin answered a request that went there without the remote tier's answer, or the request
    /// ended. Returns whether it was one.
    pub(super) fn is_no_longer_hedged(&self, state: &mut State, answered: bool) -> bool {
        let (Some(id), Some(remote)) = (state.hedged.take(), &self.remote) else {
            return false;
        };
        self.hedged.borrow_mut().remove(&id);
        if answered {
            remote.overtaken(id, self.now().unwrap_or_default());
        } else {
            remote.leave(id);
        }
        true
    }

    /// Answers a request that went to the origin and has no answer yet with what the remote tier had
    /// after all, if that is good for it.
    fn overtake(&self, stream: u32, value: Value, stale: bool, now: u64) {
        let shared = self.hedged.borrow().get(&stream).cloned();
        let Some(shared) = shared else { return };
        let Ok(mut state) = shared.try_borrow_mut() else {
            return;
        };
        if host::set_effective_context(stream).is_err() {
            return;
        }
        if !self.import(&mut state, value, stale, now) {
            return;
        }
        // What comes of the origin after all is judged by what was known when it was asked.
        let (hit, found, view) = (state.hit.take(), state.found, state.view.clone());
        let answered = self.with_request(&mut state, |state, rule, seen| {
            match self.decide(state, rule, seen, now)? {
                Some(Decision::Answer(answer)) if state.hit.is_some() => {
                    state.hedged = None;
                    self.answer_from_store(state, rule, seen, &answer, now)?;
                    Ok(true)
                }
                _ => Ok(false),
            }
        });
        match answered {
            Some(Ok(true)) => {
                self.hedged.borrow_mut().remove(&stream);
                return;
            }
            Some(Err(status)) => self.complain(status),
            _ => {}
        }
        (state.hit, state.found, state.view) = (hit, found, view);
    }

    /// Takes what came of a call: of one to the remote tier, or of one in the background.
    pub(super) fn on_answer(&self, token: u32, headers: usize, body: usize) {
        let (Some(remote), Ok(now)) = (&self.remote, self.now()) else {
            return self.on_background(token, headers, body);
        };
        match remote.answered(token, now) {
            Event::Other => self.on_background(token, headers, body),
            Event::Done => {}
            Event::Put(key, asked) => {
                // If it was asked for before a write that this gateway knows of, it came too late.
                if self.store.is_erased(self.store.hash(&key), asked) == Ok(true) {
                    remote.remove(&[key.to_vec()]);
                    remote.flush(now);
                }
            }
            Event::Got(stream, value) => {
                let Some(shared) = self.waiting(stream) else {
                    if let Some((value, stale)) = value {
                        self.overtake(stream, value, stale, now);
                    }
                    return;
                };
                if let Some((value, stale)) = value
                    && let Ok(mut state) = shared.try_borrow_mut()
                {
                    self.import(&mut state, value, stale, now);
                }
                self.resume(stream, true);
            }
            Event::Lines(list, lines) => {
                if let Err(status) = self.follow(list, &lines, now) {
                    self.complain(status);
                }
                remote.flush(now);
            }
        }
    }

    /// Gives a request what the remote tier has for it, and the store as well. Returns whether it is of
    /// use.
    fn import(&self, state: &mut State, value: Value, stale: bool, now: u64) -> bool {
        let (Some(head), Some(key)) = (Head::decode(&value.meta.head), state.asked.last()) else {
            return false;
        };
        if let Head::Response(response) = &head
            && !fields::are_sendable(&response.fields())
        {
            return false;
        }
        let hash = self.store.hash(key);
        // Another gateway may have put it there while this one heard of a write.
        if self.store.is_erased(hash, value.asked) != Ok(false) {
            return false;
        }
        self.count(Count::RemoteHit, 1);
        let Value { meta, body, .. } = value;
        let length = u64::try_from(body.len()).ok();
        if let Some(view) = state.view.as_ref().filter(|_| !stale)
            && let Some(mut draft) = self.store.draft(view, hash, length)
            && draft.append(&body)
            && let Err(status) = self.store.commit(draft, meta.clone(), now)
        {
            self.complain(status);
        }
        // It is used for this request even if the store has no room for it.
        let object = Object {
            head,
            stored: Loaded {
                head: meta.head,
                body,
                serial: 0,
                born: 0,
                keep_until: meta.keep_until,
                stale,
                remembered: false,
                name: meta.name,
                tags: Vec::new(),
            },
        };
        state.imported.push((hash, Rc::new(object), stale));
        true
    }

    /// Does what other gateways of the fleet were asked to, or saw, and this one hasn't yet.
    fn follow(&self, list: List, lines: &[Line], now: u64) -> Result<(), Status> {
        let news = self.store.sift(list, lines)?;
        if news.is_lost {
            self.store.keep_quiet(now);
            self.store.purge(Purge {
                what: Scope::All,
                soft: false,
            })?;
        }
        let is_ours = |line: &&Line| line.gateway == self.store.gateway();
        let new = lines.iter().filter(|line| news.ids.contains(&line.id));
        for line in new.filter(|line| !is_ours(line)) {
            if let Some(purge) = line.purge() {
                self.count(Count::Purged, 1);
                self.store.keep_quiet(now);
                self.store.purge(purge)?;
            }
            if let Target::Keys(keys) = &line.what {
                for key in keys {
                    if self
                        .store
                        .invalidate(self.store.hash(key), line.soft, now)?
                    {
                        self.count(Count::Invalidated, 1);
                    }
                }
                // Again: this gateway may have put an older one there in the meantime.
                self.remove_remote(keys);
            }
        }
        Ok(())
    }

    /// Sends the remote tier what waits for that, and asks for news; to be called in `on_tick`.
    pub(super) fn tend_remote(&self, now: u64) {
        let Some(remote) = &self.remote else { return };
        if remote.is_behind(now) {
            // Other workers don't know what this one couldn't tell.
            self.store.keep_quiet(now);
        }
        remote.poll(now, || {
            self.store.is_turn(List::Keys, now).unwrap_or_default()
        });
        remote.flush(now);
    }

    /// Has the remote tier keep what was stored.
    pub(super) fn put_remote(
        &self,
        key: &[u8],
        meta: &Meta,
        body: impl FnOnce() -> Vec<u8>,
        asked: u64,
        now: u64,
    ) {
        let Some(remote) = &self.remote else { return };
        let value = Value {
            asked,
            meta: meta.clone(),
            body: body(),
        };
        remote.put(key, &value, now);
        self.store.nudge();
    }

    /// Has the remote tier keep what was validated, with its new head.
    pub(super) fn renew_remote(
        &self,
        hit: &Hit,
        head: &[u8],
        keep_until: u64,
        asked: u64,
        now: u64,
    ) {
        let stored = &hit.object.stored;
        let meta = Meta {
            head: head.to_vec(),
            keep_until,
            name: stored.name.clone(),
            tags: stored.tags(),
        };
        self.put_remote(&hit.key, &meta, || stored.body.clone(), asked, now);
    }

    /// Has the remote tier forget keys.
    pub(super) fn remove_remote(&self, keys: &[Vec<u8>]) {
        if let Some(remote) = &self.remote {
            remote.remove(keys);
            self.store.nudge();
        }
    }

    /// Tells the fleet, and the remote tier, that what is stored under keys of a target is worthless.
    pub(super) fn publish_keys(
        &self,
        seen: &Seen<'_>,
        target: &[u8],
        keys: Vec<Vec<u8>>,
        soft: bool,
        now: u64,
    ) {
        if self.remote.is_some() {
            let name = key::name(&Seen {
                target,
                ..seen.clone()
            });
            self.publish(Target::keys(keys, &name), soft, now);
        }
    }

    /// Tells the fleet of a purge or write.
    pub(super) fn publish(&self, what: Target, soft: bool, now: u64) {
        let Some(remote) = &self.remote else { return };
        if matches!(what, Target::Many(_)) {
            self.store.keep_quiet(now);
        }
        let line = Line {
            at: now,
            gateway: self.store.gateway(),
            id: self.store.number(),
            what,
            soft,
        };
        remote.publish(line, now);
        self.store.nudge();
    }
}
