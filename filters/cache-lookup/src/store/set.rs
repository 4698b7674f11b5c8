//! One set of the directory: up to [`WAYS`] records in one shared-data value.

use filter_core::hash::Hash;

use super::Millis;
use super::layout::WAYS;
use super::wire::Reader;

const MAGIC: u32 = 0x3153_4350;

/// What the directory knows of a stored object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Which of the set's entries is its.
    pub(crate) way: u8,
    /// Nothing is stored: the key was invalidated, and what was asked for before isn't to be stored.
    pub(crate) tombstone: bool,
    /// The object was invalidated softly: it is to be taken as stale.
    pub(crate) stale: bool,
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

/// The records of a set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Set {
    pub(crate) records: Vec<Record>,
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
        let mut records: Vec<Record> = Vec::with_capacity(usize::from(WAYS));
        while !reader.is_done() {
            let way = reader.u8()?;
            let flags = reader.u8()?;
            let count = reader.u16()?;
            let mut record = Record {
                way,
                tombstone: flags & 1 != 0,
                stale: flags & 2 != 0,
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
            if way >= WAYS || records.iter().any(|other| other.way == way) {
                return None;
            }
            records.push(record);
        }
        Some(Self { records })
    }

    /// The value to be stored.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_le_bytes().to_vec();
        for record in &self.records {
            // A record has at most as many chunks as `Layout` allows an object.
            let count = u16::try_from(record.chunks.len()).unwrap_or(u16::MAX);
            out.push(record.way);
            out.push(u8::from(record.tombstone) | u8::from(record.stale) << 1);
            out.extend_from_slice(&count.to_le_bytes());
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

    /// A way that no record has.
    pub(crate) fn free_way(&self) -> Option<u8> {
        (0..WAYS).find(|way| self.records.iter().all(|record| record.way != *way))
    }

    /// Puts a record where it belongs, in place of whatever has its way.
    pub(crate) fn put(&mut self, record: Record) {
        self.records.retain(|other| other.way != record.way);
        self.records.push(record);
    }

    /// Takes a record out by its serial number.
    pub(crate) fn remove(&mut self, serial: u64) -> Option<Record> {
        let at = self
            .records
            .iter()
            .position(|record| record.serial == serial)?;
        Some(self.records.remove(at))
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
        };
        assert_eq!(Set::decode(Some(&set.encode())), set);
    }

    #[test]
    fn what_is_not_a_set_reads_as_an_empty_one() {
        let set = Set {
            records: vec![record(0, 5), record(3, 6)],
        };
        let bytes = set.encode();
        for len in 0..bytes.len() {
            let cut = Set::decode(Some(&bytes[..len]));
            assert!(cut.records.len() < 2, "{len}");
        }
        let twice = Set {
            records: vec![record(3, 5), record(3, 6)],
        };
        assert_eq!(Set::decode(Some(&twice.encode())), Set::default());
        assert_eq!(Set::decode(Some(&[0xff; 200])), Set::default());
        assert_eq!(Set::decode(None), Set::default());
    }
}
