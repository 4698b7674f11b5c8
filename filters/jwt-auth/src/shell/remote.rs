//! Fetched keys: what the workers share, and this one's copy.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use filter_core::headers::Headers;
use filter_core::time::Timestamp;
use filter_shell::host::{self, HeaderMap, Status};
use filter_shell::log;

use crate::care::{self, MOST_BYTES, Record, Standing};
use crate::config::jwks::RemoteJwks;
use crate::jose::keys::KeySet;
use crate::policy::Keys;

/// Races for a record that may be lost before a worker leaves it to the winners.
const TRIES: u32 = 8;

/// The keys of one provider.
pub(super) struct Remote {
    /// The provider's position.
    pub(super) provider: usize,
    pub(super) source: RemoteJwks,
    name: String,
    record_key: Vec<u8>,
    set_key: Vec<u8>,
    record: Cell<Record>,
    /// The set of that version, if it could be read.
    loaded: RefCell<Option<(u64, Rc<KeySet>)>>,
    /// The call that is under way.
    call: Cell<Option<u32>>,
    /// Changes whenever a request that waits should be looked at again.
    epoch: Cell<u64>,
}

impl Remote {
    pub(super) fn new(provider: usize, name: &str, source: RemoteJwks) -> Self {
        // Whoever fetches the same set shares it.
        let url = format!(
            "{} {}://{}{}",
            source.cluster, source.scheme, source.authority, source.path
        );
        let key = |what: &str| format!("penstock.jwt_auth.jwks.{what}.{url}").into_bytes();
        Self {
            provider,
            name: name.to_owned(),
            record_key: key("record"),
            set_key: key("set"),
            source,
            record: Cell::default(),
            loaded: RefCell::default(),
            call: Cell::new(None),
            epoch: Cell::new(0),
        }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch.get()
    }

    pub(super) fn is_call(&self, token: u32) -> bool {
        self.call.get() == Some(token)
    }

    /// Reads what the workers share, and brings a worker's keys up to date.
    pub(super) fn refresh(&self, now: Timestamp, keys: &mut Keys) -> Result<(), Status> {
        let (stored, _) = host::shared(&self.record_key)?;
        let record = Record::read(stored.as_deref());
        if self.record.replace(record).begun != record.begun {
            // Whatever was wanted, somebody has begun to fetch it.
            keys.wanted = false;
        }
        self.load(record)?;
        let pace = &self.source.pace;
        let loaded = self.loaded.borrow().clone();
        let set = loaded.filter(|(version, _)| *version == record.version);
        let standing = record.standing(now, pace);
        let before = (
            keys.version,
            keys.set.is_some(),
            keys.awaited,
            keys.may_want,
        );
        keys.version = record.version;
        keys.set = match (standing, set) {
            (Standing::Usable, Some((_, set))) => Some(set),
            _ => None,
        };
        keys.awaited = standing != Standing::Unavailable;
        keys.may_want = record.may_want(now, pace);
        if before
            != (
                keys.version,
                keys.set.is_some(),
                keys.awaited,
                keys.may_want,
            )
        {
            self.epoch.set(self.epoch.get().wrapping_add(1));
        }
        Ok(())
    }

    fn load(&self, record: Record) -> Result<(), Status> {
        let loaded = self.loaded.borrow().as_ref().map(|(version, _)| *version);
        if record.version == 0 || loaded == Some(record.version) {
            return Ok(());
        }
        let (text, _) = host::shared(&self.set_key)?;
        // Another worker may be about to store the one that the record tells of.
        let text = text.filter(|text| care::version(text) == record.version);
        if let Some(Ok(set)) = text.map(KeySet::read) {
            *self.loaded.borrow_mut() = Some((record.version, Rc::new(set)));
        }
        Ok(())
    }

    /// Begins a fetch if one is due and nobody was faster.
    pub(super) fn fetch_if_due(&self, now: Timestamp, keys: &mut Keys) -> Result<(), Status> {
        let pace = &self.source.pace;
        if self.record.get().lease(now, keys.wanted, pace).is_none() {
            return Ok(());
        }
        let (stored, cas) = host::shared(&self.record_key)?;
        let record = Record::read(stored.as_deref());
        let Some(leased) = record.lease(now, keys.wanted, pace) else {
            return Ok(());
        };
        if !host::set_shared(&self.record_key, &leased.write(), cas)? {
            return Ok(());
        }
        keys.wanted = false;
        self.record.set(leased);
        let source = &self.source;
        let headers = vec![
            (":method", "GET"),
            (":scheme", &*source.scheme),
            (":authority", &*source.authority),
            (":path", &*source.path),
            ("accept", "application/json"),
        ];
        let call = proxy_wasm::hostcalls::dispatch_http_call(
            &source.cluster,
            headers,
            None,
            Vec::new(),
            source.timeout,
        );
        match call {
            Ok(token) => self.call.set(Some(token)),
            Err(_) => {
                self.complain("the cluster can't be called");
                self.store(|record| record.failed(now, pace))?;
            }
        }
        Ok(())
    }

    /// Takes what came of the call. Returns whether it was a set of keys.
    pub(super) fn take_answer(
        &self,
        now: Timestamp,
        chance: u64,
        headers: usize,
        body: usize,
    ) -> Result<bool, Status> {
        self.call.set(None);
        let pace = &self.source.pace;
        match self.answer(headers, body) {
            Ok(set) => {
                host::overwrite_shared(&self.set_key, &set)?;
                self.store(|record| record.succeeded(&set, now, chance, pace))?;
                Ok(true)
            }
            Err(problem) => {
                self.complain(problem);
                self.store(|record| record.failed(now, pace))?;
                Ok(false)
            }
        }
    }

    fn answer(&self, headers: usize, body: usize) -> Result<Vec<u8>, &'static str> {
        if headers == 0 {
            return Err("no answer");
        }
        let block = host::header_pairs(HeaderMap::CallResponse).map_err(|_| "no answer")?;
        if Headers::decode(&block).first(":status") != Some(b"200") {
            return Err("the answer's status isn't 200");
        }
        if body > MOST_BYTES {
            return Err("the key set is larger than 1 MiB");
        }
        let text = host::call_response_body(body).map_err(|_| "no answer")?;
        match KeySet::read(text.clone()) {
            Ok(set) if !set.is_empty() => Ok(text),
            Ok(_) => Err("the key set has no usable key"),
            Err(_) => Err("the answer isn't a key set"),
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
            log::warn(&format!(
                "event=jwks_fetch_failed provider={} cluster={} times={failures} problem=\"{problem}\"",
                self.name, self.source.cluster
            ));
        }
    }
}
