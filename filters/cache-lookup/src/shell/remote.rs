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
use crate::remote::fleet::{EVERY, Fate, Fleet, Line, List, Target};
use crate::remote::value::Value;
use crate::remote::webdis::{self, Answer, Request};
use crate::remote::{Settings, seconds_until};
use crate::store::{Millis, Scope};

/// Writes that wait to be sent, at most; more are left out.
const WAITING: usize = 64;
/// Writes under way, at most.
const UNDER_WAY: usize = 16;
/// How long nobody waits for a write, in milliseconds.
const WRITE_TIMEOUT: u32 = 2000;
/// Bytes of a value beside its body.
const BESIDE_BODY: u64 = 256 * 1024;
/// Lines that wait to be told, at most: all of them together become a purge of everything.
const UNTOLD: usize = 256;

/// The remote tier as one worker has it.
#[derive(Debug)]
pub struct Remote {
    settings: Settings,
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    /// About lists and writes.
    breaker: Breaker,
    /// About values: an answer that comes after the origin's is as good as none.
    lookups: Breaker,
    fleet: Fleet,
    calls: HashMap<u32, Call, BuildHasherDefault<DefaultHasher>>,
    waiting: VecDeque<Write>,
    under_way: usize,
    untold: VecDeque<Line>,
    /// Since when some are.
    untold_since: Option<Millis>,
    telling: Option<Telling>,
    /// Until then nothing is told: it failed the last time.
    tell_after: Millis,
    listed: Option<Millis>,
}

/// A write, and if it stores a value, its key and when the origin was asked for it.
#[derive(Debug)]
struct Write {
    request: Request,
    put: Option<(Rc<[u8]>, Millis)>,
}

/// Lines on their way to the fleet.
#[derive(Debug)]
struct Telling {
    lines: Vec<Line>,
    calls: usize,
    failed: bool,
}

#[derive(Debug)]
enum Call {
    Get {
        stream: u32,
        key: Rc<[u8]>,
        /// When its stream goes to the origin; none once it has.
        hedge_at: Option<Millis>,
    },
    Write(Option<(Rc<[u8]>, Millis)>),
    Tell,
    List(List),
}

/// What an answer of the remote tier means for the filter.
#[derive(Debug)]
pub enum Event {
    /// What was found for a stream, if anything was; the flag tells that it is to be taken as stale.
    Got(u32, Option<(Value, bool)>),
    /// Lines of the fleet, to be carried out here if they are new.
    Lines(List, Vec<Line>),
    /// A value was stored, or may have been: under this key, asked of its origin then.
    Put(Rc<[u8]>, Millis),
    /// Something came to its end that means nothing more.
    Done,
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

    /// How long a stream waits, in milliseconds.
    pub fn hedge_after(&self) -> Millis {
        self.settings.hedge_after.into()
    }

    /// Asks for what is stored under a key, for a stream that is to be held until [`Event::Got`] or
    /// [`Self::overdue`] tells of it. False if it isn't asked: a breaker is open, purges of the fleet
    /// aren't known, or the host refuses.
    pub fn get(&self, key: &[u8], stream: u32, hedge_at: Millis, now: Millis) -> bool {
        let mut state = self.state.borrow_mut();
        if !state.fleet.is_known(now) || state.breaker.is_open(now) || !state.lookups.allows(now) {
            return false;
        }
        let request = webdis::get(&self.settings.name(key));
        let call = Call::Get {
            stream,
            key: key.into(),
            hedge_at: Some(hedge_at),
        };
        match self.send(&request, self.settings.timeout) {
            Ok(token) => {
                state.calls.insert(token, call);
                true
            }
            Err(_) => {
                state.lookups.failed(now);
                false
            }
        }
    }

    /// The streams that have waited long enough and go to the origin; each is told of once.
    pub fn overdue(&self, now: Millis) -> Vec<u32> {
        let mut streams = Vec::new();
        for call in self.state.borrow_mut().calls.values_mut() {
            if let Call::Get {
                stream, hedge_at, ..
            } = call
                && hedge_at.take_if(|at| *at <= now).is_some()
            {
                streams.push(*stream);
            }
        }
        streams.sort_unstable();
        streams
    }

    /// When the next one will have waited long enough.
    pub fn next_overdue(&self) -> Option<Millis> {
        let state = self.state.borrow();
        let times = state.calls.values().filter_map(|call| match call {
            Call::Get { hedge_at, .. } => *hedge_at,
            _ => None,
        });
        times.min()
    }

