//! A bounded table in the gateway's shared data, for state that time makes worthless.
//!
//! Shared data never evicts and can't delete, so a key per client would grow for ever. Here the
//! number of entries is fixed: `sets` values, each holding `ways` records of 16 bytes, a
//! fingerprint that says whose record it is and the moment from which it means nothing any more.
//! A record whose moment has come is free for anyone. One set is one shared-data value, so all
//! records of a set change in one compare-and-set.
//!
//! When every record of a set is still live, a newcomer takes over the one that ends first and
//! **goes on from its moment**. Why that never forgives: let `m` be the earliest moment in the set.
//! Whoever has no record there was either never there or lost it to such a take-over, and so owes
//! nothing beyond `m`; and `m` only ever grows while all records are live. A newcomer that starts
//! at `m` is thus held to be at least as busy as it is. It may be refused too early, never served
//! too often.

use crate::hash::Hash;
use crate::time::{Span, Timestamp};

const RECORD_LEN: usize = 16;

/// The longest time that a record may claim. Whatever claims more wasn't written by this table,
/// and would otherwise block its place for centuries.
pub const HORIZON: Span = Span::from_secs(400 * 24 * 60 * 60);

/// The fixed size of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    sets: u32,
    ways: u32,
}

impl Geometry {
    /// Makes a geometry; `None` if either number is zero.
    pub fn new(sets: u32, ways: u32) -> Option<Self> {
        (sets > 0 && ways > 0).then_some(Self { sets, ways })
    }

    /// Number of shared-data entries.
    pub fn sets(self) -> u32 {
        self.sets
    }

    /// Number of records in each of them.
    pub fn ways(self) -> u32 {
        self.ways
    }

    /// Returns how many records fit in all.
    pub fn capacity(self) -> u64 {
        u64::from(self.sets).saturating_mul(u64::from(self.ways))
    }

    /// Returns the number of the set in which a key's records live.
    pub fn set_of(self, hash: Hash) -> u32 {
        // The sets are at least one, so there is a remainder, and it is below a u32.
        let set = hash.place.checked_rem(u64::from(self.sets));
        set.and_then(|set| u32::try_from(set).ok()).unwrap_or(0)
    }

    fn bytes_per_set(self) -> usize {
        usize::try_from(self.ways)
            .unwrap_or(usize::MAX)
            .saturating_mul(RECORD_LEN)
    }
}

/// Says whose record it is: 64 bits of a keyed hash, never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// Makes a fingerprint; zero, which marks a record never used, becomes one.
    pub const fn new(hash: u64) -> Self {
        Self(if hash == 0 { 1 } else { hash })
    }
}

/// Where a fingerprint has its record, or would get it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    way: usize,
    /// The moment until which the record counts; in the past for a free one.
    pub until: Timestamp,
    /// Whether this is the live record of somebody else: the set is full.
    pub shared: bool,
}

/// The records of one set, as read from shared data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    bytes: Vec<u8>,
    changed: bool,
    foreign: bool,
}

impl Set {
    /// Reads a stored value. One that was never written is an empty set; one of another length
    /// isn't ours and counts as empty too, but is told ([`Set::is_foreign`]).
    pub fn read(stored: Option<Vec<u8>>, geometry: Geometry) -> Self {
        let len = geometry.bytes_per_set();
        let (bytes, foreign) = match stored {
            Some(bytes) if bytes.len() == len => (bytes, false),
            Some(bytes) => (vec![0; len], !bytes.is_empty()),
            None => (vec![0; len], false),
        };
        Self {
            bytes,
            changed: false,
            foreign,
        }
    }

    /// The value to be stored.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The value to be stored, for good.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Whether anything was put since the set was read.
    pub fn is_changed(&self) -> bool {
        self.changed
    }

    /// Whether the stored value wasn't one of this table's.
    pub fn is_foreign(&self) -> bool {
        self.foreign
    }

