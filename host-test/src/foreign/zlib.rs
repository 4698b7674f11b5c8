//! `compress` and `uncompress`: zlib streams (RFC 1950).

use std::io::Read;

use flate2::Compression;
use flate2::read::{ZlibDecoder, ZlibEncoder};

/// Compresses at zlib's default level. The bytes need not be those of Envoy's library.
pub(crate) fn compress(plain: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    ZlibEncoder::new(plain, Compression::default())
        .read_to_end(&mut out)
        .ok()?;
    Some(out)
}

/// Expands a stream; what follows it is ignored. `None` if it is damaged, cut short, or larger than
/// a guest's memory.
pub(crate) fn uncompress(stream: &[u8]) -> Option<Vec<u8>> {
    const LIMIT: u64 = 1 << 30;
    let mut out = Vec::new();
    let read = ZlibDecoder::new(stream)
        .take(LIMIT)
        .read_to_end(&mut out)
        .ok()?;
    (read as u64 != LIMIT).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compressed_expands_to_itself_whatever_follows() {
        for plain in [&b""[..], b"a", &[b'x'; 100_000]] {
            let mut stream = compress(plain).expect("compresses");
            assert_eq!(uncompress(&stream).as_deref(), Some(plain));
            stream.extend(b"tail");
            assert_eq!(uncompress(&stream).as_deref(), Some(plain));
        }
    }

    #[test]
    fn a_stream_cut_short_or_damaged_is_refused() {
        let stream = compress(b"some text").expect("compresses");
        assert_eq!(uncompress(&stream[..stream.len() - 1]), None);
        assert_eq!(uncompress(b""), None);
        assert_eq!(uncompress(b"some text"), None);
    }
}
