//! The bounded store in the gateway's shared data, and each worker's memory in front of it.
//!
//! Shared data is a map from keys to values, seen by all workers, that never evicts, can't delete and
//! changes one value at a time by compare-and-set. Out of it this makes a cache of at most
//! `max_bytes`, however much is sent through it:
//!
//! - the **directory** ([`Set`](set::Set)): a fixed number of sets, each one value with up to 16
//!   records: whose, which version, until when, how large, which chunks;
//! - one **entry** per record: head, the end of the body, and what purges go by;
//! - a pool of **chunks** for the full 64 KiB pieces of longer bodies;
//! - the **ledger**: bytes in use, free chunks, and the hand that looks for what to evict; workers take
//!   room for small objects from it in advance;
//! - the **board**: what every lookup reads first, alone, as long as the worker remembers the rest: a
//!   sequence number that purges raise, and a version per group of keys, which is raised when an object
//!   changes that a worker remembers. A record says whether one does.
//!
//! Everything stored has a serial number of its own, and an entry or chunk counts only if it carries
//! the one of its record and its checksum is right. So whatever is cut short between two writes, by
//! another worker or by a crash, reads as a miss, and never as another object's bytes.
//!
//! What the head of an object means isn't known here: it is bytes that the caller makes. Keys are
//! 128-bit hashes under a seed that nobody outside knows.

mod board;
mod commit;
mod credit;
mod draft;
mod entry;
mod evict;
mod find;
mod key;
pub mod layout;
mod ledger;
pub mod memory;
pub mod op;
pub mod purge;
mod set;
pub mod sketch;
pub(crate) mod wire;

use std::cell::{Cell, RefCell};

use filter_core::hash::{Hash, Seed};
use filter_core::transaction::Cas;

use self::commit::Worker;
use self::credit::Credit;
use self::op::Op;
use self::purge::Fate;
use self::sketch::Sketch;

pub use self::board::View;
pub use self::commit::{Kept, Meta};
pub use self::draft::{Draft, Drafts};
pub use self::find::Loaded;
pub use self::layout::{Layout, Settings};
pub use self::purge::{Purge, Scope};

/// Milliseconds since 1970 on the wall clock.
pub type Millis = u64;

/// The store as one worker has it: what it is made with, and how often this worker was asked for what.
/// Everything else is in shared data. All work is told as an [`Op`]; whoever drives it does the I/O.
#[derive(Debug)]
pub struct Core {
    layout: Layout,
    seed: Seed,
    sketch: RefCell<Sketch>,
    evicted: Cell<u32>,
    /// Bytes of an object, on average.
    usual: Cell<u64>,
    drafts: Drafts,
    credit: Cell<Credit>,
}

impl Core {
    /// Makes a store. All workers must have the same settings and seed.
    pub fn new(settings: &Settings, seed: Seed) -> Self {
        let layout = Layout::new(settings);
        // What is on its way past may take as much as a worker's memory, and at least one object.
        let drafts = layout
            .max_object()
            .saturating_mul(2)
            .max(settings.worker_bytes);
        Self {
            sketch: RefCell::new(Sketch::new(layout.slots())),
            evicted: Cell::new(0),
            usual: Cell::new(layout::BYTES_PER_SLOT),
            drafts: Drafts::new(drafts, &layout),
            credit: Cell::default(),
            layout,
            seed,
        }
    }

    /// How large the store is.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The hash of a key.
    pub fn hash(&self, key: &[u8]) -> Hash {
        self.seed.hash(key)
    }

    /// How many objects this worker evicted since it was asked last.
    pub fn take_evictions(&self) -> u32 {
        self.evicted.take()
    }

    /// Counts a request for a key: what is asked for often is kept.
    pub fn ask(&self, hash: Hash) {
        self.sketch.borrow_mut().ask(hash.identity);
    }

    /// How often a key was asked for lately, 15 at most.
    pub fn asked(&self, hash: Hash) -> u8 {
        self.sketch.borrow().count(hash.identity)
    }

