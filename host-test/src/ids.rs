//! Maps whose keys are numbers that the host itself has given out.
//!
//! A hostcall looks its context and its stream up, so that this is the most frequent thing the host
//! does. The standard hasher withstands keys chosen by an attacker, at 20 ns a look-up; nobody
//! chooses these.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map by context, stream or callout.
pub(crate) type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// Spreads one number over all bits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    #[inline]
    fn write_u32(&mut self, id: u32) {
        self.write_u64(id.into());
    }

    #[inline]
    fn write_u64(&mut self, id: u64) {
        // Fibonacci hashing: the map takes the bucket from the low bits and its tag from the high.
        let product = (self.0 ^ id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ (product >> 32);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::BuildHasher as _;

    use super::*;

    #[test]
    fn numbers_in_a_row_fall_into_different_buckets() {
        let hash = |id: u64| BuildHasherDefault::<IdHasher>::default().hash_one(id);
        let buckets: HashSet<u64> = (1..=1_024).map(|id| hash(id) % 4_096).collect();
        assert!(buckets.len() > 850, "{} of 1024", buckets.len());
        let tags: HashSet<u64> = (1..=1_024).map(|id| hash(id) >> 57).collect();
        assert_eq!(tags.len(), 128);
    }
}
