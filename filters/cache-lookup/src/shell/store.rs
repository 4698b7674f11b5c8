//! The store's and the collapse's work against the host's shared data and queues.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use filter_core::hash::{Hash, Seed};
use filter_core::transaction::Cas;
use filter_shell::host::{self, Status};

use super::changes::Changes;
use crate::collapse::{self, Caller, Lease, Message, Outcome, Turn, Waiters, Wake};
use crate::remote::fleet::{self, Line, List, News, SKEW};
use crate::store::memory::Memory;
use crate::store::op::{Op, Write};
use crate::store::{Core, Draft, Kept, Loaded, Meta, Millis, Purge, Settings, View};

/// A stored object with its head as the caller understands it.
#[derive(Debug)]
pub struct Object<H> {
    /// The head.
    pub head: H,
    /// As it is stored.
    pub stored: Loaded,
}

/// What a lookup found.
#[derive(Debug)]
pub struct Found<H> {
    /// The object.
    pub object: Rc<Object<H>>,
    /// Whether a soft purge or invalidation hit it: it is to be taken as stale.
    pub stale: bool,
    /// Whether this worker had it in its own memory.
    pub remembered: bool,
}

/// The store of a plugin in this VM.
#[derive(Debug)]
pub struct Store<H> {
    core: Core,
    decode: fn(&[u8]) -> Option<H>,
    memory: RefCell<Memory<Rc<Object<H>>>>,
    changes: Changes,
    last: RefCell<Option<Last>>,
    waiters: RefCell<Waiters>,
    /// Those that are to be woken.
    ready: RefCell<VecDeque<(u32, Wake)>>,
    queue: u32,
    /// Numbers that no other worker uses, each once.
    token: Cell<u64>,
    patience: Millis,
    started: Millis,
}

/// What was read of the board.
#[derive(Debug)]
struct Last {
    /// The number of changes before it was read; none if it isn't known to be the last any more.
    number: Option<u64>,
    cas: Cas,
    view: View,
}

impl<H> Store<H> {
    /// Makes a store; to be called in `on_configure`. `decode` reads a head; what it returns `None` for
    /// isn't found. `patience` is how long requests wait for another one's answer, in milliseconds.
    ///
    /// # Errors
    /// What the host refused, in one line for the log.
    pub fn configure(
        settings: &Settings,
        seed: Seed,
        patience: Millis,
        decode: fn(&[u8]) -> Option<H>,
    ) -> Result<Self, String> {
        let number = host::random::<8>().map_err(|status| format!("no random number: {status}"))?;
        let number = u64::from_le_bytes(number);
        // Of several VMs that register a name the host tells one, so each has its own.
        let queue = host::register_queue(&format!("penstock.cache_lookup.{number:016x}"))
            .map_err(|status| format!("no queue to be woken by: {status}"))?;
        let core = Core::new(settings, seed);
        let changes =
            Changes::define().map_err(|status| format!("no counter of changes: {status}"))?;
        let now = host::wall_nanos().map_err(|status| format!("no clock: {status}"))?;
        let started = millis(now);
        run(core.recount(started)).map_err(|status| format!("no shared data: {status}"))?;
        Ok(Self {
            core,
            decode,
            memory: RefCell::new(Memory::new(settings.worker_bytes)),
            changes,
            last: RefCell::default(),
            waiters: RefCell::default(),
            ready: RefCell::default(),
            queue,
            token: Cell::new(number),
            patience,
            started,
        })
    }

    /// The hash of a key.
    pub fn hash(&self, key: &[u8]) -> Hash {
        self.core.hash(key)
    }

    /// What all lookups of a request go by: no read of shared data as long as nothing changed, one then,
    /// two after a purge.
    ///
    /// # Errors
    /// The host's status.
    pub fn view(&self) -> Result<View, Status> {
        // Before the board is read: what changes in between is read again.
        let number = self.changes.number();
        if number.is_some()
            && let Some(last) = &*self.last.borrow()
            && last.number == number
        {
            return Ok(last.view.clone());
        }
        let last = self.last.take().map(|last| (last.cas, last.view));
        let (cas, view) = run(self.core.look(last))?;
        self.last.replace(Some(Last {
            number,
            cas,
            view: view.clone(),
        }));
        Ok(view)
    }

    /// Has the next request read the board, whatever is known of changes; to be called in `on_tick`. A
    /// host whose counters aren't one for all workers is then wrong for the time of a tick at most.
    pub fn look_anew(&self) {
        if let Some(last) = &mut *self.last.borrow_mut() {
            last.number = None;
        }
    }

