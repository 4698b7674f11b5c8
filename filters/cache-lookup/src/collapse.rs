//! Many requests for one missing object become one.
//!
//! The first to miss a key takes a lease in shared data and goes to the origin; who comes later, on any
//! worker, waits for it. When the leader knows what came of it the lease ends, and the workers with
//! waiters are told through their queues. Never in the leader's own callback: the gateway's flag that
//! stops a stream is one per VM, so answering another stream there would stop the leader's.
//!
//! - Stored: the waiters look again, and find it.
//! - The leader failed or went away: they look again, find nothing, and the first of them leads.
//! - It isn't to be stored: all go on their own, and the key is remembered for a while, so that requests
//!   for it don't queue up behind one another.
//! - The leader takes too long, or its worker is lost: the lease has an end, and so has waiting.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};

use filter_core::hash::Hash;

use crate::store::op::{Io, Key, Op};
use crate::store::wire::{Reader, long};
use crate::store::{Layout, Millis};

/// Entries in shared data for leases and remembered keys.
const BUCKETS: u64 = 1024;
/// Records of one of them. A key for which there is no room isn't collapsed.
const RECORDS: usize = 16;
/// Workers that are told of one lease's end. Those beyond wait until it is over.
const QUEUES: usize = 256;
/// Bytes of a record without queues, as it is stored.
const RECORD: usize = 3 * 8 + 2;
const MAGIC: u32 = 0x314b_4350;

/// What a request that missed does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Go to the origin, and tell what came of it.
    Lead(Lease),
    /// Wait until told, or until then.
    Wait(Millis),
    /// Go to the origin; nobody waits.
    Go,
}

/// The right to ask the origin for a key, which others wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    hash: Hash,
    token: u64,
}

impl Lease {
    /// Whose key it is about.
    pub fn hash(&self) -> Hash {
        self.hash
    }
}

/// What came of a leader's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is stored.
    Stored,
    /// It isn't to be stored, and so it will be until then.
    Uncacheable(Millis),
    /// Nothing came, or nothing that says what the next one would get.
    Failed,
}

/// What a waiting request does when it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Look again, and if nothing is there take turns again.
    LookAgain,
    /// Go to the origin.
    Go,
}

/// Who asks for a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The queue of its worker.
    pub queue: u32,
    /// A number that nobody else uses.
    pub token: u64,
    /// The time.
    pub now: Millis,
    /// How long others wait for it at most.
    pub patience: Millis,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    identity: u64,
    /// Zero for a key that is remembered not to be stored.
    token: u64,
    until: Millis,
    queues: Vec<u32>,
}

fn decode(stored: Option<&[u8]>, now: Millis) -> Vec<Record> {
    let read = |bytes: &[u8]| {
        let mut reader = Reader(bytes);
        if reader.u32()? != MAGIC {
            return None;
        }
        let count = bytes.len().div_euclid(RECORD).saturating_add(1);
        let mut records = Vec::with_capacity(count.min(RECORDS));
        while !reader.is_done() {
            let mut record = Record {
                identity: reader.u64()?,
                token: reader.u64()?,
                until: reader.u64()?,
                queues: Vec::new(),
            };
            for _ in 0..reader.u16()? {
                record.queues.push(reader.u32()?);
            }
            records.push(record);
        }
        Some(records)
    };
    let mut records = stored.and_then(read).unwrap_or_default();
    // What claims more than a day isn't ours.
    const DAY: Millis = 86_400_000;
    records.retain(|record| record.until > now && record.until <= now.saturating_add(DAY));
    records
}

fn encode(records: &[Record]) -> Vec<u8> {
    let queues = records.iter().map(|it| it.queues.len().saturating_mul(4));
    let queues = queues.fold(4, usize::saturating_add);
    let bytes = records.len().saturating_mul(RECORD).saturating_add(queues);
    let mut out = Vec::with_capacity(bytes);
    out.extend_from_slice(&MAGIC.to_le_bytes());
    for record in records {
        for number in [record.identity, record.token, record.until] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        let count = u16::try_from(record.queues.len()).unwrap_or(0);
        out.extend_from_slice(&count.to_le_bytes());
        for queue in record.queues.iter().take(usize::from(count)) {
            out.extend_from_slice(&queue.to_le_bytes());
        }
    }
    out
}

fn key(layout: &Layout, hash: Hash) -> Key {
    layout.lease_key(hash.place.checked_rem(BUCKETS).unwrap_or(0))
}

/// Races lost after which nobody waits for anybody.
const TRIES: u32 = 64;

/// Asks for a turn at a key that was missed.
pub fn join<'a>(layout: &'a Layout, hash: Hash, caller: Caller) -> Op<'a, Turn> {
    Op::new(move |io| take_turn(io, layout, hash, caller))
}

async fn take_turn(io: Io, layout: &Layout, hash: Hash, caller: Caller) -> Turn {
    let key = key(layout, hash);
    for _ in 0..TRIES {
        let (stored, cas) = io.read(key).await;
        let mut records = decode(stored.as_deref(), caller.now);
        let full = records.len() >= RECORDS;
        let record = records
            .iter_mut()
            .find(|record| record.identity == hash.identity);
        let turn = match record {
            Some(record) if record.token == 0 => return Turn::Go,
            Some(record) => {
                let wait = Turn::Wait(record.until);
                if record.queues.contains(&caller.queue) {
                    return wait;
                }
                if record.queues.len() < QUEUES {
                    record.queues.push(caller.queue);
                }
                wait
            }
            None if full => return Turn::Go,
            None => {
                let token = caller.token.max(1);
                records.push(Record {
                    identity: hash.identity,
                    token,
                    until: caller.now.saturating_add(caller.patience),
                    queues: Vec::new(),
                });
                Turn::Lead(Lease { hash, token })
            }
        };
        if io.write(key, encode(&records), Some(cas)).await {
            return turn;
        }
    }
    Turn::Go
}

