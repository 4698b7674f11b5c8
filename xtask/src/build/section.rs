//! The binary format of a WebAssembly module, as far as sections and names: WebAssembly core
//! specification, chapter 5.
//!
//! Pure: bytes in, views or bytes out. It knows nothing about code; function bodies stay opaque.

use std::fmt;

/// The first eight bytes of a module: `\0asm`, version 1.
const PREAMBLE: [u8; 8] = *b"\0asm\x01\0\0\0";

/// Section ids that the build looks into.
pub(crate) const IMPORT: u8 = 2;
/// See [`IMPORT`].
pub(crate) const EXPORT: u8 = 7;
/// See [`IMPORT`].
pub(crate) const START: u8 = 8;

/// A section: its id and what is in it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Section<'a> {
    /// 0 for a custom section, else as in the specification.
    pub(crate) id: u8,
    /// The bytes after the section's size.
    pub(crate) payload: std::borrow::Cow<'a, [u8]>,
}

/// Why bytes aren't a module, with the offset where reading stopped.
#[derive(Debug, PartialEq)]
pub(crate) struct Malformed {
    what: &'static str,
    at: usize,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "malformed WebAssembly: {} at byte {}",
            self.what, self.at
        )
    }
}

impl std::error::Error for Malformed {}

/// Splits a module into its sections.
pub(crate) fn split(module: &[u8]) -> Result<Vec<Section<'_>>, Malformed> {
    if !module.starts_with(&PREAMBLE) {
        return Err(Malformed {
            what: "no preamble of version 1",
            at: 0,
        });
    }
    let mut reader = Reader {
        bytes: module,
        at: PREAMBLE.len(),
    };
    let mut sections = Vec::new();
    while !reader.is_empty() {
        let id = reader.byte()?;
        let length = reader.number()?;
        sections.push(Section {
            id,
            payload: reader.take(length)?.into(),
        });
    }
    Ok(sections)
}

/// Puts sections together again.
pub(crate) fn join(sections: &[Section<'_>]) -> Vec<u8> {
    let mut module = PREAMBLE.to_vec();
    for section in sections {
        module.push(section.id);
        write_number(&mut module, section.payload.len());
        module.extend_from_slice(&section.payload);
    }
    module
}

/// Writes an unsigned number in LEB128.
pub(crate) fn write_number(bytes: &mut Vec<u8>, mut number: usize) {
    while number > 0x7f {
        bytes.push(low_bits(number) | 0x80);
        number >>= 7;
    }
    bytes.push(low_bits(number));
}

/// Writes a name with its length in front.
pub(crate) fn write_name(bytes: &mut Vec<u8>, name: &str) {
    write_number(bytes, name.len());
    bytes.extend_from_slice(name.as_bytes());
}

fn low_bits(number: usize) -> u8 {
    u8::try_from(number & 0x7f).unwrap_or_default()
}

/// Reads numbers and names from the front of some bytes.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the front.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Returns whether all has been read.
    pub(crate) fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// Reads one byte.
    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        let byte = self.bytes.get(self.at).copied().ok_or_else(|| self.end())?;
        self.at += 1;
        Ok(byte)
    }

    /// Reads an unsigned 32-bit number in LEB128.
    pub(crate) fn number(&mut self) -> Result<usize, Malformed> {
        let start = self.at;
        let too_long = Malformed {
            what: "a number longer than 32 bits",
            at: start,
        };
        let mut number: u64 = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let number = u32::try_from(number).ok();
                return number
                    .and_then(|number| usize::try_from(number).ok())
                    .ok_or(too_long);
            }
        }
        Err(too_long)
    }

    /// Reads a name.
    pub(crate) fn name(&mut self) -> Result<&'a str, Malformed> {
        let length = self.number()?;
        let start = self.at;
        std::str::from_utf8(self.take(length)?).map_err(|_| Malformed {
            what: "a name that isn't UTF-8",
            at: start,
        })
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let bytes = rest.get(..length).ok_or_else(|| self.end())?;
        self.at += length;
        Ok(bytes)
    }

    fn end(&self) -> Malformed {
        Malformed {
            what: "an unexpected end",
            at: self.at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(sections: &[u8]) -> Vec<u8> {
        [&PREAMBLE, sections].concat()
    }

    #[test]
    fn splitting_and_joining_gives_the_same_bytes() {
        let bytes = module(&[0, 3, 1, b'x', 9, 7, 1, 0]);
        let sections = split(&bytes).expect("it is well formed");
        assert_eq!(
            sections
                .iter()
                .map(|section| section.id)
                .collect::<Vec<_>>(),
            [0, 7]
        );
        assert_eq!(join(&sections), bytes);
    }

    #[test]
    fn the_empty_module_has_no_sections() {
        assert_eq!(split(&PREAMBLE), Ok(vec![]));
    }

    #[test]
    fn text_is_no_module() {
        let error = split(b"(module)").expect_err("it is text");
        let expected = "malformed WebAssembly: no preamble of version 1 at byte 0";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_section_longer_than_the_file_is_refused() {
        let error = split(&module(&[7, 5, 0])).expect_err("four bytes are missing");
        assert_eq!(
            error,
            Malformed {
                what: "an unexpected end",
                at: 10
            }
        );
    }

    #[test]
    fn a_cut_off_section_size_is_refused() {
        let error = split(&module(&[7, 0x80])).expect_err("the size goes on");
        assert_eq!(
            error,
            Malformed {
                what: "an unexpected end",
                at: 10
            }
        );
    }

    #[test]
    fn numbers_have_at_most_32_bits() {
        let largest = [0xff, 0xff, 0xff, 0xff, 0x0f];
        assert_eq!(Reader::new(&largest).number(), Ok(0xffff_ffff));
        for beyond in [
            [0xff, 0xff, 0xff, 0xff, 0x1f],
            [0x80, 0x80, 0x80, 0x80, 0x80],
        ] {
            let error = Reader::new(&beyond).number().expect_err("it is too long");
            assert_eq!(
                error,
                Malformed {
                    what: "a number longer than 32 bits",
                    at: 0
                }
            );
        }
    }

    #[test]
    fn numbers_survive_writing_and_reading() {
        for number in [0, 1, 127, 128, 300, 16_383, 16_384, 250_000, 0xffff_ffff] {
            let mut bytes = Vec::new();
            write_number(&mut bytes, number);
            assert_eq!(Reader::new(&bytes).number(), Ok(number));
        }
    }

    #[test]
    fn a_name_must_be_utf8() {
        let error = Reader::new(&[2, 0xc3, 0x28]).name().expect_err("it isn't");
        assert_eq!(
            error,
            Malformed {
                what: "a name that isn't UTF-8",
                at: 1
            }
        );
    }
}
