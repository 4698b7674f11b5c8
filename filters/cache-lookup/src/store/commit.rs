//! Storing, refreshing and invalidating an object.
//!
//! The order of writes is what keeps readers right: chunks first; then the record, from which moment
//! the way is this worker's; then the entry, which makes it a hit; then the board, which makes other
//! workers forget what they remember. Between them a reader finds a serial number that doesn't fit, and
//! that is a miss.

use std::cell::{Cell, RefCell};

use filter_core::hash::{Hash, Seed};

use super::Millis;
use super::board::post;
use super::credit::Credit;
use super::draft::Draft;
use super::entry::{CHUNK_HEAD, Entry, encode_tags, seal_chunk};
use super::evict::{
    Room, TRIES, chunk_bytes, empty, evict, keep_or_release, make_room, record_worth, release, tell,
};
use super::find::Loaded;
use super::layout::Layout;
use super::op::Io;
use super::set::{Record, Set, TOMBSTONE};
use super::sketch::{Sketch, worth};
use super::wire::long;

/// What is stored beside a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Bytes whose meaning the caller knows.
    pub head: Vec<u8>,
    /// From then on the object is worth nothing: neither fresh, nor to be served stale, nor to be
    /// validated.
    pub keep_until: Millis,
    /// What purges by prefix go by.
    pub name: Vec<u8>,
    /// What purges by tag go by.
    pub tags: Vec<Vec<u8>>,
}

/// What came of storing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is stored.
    Stored,
    /// The store is full of what is asked for more often.
    NotAdmitted,
    /// It was purged or invalidated since it was asked for, or something younger is stored.
    Superseded,
    /// It is larger than the store can ever hold.
    TooLarge,
}

/// What the work needs of the worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Worker<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) seed: Seed,
    pub(crate) sketch: &'a RefCell<Sketch>,
    pub(crate) evicted: &'a Cell<u32>,
    pub(crate) credit: &'a Cell<Credit>,
    pub(crate) now: Millis,
}

impl Worker<'_> {
    pub(crate) fn count_eviction(self) {
        self.evicted.set(self.evicted.get().saturating_add(1));
    }
}

/// Stores a complete draft.
pub(crate) async fn commit(io: Io, worker: Worker<'_>, mut draft: Draft, meta: Meta) -> Kept {
    let Worker {
        layout,
        seed,
        sketch,
        ..
    } = worker;
    let hash = draft.hash;
    let body_len = draft.len();
    let mut pieces = std::mem::take(&mut draft.pieces);
    let last = pieces.pop().unwrap_or_default();
    let tail = last.get(CHUNK_HEAD..).unwrap_or_default();
    let tags = encode_tags(&meta.tags);
    let entry_len = Entry::len(meta.name.len(), tags.len(), meta.head.len(), tail.len());
    let bytes = long(entry_len).saturating_add(chunk_bytes(pieces.len()));
    if bytes > layout.budget() || pieces.len() > usize::from(u16::MAX) {
        return Kept::TooLarge;
    }
    let newcomer = worth(sketch.borrow().count(hash.identity).max(1), bytes);
    let need = (bytes, pieces.len());
    let Some(room) = make_room(&io, worker, need, newcomer).await else {
        return Kept::NotAdmitted;
    };
    for ((chunk, mut piece), position) in room.chunks.iter().zip(pieces).zip(0..) {
        seal_chunk(&mut piece, room.serial, position, seed);
        io.write(layout.chunk_key(*chunk), piece, None).await;
    }
    let entry = Entry {
        hash,
        serial: room.serial,
        body_len,
        name: &meta.name,
        tags: &tags,
        head: &meta.head,
        tail,
    };
    let entry = entry.encode(seed);
    let kept = place(
        &io,
        worker,
        hash,
        draft.born,
        meta.keep_until,
        &room,
        newcomer,
        entry,
    )
    .await;
    if kept != Kept::Stored {
        keep_or_release(&io, worker, room.bytes, &room.chunks).await;
    }
    kept
}