    /// Looks for an object: in this worker's memory, which takes no hostcall, then in shared data, which
    /// takes two and one more per 64 KiB of its body, and two when it is remembered. `None` if it isn't there, was purged, or
    /// is no longer good for anything.
    ///
    /// # Errors
    /// The host's status.
    pub fn find(&self, view: &View, hash: Hash, now: Millis) -> Result<Option<Found<H>>, Status> {
        self.core.ask(hash);
        let version = view.version(hash);
        let mut memory = self.memory.borrow_mut();
        if let Some(object) = memory.get(hash, version) {
            if object.stored.keep_until <= now {
                memory.forget(hash);
                return Ok(None);
            }
            let found = self.core.is_stale(view, &object.stored).map(|stale| Found {
                object: Rc::clone(object),
                stale,
                remembered: true,
            });
            if found.is_none() {
                memory.forget(hash);
            }
            return Ok(found);
        }
        let Some(stored) = run(self.core.find(view, hash, now))? else {
            memory.forget(hash);
            return Ok(None);
        };
        let Some(head) = (self.decode)(&stored.head) else {
            return Ok(None);
        };
        let stale = stored.stale;
        let bytes = size(&stored);
        let object = Rc::new(Object { head, stored });
        // What was asked for once may never be again.
        if bytes <= memory.largest()
            && self.core.asked(hash) > 1
            && (object.stored.remembered || run(self.core.remember(hash, object.stored.serial))?)
        {
            memory.put(hash, version, bytes, Rc::clone(&object));
        }
        Ok(Some(Found {
            object,
            stale,
            remembered: false,
        }))
    }

    /// Begins to copy the body of what was asked for at the time of `view`. `length` is the body's, if
    /// the response tells it. `None` if it is too long, or too much is under way.
    pub fn draft(&self, view: &View, hash: Hash, length: Option<u64>) -> Option<Draft> {
        self.core.draft(view, hash, length)
    }

    /// Stores a complete draft.
    ///
    /// # Errors
    /// The host's status.
    pub fn commit(&self, draft: Draft, meta: Meta, now: Millis) -> Result<Kept, Status> {
        self.run(self.core.commit(draft, meta, now))
    }

    /// Gives a stored object a new head, after the origin said, asked at the time of `view`, that its
    /// body is still good. False if that version is no longer stored.
    ///
    /// # Errors
    /// The host's status.
    pub fn refresh(
        &self,
        view: &View,
        hash: Hash,
        object: &Object<H>,
        head: &[u8],
        keep_until: Millis,
        now: Millis,
    ) -> Result<bool, Status> {
        self.run(
            self.core
                .refresh(view, hash, &object.stored, head, keep_until, now),
        )
    }

    /// Has lookups ask for entries that say how queries are compared; see [`View::has_searches`].
    ///
    /// # Errors
    /// The host's status.
    pub fn note_searches(&self, view: &View) -> Result<(), Status> {
        if view.has_searches() {
            return Ok(());
        }
        self.run(self.core.note_searches())
    }

    /// Makes one key's object go, or stale, on all workers, and has what was asked for before not stored.
    /// Returns whether something was stored.
    ///
    /// # Errors
    /// The host's status.
    pub fn invalidate(&self, hash: Hash, soft: bool, now: Millis) -> Result<bool, Status> {
        run(collapse::forget(self.core.layout(), hash, now))?;
        self.run(self.core.invalidate(hash, soft, now))
    }

    /// Purges many objects, on all workers.
    ///
    /// # Errors
    /// The host's status.
    pub fn purge(&self, purge: Purge) -> Result<(), Status> {
        self.run(self.core.purge(purge))
    }

    /// Whether this worker is the one of the gateway to read a list of the fleet now.
    ///
    /// # Errors
    /// The host's status.
    pub fn is_turn(&self, list: List, now: u64) -> Result<bool, Status> {
        run(fleet::is_turn(self.core.layout(), list, now))
    }

    /// Takes note of a list of the fleet, for all workers; tells what this one is to carry out.
    ///
    /// # Errors
    /// The host's status.
    pub fn sift(&self, list: List, lines: &[Line]) -> Result<News, Status> {
        run(fleet::sift(self.core.layout(), list, lines, self.started))
    }

    /// Whether a key was invalidated since an origin was asked for what a value has: on whatever gateway
    /// that was, so that clocks may differ.
    ///
    /// # Errors
    /// The host's status.
    pub fn is_erased(&self, hash: Hash, asked: Millis) -> Result<bool, Status> {
        let erased = run(self.core.erased(hash))?;
        Ok(erased.is_some_and(|at| asked <= at.saturating_add(SKEW)))
    }

    /// A number that tells this gateway's store from those of others.
    pub fn gateway(&self) -> u64 {
        self.core.number()
    }

    /// Has all workers of this gateway leave the remote tier alone for a while: one of them knows of a
    /// purge that the others haven't read of.
    pub fn keep_quiet(&self, now: u64) {
        // A host that refuses this has no store either.
        let _ = run(fleet::keep_quiet(self.core.layout(), now));
    }

    /// Whether the remote tier is to be left alone.
    pub fn is_quiet(&self, now: u64) -> bool {
        run(fleet::is_quiet(self.core.layout(), now)).unwrap_or(true)
    }

    /// A number that no other line, lease or worker has.
    pub fn number(&self) -> u64 {
        let token = self.token.get().wrapping_add(1);
        self.token.set(token);
        token
    }

