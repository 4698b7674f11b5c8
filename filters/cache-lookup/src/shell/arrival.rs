//! Responses: judged, copied on their way, stored when they are complete.

use filter_core::headers::Headers;
use filter_shell::host::{self, HeaderMap, Status};

use super::cache::{Cache, Count, Step};
use super::reply::When;
use super::state::{Copy, Hit, Stage, State};
use crate::collapse::Outcome as Settled;
use crate::config::Rule;
use crate::decision::{Edit, Pass, Verdict};
use crate::freshness::Moments;
use crate::head::{Head, Response, Spec};
use crate::key;
use crate::policy::Arrival;
use crate::remote::fleet::Target;
use crate::request::Seen;
use crate::store::{Kept, Meta, Purge, Scope};
use crate::storing::{Candidate, Refusal};
use crate::vary;

/// Seconds for which an entry that leads to others is kept at least.
const SPEC_SECONDS: u64 = 24 * 60 * 60;

/// The key of a response, and the entry that leads there with its own key if that is to be written.
type Placed = (Vec<u8>, Option<(Vec<u8>, Spec)>);

impl Cache {
    pub(super) fn on_response(&self, state: &mut State, is_last: bool) -> Step {
        if state.stage != Stage::Upstream {
            self.own_headers(state);
            return Step::Continue;
        }
        state.stage = Stage::Done;
        let block = std::mem::take(&mut state.request);
        let mut seen = Seen::of(Headers::decode(&block));
        let Some(rule) = self.policy.rule(state.rule) else {
            return Step::Continue;
        };
        if !rule.honours_clients {
            seen.ignore_directives();
        }
        if self.is_no_longer_hedged(state, true)
            && let Some(course) = &state.course
        {
            self.tell(rule, course.outcome, 0);
        }
        let step = self.judge(state, rule, &seen, is_last);
        step.unwrap_or_else(|status| {
            self.complain(status);
            self.give_up(state);
            Step::Continue
        })
    }

    fn judge(
        &self,
        state: &mut State,
        rule: &Rule,
        seen: &Seen<'_>,
        is_last: bool,
    ) -> Result<Step, Status> {
        let Some(course) = state.course else {
            return Ok(Step::Continue);
        };
        let block = host::header_pairs(HeaderMap::Response)?;
        let now = self.now()?;
        let primary = state
            .lookup
            .as_ref()
            .map(|lookup| lookup.primary().to_vec());
        let arrival = Arrival {
            fields: Headers::decode(&block),
            moments: Moments {
                request: state.sent,
                response: now,
            },
            collapsed: state.collapsed,
            key: primary.as_deref().unwrap_or_default(),
        };
        let stored = state.hit.as_ref().and_then(Hit::stored);
        let verdict = self.policy.judge(course, seen, &arrival, stored);
        match verdict {
            Verdict::Pass(pass) => {
                self.pass(state, rule, seen, pass, now)?;
                if is_last {
                    self.complete(state, now)?;
                }
                Ok(Step::Continue)
            }
            Verdict::Answer {
                answer,
                refreshed,
                drop,
            } => {
                self.answer(state, rule, &answer, When::Response)?;
                self.refreshed(state, rule, refreshed.as_deref(), drop, now)?;
                self.settle(state, Settled::Stored, now);
                Ok(Step::Answered)
            }
            Verdict::Complete { edits, candidate } => {
                edit(&edits)?;
                let hit = state.hit.clone();
                let first = hit.map(|hit| hit.object.stored.body.clone());
                let first = first.unwrap_or_default();
                if let Some(candidate) = candidate {
                    self.copy(state, rule, seen, *candidate, now);
                    if let Some(copy) = &mut state.copy
                        && !copy.draft.append(&first)
                    {
                        state.copy = None;
                    }
                }
                state.prefix = Some(first);
                if is_last {
                    self.give_up(state);
                }
                Ok(Step::Continue)
            }
        }
    }

