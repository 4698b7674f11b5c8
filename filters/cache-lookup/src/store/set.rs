//! One set of the directory: up to [`WAYS`] records in one shared-data value.

use filter_core::hash::Hash;

use super::Millis;
use super::layout::WAYS;
use super::wire::Reader;

/// How long an invalidation is remembered after which nothing is stored: a response that was asked for
/// before and comes later than this is stored wrongly. Envoy's own route timeout is 15 s by default.
pub(crate) const TOMBSTONE: Millis = 120_000;

const MAGIC: u32 = 0x3353_4350;

/// Bytes of a record without chunks, as it is stored.
const RECORD: usize = 4 + 6 * 8;

/// What the directory knows of a stored object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Which of the set's entries is its.
    pub(crate) way: u8,
    /// Nothing is stored: the key was invalidated, and what was asked for before isn't to be stored.
    pub(crate) tombstone: bool,
    /// The object was invalidated softly: it is to be taken as stale.
    pub(crate) stale: bool,
    /// A worker remembers the object: all are to be told when it changes.
    pub(crate) remembered: bool,
    /// Whose it is.
    pub(crate) identity: u64,
    /// Which version: its entry and chunks carry this number.
    pub(crate) serial: u64,
    /// The board's sequence number when the object was asked for.
    pub(crate) born: u64,
    /// What was asked for before that number isn't stored in its place.
    pub(crate) since: u64,
    /// From then on it is worth nothing.
    pub(crate) keep_until: Millis,
    /// Bytes of its entry and chunks.
    pub(crate) bytes: u64,
    /// Its chunks, in order.
    pub(crate) chunks: Vec<u32>,
}

impl Record {
    /// Whether it keeps out what was asked for after its own object was.
    fn keeps_out(&self) -> bool {
        self.tombstone || self.since > self.born
    }
}

/// The records of a set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Set {
    pub(crate) records: Vec<Record>,
    /// What was asked for before that number isn't stored under a key without a record: the record that
    /// said so is gone.
    floor: u64,
    /// From then on the floor counts no more.
    floor_until: Millis,
}

impl Set {
    /// Reads a stored value. What isn't a set of ours is an empty one.
    pub(crate) fn decode(stored: Option<&[u8]>) -> Self {
        stored.and_then(Self::read).unwrap_or_default()
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        if reader.u32()? != MAGIC {
            return None;
        }
        let (floor, floor_until) = (reader.u64()?, reader.u64()?);
        let count = reader.0.len().div_euclid(RECORD).min(usize::from(WAYS));
        // One more, for what comes next.
        let mut records: Vec<Record> = Vec::with_capacity(count.saturating_add(1));
        let mut ways = 0_u32;
        while !reader.is_done() {
            let way = reader.u8()?;
            let flags = reader.u8()?;
            let count = reader.u16()?;
            let mut record = Record {
                way,
                tombstone: flags & 1 != 0,
                stale: flags & 2 != 0,
                remembered: flags & 4 != 0,
                identity: reader.u64()?,
                serial: reader.u64()?,
                born: reader.u64()?,
                since: reader.u64()?,
                keep_until: reader.u64()?,
                bytes: reader.u64()?,
                chunks: Vec::with_capacity(usize::from(count)),
            };
            for _ in 0..count {
                record.chunks.push(reader.u32()?);
            }
            let bit = 1_u32.checked_shl(u32::from(way)).unwrap_or(0);
            if way >= WAYS || ways & bit != 0 {
                return None;
            }
            ways |= bit;
            records.push(record);
        }
        Some(Self {
            records,
            floor,
            floor_until,
        })
    }

