//! Proofs that were used: a bounded memory that all workers share.
//!
//! Shared data never forgets and can't be listed, so it is a fixed number of slots, each a list of
//! what was used and until when that matters. A full slot forgets what ends soonest.

use filter_core::hash::Hash;

/// Bytes of an entry: what it is, and the second in which it ends.
const ENTRY: usize = 16;
/// Entries in a slot.
const MOST: usize = 64;

/// Returns the slot of a proof where so many are remembered.
pub fn slot(hash: Hash, remembered: u64) -> u64 {
    let most = u64::try_from(MOST).unwrap_or(u64::MAX);
    let slots = remembered.div_ceil(most).max(1);
    hash.place.checked_rem(slots).unwrap_or_default()
}

/// Adds a proof to a slot; `None` if it is there.
pub fn insert(slot: &[u8], identity: u64, until: u64, now: u64) -> Option<Vec<u8>> {
    let (entries, _) = slot.as_chunks::<ENTRY>();
    let entries = entries.iter().map(|entry| {
        let number = |at: usize| {
            let bytes = entry.get(at..)?.first_chunk::<8>()?;
            Some(u64::from_le_bytes(*bytes))
        };
        (number(0).unwrap_or_default(), number(8).unwrap_or_default())
    });
    let mut entries: Vec<_> = entries.filter(|(_, end)| *end >= now).collect();
    if entries.iter().any(|(known, _)| *known == identity) {
        return None;
    }
    while entries.len() >= MOST {
        let ends = entries.iter().enumerate().min_by_key(|(_, (_, end))| *end);
        let soonest = ends.map_or(0, |(at, _)| at);
        entries.swap_remove(soonest);
    }
    entries.push((identity, until));
    let words = entries.into_iter().flat_map(|(known, end)| [known, end]);
    Some(words.flat_map(u64::to_le_bytes).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_proof_is_new_once_until_it_ends() {
        let slot = insert(b"", 1, 160, 100).unwrap();
        assert_eq!(insert(&slot, 1, 160, 160), None);
        assert!(insert(&slot, 2, 160, 100).is_some());
        assert!(insert(&slot, 1, 260, 161).is_some());
    }

    #[test]
    fn a_slot_of_foreign_bytes_is_no_trap() {
        assert!(insert(&[0xff; 31], 1, 2, 1).is_some());
    }

    proptest! {
        #[test]
        fn a_slot_is_bounded_and_remembers_the_latest(
            proofs in prop::collection::vec((0..500_u64, 0..1000_u64), 0..300),
        ) {
            let mut slot = Vec::new();
            for (identity, until) in proofs {
                if let Some(next) = insert(&slot, identity, until, 0) {
                    slot = next;
                }
                prop_assert!(slot.len() <= MOST * ENTRY);
                prop_assert_eq!(insert(&slot, identity, until, 0), None);
            }
        }
    }
}
