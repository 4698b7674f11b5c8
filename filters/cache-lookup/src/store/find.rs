//! Looking an object up in shared data.

use filter_core::hash::{Hash, Seed};

use super::Millis;
use super::board::View;
use super::entry::{Entry, decode_tags, open_chunk};
use super::layout::Layout;
use super::op::Io;
use super::purge::Fate;
use super::set::Set;
use super::wire::{index, long};

/// An object as it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The caller's bytes.
    pub head: Vec<u8>,
    /// The whole body.
    pub body: Vec<u8>,
    /// Which version it is.
    pub serial: u64,
    /// The board's sequence number when it was asked for.
    pub born: u64,
    /// From then on it is worth nothing.
    pub keep_until: Millis,
    /// A soft purge hit it.
    pub stale: bool,
    /// Some worker has it in its memory.
    pub remembered: bool,
    /// What purges by prefix go by.
    pub name: Vec<u8>,
    /// What purges by tag go by; see [`Self::tags`].
    pub tags: Vec<u8>,
}

impl Loaded {
    /// What purges by tag go by.
    pub fn tags(&self) -> Vec<Vec<u8>> {
        decode_tags(&self.tags).map(<[u8]>::to_vec).collect()
    }

    /// Whether purges hit the object since it was born, as of `view`; `None` if it is gone.
    pub(crate) fn fate(&self, view: &View, seed: Seed) -> Fate {
        fate(view, seed, &self.name, &self.tags, self.born)
    }
}

pub(crate) fn fate(view: &View, seed: Seed, name: &[u8], tags: &[u8], born: u64) -> Fate {
    let all = Fate::of_all(&view.board, born);
    if born >= view.board.tables {
        return all;
    }
    all.worse(view.tables.fate(seed, name, tags, born))
}

/// When what lay under a key was made to go, if nothing took its place and that is remembered.
pub(crate) async fn erased(io: Io, layout: &Layout, hash: Hash) -> Option<Millis> {
    let (stored, _) = io.read(layout.set_key(layout.set_of(hash))).await;
    Set::decode(stored.as_deref()).erased(hash)
}

/// Looks for an object. `None` if it isn't there, is no longer worth anything, was purged, or isn't
/// whole.
pub(crate) async fn find(
    io: Io,
    layout: &Layout,
    seed: Seed,
    view: View,
    hash: Hash,
    now: Millis,
) -> Option<Loaded> {
    // Another worker may have put a new version in place of the one found, in between.
    for _ in 0..2 {
        let set = layout.set_of(hash);
        let (stored, _) = io.read(layout.set_key(set)).await;
        let set_now = Set::decode(stored.as_deref());
        let record = set_now.find(hash)?;
        if record.tombstone || record.keep_until <= now {
            return None;
        }
        let (stored, _) = io.read(layout.entry_key(set, record.way)).await;
        let stored = stored.unwrap_or_default();
        let Some(entry) = Entry::decode(&stored, seed) else {
            continue;
        };
        if entry.serial != record.serial || entry.hash != hash {
            continue;
        }
        let fate = fate(&view, seed, entry.name, entry.tags, record.born);
        if fate == Fate::Gone {
            return None;
        }
        let mut body = Vec::with_capacity(index(entry.body_len.min(layout.max_object())));
        let mut whole = true;
        for (chunk, position) in record.chunks.iter().zip(0..) {
            let (stored, _) = io.read(layout.chunk_key(*chunk)).await;
            let stored = stored.unwrap_or_default();
            let Some(piece) = open_chunk(&stored, record.serial, position, seed) else {
                whole = false;
                break;
            };
            body.extend_from_slice(piece);
        }
        body.extend_from_slice(entry.tail);
        if !whole || long(body.len()) != entry.body_len {
            continue;
        }
        return Some(Loaded {
            head: entry.head.to_vec(),
            body,
            serial: record.serial,
            born: record.born,
            keep_until: record.keep_until,
            stale: record.stale || fate == Fate::Stale,
            remembered: record.remembered,
            name: entry.name.to_vec(),
            tags: entry.tags.to_vec(),
        });
    }
    None
}
