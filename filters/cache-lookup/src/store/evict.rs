//! Making room: what is expired first, then what is worth less than the newcomer.
//!
//! A hand goes round the sets, as in a clock, and each set that it comes to is a sample of 16. Victims
//! are chosen first and evicted only once they suffice, so a newcomer that isn't let in pushed out
//! nothing but what was expired anyway.

use std::cell::RefCell;

use filter_core::transaction::Cas;

use super::Millis;
use super::board::post;
use super::commit::Worker;
use super::credit::{Credit, SERIALS};
use super::layout::Layout;
use super::ledger::Ledger;
use super::op::Io;
use super::set::{Record, Set};
use super::sketch::{Sketch, worth};
use super::wire::long;

/// Sets in a row without a victim after which a newcomer is turned away.
const PATIENCE: u32 = 4;
/// Sets looked at for one newcomer, at most.
const ROUNDS: u32 = 256;
/// Counting anew waits until nothing was reserved for so long.
pub(crate) const QUIET: Millis = 1000;
/// Races lost after which a piece of work is given up.
pub(crate) const TRIES: u32 = 64;

/// Room in the store, taken but not yet used.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) serial: u64,
    pub(crate) bytes: u64,
    pub(crate) chunks: Vec<u32>,
}

/// What records in a set are worth to this worker; nothing from `keep_until` on.
pub(crate) fn record_worth(record: &Record, sketch: &RefCell<Sketch>, now: Millis) -> u64 {
    if record.keep_until <= now || record.tombstone {
        return 0;
    }
    worth(sketch.borrow().count(record.identity), record.bytes)
}

/// Takes room for an object that is worth so much, evicting others if need be; `None` if those are
/// worth more.
pub(crate) async fn make_room(
    io: &Io,
    worker: Worker<'_>,
    (bytes, chunks): (u64, usize),
    newcomer: u64,
) -> Option<Room> {
    let Worker {
        layout,
        now,
        credit,
        ..
    } = worker;
    let mut own = credit.get();
    if chunks == 0
        && let Some(serial) = own.take(bytes, now)
    {
        credit.set(own);
        return Some(Room {
            serial,
            bytes,
            chunks: Vec::new(),
        });
    }
    for _ in 0..TRIES {
        let shortfall = loop {
            let (stored, cas) = io.read(layout.ledger_key()).await;
            let mut ledger = Ledger::decode(stored.as_deref(), layout, now);
            // What is left of the last credit goes back, if it is still counted.
            let own = credit.get();
            if own.epoch == ledger.epoch {
                ledger.give_back(own.bytes, &[]);
            }
            let count = chunks;
            let Some(chunks) = ledger.take(bytes, count, layout) else {
                break ledger.shortfall(bytes, layout).max(1);
            };
            let spare = layout.credit();
            let spare = if count == 0 && ledger.take(spare, 0, layout).is_some() {
                spare
            } else {
                0
            };
            let serial = ledger.next_serials(SERIALS);
            ledger.touched = now;
            // A worker that is stopped here has lost it, and doesn't have it twice.
            credit.set(Credit::default());
            if io
                .write(layout.ledger_key(), ledger.encode(), Some(cas))
                .await
            {
                credit.set(Credit {
                    bytes: spare,
                    serial: serial.wrapping_add(1),
                    serials: SERIALS.saturating_sub(1),
                    taken: now,
                    epoch: ledger.epoch,
                });
                return Some(Room {
                    serial,
                    bytes,
                    chunks,
                });
            }
            credit.set(own);
        };
        let (victims, suffice) = victims(io, worker, shortfall, newcomer).await;
        for (set, serial) in victims {
            if evict(io, worker, set, serial).await {
                worker.count_eviction();
            }
        }
        if !suffice {
            return None;
        }
    }
    None
}

/// Chooses what to evict, by set and serial number, and tells whether that is enough. If it isn't, only
/// what is expired is chosen.
async fn victims(
    io: &Io,
    worker: Worker<'_>,
    shortfall: u64,
    newcomer: u64,
) -> (Vec<(u32, u64)>, bool) {
    let Worker {
        layout,
        sketch,
        now,
        ..
    } = worker;
    let mut expired = Vec::new();
    let mut others = Vec::new();
    let mut freed = 0_u64;
    let mut in_vain = 0_u32;
    for _ in 0..ROUNDS.min(layout.sets()) {
        let (stored, cas) = io.read(layout.ledger_key()).await;
        let mut ledger = Ledger::decode(stored.as_deref(), layout, now);
        let number = ledger.turn(layout);
        // If another worker was faster it is at the same set: no harm.
        io.write(layout.ledger_key(), ledger.encode(), Some(cas))
            .await;
        let (stored, _) = io.read(layout.set_key(number)).await;
        let set = Set::decode(stored.as_deref());
        let mut sorted: Vec<_> = set.records.iter().collect();
        sorted.sort_by_cached_key(|record| (record_worth(record, sketch, now), record.serial));
        let before = freed;
        for record in sorted {
            if record.bytes == 0 {
                continue;
            }
            if record.keep_until <= now {
                expired.push((number, record.serial));
            } else if freed < shortfall && record_worth(record, sketch, now) < newcomer {
                others.push((number, record.serial));
            } else {
                continue;
            }
            freed = freed.saturating_add(record.bytes);
        }
        if freed >= shortfall {
            expired.append(&mut others);
            return (expired, true);
        }
        in_vain = if freed > before {
            0
        } else {
            in_vain.saturating_add(1)
        };
        // An empty set is nothing to be impatient about.
        if in_vain >= PATIENCE && !set.records.is_empty() {
            break;
        }
    }
    (expired, false)
}

