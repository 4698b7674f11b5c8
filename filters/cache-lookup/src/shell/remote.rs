//! The remote tier through the host's calls.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::rc::Rc;
use std::time::Duration;

use filter_core::headers::Headers;
use filter_shell::host::{self, HeaderMap};
use proxy_wasm::hostcalls::dispatch_http_call;
use proxy_wasm::types::Status;

use crate::remote::breaker::Breaker;
use crate::remote::fleet::{Fate, Fleet, LINES, Line};
use crate::remote::value::Value;
use crate::remote::webdis::{self, Answer, Request};
use crate::remote::{Settings, seconds_until};
use crate::store::Millis;

/// Writes that wait to be sent, at most; more are left out.
const WAITING: usize = 64;
/// Writes under way, at most.
const UNDER_WAY: usize = 16;
/// How long nobody waits for a write, in milliseconds.
const WRITE_TIMEOUT: u32 = 2000;
/// Bytes of a value beside its body.
const BESIDE_BODY: u64 = 256 * 1024;

/// The remote tier as one worker has it.
#[derive(Debug)]
pub struct Remote {
    settings: Settings,
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    breaker: Breaker,
    fleet: Fleet,
    calls: HashMap<u32, Call, BuildHasherDefault<DefaultHasher>>,
    waiting: VecDeque<Request>,
    under_way: usize,
    listed: Option<Millis>,
}

#[derive(Debug)]
enum Call {
    Get { stream: u32, key: Rc<[u8]> },
    Write,
    List,
}

/// What an answer of the remote tier means for the filter.
#[derive(Debug)]
pub enum Event {
    /// A stream that waited goes on: with what was found, if anything was; the flag tells that it is to be
    /// taken as stale.
    Got(u32, Option<(Value, bool)>),
    /// Purges of other gateways, to be carried out here.
    Purges(Vec<Line>),
    /// A write came to its end.
    Written,
    /// The call was none of the remote tier's.
    Other,
}

