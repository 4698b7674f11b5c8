//! What a worker remembers of the objects that are asked for most.
//!
//! Bounded by bytes. An object is good as long as the version of its key's group on the board is the one
//! under which it was read, and no purge hit it since. Which one goes is decided as in a clock: a hand
//! passes those that were asked for since it came by last, and takes the first that was not.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use filter_core::hash::Hash;

/// What it costs to remember an object beside its bytes.
const EACH: u64 = 200;

/// A worker's memory of objects.
#[derive(Debug)]
pub struct Memory<T> {
    places: HashMap<u64, usize, BuildHasherDefault<Ready>>,
    slots: Vec<Option<Slot<T>>>,
    free: Vec<usize>,
    hand: usize,
    bytes: u64,
    limit: u64,
}

#[derive(Debug)]
struct Slot<T> {
    hash: Hash,
    version: u32,
    bytes: u64,
    asked: bool,
    object: T,
}

impl<T> Memory<T> {
    /// Makes a memory of so many bytes.
    pub fn new(limit: u64) -> Self {
        Self {
            places: HashMap::default(),
            slots: Vec::new(),
            free: Vec::new(),
            hand: 0,
            bytes: 0,
            limit,
        }
    }

    /// Bytes in use.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of the largest object that is remembered.
    pub fn largest(&self) -> u64 {
        self.limit.div_euclid(8)
    }

    /// The object of a key, if it was read under this version.
    pub fn get(&mut self, hash: Hash, version: u32) -> Option<&T> {
        let place = *self.places.get(&hash.identity)?;
        let slot = self.slots.get_mut(place)?.as_mut()?;
        if slot.hash != hash || slot.version != version {
            return None;
        }
        slot.asked = true;
        Some(&slot.object)
    }

    /// Remembers an object of so many bytes, read under a version. One that is too large isn't kept, and
    /// an older one of that key goes.
    pub fn put(&mut self, hash: Hash, version: u32, bytes: u64, object: T) {
        self.forget(hash);
        let bytes = bytes.saturating_add(EACH);
        if bytes > self.largest() {
            return;
        }
        while self.bytes.saturating_add(bytes) > self.limit {
            if !self.make_room() {
                return;
            }
        }
        self.bytes = self.bytes.saturating_add(bytes);
        let slot = Some(Slot {
            hash,
            version,
            bytes,
            asked: false,
            object,
        });
        let place = if let Some(place) = self.free.pop() {
            if let Some(free) = self.slots.get_mut(place) {
                *free = slot;
            }
            place
        } else {
            self.slots.push(slot);
            self.slots.len().saturating_sub(1)
        };
        self.places.insert(hash.identity, place);
    }

    /// Forgets a key's object.
    pub fn forget(&mut self, hash: Hash) {
        if let Some(place) = self.places.remove(&hash.identity) {
            self.empty(place);
        }
    }

    fn empty(&mut self, place: usize) {
        if let Some(slot) = self.slots.get_mut(place).and_then(Option::take) {
            self.bytes = self.bytes.saturating_sub(slot.bytes);
            self.free.push(place);
        }
    }

    /// Forgets one object; false if there is none.
    fn make_room(&mut self) -> bool {
        // Two rounds: after the first nobody is marked.
        for _ in 0..self.slots.len().saturating_mul(2) {
            let place = self.hand;
            let next = place.saturating_add(1);
            self.hand = if next < self.slots.len() { next } else { 0 };
            let Some(slot) = self.slots.get_mut(place).and_then(Option::as_mut) else {
                continue;
            };
            if slot.asked {
                slot.asked = false;
                continue;
            }
            let hash = slot.hash;
            self.forget(hash);
            return true;
        }
        false
    }
}

/// The keys are keyed hashes already.
#[derive(Debug, Default)]
struct Ready(u64);

impl Hasher for Ready {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = filter_core::hash::digest(bytes);
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u64) -> Hash {
        Hash {
            place: number,
            identity: number.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        }
    }

    #[test]
    fn remembers_an_object_under_its_version_alone() {
        let mut memory = Memory::new(10_000);
        memory.put(hash(1), 7, 100, "one");
        assert_eq!(memory.get(hash(1), 7), Some(&"one"));
        assert_eq!(memory.get(hash(1), 8), None);
        assert_eq!(memory.get(hash(2), 7), None);
        memory.put(hash(1), 8, 100, "two");
        assert_eq!(memory.get(hash(1), 8), Some(&"two"));
    }

    #[test]
    fn stays_within_its_bytes_and_keeps_what_is_asked_for() {
        let mut memory = Memory::new(100_000);
        for number in 0..10_000 {
            memory.put(hash(number), 0, number % 5000, number);
            memory.get(hash(0), 0);
            assert!(memory.bytes() <= 100_000);
        }
        assert_eq!(memory.get(hash(0), 0), Some(&0));
        assert!(memory.slots.len() < 1000, "places are used again");
    }

    #[test]
    fn what_is_larger_than_an_eighth_is_not_kept() {
        let mut memory = Memory::new(8000);
        memory.put(hash(1), 0, 100, ());
        memory.put(hash(1), 0, 900, ());
        assert_eq!(memory.get(hash(1), 0), None);
        assert_eq!(memory.bytes(), 0);
    }
}
