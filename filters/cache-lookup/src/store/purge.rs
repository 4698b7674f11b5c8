//! Purges of many objects at once, in constant time whatever is stored.
//!
//! Nothing is searched and nothing deleted. A purge raises the board's sequence number and notes it
//! for what it hits; an object born before that number is gone, or stale if the purge was a soft one.
//! Tags are noted by bucket: another tag in the same bucket is purged too, which costs a miss. Prefixes
//! are noted in a list of fixed length; when it is full the two that have most in common become one
//! shorter prefix, which may hit more than was asked for, never less.

use filter_core::hash::Seed;

use super::board::{Board, post};
use super::entry::decode_tags;
use super::layout::Layout;
use super::op::Io;
use super::wire::{Reader, index, put_counted};

const MAGIC: u32 = 0x3154_4350;
const BUCKETS: usize = 1024;
/// Prefixes that are kept apart.
const PREFIXES: usize = 64;
/// Bytes of a prefix that count; a longer one hits all that begin with so much of it.
const PREFIX_LEN: usize = 1024;

/// What is to be purged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purge {
    /// Which objects.
    pub what: Scope,
    /// Whether they become stale instead of going.
    pub soft: bool,
}

/// Which objects a purge hits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All.
    All,
    /// Those whose name begins so.
    Prefix(Vec<u8>),
    /// Those that have this tag.
    Tag(Vec<u8>),
}

/// What purges do to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Spared,
    Stale,
    Gone,
}

/// Sequence numbers of the last purges of something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mark {
    hard: u64,
    soft: u64,
}

impl Mark {
    fn raise(&mut self, sequence: u64, soft: bool) {
        let number = if soft { &mut self.soft } else { &mut self.hard };
        *number = sequence.max(*number);
    }

    fn fate(self, born: u64) -> Fate {
        if born < self.hard {
            Fate::Gone
        } else if born < self.soft {
            Fate::Stale
        } else {
            Fate::Spared
        }
    }
}

/// The purges of tags and prefixes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tables {
    /// The board's number for this state of the tables.
    pub(crate) sequence: u64,
    tags: Vec<Mark>,
    prefixes: Vec<(Mark, Vec<u8>)>,
}

impl Default for Tables {
    fn default() -> Self {
        Self {
            sequence: 0,
            tags: vec![Mark::default(); BUCKETS],
            prefixes: Vec::new(),
        }
    }
}

impl Tables {
    /// Reads stored tables; none, or what aren't any, are empty.
    pub(crate) fn decode(stored: Option<&[u8]>) -> Self {
        stored.and_then(Self::read).unwrap_or_default()
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        if reader.u32()? != MAGIC {
            return None;
        }
        let mut tables = Self {
            sequence: reader.u64()?,
            ..Self::default()
        };
        for mark in &mut tables.tags {
            *mark = read_mark(&mut reader)?;
        }
        while !reader.is_done() {
            let mark = read_mark(&mut reader)?;
            tables.prefixes.push((mark, reader.counted()?.to_vec()));
        }
        Some(tables)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_le_bytes().to_vec();
        out.extend_from_slice(&self.sequence.to_le_bytes());
        let put = |out: &mut Vec<u8>, mark: &Mark| {
            out.extend_from_slice(&mark.hard.to_le_bytes());
            out.extend_from_slice(&mark.soft.to_le_bytes());
        };
        for mark in &self.tags {
            put(&mut out, mark);
        }
        for (mark, prefix) in &self.prefixes {
            put(&mut out, mark);
            put_counted(&mut out, prefix);
        }
        out
    }

    fn note_tag(&mut self, tag: u64, sequence: u64, soft: bool) {
        if let Some(mark) = self.tags.get_mut(bucket(tag)) {
            mark.raise(sequence, soft);
        }
    }

    fn note_prefix(&mut self, prefix: &[u8], sequence: u64, soft: bool) {
        let prefix = prefix.get(..PREFIX_LEN).unwrap_or(prefix);
        let known = self.prefixes.iter_mut().find(|(_, known)| known == prefix);
        if let Some((mark, _)) = known {
            mark.raise(sequence, soft);
            return;
        }
        let mut mark = Mark::default();
        mark.raise(sequence, soft);
        self.prefixes.push((mark, prefix.to_vec()));
        if self.prefixes.len() > PREFIXES {
            self.merge();
        }
    }

    /// Makes one prefix of the two that have most in common.
    fn merge(&mut self) {
        // In order, those that have most in common are neighbours.
        self.prefixes.sort_by(|(_, one), (_, other)| one.cmp(other));
        let pairs = self.prefixes.iter().zip(self.prefixes.iter().skip(1));
        let closest = pairs
            .map(|((_, one), (_, other))| common(one, other))
            .enumerate()
            .max_by_key(|(_, common)| *common);
        if let Some((at, common)) = closest
            && at.saturating_add(1) < self.prefixes.len()
        {
            let (mark, _) = self.prefixes.remove(at.saturating_add(1));
            if let Some((kept, prefix)) = self.prefixes.get_mut(at) {
                kept.raise(mark.hard, false);
                kept.raise(mark.soft, true);
                prefix.truncate(common);
            }
        }
    }