    /// Finds the record of a fingerprint: its own, or else a free one, or else the one that ends
    /// first.
    pub fn place(&self, owner: Fingerprint, now: Timestamp) -> Place {
        // Most have one, and it is found by comparing numbers alone.
        let (records, _) = self.bytes.as_chunks::<RECORD_LEN>();
        let own = owner.0.to_le_bytes();
        let is_own = |record: &[u8; RECORD_LEN]| record.first_chunk() == Some(&own);
        if let Some(way) = records.iter().position(is_own)
            && let Some((_, until)) = self.records(now).nth(way)
        {
            return Place {
                way,
                until,
                shared: false,
            };
        }
        let mut first = Place {
            way: 0,
            until: Timestamp::from_nanos(u64::MAX),
            shared: true,
        };
        for (way, (_, until)) in self.records(now).enumerate() {
            if until < first.until {
                first = Place {
                    way,
                    until,
                    shared: true,
                };
            }
        }
        // The record that ends first is free if any is.
        first.shared = first.until > now;
        first
    }

    /// Puts a record where [`Set::place`] said.
    pub fn put(&mut self, place: Place, owner: Fingerprint, until: Timestamp) {
        if let Some(record) = self.record_mut(place.way) {
            let (fingerprint, moment) = record.split_at_mut(8);
            fingerprint.copy_from_slice(&owner.0.to_le_bytes());
            moment.copy_from_slice(&until.as_nanos().to_le_bytes());
            self.changed = true;
        }
    }

    /// Takes back `span` of what a fingerprint was charged, as far as that forgives nobody.
    ///
    /// If all other records are live, somebody may have lost its record since to a take-over, and
    /// is then held to owe as much as the earliest moment in the set: that must not sink, so the
    /// record stays at least where the earliest of the others is. A fingerprint that lost its own
    /// record is charged with what it found there, and nothing is taken back.
    pub fn take_back(&mut self, owner: Fingerprint, span: Span, now: Timestamp) {
        let place = self.place(owner, now);
        let Some((fingerprint, _)) = self.records(now).nth(place.way) else {
            return;
        };
        if fingerprint != owner.0 {
            return;
        }
        let others = self.records(now).enumerate();
        let floor = others
            .filter(|(way, _)| *way != place.way)
            .map(|(_, (_, until))| until)
            .min()
            .filter(|until| *until > now)
            .unwrap_or(Timestamp::ZERO);
        let until = place.until.before(span).max(floor).min(place.until);
        self.put(place, owner, until);
    }

    fn records(&self, now: Timestamp) -> impl Iterator<Item = (u64, Timestamp)> {
        let latest = now.after(HORIZON);
        let (records, _) = self.bytes.as_chunks::<RECORD_LEN>();
        records.iter().map(move |record| {
            let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *record;
            let until = Timestamp::from_nanos(u64::from_le_bytes([i, j, k, l, m, n, o, p]));
            (
                u64::from_le_bytes([a, b, c, d, e, f, g, h]),
                if until > latest {
                    Timestamp::ZERO
                } else {
                    until
                },
            )
        })
    }

