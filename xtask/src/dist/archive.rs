//! Archives that are the same bytes whenever they are made.

use std::io::Write as _;

use anyhow::Result;
use flate2::{Compression, GzBuilder};

/// Packs files, owned by root and without a date.
pub(super) fn tar(files: &[(&str, &[u8])]) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(u64::try_from(bytes.len())?);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        archive.append_data(&mut header, name, *bytes)?;
    }
    Ok(archive.into_inner()?)
}

/// Compresses, without a name and a date.
pub(super) fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzBuilder::new().write(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn archives_hold_what_was_put_in_and_nothing_of_when_and_where() {
        let archive = tar(&[("plugin.wasm", b"\0asm")]).expect("packed");
        assert_eq!(archive, tar(&[("plugin.wasm", b"\0asm")]).expect("packed"));
        let mut read = tar::Archive::new(&archive[..]);
        let mut entries = read.entries().expect("an archive");
        let mut entry = entries.next().expect("an entry").expect("readable");
        assert_eq!(entry.path().expect("a path").to_str(), Some("plugin.wasm"));
        let header = entry.header();
        assert_eq!(header.mtime().expect("a time"), 0);
        assert_eq!(header.uid().expect("an owner"), 0);
        assert_eq!(header.mode().expect("a mode"), 0o644);
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("readable");
        assert_eq!(bytes, b"\0asm");
        assert!(entries.next().is_none());
    }

    #[test]
    fn gzip_has_no_date_and_expands_to_the_same() {
        let packed = gzip(b"abcabcabc").expect("packed");
        assert_eq!(packed[4..8], [0; 4], "the date in the header");
        let mut text = String::new();
        let mut decoder = flate2::read::GzDecoder::new(&packed[..]);
        decoder.read_to_string(&mut text).expect("readable");
        assert_eq!(text, "abcabcabc");
    }
}