    /// A stream waits no more: it has ended, or went on by itself. Returns whether there was no answer
    /// yet; none will be told of.
    pub fn leave(&self, stream: u32) -> bool {
        let calls = &mut self.state.borrow_mut().calls;
        let before = calls.len();
        calls
            .retain(|_, call| !matches!(call, Call::Get { stream: other, .. } if *other == stream));
        calls.len() < before
    }

    /// The origin answered a stream that waited long enough for both.
    pub fn overtaken(&self, stream: u32, now: Millis) {
        if self.leave(stream) {
            self.state.borrow_mut().lookups.failed(now);
        }
    }

    /// Has a value stored, later: in [`Self::flush`]. What is too large, or soon worthless, is not.
    pub fn put(&self, key: &[u8], value: &Value, now: Millis) {
        let seconds = seconds_until(value.meta.keep_until, now);
        let len = u64::try_from(value.body.len()).unwrap_or(u64::MAX);
        let mut state = self.state.borrow_mut();
        if let Some(seconds) = seconds
            && len <= self.settings.max_object_bytes
            && state.waiting.len() < WAITING
            && !state.breaker.is_open(now)
        {
            let name = self.settings.name(key);
            state.waiting.push_back(Write {
                request: webdis::set(&name, seconds, value.encode(key)),
                put: Some((key.into(), value.asked)),
            });
        }
    }

    /// Has what is stored under keys removed, later.
    pub fn remove(&self, keys: &[Vec<u8>]) {
        let names: Vec<_> = keys.iter().map(|key| self.settings.name(key)).collect();
        for names in names.chunks(NAMES) {
            self.write_later(webdis::unlink(names));
        }
    }

    fn write_later(&self, request: Request) {
        let mut state = self.state.borrow_mut();
        // It is worth more than a value that waits.
        if state.waiting.len() >= WAITING {
            state.waiting.pop_front();
        }
        state.waiting.push_back(Write { request, put: None });
    }

    /// Tells the fleet of a purge or write, later, as often as it takes.
    pub fn publish(&self, line: Line, now: Millis) {
        let mut state = self.state.borrow_mut();
        if line.list() == List::Purges {
            state.fleet.add(line.clone());
        }
        state.untold_since.get_or_insert(now);
        let is_same = |other: &Line| other.what == line.what && other.soft == line.soft;
        if state.untold.iter().any(is_same) {
            return;
        }
        if state.untold.len() >= UNTOLD {
            state.untold.clear();
            state.untold.push_back(Line {
                what: Target::Many(Scope::All),
                soft: false,
                ..line
            });
        } else {
            state.untold.push_back(line);
        }
    }

    /// Whether the fleet hasn't been told for longer than it takes.
    pub fn is_behind(&self, now: Millis) -> bool {
        let since = self.state.borrow().untold_since;
        since.is_some_and(|since| now.saturating_sub(since) > EVERY)
    }

    /// Sends what waits. To be called for the root context, in `on_tick` or `on_queue_ready`: a
    /// stream's calls end with it.
    pub fn flush(&self, now: Millis) {
        let mut state = self.state.borrow_mut();
        self.tell(&mut state, now);
        while state.under_way < UNDER_WAY
            && let Some(Write { request, put }) = state.waiting.pop_front()
        {
            // What can't be sent is lost: it is a cache.
            if let Ok(token) = self.send(&request, WRITE_TIMEOUT) {
                state.under_way = state.under_way.saturating_add(1);
                state.calls.insert(token, Call::Write(put));
            }
        }
    }

