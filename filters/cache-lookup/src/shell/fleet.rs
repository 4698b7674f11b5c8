//! What the filter asks the remote tier, and tells it.

use std::rc::Rc;

use filter_core::hash::Hash;

use super::cache::{Cache, Count};
use super::remote::Event;
use super::state::{Hit, State};
use super::store::{Found, Object};
use crate::head::Head;
use crate::lookup;
use crate::remote::fleet::{Line, Target};
use crate::remote::value::Value;
use crate::request::Seen;
use crate::store::{Loaded, Meta};

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
        if state.found == lookup::Found::Response || state.asked.len() >= MOST_QUESTIONS {
            return false;
        }
        let key = match &lookup.spec {
            Some(spec) => lookup.variant(spec, &seen.headers, false),
            None => lookup.primary().to_vec(),
        };
        if state.asked.contains(&key) || self.store.is_quiet(now) || !remote.get(&key, id, now) {
            return false;
        }
        self.count(Count::RemoteRequest, 1);
        state.asked.push(key);
        true
    }

    /// Takes what came of a call: of one to the remote tier, or of one in the background.
    pub(super) fn on_answer(&self, token: u32, headers: usize, body: usize) {
        let (Some(remote), Ok(now)) = (&self.remote, self.now()) else {
            return self.on_background(token, headers, body);
        };
        match remote.answered(token, now) {
            Event::Other => self.on_background(token, headers, body),
            Event::Written => {}
            Event::Got(stream, value) => {
                if let Some((value, stale)) = value {
                    self.import(stream, value, stale, now);
                }
                self.resume(stream, true);
            }
            Event::Purges(lines) => {
                for line in lines {
                    self.follow(&line, now);
                }
            }
        }
    }

    /// Gives a waiting request what the remote tier has for it, and the store as well.
    fn import(&self, stream: u32, value: Value, stale: bool, now: u64) {
        let Some(shared) = self.waiting(stream) else {
            return;
        };
        let Ok(mut state) = shared.try_borrow_mut() else {
            return;
        };
        let (Some(head), Some(key)) = (Head::decode(&value.meta.head), state.asked.last()) else {
            return;
        };
        self.count(Count::RemoteHit, 1);
        let hash = self.store.hash(key);
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
                name: meta.name,
                tags: Vec::new(),
            },
        };
        state.imported.push((hash, Rc::new(object), stale));
    }

    /// Does what another gateway of the fleet was asked to.
    fn follow(&self, line: &Line, now: u64) {
        let done = self.store.claim(line).and_then(|is_ours| {
            if !is_ours {
                return Ok(());
            }
            self.count(Count::Purged, 1);
            self.store.keep_quiet(now);
            match (&line.what, line.purge()) {
                (Target::Key(key), _) => {
                    let hash = self.store.hash(key);
                    self.store.invalidate(hash, line.soft, now).map(drop)
                }
                (Target::Many(_), Some(purge)) => self.store.purge(purge),
                (Target::Many(_), None) => Ok(()),
            }
        });
        if let Err(status) = done {
            self.complain(status);
        }
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

    /// Has the remote tier forget a key.
    pub(super) fn remove_remote(&self, key: &[u8], now: u64) {
        if let Some(remote) = &self.remote {
            remote.remove(key, now);
            self.store.nudge();
        }
    }

    /// Tells the fleet of a purge.
    pub(super) fn publish(&self, what: Target, soft: bool, now: u64) {
        let Some(remote) = &self.remote else { return };
        let line = Line {
            at: now,
            id: self.store.number(),
            what,
            soft,
        };
        // This gateway has done so already.
        let _ = self.store.claim(&line);
        self.store.keep_quiet(now);
        remote.publish(line, now);
        self.store.nudge();
    }
}