/// Puts the record and the entry of a new version where they belong.
#[expect(
    clippy::too_many_arguments,
    reason = "one caller, and each is a value of its own"
)]
async fn place(
    io: &Io,
    worker: Worker<'_>,
    hash: Hash,
    born: u64,
    keep_until: Millis,
    room: &Room,
    newcomer: u64,
    mut entry: Vec<u8>,
) -> Kept {
    let Worker {
        layout,
        sketch,
        now,
        ..
    } = worker;
    let number = layout.set_of(hash);
    let set_key = layout.set_key(number);
    for _ in 0..TRIES {
        let (stored, cas) = io.read(set_key).await;
        let mut set = Set::decode(stored.as_deref());
        if set.is_superseded(hash, born, now) {
            return Kept::Superseded;
        }
        let old = set.find(hash).cloned();
        let way = old.as_ref().map(|old| old.way).or_else(|| set.free_way());
        let victim = if way.is_some() {
            old
        } else {
            let records = set.records.iter();
            let least =
                records.min_by_key(|other| (record_worth(other, sketch, now), other.serial));
            let Some(least) = least.filter(|other| record_worth(other, sketch, now) < newcomer)
            else {
                return Kept::NotAdmitted;
            };
            Some(least.clone())
        };
        let Some(way) = way.or_else(|| victim.as_ref().map(|victim| victim.way)) else {
            return Kept::NotAdmitted;
        };
        let entry_key = layout.entry_key(number, way);
        let (_, mut entry_cas) = io.read(entry_key).await;
        let record = Record {
            way,
            tombstone: false,
            stale: false,
            remembered: false,
            identity: hash.identity,
            serial: room.serial,
            born,
            since: born,
            keep_until,
            bytes: room.bytes,
            chunks: room.chunks.clone(),
        };
        set.put(record, now);
        if !io.write(set_key, set.encode(), Some(cas)).await {
            continue;
        }
        // From here on the room is the record's: whoever removes that releases it.
        while !io.rewrite(entry_key, &mut entry, Some(entry_cas)).await {
            // One who had the way before was slow to write. Is it still ours?
            let (_, cas_now) = io.read(entry_key).await;
            let (stored, _) = io.read(set_key).await;
            if Set::decode(stored.as_deref())
                .version(room.serial)
                .is_none()
            {
                break;
            }
            entry_cas = cas_now;
        }
        // Only now are the bytes of the one before gone.
        if let Some(victim) = victim {
            if victim.identity != hash.identity {
                worker.count_eviction();
            }
            keep_or_release(io, worker, victim.bytes, &victim.chunks).await;
            tell(io, layout, &victim).await;
        }
        return Kept::Stored;
    }
    Kept::NotAdmitted
}

/// Gives a stored object a new head; its body stays. False if the version is no longer stored, or there
/// is no room for a longer head: the object is gone then.
pub(crate) async fn refresh(
    io: Io,
    worker: Worker<'_>,
    hash: Hash,
    object: &Loaded,
    born: u64,
    head: &[u8],
    keep_until: Millis,
) -> bool {
    let Worker {
        layout, seed, now, ..
    } = worker;
    let number = layout.set_of(hash);
    for _ in 0..TRIES {
        let (stored, cas) = io.read(layout.set_key(number)).await;
        let mut set = Set::decode(stored.as_deref());
        let Some(record) = set.version(object.serial).cloned() else {
            return false;
        };
        let key = layout.entry_key(number, record.way);
        let (stored, entry_cas) = io.read(key).await;
        let stored = stored.unwrap_or_default();
        let Some(entry) = Entry::decode(&stored, seed).filter(|it| it.serial == record.serial)
        else {
            return false;
        };
        let mut renewed = Entry { head, ..entry }.encode(seed);
        // Not the length of the entry there is: another worker may be about to write one for this record.
        let counted = record
            .bytes
            .saturating_sub(chunk_bytes(record.chunks.len()));
        let more = long(renewed.len()).saturating_sub(counted);
        let less = counted.saturating_sub(long(renewed.len()));
        if more > 0 {
            let room = make_room(&io, worker, (more, 0), u64::MAX).await;
            if room.is_none() {
                evict(&io, worker, number, object.serial).await;
                return false;
            }
        }
        let bytes = record.bytes.saturating_add(more).saturating_sub(less);
        // A validation is as young as the request that brought it.
        let younger = born >= record.since;
        let born_now = if younger { born } else { record.born };
        let record = Record {
            keep_until,
            born: born_now,
            since: record.since.max(born),
            stale: record.stale && !younger,
            bytes,
            ..record
        };
        set.put(record, now);
        if !io
            .write(layout.set_key(number), set.encode(), Some(cas))
            .await
        {
            release(&io, layout, more, &[]).await;
            continue;
        }
        let mut entry_cas = entry_cas;
        let mut written = io.rewrite(key, &mut renewed, Some(entry_cas)).await;
        while !written {
            // Another worker wrote for this record. The last one to change the record has the say; a
            // younger validation may have the same length.
            (_, entry_cas) = io.read(key).await;
            let (stored, _) = io.read(layout.set_key(number)).await;
            let set = Set::decode(stored.as_deref());
            let is_ours = |it: &Record| {
                it.bytes == bytes && it.keep_until == keep_until && it.born == born_now
            };
            if !set.version(object.serial).is_some_and(is_ours) {
                break;
            }
            written = io.rewrite(key, &mut renewed, Some(entry_cas)).await;
        }
        release(&io, layout, less, &[]).await;
        // Always: a worker may be about to remember what it has just read.
        post(&io, layout, |board| board.change(hash.identity)).await;
        return written;
    }
    false
}

