//! What is stored of an object beside its record: one entry, and chunks of a long body.

use filter_core::hash::{Hash, Seed};

use super::layout::CHUNK;
use super::wire::{Reader, long, put_counted};

const MAGIC: u32 = 0x3145_4350;
/// Bytes of an entry or chunk that are its checksum, at its start.
const SUM: usize = 8;
/// Bytes of a chunk before those of the body: checksum, serial number, position.
pub(crate) const CHUNK_HEAD: usize = SUM + 8 + 4;

/// An entry as it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) hash: Hash,
    pub(crate) serial: u64,
    /// Bytes of the whole body.
    pub(crate) body_len: u64,
    pub(crate) name: &'a [u8],
    pub(crate) tags: &'a [u8],
    pub(crate) head: &'a [u8],
    /// The end of the body, after all that is in chunks.
    pub(crate) tail: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Reads an entry; `None` if it isn't one, isn't whole, or isn't of this seed.
    pub(crate) fn decode(bytes: &'a [u8], seed: Seed) -> Option<Self> {
        let mut reader = Reader(checked(bytes, seed)?);
        if reader.u32()? != MAGIC {
            return None;
        }
        let entry = Self {
            hash: Hash {
                place: reader.u64()?,
                identity: reader.u64()?,
            },
            serial: reader.u64()?,
            body_len: reader.u64()?,
            name: reader.counted()?,
            tags: reader.counted()?,
            head: reader.counted()?,
            tail: reader.0,
        };
        Some(entry)
    }

    /// The value to be stored.
    pub(crate) fn encode(&self, seed: Seed) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::len(
            self.name.len(),
            self.tags.len(),
            self.head.len(),
            self.tail.len(),
        ));
        out.extend_from_slice(&[0; SUM]);
        out.extend_from_slice(&MAGIC.to_le_bytes());
        for number in [
            self.hash.place,
            self.hash.identity,
            self.serial,
            self.body_len,
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        put_counted(&mut out, self.name);
        put_counted(&mut out, self.tags);
        put_counted(&mut out, self.head);
        out.extend_from_slice(self.tail);
        seal(&mut out, seed);
        out
    }

    /// Bytes of an entry whose parts have these lengths.
    pub(crate) fn len(name: usize, tags: usize, head: usize, tail: usize) -> usize {
        const FIXED: usize = SUM + 4 + 4 * 8 + 3 * 4;
        [name, tags, head, tail]
            .into_iter()
            .fold(FIXED, usize::saturating_add)
    }
}

/// Fills in the head of a chunk whose body is there.
pub(crate) fn seal_chunk(chunk: &mut [u8], serial: u64, position: u32, seed: Seed) {
    if let Some(field) = chunk.get_mut(SUM..SUM.saturating_add(8)) {
        field.copy_from_slice(&serial.to_le_bytes());
    }
    if let Some(field) = chunk.get_mut(SUM.saturating_add(8)..CHUNK_HEAD) {
        field.copy_from_slice(&position.to_le_bytes());
    }
    seal(chunk, seed);
}

/// The body in a chunk, if the chunk is the one of that version at that position, whole.
pub(crate) fn open_chunk(bytes: &[u8], serial: u64, position: u32, seed: Seed) -> Option<&[u8]> {
    // What isn't ours is told by its first bytes, before all others are summed.
    let mut reader = Reader(bytes.get(SUM..)?);
    let ours = reader.u64()? == serial && reader.u32()? == position;
    let body = reader.0;
    (ours && body.len() == CHUNK && checked(bytes, seed).is_some()).then_some(body)
}

fn seal(bytes: &mut [u8], seed: Seed) {
    let sum = bytes.get(SUM..).map_or(0, |rest| sum(rest, seed));
    if let Some(field) = bytes.get_mut(..SUM) {
        field.copy_from_slice(&sum.to_le_bytes());
    }
}

fn checked(bytes: &[u8], seed: Seed) -> Option<&[u8]> {
    let mut reader = Reader(bytes);
    let stored = reader.u64()?;
    (stored == sum(reader.0, seed)).then_some(reader.0)
}

fn sum(bytes: &[u8], seed: Seed) -> u64 {
    // One half is enough, and the other would cost as much again.
    seed.hash_half(bytes) ^ long(bytes.len())
}

/// Tags as an entry has them.
pub(crate) fn encode_tags(tags: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for tag in tags {
        put_counted(&mut out, tag);
    }
    out
}

/// The tags that an entry has.
pub(crate) fn decode_tags(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut reader = Reader(bytes);
    std::iter::from_fn(move || reader.counted())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: Hash = Hash {
        place: 1,
        identity: 2,
    };

    fn seed() -> Seed {
        Seed::from_bytes([3; 16])
    }

    fn entry() -> Entry<'static> {
        Entry {
            hash: HASH,
            serial: 9,
            body_len: 4,
            name: b"a.example/x",
            tags: b"",
            head: b"head",
            tail: b"body",
        }
    }

    #[test]
    fn an_entry_reads_back_as_it_was_written() {
        let bytes = entry().encode(seed());
        assert_eq!(Entry::decode(&bytes, seed()), Some(entry()));
        assert_eq!(bytes.len(), Entry::len(11, 0, 4, 4));
    }

    #[test]
    fn an_entry_with_any_byte_changed_or_missing_is_none() {
        let bytes = entry().encode(seed());
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            assert_eq!(Entry::decode(&changed, seed()), None, "{at}");
            assert_eq!(Entry::decode(&bytes[..at], seed()), None, "{at}");
        }
    }

    #[test]
    fn a_chunk_opens_for_its_own_version_and_position_alone() {
        let mut chunk = vec![7; CHUNK_HEAD + CHUNK];
        seal_chunk(&mut chunk, 5, 1, seed());
        assert_eq!(open_chunk(&chunk, 5, 1, seed()), Some(&[7; CHUNK][..]));
        assert_eq!(open_chunk(&chunk, 6, 1, seed()), None);
        assert_eq!(open_chunk(&chunk, 5, 2, seed()), None);
        chunk[CHUNK_HEAD + 100] = 8;
        assert_eq!(open_chunk(&chunk, 5, 1, seed()), None);
        assert_eq!(open_chunk(b"", 5, 1, seed()), None);
    }
}