    /// Tells the fleet of some of the lines that wait, if none are on their way: the more come, the more
    /// go at once.
    fn tell(&self, state: &mut State, now: Millis) {
        let Some(list) = state.untold.front().map(Line::list) else {
            return;
        };
        let is_early = now < state.tell_after && state.tell_after <= now.saturating_add(EVERY);
        if state.telling.is_some() || is_early || state.breaker.is_open(now) {
            return;
        }
        let (mut lines, mut texts, mut names, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), 0);
        while bytes < TOLD_BYTES
            && names.len() < NAMES
            && let Some(mut line) = state.untold.pop_front_if(|line| line.list() == list)
        {
            // What was asked of an origin before the fleet knew may be as old as what it is about.
            line.at = now;
            let text = line.encode();
            bytes = text.len().saturating_add(bytes);
            texts.push(text);
            if let Target::Keys(keys) = &line.what {
                names.extend(keys.iter().map(|key| self.settings.name(key)));
            }
            lines.push(line);
        }
        let name = self.settings.list(list);
        let mut requests = vec![
            webdis::push(&name, &texts),
            webdis::trim(&name, list.length()),
        ];
        if !names.is_empty() {
            requests.push(webdis::unlink(&names));
        }
        let mut telling = Telling {
            lines,
            calls: 0,
            failed: false,
        };
        for request in requests {
            match self.send(&request, WRITE_TIMEOUT) {
                Ok(token) => {
                    telling.calls = telling.calls.saturating_add(1);
                    state.calls.insert(token, Call::Tell);
                }
                Err(_) => telling.failed = true,
            }
        }
        if telling.calls == 0 {
            state.breaker.failed(now);
        }
        state.telling = Some(telling);
        Self::told(state, now);
    }

    /// If all that was sent about some lines is answered: they are told, or wait again.
    fn told(state: &mut State, now: Millis) {
        let Some(telling) = state.telling.take_if(|telling| telling.calls == 0) else {
            return;
        };
        if telling.failed {
            state.tell_after = now.saturating_add(EVERY);
            for line in telling.lines.into_iter().rev() {
                state.untold.push_front(line);
            }
        } else {
            state.untold_since = (!state.untold.is_empty()).then_some(now);
        }
    }

    /// Reads the lists of the fleet, once a second; that of keys if it is this worker's turn. To be called
    /// for the root context, in `on_tick`.
    pub fn poll(&self, now: Millis, is_turn: impl FnOnce() -> bool) {
        let mut state = self.state.borrow_mut();
        let is_due = state
            .listed
            .is_none_or(|last| now.saturating_sub(last) >= EVERY);
        if !is_due || !state.breaker.allows(now) {
            return;
        }
        state.listed = Some(now);
        let keys = is_turn().then_some(List::Keys);
        for list in [List::Purges].into_iter().chain(keys) {
            match self.send(&webdis::list(&self.settings.list(list)), WRITE_TIMEOUT) {
                Ok(token) => {
                    state.calls.insert(token, Call::List(list));
                }
                Err(_) => state.breaker.failed(now),
            }
        }
    }

    /// Takes an answer; to be called in `on_http_call_response`.
    pub fn answered(&self, token: u32, now: Millis) -> Event {
        let Some(call) = self.state.borrow_mut().calls.remove(&token) else {
            return Event::Other;
        };
        let status = status();
        match call {
            Call::Get { stream, key, .. } => Event::Got(stream, self.value(status, &key, now)),
            Call::Write(put) => {
                let mut state = self.state.borrow_mut();
                state.under_way = state.under_way.saturating_sub(1);
                judge(&mut state.breaker, status == Some(200), now);
                drop(state);
                self.flush(now);
                put.map_or(Event::Done, |(key, asked)| Event::Put(key, asked))
            }
            Call::Tell => {
                let body = host::call_response_body(1).unwrap_or_default();
                let is_done = webdis::is_done(status, &body);
                let mut state = self.state.borrow_mut();
                judge(&mut state.breaker, is_done, now);
                if let Some(telling) = &mut state.telling {
                    telling.calls = telling.calls.saturating_sub(1);
                    telling.failed |= !is_done;
                }
                Self::told(&mut state, now);
                drop(state);
                self.flush(now);
                Event::Done
            }
            Call::List(list) => {
                let body = host::call_response_body(list.most_bytes()).unwrap_or_default();
                let mut state = self.state.borrow_mut();
                let texts = webdis::read_list(status, &body);
                judge(&mut state.breaker, texts.is_some(), now);
                let Some(texts) = texts else {
                    return Event::Done;
                };
                // Those that aren't ours are passed over.
                let lines = texts.iter().filter_map(|text| Line::decode(text));
                let lines: Vec<_> = lines.filter(|line| line.list() == list).collect();
                if list == List::Purges {
                    state.fleet.read(&lines, now);
                }
                Event::Lines(list, lines)
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
                state.lookups.succeeded();
                return None;
            }
            Answer::Failed => None,
            Answer::Value(bytes) => Value::decode(&bytes, key),
        };
        // Garbage is no better than no answer.
        judge(&mut state.lookups, value.is_some(), now);
        let value = value?;
        match state.fleet.fate(&value) {
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

/// Bytes of lines, and names of values, that go into one request, more or less.
const TOLD_BYTES: usize = 16 * 1024;
const NAMES: usize = 64;

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
