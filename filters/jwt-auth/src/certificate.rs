//! The digest of a client's certificate, which a token can be bound to (RFC 8705 section 3.1).

use crate::jose::base64url;

/// The name of the host's property that has the digest of the connection's certificate, in hex.
pub const PROPERTY: &str = "connection\0sha256_peer_certificate_digest";

/// Returns `x5t#S256` of a digest in hex; `None` for anything but 32 bytes.
pub fn of_hex(hex: &[u8]) -> Option<String> {
    let (pairs, rest) = hex.as_chunks::<2>();
    if pairs.len() != 32 || !rest.is_empty() {
        return None;
    }
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    let bytes = pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    let bytes: Vec<u8> = bytes.collect::<Option<_>>()?;
    Some(base64url::encode(&bytes))
}

/// Returns `x5t#S256` of the certificate that the nearest proxy saw: `Hash` in the last element of a
/// value of `x-forwarded-client-cert`. `None` if there is none, or two.
pub fn of_forwarded(value: &[u8]) -> Option<String> {
    let mut hash = None;
    let (mut quoted, mut escaped) = (false, false);
    let mut start = 0_usize;
    for at in 0..=value.len() {
        let byte = value.get(at).copied();
        let ends = byte.is_none() || (!quoted && matches!(byte, Some(b',' | b';')));
        if ends {
            let pair = value.get(start..at)?.trim_ascii();
            start = at.saturating_add(1);
            if let Some((name, digest)) = pair.split_at_checked(5)
                && name.eq_ignore_ascii_case(b"Hash=")
            {
                let digest = digest.strip_prefix(b"\"").unwrap_or(digest);
                let digest = digest.strip_suffix(b"\"").unwrap_or(digest);
                // Two of them in one element: nobody knows which one counts.
                hash = Some(if hash.is_none() { of_hex(digest) } else { None });
            }
            if byte == Some(b',') {
                hash = None;
            }
        }
        quoted ^= byte == Some(b'"') && !escaped;
        escaped = byte == Some(b'\\') && !escaped;
    }
    // A quote that never ends may hide an element.
    hash.flatten().filter(|_| !quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "468ED33BE74EEE6556D90C0149C1309E9BA61D6425303443C0748A02DD8DE688";
    const OTHER: &str = "0000000000000000000000000000000000000000000000000000000000000000";

    /// `printf … | xxd -r -p | basenc --base64url`
    const THUMBPRINT: &str = "Ro7TO-dO7mVW2QwBScEwnpumHWQlMDRDwHSKAt2N5og";

    fn forwarded(value: &str) -> Option<String> {
        of_forwarded(value.as_bytes())
    }

    #[test]
    fn a_digest_in_hex_is_the_thumbprint_in_base64url() {
        assert_eq!(of_hex(HEX.as_bytes()).as_deref(), Some(THUMBPRINT));
        assert_eq!(
            of_hex(HEX.to_lowercase().as_bytes()).as_deref(),
            Some(THUMBPRINT)
        );
        for odd in [
            "",
            "46",
            "4",
            &HEX[1..],
            &format!("{HEX}00"),
            &HEX.replace('4', "g"),
        ] {
            assert_eq!(of_hex(odd.as_bytes()), None, "{odd}");
        }
    }

    #[test]
    fn the_last_element_of_the_forwarded_header_counts() {
        let ours = Some(THUMBPRINT.to_owned());
        for value in [
            format!("By=spiffe://a;Hash={HEX};Subject=\"CN=x,O=\\\"y;Hash=z\\\"\";URI=b"),
            format!("By=a;Hash={OTHER},By=b;Hash={HEX}"),
            format!("hash=\"{HEX}\""),
        ] {
            assert_eq!(forwarded(&value), ours, "{value}");
        }
    }

    #[test]
    fn a_hash_within_quotes_or_beside_another_is_none() {
        for value in [
            String::new(),
            "By=a".to_owned(),
            format!("Hash={HEX},By=b"),
            format!("Subject=\"a;Hash={HEX};b\""),
            format!("Hash={HEX};Hash={HEX}"),
            format!("Subject=\"a,Hash={HEX}"),
            format!("Hash={HEX};Subject=\"a"),
            "Hash=00".to_owned(),
        ] {
            assert_eq!(forwarded(&value), None, "{value}");
        }
    }
}
