//! SHA-2 by the name of the function.

use sha2_current::{Sha256, Sha384, Sha512};

use crate::algorithm::Hash;

/// A digest of any of the functions.
pub(super) struct Digest {
    bytes: [u8; 64],
    length: usize,
}

impl Digest {
    /// Hashes `parts` one after the other.
    pub(super) fn of(hash: Hash, parts: &[&[u8]]) -> Self {
        let mut bytes = [0; 64];
        match hash {
            Hash::Sha256 => fill::<Sha256>(parts, &mut bytes),
            Hash::Sha384 => fill::<Sha384>(parts, &mut bytes),
            Hash::Sha512 => fill::<Sha512>(parts, &mut bytes),
        }
        let length = hash.size();
        Self { bytes, length }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

fn fill<D: sha2_current::Digest>(parts: &[&[u8]], bytes: &mut [u8; 64]) {
    let digest = parts
        .iter()
        .fold(D::new(), |hasher, part| hasher.chain_update(part))
        .finalize();
    for (out, byte) in bytes.iter_mut().zip(digest) {
        *out = byte;
    }
}
