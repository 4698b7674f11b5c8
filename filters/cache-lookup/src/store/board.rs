//! The board: the one value that every lookup reads.

use std::rc::Rc;

use filter_core::hash::Hash;
use filter_core::transaction::Cas;

use super::layout::Layout;
use super::op::Io;
use super::purge::Tables;
use super::wire::{Reader, long};

const MAGIC: u32 = 0x3242_4350;
/// Groups of keys that share a version. Reading 4 KiB costs no more than reading 8 bytes; and the more
/// groups, the longer what a worker remembers stays good while other keys change.
const GROUPS: usize = 1000;
/// Bytes of a version.
const VERSION: usize = 4;

/// What all workers share about what changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Board {
    /// Raised by every purge and invalidation.
    pub(crate) sequence: u64,
    /// The sequence number when the tables of purges changed last.
    pub(crate) tables: u64,
    /// Objects born before are gone.
    pub(crate) purged: u64,
    /// Objects born before are stale.
    pub(crate) soft_purged: u64,
    /// 1 once a response was stored that says how queries are compared.
    pub(crate) searches: u64,
    /// As they are stored: a change of one key has all workers read all of them, and each is then asked
    /// for few.
    versions: Vec<u8>,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            sequence: 1,
            tables: 0,
            purged: 0,
            soft_purged: 0,
            searches: 0,
            versions: vec![0; GROUPS.saturating_mul(VERSION)],
        }
    }
}

impl Board {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        if reader.u32()? != MAGIC {
            return None;
        }
        let (sequence, tables) = (reader.u64()?, reader.u64()?);
        let (purged, soft_purged) = (reader.u64()?, reader.u64()?);
        let searches = reader.u64()?;
        (reader.0.len() == GROUPS.saturating_mul(VERSION)).then(|| Self {
            sequence,
            tables,
            purged,
            soft_purged,
            searches,
            versions: reader.0.to_vec(),
        })
    }

    /// Reads a stored board; one that was never written, or isn't one, is as good as new.
    pub(crate) fn decode(stored: Option<&[u8]>) -> Self {
        stored.and_then(Self::read).unwrap_or_default()
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.versions.len().saturating_add(44));
        out.extend_from_slice(&MAGIC.to_le_bytes());
        for number in [
            self.sequence,
            self.tables,
            self.purged,
            self.soft_purged,
            self.searches,
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.versions);
        out
    }

    /// The version of the group that a key belongs to.
    pub(crate) fn version(&self, hash: Hash) -> u32 {
        let (versions, _) = self.versions.as_chunks::<VERSION>();
        let version = versions.get(group(hash.identity)).copied();
        u32::from_le_bytes(version.unwrap_or_default())
    }

    /// Tells all workers that what they remember of a key is no longer so.
    pub(crate) fn change(&mut self, identity: u64) {
        let (versions, _) = self.versions.as_chunks_mut::<VERSION>();
        if let Some(version) = versions.get_mut(group(identity)) {
            *version = u32::from_le_bytes(*version).wrapping_add(1).to_le_bytes();
        }
    }
}

fn group(identity: u64) -> usize {
    // The groups are more than none, so there is a remainder.
    usize::try_from(identity.checked_rem(long(GROUPS)).unwrap_or(0)).unwrap_or(0)
}

/// Changes the board by `change`, as often as it takes; returns it as it is then.
pub(crate) async fn post(io: &Io, layout: &Layout, mut change: impl FnMut(&mut Board)) -> Board {
    loop {
        let (stored, cas) = io.read(layout.board_key()).await;
        let mut board = Board::decode(stored.as_deref());
        change(&mut board);
        if io
            .write(layout.board_key(), board.encode(), Some(cas))
            .await
        {
            return board;
        }
    }
}

/// The state of the board at the start of a request. All its lookups go by it; and what comes of its
/// request to the origin was asked for then, so a purge since then counts for it.
#[derive(Clone, Debug)]
pub struct View {
    pub(crate) board: Rc<Board>,
    pub(crate) tables: Rc<Tables>,
}

impl View {
    /// Raised by every purge and invalidation.
    pub fn sequence(&self) -> u64 {
        self.board.sequence
    }

    /// Whether a response was ever stored that says how queries are compared (`No-Vary-Search`).
    pub fn has_searches(&self) -> bool {
        self.board.searches != 0
    }

    /// The version of the group that a key belongs to: what a worker remembers under another one may
    /// no longer be so.
    pub fn version(&self, hash: Hash) -> u32 {
        self.board.version(hash)
    }
}

/// Reads the board, and the tables of purges if those that the worker has are old.
///
/// `last` is the worker's view before; what has not changed is taken over from it.
pub(crate) async fn look(io: Io, layout: &Layout, last: Option<(Cas, View)>) -> (Cas, View) {
    let (stored, cas) = io.read(layout.board_key()).await;
    // The number changes with every write: the same number is the same value.
    if let Some((number, view)) = last.as_ref()
        && *number == cas
    {
        return (cas, view.clone());
    }
    let board = Rc::new(Board::decode(stored.as_deref()));
    let tables = match last {
        Some((_, view)) if view.tables.sequence == board.tables => view.tables,
        _ if board.tables == 0 => Rc::default(),
        _ => {
            let (stored, _) = io.read(layout.purges_key()).await;
            let mut tables = Tables::decode(stored.as_deref());
            tables.sequence = board.tables;
            Rc::new(tables)
        }
    };
    (cas, View { board, tables })
}