/// Evicts a version of an object; returns whether it was still there.
pub(crate) async fn evict(io: &Io, worker: Worker<'_>, number: u32, serial: u64) -> bool {
    let Worker { layout, now, .. } = worker;
    for _ in 0..TRIES {
        let (stored, cas) = io.read(layout.set_key(number)).await;
        let mut set = Set::decode(stored.as_deref());
        let Some(record) = set.remove(serial, now) else {
            return false;
        };
        let (_, entry) = io.read(layout.entry_key(number, record.way)).await;
        if io
            .write(layout.set_key(number), set.encode(), Some(cas))
            .await
        {
            empty(io, layout, number, record.way, entry).await;
            release(io, layout, record.bytes, &record.chunks).await;
            tell(io, layout, &record).await;
            return true;
        }
    }
    false
}

/// Empties the entry of a way that has just lost its record, unless another record has the way by now.
pub(crate) async fn empty(io: &Io, layout: &Layout, number: u32, way: u8, mut cas: Cas) {
    let key = layout.entry_key(number, way);
    for _ in 0..TRIES {
        if io.write(key, Vec::new(), Some(cas)).await {
            return;
        }
        // One who had the way before was slow to write, or one who has it now was quick.
        (_, cas) = io.read(key).await;
        let (stored, _) = io.read(layout.set_key(number)).await;
        let set = Set::decode(stored.as_deref());
        let has_record = |record: &Record| record.way == way && !record.tombstone;
        if set.records.iter().any(has_record) {
            return;
        }
    }
}

/// Tells all workers that a record is no longer so, if one of them remembers its object.
pub(crate) async fn tell(io: &Io, layout: &Layout, record: &Record) {
    if record.remembered {
        post(io, layout, |board| board.change(record.identity)).await;
    }
}

/// Gives room back to the worker's credit, or else to the ledger.
pub(crate) async fn keep_or_release(io: &Io, worker: Worker<'_>, bytes: u64, chunks: &[u32]) {
    let Worker { layout, credit, .. } = worker;
    let mut own = credit.get();
    let most = layout.credit().saturating_mul(2);
    if chunks.is_empty() && own.give(bytes, most, worker.now) {
        credit.set(own);
    } else {
        release(io, layout, bytes, chunks).await;
    }
}

/// Gives room back. Chunks are emptied first: they would hold memory that the ledger doesn't count.
pub(crate) async fn release(io: &Io, layout: &Layout, bytes: u64, chunks: &[u32]) {
    for chunk in chunks {
        io.write(layout.chunk_key(*chunk), Vec::new(), None).await;
    }
    if bytes == 0 && chunks.is_empty() {
        return;
    }
    loop {
        let (stored, cas) = io.read(layout.ledger_key()).await;
        // Without a ledger there is nothing to give back to.
        let mut ledger = Ledger::decode(stored.as_deref(), layout, 0);
        ledger.give_back(bytes, chunks);
        if io
            .write(layout.ledger_key(), ledger.encode(), Some(cas))
            .await
        {
            return;
        }
    }
}

/// Bytes of all that is stored, as the ledger has it.
pub(crate) async fn used(io: Io, layout: &Layout) -> u64 {
    let (stored, _) = io.read(layout.ledger_key()).await;
    Ledger::decode(stored.as_deref(), layout, 0).used
}

/// Counts anew what is in use, after a worker was stopped in the middle of its work; only if nothing has
/// been reserved for a second, so that nothing under way is missed.
pub(crate) async fn recount(io: Io, layout: &Layout, now: Millis) -> bool {
    let (stored, cas) = io.read(layout.ledger_key()).await;
    let Some(stored) = stored else { return false };
    let mut ledger = Ledger::decode(Some(&stored), layout, now);
    if now.saturating_sub(ledger.touched) < QUIET && ledger.used > 0 {
        return false;
    }
    let mut used = 0_u64;
    let mut chunks = Vec::new();
    for number in 0..layout.sets() {
        let (stored, _) = io.read(layout.set_key(number)).await;
        for record in Set::decode(stored.as_deref()).records {
            used = used.saturating_add(record.bytes);
            chunks.extend(record.chunks);
        }
    }
    ledger.in_use(used, &chunks);
    io.write(layout.ledger_key(), ledger.encode(), Some(cas))
        .await
}

/// Bytes of chunks.
pub(crate) fn chunk_bytes(chunks: usize) -> u64 {
    const EACH: u64 = 64 * 1024 + 20;
    long(chunks).saturating_mul(EACH)
}
