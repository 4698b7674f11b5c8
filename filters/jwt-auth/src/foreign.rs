//! The messages of Envoy's foreign function `verify_signature`.
//!
//! Its arguments and its result are protobuf messages (envoy/extensions/wasm, `VerifySignature…`),
//! small enough to be written by hand.

use crate::jose::verify::HostCheck;

/// The function's name.
pub const VERIFY_SIGNATURE: &str = "verify_signature";

/// Writes the arguments: 1 is the name of the hash, 2 the key, 3 the signature, 4 the text.
pub fn arguments(check: &HostCheck<'_>) -> Vec<u8> {
    let fields: [(u8, &[u8]); 4] = [
        (1, check.hash.name().as_bytes()),
        (2, check.spki),
        (3, &check.signature),
        (4, check.text),
    ];
    let lengths = fields.iter().map(|(_, bytes)| bytes.len());
    let whole = lengths.fold(fields.len().saturating_mul(6), usize::saturating_add);
    let mut message = Vec::with_capacity(whole);
    for (number, bytes) in fields {
        // Wire type 2: a length and so many bytes.
        message.push((number << 3) | 2);
        let mut length = bytes.len();
        while length >= 0x80 {
            let [low, ..] = length.to_le_bytes();
            message.push(low | 0x80);
            length >>= 7;
        }
        let [low, ..] = length.to_le_bytes();
        message.push(low);
        message.extend_from_slice(bytes);
    }
    message
}

/// Whether a result says that the signature is right: field 1 is true, and there is no error.
pub fn is_right(result: &[u8]) -> bool {
    result == [0x08, 0x01]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::algorithm::Hash;

    #[test]
    fn arguments_are_a_message_of_four_fields() {
        let check = HostCheck {
            hash: Hash::Sha256,
            spki: b"key",
            signature: vec![7; 300],
            text: b"",
        };
        let mut expected = b"\x0a\x06sha256\x12\x03key\x1a\xac\x02".to_vec();
        expected.extend([7; 300]);
        expected.extend(b"\x22\x00");
        assert_eq!(arguments(&check), expected);
    }

    #[test]
    fn only_a_plain_yes_is_a_yes() {
        assert!(is_right(b"\x08\x01"));
        for no in [
            &b""[..],
            b"\x08\x00",
            b"\x12\x03bad",
            b"\x08\x01\x12\x01e",
            b"\x08\x02",
        ] {
            assert!(!is_right(no), "{no:?}");
        }
    }
}