impl Remote {
    /// Makes it; nothing is sent yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            state: RefCell::default(),
        }
    }

    /// Asks for what is stored under a key, for a stream that is to be held until [`Event::Got`] tells of
    /// it, within `timeout`. False if it isn't asked: the breaker is open, purges of the fleet aren't
    /// known, or the host refuses.
    pub fn get(&self, key: &[u8], stream: u32, now: Millis) -> bool {
        let mut state = self.state.borrow_mut();
        if !state.fleet.is_known(now) || !state.breaker.allows(now) {
            return false;
        }
        let request = webdis::get(&self.settings.name(key));
        let call = Call::Get {
            stream,
            key: key.into(),
        };
        match self.send(&request, self.settings.timeout) {
            Ok(token) => {
                state.calls.insert(token, call);
                true
            }
            Err(_) => {
                state.breaker.failed(now);
                false
            }
        }
    }

    /// A stream waits no more: it has ended, or went on by itself.
    pub fn leave(&self, stream: u32) {
        let calls = &mut self.state.borrow_mut().calls;
        calls
            .retain(|_, call| !matches!(call, Call::Get { stream: other, .. } if *other == stream));
    }

    /// Has a value stored, later: in [`Self::flush`]. What is too large, or soon worthless, is not.
    pub fn put(&self, key: &[u8], value: &Value, now: Millis) {
        let seconds = seconds_until(value.meta.keep_until, now);
        let len = u64::try_from(value.body.len()).unwrap_or(u64::MAX);
        if let Some(seconds) = seconds
            && len <= self.settings.max_object_bytes
        {
            let name = self.settings.name(key);
            self.write_later(webdis::set(&name, seconds, value.encode(key)), now);
        }
    }

    /// Has what is stored under a key removed, later.
    pub fn remove(&self, key: &[u8], now: Millis) {
        self.write_later(webdis::unlink(&self.settings.name(key)), now);
    }

    /// Tells the fleet of a purge, later.
    pub fn publish(&self, line: Line, now: Millis) {
        let name = self.settings.purges();
        self.write_later(webdis::push(&name, &line.encode()), now);
        self.write_later(webdis::trim(&name, LINES), now);
        self.state.borrow_mut().fleet.add(line);
    }

    fn write_later(&self, request: Request, now: Millis) {
        let mut state = self.state.borrow_mut();
        if state.waiting.len() < WAITING && !state.breaker.is_open(now) {
            state.waiting.push_back(request);
        }
    }

    /// Whether [`Self::flush`] has something to do.
    pub fn has_writes(&self) -> bool {
        !self.state.borrow().waiting.is_empty()
    }

    /// Sends the writes that wait. To be called for the root context, in `on_tick` or `on_queue_ready`: a
    /// stream's calls end with it.
    pub fn flush(&self) {
        loop {
            let mut state = self.state.borrow_mut();
            if state.under_way >= UNDER_WAY {
                return;
            }
            let Some(request) = state.waiting.pop_front() else {
                return;
            };
            // What can't be sent is lost: it is a cache.
            if let Ok(token) = self.send(&request, WRITE_TIMEOUT) {
                state.under_way = state.under_way.saturating_add(1);
                state.calls.insert(token, Call::Write);
            }
        }
    }

    /// Reads the fleet's purges, once a second. To be called for the root context, in `on_tick`.
    pub fn poll(&self, now: Millis) {
        const EVERY: Millis = 1000;
        let mut state = self.state.borrow_mut();
        let is_due = state
            .listed
            .is_none_or(|last| now.saturating_sub(last) >= EVERY);
        if !is_due || !state.breaker.allows(now) {
            return;
        }
        state.listed = Some(now);
        match self.send(&webdis::list(&self.settings.purges()), WRITE_TIMEOUT) {
            Ok(token) => {
                state.calls.insert(token, Call::List);
            }
            Err(_) => state.breaker.failed(now),
        }
    }

    /// Takes an answer; to be called in `on_http_call_response`.
    pub fn answered(&self, token: u32, now: Millis) -> Event {
        let Some(call) = self.state.borrow_mut().calls.remove(&token) else {
            return Event::Other;
        };
        let status = status();
        match call {
            Call::Get { stream, key } => Event::Got(stream, self.value(status, &key, now)),
            Call::Write => {
                let mut state = self.state.borrow_mut();
                state.under_way = state.under_way.saturating_sub(1);
                judge(&mut state.breaker, status == Some(200), now);
                drop(state);
                self.flush();
                Event::Written
            }
            Call::List => {
                let body = host::call_response_body(LONGEST_LIST).unwrap_or_default();
                let mut state = self.state.borrow_mut();
                let list = webdis::read_list(status, &body);
                judge(&mut state.breaker, list.is_some(), now);
                let new = list
                    .map(|list| state.fleet.read(&list, now))
                    .unwrap_or_default();
                Event::Purges(new)
            }
        }
    }

    fn value(&self, status: Option<u16>, key: &[u8], now: Millis) -> Option<(Value, bool)> {
        let most = self.settings.max_object_bytes.saturating_add(BESIDE_BODY);
        let most = usize::try_from(most).unwrap_or(usize::MAX >> 1);
        let body = match status {
            Some(200) => host::call_response_body(most).unwrap_or_default(),
            _ => Vec::new(),
        };
        let mut state = self.state.borrow_mut();
        let value = match webdis::read_value(status, body) {
            Answer::Absent => {
                state.breaker.succeeded();
                return None;
            }
            Answer::Failed => None,
            Answer::Value(bytes) => Value::decode(&bytes, key),
        };
        // Garbage is no better than no answer.
        judge(&mut state.breaker, value.is_some(), now);
        let value = value?;
        match state.fleet.fate(key, &value) {
            _ if value.meta.keep_until <= now => None,
            Fate::Gone => None,
            Fate::Spared => Some((value, false)),
            Fate::Stale => Some((value, true)),
        }
    }

    fn send(&self, request: &Request, timeout: u32) -> Result<u32, Status> {
        // The SDK's own: it hands an answer over only if it knows the call.
        dispatch_http_call(
            &self.settings.cluster,
            request.headers(&self.settings),
            Some(&request.body),
            Vec::new(),
            Duration::from_millis(timeout.into()),
        )
    }
}

/// Bytes of the list of purges that are read: 256 lines at their longest.
const LONGEST_LIST: usize = 1024 * 1024;

fn judge(breaker: &mut Breaker, is_good: bool, now: Millis) {
    if is_good {
        breaker.succeeded();
    } else {
        breaker.failed(now);
    }
}

/// The status of the answer that is being handed over; `None` if there is none.
fn status() -> Option<u16> {
    let pairs = host::header_pairs(HeaderMap::CallResponse).ok()?;
    let headers = Headers::decode(&pairs);
    let status = headers.first(":status")?;
    std::str::from_utf8(status).ok()?.parse().ok()
}
