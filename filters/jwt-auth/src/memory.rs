//! Tokens that were looked at already: a bounded memory of each worker.
//!
//! A set-associative table. The set is chosen by a seeded hash of the token's end, where its
//! signature is; the whole token is compared. A newcomer to a full set takes the place of whatever
//! was used least recently there. What is remembered is good up to a moment and for one version of
//! the provider's keys: both are compared on every look-up.

use filter_core::hash::Seed;

use crate::jose::date::NumericDate;

/// Entries in each set.
const WAYS: usize = 8;
/// Bytes at a token's end that choose its set.
const HASHED: usize = 32;

/// What a token was found to be, for what was asked of it.
#[derive(Clone, Debug)]
pub struct Memory<T> {
    seed: Seed,
    /// Each has its most recently used entry first.
    sets: Vec<Vec<Entry<T>>>,
    longest: usize,
}

#[derive(Clone, Debug)]
struct Entry<T> {
    identity: u64,
    token: Box<[u8]>,
    version: u64,
    until: NumericDate,
    value: T,
}

impl<T: Clone> Memory<T> {
    /// Makes a memory of about `capacity` tokens of at most `longest` bytes; of none for 0.
    pub fn new(capacity: usize, longest: usize, seed: Seed) -> Self {
        let sets = capacity.div_ceil(WAYS).checked_next_power_of_two();
        let sets = if capacity == 0 { 0 } else { sets.unwrap_or(1) };
        Self {
            seed,
            sets: std::iter::repeat_with(Vec::new).take(sets).collect(),
            longest,
        }
    }

    /// Returns what is known of a token, unless the keys are others by now or it is too late.
    pub fn find(&mut self, token: &[u8], version: u64, now: NumericDate) -> Option<T> {
        let (set, identity) = self.place(token)?;
        let at = set
            .iter()
            .position(|entry| entry.identity == identity && same(&entry.token, token))?;
        if set
            .get(at)
            .is_none_or(|e| e.version != version || e.until <= now)
        {
            set.remove(at);
            return None;
        }
        set.get_mut(..=at)?.rotate_right(1);
        Some(set.first()?.value.clone())
    }

    /// Remembers a token until a moment, for one version of the keys.
    pub fn put(&mut self, token: &[u8], version: u64, until: NumericDate, value: T) {
        if token.len() > self.longest {
            return;
        }
        let Some((set, identity)) = self.place(token) else {
            return;
        };
        set.retain(|entry| entry.identity != identity || *entry.token != *token);
        set.truncate(WAYS.saturating_sub(1));
        let entry = Entry {
            identity,
            token: token.into(),
            version,
            until,
            value,
        };
        set.insert(0, entry);
    }

    /// Forgets a token.
    pub fn forget(&mut self, token: &[u8]) {
        if let Some((set, identity)) = self.place(token) {
            set.retain(|entry| entry.identity != identity || *entry.token != *token);
        }
    }

    fn place(&mut self, token: &[u8]) -> Option<(&mut Vec<Entry<T>>, u64)> {
        let start = token.len().saturating_sub(HASHED);
        let hash = self.seed.hash(token.get(start..)?);
        // The number of sets is a power of two, or there is none.
        let mask = self.sets.len().checked_sub(1)?;
        let at = usize::try_from(hash.place & u64::try_from(mask).ok()?).ok()?;
        Some((self.sets.get_mut(at)?, hash.identity))
    }
}

