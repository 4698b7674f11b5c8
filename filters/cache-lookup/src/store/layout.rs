//! How large a store is, and the names of its entries.
//!
//! The gateway's shared data never forgets a key, so their number is fixed by `max_bytes` alone: sets
//! of the directory, one entry per way of each set, and a pool of chunks for what doesn't fit there.
//! What the keys themselves cost is set aside before anything is stored.

use filter_core::hash::Hash;

use super::key::Key;
use super::wire::long;

/// Bytes of a body that one chunk holds. Shared data copies values; up to about this size that costs
/// some microseconds, and ten times as much for a value of 1 MB as for ten of 100 KB.
pub const CHUNK: usize = 64 * 1024;
/// Records of a set.
pub const WAYS: u8 = 16;
/// What a key costs in the host's table beside its value: the name, the nodes, and our record of it.
const PER_KEY: u64 = 256;
/// One record per so many bytes.
pub(crate) const BYTES_PER_SLOT: u64 = 4096;
/// The board, the ledger, and the tables of purges and leases.
const FIXED: u64 = 256 * 1024;
/// The smallest store that is of use.
pub const LEAST_BYTES: u64 = 1024 * 1024;

/// What a store is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of the gateway's shared data that the store may take in all, at least [`LEAST_BYTES`].
    pub max_bytes: u64,
    /// Bytes of the largest body that is stored.
    pub max_object_bytes: u64,
    /// Bytes that each worker may keep in its own memory of what is asked for most; 0 for none.
    pub worker_bytes: u64,
}

/// The fixed size of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    prefix: Key,
    sets: u32,
    budget: u64,
    chunks: u32,
    max_object: u64,
}

impl Layout {
    /// Lays a store out.
    pub fn new(settings: &Settings) -> Self {
        let max_bytes = settings.max_bytes.max(LEAST_BYTES);
        let slots = max_bytes.div_euclid(BYTES_PER_SLOT).min(1 << 22);
        let sets = u32::try_from(slots.div_euclid(u64::from(WAYS)))
            .unwrap_or(1)
            .max(1);
        let slots = u64::from(sets).saturating_mul(u64::from(WAYS));
        let keys = slots.saturating_add(max_bytes.div_euclid(long(CHUNK)));
        let aside = keys.saturating_mul(PER_KEY).saturating_add(FIXED);
        let budget = max_bytes.saturating_sub(aside);
        let chunks = budget.div_euclid(long(CHUNK));
        Self {
            // A store of another size is another store.
            prefix: Key::new("penstock.cache_lookup.3.")
                .number(max_bytes)
                .with("."),
            sets,
            budget,
            chunks: u32::try_from(chunks).unwrap_or(u32::MAX),
            max_object: settings.max_object_bytes.min(budget),
        }
    }

    /// Bytes that all stored values together may have.
    pub fn budget(&self) -> u64 {
        self.budget
    }

    /// Bytes that a worker takes in advance: little of the whole, however many workers there are.
    pub(crate) fn credit(&self) -> u64 {
        self.budget.div_euclid(1024).min(long(CHUNK))
    }

    /// Chunks in the pool. They suffice whenever the budget does: each one in use is full.
    pub fn chunks(&self) -> u32 {
        self.chunks
    }

    /// Bytes of the largest body.
    pub fn max_object(&self) -> u64 {
        self.max_object
    }

    /// Sets of the directory.
    pub fn sets(&self) -> u32 {
        self.sets
    }

    /// Records of the directory.
    pub fn slots(&self) -> u64 {
        u64::from(self.sets).saturating_mul(u64::from(WAYS))
    }

    /// The set that has the record of a hash.
    pub fn set_of(&self, hash: Hash) -> u32 {
        // There is at least one set, so there is a remainder, and it is below a u32.
        let set = hash.place.checked_rem(u64::from(self.sets));
        set.and_then(|set| u32::try_from(set).ok()).unwrap_or(0)
    }

    pub(crate) fn set_key(&self, set: u32) -> Key {
        self.prefix.with("s").number(u64::from(set))
    }

    pub(crate) fn entry_key(&self, set: u32, way: u8) -> Key {
        let set = self.prefix.with("e").number(u64::from(set));
        set.with(".").number(u64::from(way))
    }

    pub(crate) fn chunk_key(&self, chunk: u32) -> Key {
        self.prefix.with("c").number(u64::from(chunk))
    }

    pub(crate) fn lease_key(&self, number: u64) -> Key {
        self.prefix.with("l").number(number)
    }

    pub(crate) fn board_key(&self) -> Key {
        self.prefix.with("board")
    }

    pub(crate) fn ledger_key(&self) -> Key {
        self.prefix.with("ledger")
    }

    pub(crate) fn fleet_key(&self, list: &str) -> Key {
        self.prefix.with("fleet.").with(list)
    }

    pub(crate) fn quiet_key(&self) -> Key {
        self.prefix.with("quiet")
    }

    pub(crate) fn purges_key(&self) -> Key {
        self.prefix.with("purges")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_of_the_largest_store_has_a_name_of_its_own() {
        let layout = Layout::new(&Settings {
            max_bytes: u64::MAX,
            max_object_bytes: 1,
            worker_bytes: 0,
        });
        let set = layout.sets() - 1;
        assert!(layout.entry_key(set, WAYS - 1).ends_with(b".f"));
        assert_ne!(layout.entry_key(0x1, 0x11), layout.entry_key(0x11, 0x1));
        assert!(layout.chunk_key(u32::MAX).ends_with(b"cffffffff"));
        assert!(layout.fleet_key("purges").ends_with(b".fleet.purges"));
    }
}
