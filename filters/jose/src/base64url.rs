//! Base64url as JOSE has it (RFC 7515 section 2): no padding, no white space, one spelling.
//!
//! Decoders that forgive let one token be written in many ways, and everything that compares
//! tokens (a memory, a deny-list) can then be walked round. So the bits that a last character has
//! over must be zero (RFC 4648 section 3.5), and every other character is an error.

/// What a byte means, at its place among four: its six bits shifted, or [`INVALID`].
type Table = [u32; 256];

/// A bit outside the 24 that four characters make.
const INVALID: u32 = 1 << 31;

static FIRST: Table = table(18);
static SECOND: Table = table(12);
static THIRD: Table = table(6);
static FOURTH: Table = table(0);

/// Decodes `text`; `None` unless it is the one spelling of some bytes.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let (groups, rest) = text.as_chunks::<4>();
    let whole = groups.len().checked_mul(3)?;
    let mut bytes = Vec::with_capacity(whole.checked_add(2)?);
    bytes.resize(whole, 0);
    // Every group goes into one sum of errors: a branch at the end instead of one in each.
    let mut errors = 0;
    for (group, out) in groups.iter().zip(bytes.as_chunks_mut::<3>().0) {
        let [a, b, c, d] = *group;
        let bits = value(&FIRST, a) | value(&SECOND, b) | value(&THIRD, c) | value(&FOURTH, d);
        errors |= bits;
        let [_, high, middle, low] = bits.to_be_bytes();
        *out = [high, middle, low];
    }
    match *rest {
        [] => {}
        [a, b] => {
            let bits = value(&FIRST, a) | value(&SECOND, b);
            errors |= bits | if bits & 0xffff == 0 { 0 } else { INVALID };
            let [_, high, ..] = bits.to_be_bytes();
            bytes.push(high);
        }
        [a, b, c] => {
            let bits = value(&FIRST, a) | value(&SECOND, b) | value(&THIRD, c);
            errors |= bits | if bits & 0xff == 0 { 0 } else { INVALID };
            let [_, high, middle, _] = bits.to_be_bytes();
            bytes.extend([high, middle]);
        }
        _ => return None,
    }
    (errors & INVALID == 0).then_some(bytes)
}

/// Encodes `bytes`.
pub fn encode(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let (bits, characters) = match *group {
            [a] => ([0, a, 0, 0], 2),
            [a, b] => ([0, a, b, 0], 3),
            [a, b, c] => ([0, a, b, c], 4),
            _ => continue,
        };
        let bits = u32::from_be_bytes(bits);
        for shift in [18, 12, 6, 0].into_iter().take(characters) {
            let [six, ..] = ((bits >> shift) & 63).to_le_bytes();
            let character = ALPHABET.get(usize::from(six)).copied();
            text.push(char::from(character.unwrap_or_default()));
        }
    }
    text
}

fn value(table: &Table, byte: u8) -> u32 {
    // Always there; the compiler drops the check.
    table.get(usize::from(byte)).copied().unwrap_or(INVALID)
}

#[expect(
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, where a mistake is an error of the build"
)]
const fn table(shift: u32) -> Table {
    let mut table = [INVALID; 256];
    let mut byte = 0;
    while byte < 256 {
        let value = match byte as u8 {
            upper @ b'A'..=b'Z' => upper - b'A',
            lower @ b'a'..=b'z' => lower - b'a' + 26,
            digit @ b'0'..=b'9' => digit - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => 64,
        };
        if value < 64 {
            table[byte] = (value as u32) << shift;
        }
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decodes_the_example_of_rfc_7515_appendix_c() {
        assert_eq!(decode(b"A-z_4ME"), Some(vec![3, 236, 255, 224, 193]));
        assert_eq!(encode(&[3, 236, 255, 224, 193]), "A-z_4ME");
        assert_eq!(decode(b""), Some(Vec::new()));
    }

    #[test]
    fn refuses_padding_white_space_and_the_other_alphabet() {
        for text in [
            "QQ==", "QQ=", "QUI=", "QU I", " QUJD", "QUJD ", "QUJD\n", "QU\tJD", "a+b/", "QU.D",
            "QUJD=",
        ] {
            assert_eq!(decode(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(decode(&[0xff; 4]), None);
    }

    #[test]
    fn refuses_bits_that_are_left_over() {
        assert_eq!(decode(b"QQ"), Some(b"A".to_vec()));
        assert_eq!(decode(b"QR"), None);
        assert_eq!(decode(b"Qf"), None);
        assert_eq!(decode(b"QUI"), Some(b"AB".to_vec()));
        assert_eq!(decode(b"QUJ"), None);
    }

    #[test]
    fn refuses_a_single_last_character() {
        assert_eq!(decode(b"Q"), None);
        assert_eq!(decode(b"QUJDA"), None);
    }

    proptest! {
        #[test]
        fn agrees_with_the_base64_crate_on_any_bytes(text in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(decode(&text), URL_SAFE_NO_PAD.decode(&text).ok());
        }

        #[test]
        fn agrees_with_the_base64_crate_on_its_alphabet(text in "[A-Za-z0-9_=-]{0,40}") {
            prop_assert_eq!(decode(text.as_bytes()), URL_SAFE_NO_PAD.decode(&text).ok());
        }

        #[test]
        fn what_is_encoded_decodes_to_itself(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let text = encode(&bytes);
            prop_assert_eq!(&text, &URL_SAFE_NO_PAD.encode(&bytes));
            prop_assert_eq!(decode(text.as_bytes()), Some(bytes));
        }
    }
}
