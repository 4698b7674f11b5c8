//! Keyed hashing of what clients send.
//!
//! XXH64 is the fastest good hash in wasm, where 64×64→128-bit multiplications are slow. It isn't a
//! cryptographic hash: the seed keeps a client from choosing which table set its keys fall into,
//! since neither the seed nor any hash ever leaves the gateway.

use xxhash_rust::xxh64::xxh64;

/// The secret of a process: random, equal in all its workers, never logged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seed {
    first: u64,
    second: u64,
}

impl Seed {
    /// Bytes that a seed is made of.
    pub const LEN: usize = 16;

    /// Makes a seed out of random bytes.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
        Self {
            first: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            second: u64::from_le_bytes([i, j, k, l, m, n, o, p]),
        }
    }

    /// Hashes `bytes` to 128 bits under this seed.
    pub fn hash(self, bytes: &[u8]) -> Hash {
        Hash {
            place: xxh64(bytes, self.first),
            identity: xxh64(bytes, self.second),
        }
    }

    /// Hashes `bytes` to 64 bits under this seed, in half the time: for checksums.
    pub fn hash_half(self, bytes: &[u8]) -> u64 {
        xxh64(bytes, self.first)
    }
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed(..)")
    }
}

/// A keyed hash in two independent halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hash {
    /// Says where something is kept.
    pub place: u64,
    /// Says what it is.
    pub identity: u64,
}

/// Hashes configuration, which is no secret and is the same in every process.
pub fn digest(bytes: &[u8]) -> u64 {
    xxh64(bytes, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_published_xxh64_values() {
        // https://github.com/Cyan4973/xxHash, doc/xxhash_spec.md and its sanity checks.
        assert_eq!(digest(b""), 0xef46_db37_51d8_e999);
        assert_eq!(digest(b"a"), 0xd24e_c4f1_a98c_6e5b);
        assert_eq!(digest(b"abc"), 0x44bc_2cf5_ad77_0999);
    }

    #[test]
    fn another_seed_gives_another_hash_in_both_halves() {
        let one = Seed::from_bytes([1; 16]).hash(b"alice");
        let two = Seed::from_bytes([2; 16]).hash(b"alice");
        assert_ne!(one.place, two.place);
        assert_ne!(one.identity, two.identity);
    }

    #[test]
    fn the_halves_are_not_the_same_hash_twice() {
        let mut bytes = [0; 16];
        bytes[0] = 1;
        let hash = Seed::from_bytes(bytes).hash(b"alice");
        assert_ne!(hash.place, hash.identity);
    }

    #[test]
    fn a_seed_is_not_printed() {
        assert_eq!(format!("{:?}", Seed::from_bytes([7; 16])), "Seed(..)");
    }
}