    fn pass(
        &self,
        state: &mut State,
        rule: &Rule,
        seen: &Seen<'_>,
        pass: Pass,
        now: u64,
    ) -> Result<(), Status> {
        edit(&pass.edits)?;
        if let Some(status) = &pass.status {
            host::add_header(HeaderMap::Response, "cache-status", status)?;
        }
        for target in &pass.invalidate {
            let keys = self.invalidate_target(seen, target, false, now)?;
            self.publish_keys(seen, target, keys, false, now);
        }
        for tag in pass.groups {
            let purge = Purge {
                what: Scope::Tag(tag),
                soft: false,
            };
            self.publish(Target::Many(purge.what.clone()), false, now);
            self.store.purge(purge)?;
        }
        if !pass.invalidate.is_empty() {
            // What this response stores is younger than what it invalidates.
            state.view = Some(self.store.view()?);
        }
        self.refreshed(state, rule, pass.refreshed.as_deref(), pass.drop, now)?;
        match pass.store {
            Some(Ok(candidate)) => {
                self.copy(state, rule, seen, *candidate, now);
                if state.copy.is_none() {
                    self.uncacheable(state, now);
                }
            }
            Some(Err(refusal)) => {
                self.count(Count::NotStored, 1);
                match refusal {
                    // Of this client's request, and not of the response.
                    Refusal::RequestNoStore | Refusal::Authorization | Refusal::Unkeyed => {
                        self.settle(state, Settled::Failed, now);
                    }
                    _ => self.uncacheable(state, now),
                }
            }
            None => self.settle(state, Settled::Failed, now),
        }
        Ok(())
    }

    /// Begins to copy a response.
    pub(super) fn copy(
        &self,
        state: &mut State,
        rule: &Rule,
        seen: &Seen<'_>,
        candidate: Candidate,
        now: u64,
    ) {
        let Some((key, spec)) = self.place(state, rule, seen, &candidate, now) else {
            return;
        };
        let Some(view) = &state.view else {
            return;
        };
        state.copy = self
            .store
            .draft(view, self.store.hash(&key), candidate.length)
            .map(|draft| Copy {
                draft,
                candidate,
                key,
                spec,
                asked: state.sent,
                name: key::name(seen),
            });
    }

    /// Where a response is stored, and the entry that leads there if that has to be written.
    fn place(
        &self,
        state: &State,
        rule: &Rule,
        seen: &Seen<'_>,
        candidate: &Candidate,
        now: u64,
    ) -> Option<Placed> {
        let fresh = || host::wall_nanos().unwrap_or(now);
        if candidate.vary.is_empty()
            && candidate.search.is_empty()
            && let Some(lookup) = &state.lookup
        {
            return Some((lookup.primary().to_vec(), None));
        }
        let until = candidate.response.keep_until(rule.stale.keep);
        let is_old = |spec: &Spec| spec.until < until;
        if !candidate.search.is_empty() {
            let known = state
                .lookup
                .as_ref()
                .and_then(|lookup| lookup.search.as_ref());
            let known = known.filter(|spec| spec.search == candidate.search);
            let mut spec = known.cloned().unwrap_or_else(|| Spec {
                generation: fresh(),
                search: candidate.search.clone(),
                ..Spec::default()
            });
            let search = key::search_of(&spec.search)?;
            let key = key::searching(&rule.key, seen, &search, spec.generation);
            let write = known.is_none_or(is_old);
            spec.until = until.max(now.saturating_add(SPEC_SECONDS.saturating_mul(1_000)));
            let entry = key::search_entry(&rule.key, seen);
            return Some((key, write.then_some((entry, spec))));
        }
        let Some(lookup) = &state.lookup else {
            // An answer to a POST that later GETs may be given.
            let key = key::primary(&rule.key, seen, seen.target, None);
            return candidate.vary.is_empty().then_some((key, None));
        };
        let known = lookup
            .spec
            .as_ref()
            .filter(|spec| spec.fields == candidate.vary);
        let mut spec = known.cloned().unwrap_or_else(|| Spec {
            generation: fresh(),
            fields: candidate.vary.clone(),
            ..Spec::default()
        });
        vary::learn_language(&mut spec, &seen.headers, &candidate.response.fields());
        let key = lookup.variant(&spec, &seen.headers, false);
        let is_new = known.is_none_or(|known| known.languages != spec.languages || is_old(known));
        spec.until = until.max(now.saturating_add(SPEC_SECONDS.saturating_mul(1_000)));
        let entry = lookup.primary().to_vec();
        Some((key, is_new.then_some((entry, spec))))
    }

    pub(super) fn on_response_body(&self, state: &mut State, size: usize, is_last: bool) {
        if state.copy.is_none() && state.prefix.is_none() {
            return self.own_body(state, size);
        }
        let done = self.take_body(state, size).and_then(|()| {
            if let Some(first) = state.prefix.take() {
                host::prepend_response_body(&first)?;
            }
            match is_last {
                true => self.complete(state, self.now()?),
                false => Ok(()),
            }
        });
        if let Err(status) = done {
            self.complain(status);
            self.give_up(state);
        }
    }

