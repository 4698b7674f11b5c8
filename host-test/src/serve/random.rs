//! Random numbers for choices and request ids; not for secrets.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

/// A xorshift64* generator of one worker.
pub(super) struct Random(Cell<u64>);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        // The state must not be zero.
        Self(Cell::new(seed | 1))
    }

    /// Seeded from the operating system.
    pub(super) fn seeded() -> Self {
        Self::new(RandomState::new().hash_one(0))
    }

    pub(super) fn next(&self) -> u64 {
        let mut x = self.0.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.0.set(x);
        x.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below a bound; 0 for a bound of 0.
    pub(super) fn below(&self, bound: usize) -> usize {
        // The high half of the product is uniform but for a bias of bound / 2^64.
        let product = u128::from(self.next()) * bound as u128;
        usize::try_from(product >> 64).unwrap_or(0)
    }

    /// A UUID of version 4, as Envoy's `x-request-id` is.
    pub(super) fn uuid(&self) -> String {
        let (high, low) = (self.next(), self.next());
        let high = high & !0xf000 | 0x4000;
        let low = low & !(3 << 62) | 1 << 63;
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_uuids_of_version_4_and_differ() {
        let random = Random::new(0);
        let pattern = "^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$";
        let pattern = regex::Regex::new(pattern).unwrap();
        let ids: std::collections::HashSet<String> = (0..1000).map(|_| random.uuid()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| pattern.is_match(id)));
    }

    #[test]
    fn numbers_stay_below_their_bound_and_reach_all_of_it() {
        let random = Random::new(3);
        let seen: std::collections::BTreeSet<usize> = (0..1000).map(|_| random.below(5)).collect();
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert_eq!(random.below(0), 0);
    }
}