    /// What the purges do to an object of that name, with those tags, born then.
    pub(crate) fn fate(&self, seed: Seed, name: &[u8], tags: &[u8], born: u64) -> Fate {
        let tags = decode_tags(tags);
        let tags = tags.filter_map(|tag| self.tags.get(bucket(seed.hash_half(tag))));
        let prefixes = self.prefixes.iter();
        let prefixes = prefixes.filter(|(mark, prefix)| {
            (born < mark.hard || born < mark.soft) && name.starts_with(prefix)
        });
        let marks = tags.chain(prefixes.map(|(mark, _)| mark));
        marks
            .map(|mark| mark.fate(born))
            .fold(Fate::Spared, Fate::worse)
    }
}

impl Fate {
    pub(crate) fn worse(self, other: Self) -> Self {
        match (self, other) {
            (Self::Gone, _) | (_, Self::Gone) => Self::Gone,
            (Self::Stale, _) | (_, Self::Stale) => Self::Stale,
            _ => Self::Spared,
        }
    }

    /// What the purges of everything do to an object born then.
    pub(crate) fn of_all(board: &Board, born: u64) -> Self {
        let mark = Mark {
            hard: board.purged,
            soft: board.soft_purged,
        };
        mark.fate(born)
    }
}

fn bucket(tag: u64) -> usize {
    index(tag.checked_rem(super::wire::long(BUCKETS)).unwrap_or(0))
}

fn common(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}

fn read_mark(reader: &mut Reader<'_>) -> Option<Mark> {
    Some(Mark {
        hard: reader.u64()?,
        soft: reader.u64()?,
    })
}

/// Carries a purge out. When it has returned, no worker finds what it hit.
pub(crate) async fn purge(io: Io, layout: &Layout, seed: Seed, purge: Purge) {
    let Purge { what, soft } = purge;
    let all = what == Scope::All;
    let board = post(&io, layout, |board| {
        board.sequence = board.sequence.saturating_add(1);
        if all {
            let number = if soft {
                &mut board.soft_purged
            } else {
                &mut board.purged
            };
            *number = board.sequence;
        }
    })
    .await;
    // What is asked of an origin from here on is younger than the purge, so the number is taken
    // first; the purge holds once the board tells of the tables.
    let sequence = board.sequence;
    if all {
        return;
    }
    loop {
        let (stored, cas) = io.read(layout.purges_key()).await;
        let mut tables = Tables::decode(stored.as_deref());
        match &what {
            Scope::All => {}
            Scope::Tag(tag) => tables.note_tag(seed.hash_half(tag), sequence, soft),
            Scope::Prefix(prefix) => tables.note_prefix(prefix, sequence, soft),
        }
        if io
            .write(layout.purges_key(), tables.encode(), Some(cas))
            .await
        {
            break;
        }
    }
    post(&io, layout, |board| {
        board.sequence = board.sequence.saturating_add(1);
        board.tables = board.sequence;
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::entry::encode_tags;

    fn seed() -> Seed {
        Seed::from_bytes([4; 16])
    }

    #[test]
    fn a_tag_hits_what_was_born_before_and_has_it() {
        let mut tables = Tables::default();
        tables.note_tag(seed().hash_half(b"news"), 5, false);
        let news = encode_tags(&[b"sport".to_vec(), b"news".to_vec()]);
        let sport = encode_tags(&[b"sport".to_vec()]);
        assert_eq!(tables.fate(seed(), b"", &news, 4), Fate::Gone);
        assert_eq!(tables.fate(seed(), b"", &news, 5), Fate::Spared);
        assert_eq!(tables.fate(seed(), b"", &sport, 4), Fate::Spared);
    }

    #[test]
    fn a_prefix_hits_what_begins_so() {
        let mut tables = Tables::default();
        tables.note_prefix(b"a.example/img/", 5, true);
        assert_eq!(tables.fate(seed(), b"a.example/img/1", b"", 4), Fate::Stale);
        assert_eq!(tables.fate(seed(), b"a.example/im", b"", 4), Fate::Spared);
        tables.note_prefix(b"a.example/img/", 6, false);
        assert_eq!(tables.fate(seed(), b"a.example/img/1", b"", 5), Fate::Gone);
    }

    #[test]
    fn any_number_of_prefixes_is_remembered_in_bounded_room() {
        let mut tables = Tables::default();
        let names: Vec<_> = (0..1000_u32)
            .map(|n| format!("{}.example/{n}/", n % 7).into_bytes())
            .collect();
        for (name, sequence) in names.iter().zip(1..) {
            tables.note_prefix(name, sequence, false);
        }
        assert!(tables.prefixes.len() <= PREFIXES);
        for (name, sequence) in names.iter().zip(1..) {
            assert_eq!(tables.fate(seed(), name, b"", sequence - 1), Fate::Gone);
        }
        assert_eq!(
            tables.fate(seed(), b"a.example/", b"", 0),
            Fate::Spared,
            "not all is hit"
        );
        let again = Tables::decode(Some(&tables.encode()));
        assert_eq!(again, tables);
    }
}
