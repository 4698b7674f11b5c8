//! As much of DER (X.690) as keys and signatures take to be written.

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const NULL: [u8; 2] = [0x05, 0];
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

/// 1.2.840.113549.1.1.1, RFC 3279 section 2.3.1.
const RSA_ENCRYPTION: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// 1.2.840.10045.2.1, RFC 5480 section 2.1.1.
const EC_PUBLIC_KEY: [u8; 7] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];

/// Writes a SubjectPublicKeyInfo of RSA.
pub(super) fn rsa_key(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let key = element(SEQUENCE, &[&integer(modulus), &integer(exponent)]);
    let algorithm = element(
        SEQUENCE,
        &[&element(OBJECT_IDENTIFIER, &[&RSA_ENCRYPTION]), &NULL],
    );
    element(SEQUENCE, &[&algorithm, &element(BIT_STRING, &[&[0], &key])])
}

/// Writes a SubjectPublicKeyInfo of an uncompressed point on a curve with this identifier.
pub(super) fn ec_key(curve: &[u8], point: &[u8]) -> Vec<u8> {
    let [kind, curve] = [&EC_PUBLIC_KEY, curve].map(|oid| element(OBJECT_IDENTIFIER, &[oid]));
    let algorithm = element(SEQUENCE, &[&kind, &curve]);
    element(
        SEQUENCE,
        &[&algorithm, &element(BIT_STRING, &[&[0], point])],
    )
}

/// Writes the Ecdsa-Sig-Value (RFC 3279 section 2.2.3) of a signature that is two numbers of equal
/// length.
pub(super) fn ecdsa_signature(signature: &[u8]) -> Vec<u8> {
    let (r, s) = signature
        .split_at_checked(signature.len() / 2)
        .unwrap_or_default();
    element(SEQUENCE, &[&integer(r), &integer(s)])
}

/// Writes a number of big-endian bytes, which may begin with zeros.
fn integer(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let number = number.get(zeros..).unwrap_or_default();
    // Zero has one byte, and a first bit that is set would make it negative.
    let sign: &[u8] = if number.first().is_none_or(|first| *first >= 0x80) {
        &[0]
    } else {
        &[]
    };
    element(INTEGER, &[sign, number])
}

fn element(tag: u8, contents: &[&[u8]]) -> Vec<u8> {
    let length = contents.iter().map(|part| part.len()).sum::<usize>();
    let mut der = Vec::with_capacity(length.saturating_add(6));
    der.push(tag);
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => der.push(short),
        _ => {
            let bytes = length.to_be_bytes();
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            let bytes = bytes.get(zeros..).unwrap_or_default();
            der.push(u8::try_from(bytes.len()).unwrap_or_default() | 0x80);
            der.extend_from_slice(bytes);
        }
    }
    for part in contents {
        der.extend_from_slice(part);
    }
    der
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_positive_and_as_short_as_they_can_be() {
        assert_eq!(integer(&[]), [2, 1, 0]);
        assert_eq!(integer(&[0, 0]), [2, 1, 0]);
        assert_eq!(integer(&[0, 1]), [2, 1, 1]);
        assert_eq!(integer(&[0x80]), [2, 2, 0, 0x80]);
        assert_eq!(integer(&[0x7f, 0]), [2, 2, 0x7f, 0]);
    }

    #[test]
    fn lengths_take_as_many_bytes_as_they_need() {
        let lengths = [127, 128, 255, 256, 65_536].map(|length| {
            let der = element(SEQUENCE, &[&vec![0; length]]);
            der[1..der.len() - length].to_vec()
        });
        let expected: [&[u8]; 5] = [
            &[127],
            &[0x81, 128],
            &[0x81, 255],
            &[0x82, 1, 0],
            &[0x83, 1, 0, 0],
        ];
        assert_eq!(lengths, expected);
    }

    #[test]
    fn a_signature_is_two_numbers() {
        assert_eq!(
            ecdsa_signature(&[0, 0x81, 0, 2]),
            [0x30, 7, 2, 2, 0, 0x81, 2, 1, 2]
        );
    }
}