    /// Reads what all lookups of a request go by; `last` is what came of it the last time.
    pub fn look(&self, last: Option<(Cas, View)>) -> Op<'_, (Cas, View)> {
        Op::new(move |io| board::look(io, &self.layout, last))
    }

    /// Looks for an object: `None` if it isn't there, or no longer good for anything.
    pub fn find(&self, view: &View, hash: Hash, now: Millis) -> Op<'_, Option<Loaded>> {
        let view = view.clone();
        Op::new(move |io| find::find(io, &self.layout, self.seed, view, hash, now))
    }

    /// Whether an object that the worker remembers is as it was, stale, or gone, as far as purges of
    /// many objects go: `Some(true)` for stale, `None` for gone.
    pub fn is_stale(&self, view: &View, object: &Loaded) -> Option<bool> {
        match object.fate(view, self.seed) {
            Fate::Spared => Some(object.stale),
            Fate::Stale => Some(true),
            Fate::Gone => None,
        }
    }

    /// Begins to copy a body; see [`Drafts::begin`].
    pub fn draft(&self, view: &View, hash: Hash, length: Option<u64>) -> Option<Draft> {
        self.drafts.begin(view, hash, length)
    }

    /// Stores a complete draft.
    pub fn commit(&self, draft: Draft, meta: Meta, now: Millis) -> Op<'_, Kept> {
        self.expect(draft.len());
        let worker = self.worker(now);
        Op::new(move |io| commit::commit(io, worker, draft, meta))
    }

    /// Gives a stored object a new head, after the origin said, asked at the time of `view`, that its
    /// body is still good. False if that version is no longer stored.
    pub fn refresh<'a>(
        &'a self,
        view: &View,
        hash: Hash,
        object: &'a Loaded,
        head: &'a [u8],
        keep_until: Millis,
        now: Millis,
    ) -> Op<'a, bool> {
        let worker = self.worker(now);
        let born = view.sequence();
        Op::new(move |io| commit::refresh(io, worker, hash, object, born, head, keep_until))
    }

    /// Makes one key's object go, or stale, and has what was asked for before not stored; returns
    /// whether something was stored.
    pub fn invalidate(&self, hash: Hash, soft: bool, now: Millis) -> Op<'_, bool> {
        let worker = self.worker(now);
        Op::new(move |io| commit::invalidate(io, worker, hash, soft))
    }

    /// When a key was invalidated, if nothing is stored under it since and that is remembered.
    pub fn erased(&self, hash: Hash) -> Op<'_, Option<Millis>> {
        Op::new(move |io| find::erased(io, &self.layout, hash))
    }

    /// A number that tells this store from those of other gateways.
    pub fn number(&self) -> u64 {
        self.seed.hash_half(&self.layout.board_key())
    }

    /// Purges many objects.
    pub fn purge(&self, purge: Purge) -> Op<'_, ()> {
        Op::new(move |io| purge::purge(io, &self.layout, self.seed, purge))
    }

    /// Has all workers be told when a version of an object changes, before this one remembers it. False
    /// if it has changed: it isn't to be remembered then.
    pub fn remember(&self, hash: Hash, serial: u64) -> Op<'_, bool> {
        Op::new(move |io| commit::remember(io, &self.layout, hash, serial))
    }

    /// Has all workers know that a response says how queries are compared; see [`View::has_searches`].
    pub fn note_searches(&self) -> Op<'_, ()> {
        Op::new(move |io| async move {
            board::post(&io, &self.layout, |board| board.searches = 1).await;
        })
    }

    /// Bytes that the ledger has as in use: all that is stored, and what workers have in advance.
    pub fn used(&self) -> Op<'_, u64> {
        Op::new(|io| evict::used(io, &self.layout))
    }

    /// Bytes that this worker has in advance.
    pub fn in_advance(&self) -> u64 {
        self.credit.get().bytes
    }

    /// Counts anew what is in use, after a worker was stopped in the middle of its work. Returns whether
    /// it did: not while others are at work.
    pub fn recount(&self, now: Millis) -> Op<'_, bool> {
        Op::new(move |io| evict::recount(io, &self.layout, now))
    }

    /// Takes note of a body's length: how many there is room for depends on it.
    fn expect(&self, len: u64) {
        // A moving average over some 32 bodies; half a KiB for a head.
        let bytes = len.saturating_add(512);
        let before = self.usual.get();
        let usual = before.saturating_sub(before.div_euclid(32));
        let usual = usual.saturating_add(bytes.div_euclid(32));
        self.usual.set(usual);
        let keys = self.layout.budget().div_euclid(usual.max(1));
        let mut sketch = self.sketch.borrow_mut();
        sketch.expect(keys.min(self.layout.slots()));
    }

    fn worker(&self, now: Millis) -> Worker<'_> {
        Worker {
            layout: &self.layout,
            seed: self.seed,
            sketch: &self.sketch,
            evicted: &self.evicted,
            credit: &self.credit,
            now,
        }
    }
}
