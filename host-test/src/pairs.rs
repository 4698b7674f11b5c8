//! The byte form of header maps: a count, then the sizes of all names and values, then each with a
//! trailing NUL. All numbers are little-endian `u32`.

use crate::headers::Headers;

/// Above this size Envoy reads a map given by a guest as empty.
const MAX_BYTES: usize = 1 << 20;
/// Above this count Envoy reads a map given by a guest as empty.
const MAX_PAIRS: usize = 1_024;

/// Serializes a map.
pub(crate) fn encode(headers: &Headers) -> Vec<u8> {
    let size = 4 + headers.len() * 10 + headers.byte_size();
    let mut out = Vec::with_capacity(size);
    out.extend(length(headers.len()));
    for (name, value) in headers.iter() {
        out.extend(length(name.len()));
        out.extend(length(value.len()));
    }
    for (name, value) in headers.iter() {
        out.extend_from_slice(name);
        out.push(0);
        out.extend_from_slice(value);
        out.push(0);
    }
    out
}

/// Reads a map given by a guest. Envoy takes what it can't read, and what is too large, as empty;
/// the second part tells that this happened.
pub(crate) fn decode(bytes: &[u8]) -> (Headers, bool) {
    let append = |headers: &mut Headers, name: &[u8], value: &[u8]| headers.append(name, value);
    decode_into(Headers::new(), append, bytes)
}

/// The same with an empty map of another kind, and with what is done with each pair.
pub(crate) fn decode_into(
    empty: Headers,
    put: impl Fn(&mut Headers, &[u8], &[u8]),
    bytes: &[u8],
) -> (Headers, bool) {
    match try_decode(empty.clone(), put, bytes) {
        Some(headers) => (headers, false),
        None => (empty, true),
    }
}

fn try_decode(
    mut headers: Headers,
    put: impl Fn(&mut Headers, &[u8], &[u8]),
    bytes: &[u8],
) -> Option<Headers> {
    if bytes.is_empty() {
        return Some(headers);
    }
    if bytes.len() > MAX_BYTES {
        return None;
    }
    let count = number(bytes, 0)?;
    if count > MAX_PAIRS {
        return None;
    }
    let mut at = 4 + count * 8;
    for pair in 0..count {
        let name_size = number(bytes, 4 + pair * 8)?;
        let value_size = number(bytes, 8 + pair * 8)?;
        let name = bytes.get(at..at.checked_add(name_size)?)?;
        at += name_size + 1;
        let value = bytes.get(at..at.checked_add(value_size)?)?;
        at += value_size + 1;
        put(&mut headers, name, value);
    }
    Some(headers)
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let four = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_le_bytes(four) as usize)
}

fn length(n: usize) -> [u8; 4] {
    u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_survives_the_round_trip_with_duplicates_in_order() {
        let headers: Headers = [(":path", "/"), ("a", "1"), ("b", ""), ("a", "2")]
            .into_iter()
            .collect();
        assert_eq!(decode(&encode(&headers)), (headers, false));
    }

    #[test]
    fn the_1025th_pair_makes_envoy_read_nothing() {
        let many = |n: usize| -> Headers { (0..n).map(|i| (format!("h{i}"), "v")).collect() };
        assert_eq!(decode(&encode(&many(1024))).0.len(), 1024);
        assert_eq!(decode(&encode(&many(1025))), (Headers::new(), true));
    }

    #[test]
    fn truncated_bytes_read_as_empty() {
        let whole = encode(&[("name", "value")].into_iter().collect());
        for cut in 1..whole.len() - 1 {
            assert!(decode(&whole[..cut]).1, "cut at {cut}");
        }
    }
}