/// Ends a lease; returns the queues of the workers that have waiters. None if it had ended by itself.
pub fn settle<'a>(
    layout: &'a Layout,
    lease: Lease,
    outcome: Outcome,
    now: Millis,
) -> Op<'a, Vec<u32>> {
    Op::new(move |io| end(io, layout, lease, outcome, now))
}

async fn end(io: Io, layout: &Layout, lease: Lease, outcome: Outcome, now: Millis) -> Vec<u32> {
    let Lease { hash, token } = lease;
    let key = key(layout, hash);
    for _ in 0..TRIES {
        let (stored, cas) = io.read(key).await;
        let mut records = decode(stored.as_deref(), now);
        let at = records
            .iter()
            .position(|record| record.identity == hash.identity && record.token == token);
        let queues = at.map_or_else(Vec::new, |at| records.remove(at).queues);
        let remember = match outcome {
            Outcome::Uncacheable(until) => until > now && records.len() < RECORDS,
            Outcome::Stored | Outcome::Failed => false,
        };
        if remember && let Outcome::Uncacheable(until) = outcome {
            // Another may lead by now, if this one's lease had ended by itself.
            if records
                .iter()
                .all(|record| record.identity != hash.identity)
            {
                records.push(Record {
                    identity: hash.identity,
                    token: 0,
                    until,
                    queues: Vec::new(),
                });
            }
        } else if at.is_none() {
            return queues;
        }
        if io.write(key, encode(&records), Some(cas)).await {
            return queues;
        }
    }
    Vec::new()
}

/// Forgets that a key isn't to be stored.
pub fn forget<'a>(layout: &'a Layout, hash: Hash, now: Millis) -> Op<'a, ()> {
    Op::new(move |io| async move {
        for _ in 0..TRIES {
            let (stored, cas) = io.read(key(layout, hash)).await;
            let mut records = decode(stored.as_deref(), now);
            let before = records.len();
            records.retain(|record| record.identity != hash.identity || record.token != 0);
            if records.len() == before
                || io
                    .write(key(layout, hash), encode(&records), Some(cas))
                    .await
            {
                return;
            }
        }
    })
}

/// What a worker is told through its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Whose waiters.
    pub hash: Hash,
    /// What they do.
    pub wake: Wake,
}

impl Message {
    /// The message about a lease's end.
    pub fn of(hash: Hash, outcome: Outcome) -> Self {
        let wake = match outcome {
            Outcome::Stored | Outcome::Failed => Wake::LookAgain,
            Outcome::Uncacheable(_) => Wake::Go,
        };
        Self { hash, wake }
    }

    /// Its bytes.
    pub fn encode(self) -> Vec<u8> {
        let mut out = self.hash.place.to_le_bytes().to_vec();
        out.extend_from_slice(&self.hash.identity.to_le_bytes());
        out.push(u8::from(self.wake == Wake::Go));
        out
    }

    /// Reads it back; `None` if it isn't one.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let message = Self {
            hash: Hash {
                place: reader.u64()?,
                identity: reader.u64()?,
            },
            wake: if reader.u8()? == 0 {
                Wake::LookAgain
            } else {
                Wake::Go
            },
        };
        reader.is_done().then_some(message)
    }
}

/// The requests of a worker that wait.
#[derive(Debug, Default)]
pub struct Waiters {
    by_key: HashMap<(u64, u64), Vec<Waiter>, BuildHasherDefault<DefaultHasher>>,
    by_stream: HashMap<u32, Hash, BuildHasherDefault<DefaultHasher>>,
}

#[derive(Clone, Copy, Debug)]
struct Waiter {
    stream: u32,
    until: Millis,
}

impl Waiters {
    /// How many wait.
    pub fn len(&self) -> u64 {
        long(self.by_stream.len())
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.by_stream.is_empty()
    }

    /// Has a request wait for a key, until then at most.
    pub fn add(&mut self, hash: Hash, stream: u32, until: Millis) {
        self.remove(stream);
        let key = (hash.place, hash.identity);
        self.by_key
            .entry(key)
            .or_default()
            .push(Waiter { stream, until });
        self.by_stream.insert(stream, hash);
    }

    /// A request waits no more.
    pub fn remove(&mut self, stream: u32) {
        let Some(hash) = self.by_stream.remove(&stream) else {
            return;
        };
        let key = (hash.place, hash.identity);
        if let Some(waiters) = self.by_key.get_mut(&key) {
            waiters.retain(|waiter| waiter.stream != stream);
            if waiters.is_empty() {
                self.by_key.remove(&key);
            }
        }
    }

    /// Takes all requests that wait for a key, in the order in which they came.
    pub fn take(&mut self, hash: Hash) -> Vec<u32> {
        let waiters = self
            .by_key
            .remove(&(hash.place, hash.identity))
            .unwrap_or_default();
        let streams: Vec<_> = waiters.into_iter().map(|waiter| waiter.stream).collect();
        for stream in &streams {
            self.by_stream.remove(stream);
        }
        streams
    }

    /// Takes the requests that have waited long enough.
    pub fn take_overdue(&mut self, now: Millis) -> Vec<u32> {
        let waiters = self.by_key.values().flatten();
        let mut streams: Vec<_> = waiters
            .filter(|waiter| waiter.until <= now)
            .map(|waiter| waiter.stream)
            .collect();
        streams.sort_unstable();
        for stream in &streams {
            self.remove(*stream);
        }
        streams
    }
}