    /// Has `on_queue_ready` called soon, outside of any stream.
    pub fn nudge(&self) {
        // If it can't be, the next tick does what there is to do.
        let _ = host::enqueue(self.queue, &[]);
    }

    /// How many objects this worker evicted since it was asked last.
    pub fn take_evictions(&self) -> u32 {
        self.core.take_evictions()
    }

    /// Asks for a turn at a key that was missed. After [`Turn::Wait`] the stream is to be held until
    /// [`Self::woken`] or [`Self::overdue`] tells of it.
    ///
    /// # Errors
    /// The host's status.
    pub fn join(&self, hash: Hash, stream: u32, now: Millis) -> Result<Turn, Status> {
        let caller = Caller {
            queue: self.queue,
            token: self.number(),
            now,
            patience: self.patience,
        };
        let turn = run(collapse::join(self.core.layout(), hash, caller))?;
        if let Turn::Wait(until) = turn {
            self.waiters.borrow_mut().add(hash, stream, until);
        }
        Ok(turn)
    }

    /// A stream waits no more: it has ended.
    pub fn leave(&self, stream: u32) {
        self.waiters.borrow_mut().remove(stream);
        let mut ready = self.ready.borrow_mut();
        ready.retain(|(other, _)| *other != stream);
    }

    /// Ends a lease and tells all workers that wait for it. Their streams are woken later, never within
    /// this call.
    ///
    /// # Errors
    /// The host's status.
    pub fn settle(&self, lease: Lease, outcome: Outcome, now: Millis) -> Result<(), Status> {
        let queues = run(collapse::settle(self.core.layout(), lease, outcome, now))?;
        let message = Message::of(lease.hash(), outcome).encode();
        for queue in queues {
            // A worker that has gone has nobody waiting.
            let _ = host::enqueue(queue, &message);
        }
        Ok(())
    }

    /// The streams that are to be woken, and what for; to be called in `on_queue_ready`. Not all at once:
    /// the host answers them one within another, and hundreds overflow its stack. If there are more,
    /// `on_queue_ready` is called again.
    pub fn woken(&self) -> Vec<(u32, Wake)> {
        let mut ready = self.ready.borrow_mut();
        while let Ok(Some(message)) = host::dequeue(self.queue) {
            if let Some(Message { hash, wake }) = Message::decode(&message) {
                let streams = self.waiters.borrow_mut().take(hash);
                ready.extend(streams.into_iter().map(|stream| (stream, wake)));
            }
        }
        self.batch(&mut ready)
    }

    /// The streams that have waited long enough and go on their own; to be called in `on_tick`. The rest
    /// of many come in [`Self::woken`].
    pub fn overdue(&self, now: Millis) -> Vec<(u32, Wake)> {
        let mut ready = self.ready.borrow_mut();
        let mut waiters = self.waiters.borrow_mut();
        if !waiters.is_empty() {
            let overdue = waiters.take_overdue(now).into_iter();
            ready.extend(overdue.map(|stream| (stream, Wake::Go)));
        }
        self.batch(&mut ready)
    }

    /// Does an op's steps, and tells all workers if it changes the board.
    fn run<T>(&self, op: Op<'_, T>) -> Result<T, Status> {
        let board = self.core.layout().board_key();
        drive(op, |write| {
            let written = write_shared(write)?;
            if written && write.key == board {
                self.changes.tell();
            }
            Ok(written)
        })
    }

    fn batch(&self, ready: &mut VecDeque<(u32, Wake)>) -> Vec<(u32, Wake)> {
        const MOST: usize = 32;
        let batch = ready.drain(..ready.len().min(MOST)).collect();
        if !ready.is_empty() {
            self.nudge();
        }
        batch
    }
}

/// Whole milliseconds.
fn millis(nanos: u64) -> Millis {
    nanos.div_euclid(1_000_000)
}

fn size(object: &Loaded) -> u64 {
    // The head twice: as bytes and as it is understood.
    let head = object.head.len().saturating_mul(2);
    let parts = [
        head,
        object.body.len(),
        object.name.len(),
        object.tags.len(),
    ];
    let bytes = parts.into_iter().fold(0, usize::saturating_add);
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Does an op's steps against shared data. Those that change the board are done by [`Store::run`].
fn run<T>(op: Op<'_, T>) -> Result<T, Status> {
    drive(op, write_shared)
}

fn drive<T>(op: Op<'_, T>, write: impl FnMut(&Write) -> Result<bool, Status>) -> Result<T, Status> {
    // All steps are answered, so the work comes to its end.
    op.drive(host::shared, write)?.ok_or(Status(UNANSWERED))
}

fn write_shared(write: &Write) -> Result<bool, Status> {
    match write.cas {
        Some(cas) => host::set_shared(&write.key, &write.value, cas),
        None => host::overwrite_shared(&write.key, &write.value).map(|()| true),
    }
}

/// Stands for an op that stopped half-way, which none does.
const UNANSWERED: u32 = u32::MAX;
