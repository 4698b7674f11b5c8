//! What is fetched: what the workers share of it, and this one's copy.

use std::cell::{Cell, RefCell};

use filter_core::headers::Headers;
use filter_core::time::Timestamp;
use filter_shell::host::{self, HeaderMap, Status};
use filter_shell::log;

use super::call;
use crate::care::{self, MOST_BYTES, Record, Standing};
use crate::config::jwks::Endpoint;
use crate::discovery::Discovered;
use crate::feed::{Answer, Content, Feed};
use crate::policy::Worker;

/// Races for a record that may be lost before a worker leaves it to the winners.
const TRIES: u32 = 8;

pub(super) struct Remote {
    /// The provider's position.
    pub(super) provider: usize,
    pub(super) feed: Feed,
    name: String,
    record_key: Vec<u8>,
    content_key: Vec<u8>,
    record: Cell<Record>,
    /// The content of that version, if it could be read.
    loaded: RefCell<Option<(u64, Content)>>,
    /// The call that is under way.
    call: Cell<Option<u32>>,
    /// What the first of two answers said.
    found: RefCell<Option<Box<Discovered>>>,
    /// Changes whenever a request that waits should be looked at again.
    epoch: Cell<u64>,
}

impl Remote {
    pub(super) fn new(provider: usize, name: &str, feed: Feed) -> Self {
        // Whoever fetches the same shares it.
        let at = feed.endpoint();
        let url = format!("{} {}://{}{}", at.cluster, at.scheme, at.authority, at.path);
        let word = feed.word();
        let key = |what: &str| format!("penstock.jwt_auth.{word}.{what}.{url}").into_bytes();
        Self {
            provider,
            name: name.to_owned(),
            record_key: key("record"),
            content_key: key("set"),
            feed,
            record: Cell::default(),
            loaded: RefCell::default(),
            call: Cell::new(None),
            found: RefCell::default(),
            epoch: Cell::new(0),
        }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch.get()
    }

    pub(super) fn is_call(&self, token: u32) -> bool {
        self.call.get() == Some(token)
    }

    /// Reads what the workers share, brings this one up to date, and fetches what is due.
    pub(super) fn tend(&self, now: Timestamp, worker: &mut Worker) -> Result<(), Status> {
        let (stored, _) = host::shared(&self.record_key)?;
        let record = Record::read(stored.as_deref());
        let is_new = self.record.replace(record).begun != record.begun;
        self.load(record)?;
        let pace = self.feed.pace();
        let standing = record.standing(now, pace);
        let content = self.loaded.borrow();
        let content = content.as_ref().filter(|(v, _)| *v == record.version);
        let content = content.map(|(_, content)| content);
        let mut wanted = false;
        let changed = match &self.feed {
            Feed::Keys(_) => {
                let Some(keys) = worker.keys_mut(self.provider) else {
                    return Ok(());
                };
                // Whatever was wanted, somebody has begun to fetch it.
                keys.wanted &= !is_new;
                wanted = keys.wanted;
                let state = |keys: &crate::policy::Keys| {
                    let is_there = keys.set.is_some();
                    (keys.version, is_there, keys.awaited, keys.may_want)
                };
                let before = state(keys);
                keys.version = record.version;
                keys.set = match (standing, content) {
                    (Standing::Usable, Some(Content::Keys(set))) => Some(set.clone()),
                    _ => None,
                };
                keys.awaited = standing != Standing::Unavailable;
                keys.may_want = record.may_want(now, pace);
                before != state(keys)
            }
            Feed::Revocations(revocation) => {
                let list = match content {
                    Some(Content::Revocations(list)) => Some(list.clone()),
                    _ => None,
                };
                let Some(revoked) = worker.revoked_mut(self.provider) else {
                    return Ok(());
                };
                let before = std::mem::discriminant(revoked);
                *revoked = revocation.known(standing, list);
                before != std::mem::discriminant(revoked)
            }
        };
        if changed {
            self.epoch.set(self.epoch.get().wrapping_add(1));
        }
        if self.fetch_if_due(now, wanted)?
            && let Some(keys) = worker.keys_mut(self.provider)
        {
            keys.wanted = false;
        }
        Ok(())
    }