    fn record_mut(&mut self, way: usize) -> Option<&mut [u8; RECORD_LEN]> {
        let (records, _) = self.bytes.as_chunks_mut::<RECORD_LEN>();
        records.get_mut(way)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Fingerprint = Fingerprint::new(1);
    const B: Fingerprint = Fingerprint::new(2);
    const C: Fingerprint = Fingerprint::new(3);

    fn at(nanos: u64) -> Timestamp {
        Timestamp::from_nanos(nanos)
    }

    fn two_ways() -> Set {
        Set::read(None, Geometry::new(4, 2).unwrap())
    }

    fn put(set: &mut Set, owner: Fingerprint, now: u64, until: u64) {
        let place = set.place(owner, at(now));
        set.put(place, owner, at(until));
    }

    #[test]
    fn a_record_is_found_again_by_its_fingerprint() {
        let mut set = two_ways();
        assert_eq!(set.place(A, at(5)).until, at(0));
        put(&mut set, A, 5, 10);
        put(&mut set, B, 5, 20);
        assert_eq!(set.place(A, at(6)).until, at(10));
        assert_eq!(set.place(B, at(6)).until, at(20));
        let again = Set::read(Some(set.bytes().to_vec()), Geometry::new(4, 2).unwrap());
        assert_eq!(again.place(B, at(6)).until, at(20));
    }

    #[test]
    fn a_record_whose_moment_has_come_is_free() {
        let mut set = two_ways();
        put(&mut set, A, 5, 10);
        put(&mut set, B, 5, 20);
        let place = set.place(C, at(10));
        assert!(!place.shared);
        set.put(place, C, at(30));
        assert_eq!(set.place(B, at(10)).until, at(20));
        assert_eq!(set.place(C, at(10)).until, at(30));
    }

    #[test]
    fn a_newcomer_to_a_full_set_goes_on_from_the_earliest_moment() {
        let mut set = two_ways();
        put(&mut set, A, 5, 10);
        put(&mut set, B, 5, 20);
        let place = set.place(C, at(9));
        assert!(place.shared);
        assert_eq!(place.until, at(10));
        set.put(place, C, at(15));
        // A lost its record. It is held to owe at least as much as it does.
        let place = set.place(A, at(9));
        assert!(place.shared);
        assert!(place.until >= at(10));
    }

    #[test]
    fn taking_back_restores_a_charge() {
        let mut set = two_ways();
        put(&mut set, A, 5, 30);
        set.take_back(A, Span::from_nanos(10), at(6));
        assert_eq!(set.place(A, at(6)).until, at(20));
    }

    #[test]
    fn taking_back_never_sinks_below_the_others_of_a_full_set() {
        let mut set = two_ways();
        put(&mut set, A, 5, 30);
        put(&mut set, B, 5, 25);
        set.take_back(A, Span::from_nanos(20), at(6));
        assert_eq!(set.place(A, at(6)).until, at(25));
    }

    #[test]
    fn nothing_is_taken_back_from_whoever_took_the_record_over() {
        let mut set = two_ways();
        put(&mut set, A, 5, 10);
        put(&mut set, B, 5, 20);
        put(&mut set, C, 6, 15);
        let before = set.bytes().to_vec();
        set.take_back(A, Span::from_nanos(5), at(7));
        assert_eq!(set.bytes(), before);
    }

    #[test]
    fn foreign_values_read_as_an_empty_set_and_are_told() {
        let geometry = Geometry::new(4, 2).unwrap();
        for len in [1, 16, 31, 33, 1000] {
            let set = Set::read(Some(vec![0xff; len]), geometry);
            assert!(set.is_foreign(), "{len}");
            assert_eq!(set.place(A, at(0)).until, at(0), "{len}");
        }
        assert!(!Set::read(None, geometry).is_foreign());
    }

    #[test]
    fn a_record_that_claims_centuries_is_free() {
        let set = Set::read(Some(vec![0x7f; 32]), Geometry::new(4, 2).unwrap());
        assert!(!set.place(A, at(1_000_000_000)).shared);
    }

    #[test]
    fn only_a_put_changes_a_set() {
        let mut set = two_ways();
        set.place(A, at(1));
        assert!(!set.is_changed());
        put(&mut set, A, 1, 2);
        assert!(set.is_changed());
    }

    #[test]
    fn every_hash_has_a_set_within_the_table() {
        let geometry = Geometry::new(7, 2).unwrap();
        let hash = |place| Hash { place, identity: 0 };
        assert_eq!(geometry.set_of(hash(0)), 0);
        assert_eq!(geometry.set_of(hash(13)), 6);
        assert!(geometry.set_of(hash(u64::MAX)) < 7);
        assert_eq!(Geometry::new(0, 1), None);
        assert_eq!(Geometry::new(1, 0), None);
    }
}