/// Makes a key's object go, or stale; and what was asked for before now isn't stored any more. Returns
/// whether something was stored.
pub(crate) async fn invalidate(io: Io, worker: Worker<'_>, hash: Hash, soft: bool) -> bool {
    let Worker { layout, now, .. } = worker;
    let number = layout.set_of(hash);
    let sequence = post(&io, layout, |board| {
        board.sequence = board.sequence.saturating_add(1);
    })
    .await
    .sequence;
    let mut was_stored = false;
    for _ in 0..TRIES {
        let (stored, cas) = io.read(layout.set_key(number)).await;
        let mut set = Set::decode(stored.as_deref());
        let old = set.find(hash).cloned();
        // A later invalidation may have been quicker: what it keeps out stays out.
        let since = old.as_ref().map_or(0, |old| old.since).max(sequence);
        was_stored = old.as_ref().is_some_and(|old| !old.tombstone);
        let way = old.as_ref().map(|old| old.way).or_else(|| set.free_way());
        let Some(way) = way else {
            // No way is free for a tombstone: an expired record's, or the oldest tombstone's.
            let useless = set
                .records
                .iter()
                .filter(|it| it.tombstone || it.keep_until <= now);
            let oldest = useless.min_by_key(|it| it.keep_until).map(|it| it.serial);
            match oldest {
                Some(serial) => {
                    evict(&io, worker, number, serial).await;
                }
                // All ways are other keys' objects: none of them has to go for a tombstone.
                None => {
                    set.keep_out(sequence, now);
                    if io
                        .write(layout.set_key(number), set.encode(), Some(cas))
                        .await
                    {
                        break;
                    }
                }
            }
            continue;
        };
        let (_, entry_cas) = io.read(layout.entry_key(number, way)).await;
        let next = match old.clone() {
            Some(record) if soft && was_stored => Record {
                stale: true,
                since,
                ..record
            },
            _ => Record {
                way,
                tombstone: true,
                stale: false,
                remembered: false,
                identity: hash.identity,
                // Numbers of the board and the ledger can't meet: a tombstone has no entry.
                serial: u64::MAX.saturating_sub(sequence),
                born: since,
                since,
                keep_until: now.saturating_add(TOMBSTONE),
                bytes: 0,
                chunks: Vec::new(),
            },
        };
        let is_tombstone = next.tombstone;
        set.put(next, now);
        if !io
            .write(layout.set_key(number), set.encode(), Some(cas))
            .await
        {
            continue;
        }
        if let Some(old) = old.filter(|_| is_tombstone) {
            empty(&io, layout, number, way, entry_cas).await;
            release(&io, layout, old.bytes, &old.chunks).await;
        }
        break;
    }
    post(&io, layout, |board| board.change(hash.identity)).await;
    was_stored
}

/// Notes that a worker is about to remember a version of an object, so that all are told when that
/// changes. False if it has changed.
pub(crate) async fn remember(io: Io, layout: &Layout, hash: Hash, serial: u64) -> bool {
    let key = layout.set_key(layout.set_of(hash));
    for _ in 0..TRIES {
        let (stored, cas) = io.read(key).await;
        let mut set = Set::decode(stored.as_deref());
        match set.note_remembered(serial) {
            None => return false,
            Some(true) => return true,
            Some(false) => {}
        }
        if io.write(key, set.encode(), Some(cas)).await {
            return true;
        }
    }
    false
}