    /// The value to be stored.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let chunks = self.records.iter().map(|it| it.chunks.len());
        let chunks = chunks.fold(0, usize::saturating_add).saturating_mul(4);
        let records = self.records.len().saturating_mul(RECORD);
        let mut out = Vec::with_capacity(records.saturating_add(chunks).saturating_add(20));
        out.extend_from_slice(&MAGIC.to_le_bytes());
        out.extend_from_slice(&self.floor.to_le_bytes());
        out.extend_from_slice(&self.floor_until.to_le_bytes());
        for record in &self.records {
            // A record has at most as many chunks as `Layout` allows an object.
            let count = u16::try_from(record.chunks.len()).unwrap_or(u16::MAX);
            let flags = u8::from(record.tombstone)
                | u8::from(record.stale) << 1
                | u8::from(record.remembered) << 2;
            let [low, high] = count.to_le_bytes();
            out.extend_from_slice(&[record.way, flags, low, high]);
            for number in [
                record.identity,
                record.serial,
                record.born,
                record.since,
                record.keep_until,
                record.bytes,
            ] {
                out.extend_from_slice(&number.to_le_bytes());
            }
            for chunk in record.chunks.iter().take(usize::from(count)) {
                out.extend_from_slice(&chunk.to_le_bytes());
            }
        }
        out
    }

    /// The record of a key.
    pub(crate) fn find(&self, hash: Hash) -> Option<&Record> {
        self.records
            .iter()
            .find(|record| record.identity == hash.identity)
    }

    /// The record with a serial number.
    pub(crate) fn version(&self, serial: u64) -> Option<&Record> {
        self.records.iter().find(|record| record.serial == serial)
    }

    /// Notes that a worker remembers a version; returns whether it was noted before, and `None` if the
    /// version isn't there any more.
    pub(crate) fn note_remembered(&mut self, serial: u64) -> Option<bool> {
        let mut records = self.records.iter_mut();
        let record = records.find(|record| record.serial == serial)?;
        Some(std::mem::replace(&mut record.remembered, true))
    }

    /// A way that no record has.
    pub(crate) fn free_way(&self) -> Option<u8> {
        let bit = |record: &Record| 1_u32.checked_shl(u32::from(record.way)).unwrap_or(0);
        let ways = self.records.iter().map(bit).fold(0, |all, bit| all | bit);
        let way = u8::try_from(ways.trailing_ones()).ok()?;
        (way < WAYS).then_some(way)
    }

    /// Whether an object that was asked for then isn't to be stored any more.
    pub(crate) fn is_superseded(&self, hash: Hash, born: u64, now: Millis) -> bool {
        match self.find(hash) {
            Some(record) => record.since > born,
            None => self.floor > born && self.floor_until > now,
        }
    }

    /// When what lay under a key was made to go, or may have been, if nothing took its place.
    pub(crate) fn erased(&self, hash: Hash) -> Option<Millis> {
        let until = match self.find(hash) {
            Some(record) => record.tombstone.then_some(record.keep_until),
            None => (self.floor_until > 0).then_some(self.floor_until),
        };
        until.map(|until| until.saturating_sub(TOMBSTONE))
    }

    /// Puts a record where it belongs, in place of whatever has its way.
    pub(crate) fn put(&mut self, record: Record, now: Millis) {
        let same_way = |other: &Record| other.way == record.way;
        if let Some(other) = self.records.iter().position(same_way) {
            let other = self.records.swap_remove(other);
            if other.identity != record.identity {
                self.remember(&other, now);
            }
        }
        self.records.push(record);
    }

    /// Takes a record out by its serial number.
    pub(crate) fn remove(&mut self, serial: u64, now: Millis) -> Option<Record> {
        let mut records = self.records.iter();
        let at = records.position(|record| record.serial == serial)?;
        let record = self.records.remove(at);
        self.remember(&record, now);
        Some(record)
    }

    /// Keeps in mind what a record that goes has kept out.
    fn remember(&mut self, record: &Record, now: Millis) {
        if record.keeps_out() {
            self.keep_out(record.since, now);
        }
    }

    /// Has nothing stored under keys without a record that was asked for before that number.
    pub(crate) fn keep_out(&mut self, since: u64, now: Millis) {
        self.floor = self.floor.max(since);
        self.floor_until = now.saturating_add(TOMBSTONE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(way: u8, identity: u64) -> Record {
        Record {
            way,
            tombstone: way == 2,
            stale: way == 1,
            remembered: way == 3,
            identity,
            serial: identity + 100,
            born: 7,
            since: 8,
            keep_until: 9,
            bytes: 1 << 40,
            chunks: (0..u32::from(way)).collect(),
        }
    }

    #[test]
    fn a_set_reads_back_as_it_was_written() {
        let set = Set {
            records: vec![record(0, 5), record(1, 6), record(2, 7), record(15, 8)],
            floor: 3,
            floor_until: 4,
        };
        assert_eq!(Set::decode(Some(&set.encode())), set);
    }

    #[test]
    fn what_is_not_a_set_reads_as_an_empty_one() {
        let set = Set {
            records: vec![record(0, 5), record(3, 6)],
            ..Set::default()
        };
        let bytes = set.encode();
        for len in 0..bytes.len() {
            let cut = Set::decode(Some(&bytes[..len]));
            assert!(cut.records.len() < 2, "{len}");
        }
        let twice = Set {
            records: vec![record(3, 5), record(3, 6)],
            ..Set::default()
        };
        assert_eq!(Set::decode(Some(&twice.encode())), Set::default());
        assert_eq!(Set::decode(Some(&[0xff; 200])), Set::default());
        assert_eq!(Set::decode(None), Set::default());
    }

    #[test]
    fn an_invalidation_outlives_its_record() {
        const NOW: Millis = 1_000;
        let hash = |identity| Hash { place: 0, identity };
        let evicted = |mut set: Set| {
            set.remove(106, NOW).unwrap();
            set
        };
        let replaced = |mut set: Set| {
            set.put(record(1, 9), NOW);
            set
        };
        for lost in [evicted, replaced] {
            let mut set = Set::default();
            set.put(record(1, 6), NOW); // Born at 7, invalidated softly at 8.
            assert!(set.is_superseded(hash(6), 7, NOW));
            let set = Set::decode(Some(&lost(set).encode()));
            assert!(set.is_superseded(hash(6), 7, NOW));
            assert!(!set.is_superseded(hash(6), 8, NOW));
            assert!(!set.is_superseded(hash(6), 7, NOW + TOMBSTONE));
            assert_eq!(set.erased(hash(6)), Some(NOW));
        }
    }

    #[test]
    fn a_record_that_kept_nothing_out_leaves_nothing_behind() {
        let mut set = Set::default();
        let plain = Record {
            since: 7,
            ..record(3, 6)
        };
        set.put(plain, 0);
        set.remove(106, 0).unwrap();
        assert_eq!(set, Set::default());
    }
}