/// Compares eight bytes at a time: `memcmp` in wasm goes byte by byte, and a token has hundreds.
fn same(one: &[u8], other: &[u8]) -> bool {
    let (words, rest) = one.as_chunks::<8>();
    let (other_words, other_rest) = other.as_chunks::<8>();
    // Without a branch in the loop: tokens of the same hash are the same but for attacks.
    let different = words.iter().zip(other_words).fold(0, |different, (a, b)| {
        different | (u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b))
    });
    one.len() == other.len() && different == 0 && rest == other_rest
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> NumericDate {
        NumericDate::from_unix_seconds(seconds)
    }

    fn memory(capacity: usize) -> Memory<u32> {
        Memory::new(capacity, 64, Seed::from_bytes([7; 16]))
    }

    #[test]
    fn a_token_is_known_until_its_moment_and_for_its_keys() {
        let mut memory = memory(100);
        memory.put(b"a.b.c", 1, at(100), 7);
        assert_eq!(memory.find(b"a.b.c", 1, at(99)), Some(7));
        assert_eq!(memory.find(b"a.b.d", 1, at(99)), None);
        assert_eq!(memory.find(b"a.b.c", 1, at(100)), None);
        memory.put(b"a.b.c", 1, at(100), 7);
        assert_eq!(memory.find(b"a.b.c", 2, at(1)), None, "other keys");
        assert_eq!(memory.find(b"a.b.c", 1, at(1)), None, "forgotten for good");
    }

    proptest! {
        #[test]
        fn eight_bytes_at_a_time_are_compared_as_one(
            one in proptest::collection::vec(0..2_u8, 0..30),
            other in proptest::collection::vec(0..2_u8, 0..30),
            at in 0..30_usize,
        ) {
            prop_assert_eq!(same(&one, &other), one == other);
            let mut changed = one.clone();
            if let Some(byte) = changed.get_mut(at) {
                *byte ^= 1;
            }
            prop_assert_eq!(same(&one, &changed), one == changed);
        }
    }

    #[test]
    fn tokens_that_end_alike_are_not_confused() {
        let mut memory = memory(100);
        let end = "s".repeat(HASHED);
        let (one, two) = (format!("one.{end}"), format!("two.{end}"));
        memory.put(one.as_bytes(), 1, at(9), 1);
        assert_eq!(memory.find(two.as_bytes(), 1, at(0)), None);
        memory.put(two.as_bytes(), 1, at(9), 2);
        assert_eq!(memory.find(one.as_bytes(), 1, at(0)), Some(1));
        assert_eq!(memory.find(two.as_bytes(), 1, at(0)), Some(2));
    }

    #[test]
    fn the_least_recently_used_of_a_set_gives_way() {
        let mut memory = memory(WAYS);
        let token = |n: usize| format!("token-{n}").into_bytes();
        for n in 0..WAYS {
            memory.put(&token(n), 1, at(9), 0);
        }
        memory.find(&token(0), 1, at(0)).unwrap();
        memory.put(&token(99), 1, at(9), 0);
        assert_eq!(memory.find(&token(1), 1, at(0)), None);
        assert!(memory.find(&token(0), 1, at(0)).is_some());
    }

    #[test]
    fn a_flood_of_tokens_takes_no_more_than_the_capacity() {
        let mut memory = memory(64);
        for n in 0..10_000_u32 {
            memory.put(&n.to_be_bytes(), 1, at(9), n);
        }
        let entries: usize = memory.sets.iter().map(Vec::len).sum();
        assert!(entries <= 64, "{entries}");
    }

    #[test]
    fn long_tokens_and_a_memory_of_nothing_are_no_trouble() {
        let mut memory = memory(8);
        memory.put(&[b'a'; 65], 1, at(9), 0);
        assert_eq!(memory.find(&[b'a'; 65], 1, at(0)), None);
        let mut none = self::memory(0);
        none.put(b"a", 1, at(9), 0);
        assert_eq!(none.find(b"a", 1, at(0)), None);
    }

    proptest! {
        /// Whatever is found was put, last, with that version, and isn't over.
        #[test]
        fn never_returns_what_a_map_would_not(
            steps in prop::collection::vec((any::<bool>(), 0..12_u8, 0..3_u64, 0..20_u64), 0..200),
        ) {
            let mut memory = memory(8);
            let mut model = BTreeMap::new();
            for (number, (is_put, token, version, time)) in (0_u32..).zip(steps) {
                let token = [token];
                if is_put {
                    memory.put(&token, version, at(time), number);
                    model.insert(token, (version, time, number));
                } else if let Some(found) = memory.find(&token, version, at(time)) {
                    let (put_version, until, value) = model[&token];
                    prop_assert_eq!((put_version, value), (version, found));
                    prop_assert!(until > time);
                }
            }
        }
    }
}
