//! What an RSA signature must be the power of: EMSA-PKCS1-v1_5 and EMSA-PSS (RFC 8017 section 9).

use crate::algorithm::Hash;
use crate::verify::digest::Digest;

/// DER of a DigestInfo up to the digest itself (RFC 8017 section 9.2, note 1).
const SHA256_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
    0x00, 0x04, 0x20,
];
const SHA384_INFO: [u8; 19] = [
    0x30, 0x41, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02, 0x05,
    0x00, 0x04, 0x30,
];
const SHA512_INFO: [u8; 19] = [
    0x30, 0x51, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03, 0x05,
    0x00, 0x04, 0x40,
];

/// Returns whether `encoded` is the PKCS #1 v1.5 encoding of the text's digest. What it should be is
/// built and compared as a whole: parsing it is how forgeries pass.
pub(super) fn is_pkcs1(encoded: &[u8], hash: Hash, text: &[u8]) -> bool {
    let digest = Digest::of(hash, &[text]);
    let info = match hash {
        Hash::Sha256 => SHA256_INFO,
        Hash::Sha384 => SHA384_INFO,
        Hash::Sha512 => SHA512_INFO,
    };
    let end = [&[0], info.as_slice(), digest.bytes()].concat();
    let Some(fill) = encoded.len().checked_sub(end.len().saturating_add(2)) else {
        return false;
    };
    let expected = [&[0, 1], vec![0xff; fill].as_slice(), &end].concat();
    // RFC 8017 asks for eight bytes of filling; keys of 2048 bits have 191.
    fill >= 8 && encoded == expected
}

/// Returns whether `encoded` is an EMSA-PSS encoding of the text's digest with a salt as long as the
/// digest and MGF1 of the same hash (RFC 7518 section 3.5), for a modulus of `bits`.
pub(super) fn is_pss(encoded: &[u8], bits: u32, hash: Hash, text: &[u8]) -> bool {
    check_pss(encoded, bits, hash, text).unwrap_or(false)
}

/// RFC 8017 section 9.1.2; `None` where it says "inconsistent".
fn check_pss(encoded: &[u8], bits: u32, hash: Hash, text: &[u8]) -> Option<bool> {
    // The encoding has one bit less than the modulus: perhaps a whole byte less.
    let spare = bits.checked_sub(1)? % 8;
    let encoded = match (spare, encoded) {
        (0, [0, rest @ ..]) => rest,
        (0, _) => return None,
        _ => encoded,
    };
    let (rest, trailer) = encoded.split_last_chunk::<1>()?;
    let (masked, expected) = rest.split_at_checked(rest.len().checked_sub(hash.size())?)?;
    let first_bits = if spare == 0 {
        0xff
    } else {
        0xff_u8.wrapping_shr(8_u32.wrapping_sub(spare))
    };
    let has_spare_zeros = masked.first().is_some_and(|first| first & !first_bits == 0);
    let mut block: Vec<u8> = masked
        .iter()
        .zip(mask(expected, hash))
        .map(|(masked, mask)| masked ^ mask)
        .collect();
    *block.first_mut()? &= first_bits;
    let (padding, salt) = block.split_at_checked(block.len().checked_sub(hash.size())?)?;
    let (one, zeros) = padding.split_last()?;
    let is_padded = *one == 1 && zeros.iter().all(|byte| *byte == 0);
    let digest = Digest::of(hash, &[text]);
    let again = Digest::of(hash, &[&[0; 8], digest.bytes(), salt]);
    Some(*trailer == [0xbc] && has_spare_zeros && is_padded && again.bytes() == expected)
}

/// MGF1 (RFC 8017 appendix B.2.1), as long as anyone wants.
fn mask(seed: &[u8], hash: Hash) -> impl Iterator<Item = u8> {
    (0_u32..).flat_map(move |counter| {
        let digest = Digest::of(hash, &[seed, &counter.to_be_bytes()]);
        let bytes: Vec<u8> = digest.bytes().to_vec();
        bytes
    })
}