    fn load(&self, record: Record) -> Result<(), Status> {
        let loaded = self.loaded.borrow().as_ref().map(|(version, _)| *version);
        if record.version == 0 || loaded == Some(record.version) {
            return Ok(());
        }
        let (text, _) = host::shared(&self.content_key)?;
        // Another worker may be about to store the one that the record tells of.
        let text = text.filter(|text| care::version(text) == record.version);
        if let Some(content) = text.and_then(|text| self.feed.read(text)) {
            *self.loaded.borrow_mut() = Some((record.version, content));
        }
        Ok(())
    }

    /// Begins a fetch if one is due and nobody was faster. Returns whether it did.
    fn fetch_if_due(&self, now: Timestamp, wanted: bool) -> Result<bool, Status> {
        let pace = self.feed.pace();
        if self.record.get().lease(now, wanted, pace).is_none() {
            return Ok(false);
        }
        let (stored, cas) = host::shared(&self.record_key)?;
        let record = Record::read(stored.as_deref());
        let Some(leased) = record.lease(now, wanted, pace) else {
            return Ok(false);
        };
        if !host::set_shared(&self.record_key, &leased.write(), cas)? {
            return Ok(false);
        }
        self.record.set(leased);
        *self.found.borrow_mut() = None;
        self.fetch(self.feed.endpoint(), now)?;
        Ok(true)
    }

    fn fetch(&self, endpoint: &Endpoint, now: Timestamp) -> Result<(), Status> {
        match call::get(endpoint) {
            Some(token) => {
                self.call.set(Some(token));
                Ok(())
            }
            None => {
                self.complain("the cluster can't be called");
                self.store(|record| record.failed(now, self.feed.pace()))
            }
        }
    }

    /// Takes what came of the call. Returns whether it was what is fetched; nothing if that is
    /// elsewhere.
    pub(super) fn take_answer(
        &self,
        now: Timestamp,
        chance: u64,
        headers: usize,
        body: usize,
    ) -> Result<Option<bool>, Status> {
        self.call.set(None);
        let pace = self.feed.pace();
        let found = self.found.take();
        let answer = answer_text(headers, body, MOST_BYTES);
        match answer.and_then(|text| self.feed.answer(text, found.as_deref())) {
            Ok(Answer::Content(content)) => {
                host::overwrite_shared(&self.content_key, &content)?;
                self.store(|record| record.succeeded(&content, now, chance, pace))?;
                Ok(Some(true))
            }
            Ok(Answer::Elsewhere(found)) => {
                self.fetch(&found.keys, now)?;
                *self.found.borrow_mut() = Some(found);
                Ok(None)
            }
            Err(problem) => {
                self.complain(problem);
                self.store(|record| record.failed(now, pace))?;
                Ok(Some(false))
            }
        }
    }

    /// Changes the record, whoever else does.
    fn store(&self, change: impl Fn(Record) -> Record) -> Result<(), Status> {
        for _ in 0..TRIES {
            let (stored, cas) = host::shared(&self.record_key)?;
            let record = change(Record::read(stored.as_deref()));
            if host::set_shared(&self.record_key, &record.write(), cas)? {
                break;
            }
        }
        Ok(())
    }

    /// Logs a failed fetch: the first of a row, and then ever fewer.
    fn complain(&self, problem: &str) {
        let failures = self.record.get().failures.saturating_add(1);
        if failures.is_power_of_two() {
            let word = self.feed.word();
            let cluster = &self.feed.endpoint().cluster;
            let name = &self.name;
            log::warn(&format!(
                "event={word}_fetch_failed provider={name} cluster={cluster} times={failures} \
                 problem=\"{problem}\""
            ));
        }
    }
}

/// Returns the body of the answer to a call, while it is handed over.
///
/// # Errors
/// If there is none, it isn't a 200, or it is too large.
pub(super) fn answer_text(
    headers: usize,
    body: usize,
    most: usize,
) -> Result<Vec<u8>, &'static str> {
    if headers == 0 {
        return Err("no answer");
    }
    let block = host::header_pairs(HeaderMap::CallResponse).map_err(|_| "no answer")?;
    if Headers::decode(&block).first(":status") != Some(b"200") {
        return Err("the answer's status isn't 200");
    }
    if body > most {
        return Err("the answer is too large");
    }
    host::call_response_body(body).map_err(|_| "no answer")
}