    fn take_body(&self, state: &mut State, size: usize) -> Result<(), Status> {
        let Some(copy) = &mut state.copy else {
            return Ok(());
        };
        if size > 0 && !copy.draft.append(&host::response_body(size)?) {
            state.copy = None;
            self.count(Count::NotStored, 1);
            let now = self.now()?;
            self.uncacheable(state, now);
        }
        Ok(())
    }

    /// Stores what is complete.
    fn complete(&self, state: &mut State, now: u64) -> Result<(), Status> {
        let Some(copy) = state.copy.take() else {
            return Ok(());
        };
        let Some(rule) = self.policy.rule(state.rule) else {
            return Ok(());
        };
        let is_stored = self.keep(copy, rule, now)?;
        let settled = if is_stored {
            Settled::Stored
        } else {
            Settled::Failed
        };
        self.settle(state, settled, now);
        Ok(())
    }

    /// Stores a complete copy; returns whether it is stored.
    pub(super) fn keep(&self, copy: Copy, rule: &Rule, now: u64) -> Result<bool, Status> {
        let Copy {
            draft,
            mut candidate,
            key,
            spec,
            asked,
            name,
        } = copy;
        let tags = std::mem::take(&mut candidate.tags);
        let repair = self.policy.config().partial.repair;
        let Some(response) = candidate.complete(draft.len(), repair) else {
            self.count(Count::NotStored, 1);
            return Ok(false);
        };
        let keep_until = response.keep_until(rule.stale.keep);
        if let Some((spec_key, spec)) = spec {
            if !spec.search.is_empty() {
                self.store.note_searches(&self.store.view()?)?;
            }
            let meta = Meta {
                keep_until: spec.until,
                head: Head::Spec(spec).encode(),
                name: name.clone(),
                tags: tags.clone(),
            };
            let entry = draft.sibling(self.store.hash(&spec_key));
            self.put_remote(&spec_key, &meta, Vec::new, asked, now);
            if self.store.commit(entry, meta, now)? != Kept::Stored {
                self.count(Count::NotStored, 1);
                return Ok(false);
            }
        }
        let meta = Meta {
            keep_until,
            head: Head::Response(response).encode(),
            name,
            tags,
        };
        self.put_remote(&key, &meta, || draft.body(), asked, now);
        let kept = self.store.commit(draft, meta, now)?;
        let is_stored = kept == Kept::Stored;
        self.count(
            if is_stored {
                Count::Stored
            } else {
                Count::NotStored
            },
            1,
        );
        Ok(is_stored)
    }

    /// Gives the stored response the fields that a validation brought, or makes it go.
    pub(super) fn refreshed(
        &self,
        state: &State,
        rule: &Rule,
        response: Option<&Response>,
        drop: bool,
        now: u64,
    ) -> Result<(), Status> {
        let (Some(hit), Some(view)) = (&state.hit, &state.view) else {
            return Ok(());
        };
        if drop {
            self.store.invalidate(hit.hash, false, now)?;
            self.remove_remote(std::slice::from_ref(&hit.key));
        } else if let Some(response) = response {
            let until = response.keep_until(rule.stale.keep);
            let head = Head::Response(response.clone()).encode();
            self.renew_remote(hit, &head, until, state.sent, now);
            self.store
                .refresh(view, hit.hash, &hit.object, &head, until, now)?;
        }
        Ok(())
    }

    /// A response that isn't stored: those who wait for it go on their own, and so do those who come.
    fn uncacheable(&self, state: &mut State, now: u64) {
        let until = now.saturating_add(self.policy.config().remember_uncacheable);
        self.settle(state, Settled::Uncacheable(until), now);
    }

    pub(super) fn settle(&self, state: &mut State, outcome: Settled, now: u64) {
        if let Some(lease) = state.lease.take()
            && let Err(status) = self.store.settle(lease, outcome, now)
        {
            self.complain(status);
        }
    }

    /// Stores nothing of a response, and lets those who wait for it go on.
    pub(super) fn give_up(&self, state: &mut State) {
        state.copy = None;
        if state.lease.is_some() {
            let now = self.now().unwrap_or_default();
            self.settle(state, Settled::Failed, now);
        }
    }
}

fn edit(edits: &[Edit]) -> Result<(), Status> {
    for edit in edits {
        match edit {
            Edit::Set(name, value) => {
                host::replace_header_bytes(HeaderMap::Response, name, value)?;
            }
            Edit::Remove(name) => host::remove_header(HeaderMap::Response, name)?,
        }
    }
    Ok(())
}
