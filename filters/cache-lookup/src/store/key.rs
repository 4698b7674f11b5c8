//! Names of values in shared data, made without asking the allocator.

use std::ops::Deref;

/// Bytes of the longest one: the prefix of the largest store, a letter, a set and a way take fewer.
const LONGEST: usize = 63;

/// The name of a value.
#[derive(Clone, Copy)]
pub struct Key {
    bytes: [u8; LONGEST],
    len: u8,
}

impl Key {
    /// Makes one of what all have in common.
    pub(crate) fn new(prefix: &str) -> Self {
        let none = Self {
            bytes: [0; LONGEST],
            len: 0,
        };
        none.with(prefix)
    }

    /// With some text at the end.
    pub(crate) fn with(mut self, text: &str) -> Self {
        text.bytes().for_each(|byte| self.push(byte));
        self
    }

    /// With a number at the end, in hexadecimal digits: they take no division.
    pub(crate) fn number(mut self, number: u64) -> Self {
        let mut shift = 60_u32.saturating_sub(number.leading_zeros() & !3);
        loop {
            let digit = u8::try_from(number.wrapping_shr(shift) & 15).unwrap_or(0);
            let first = if digit < 10 { b'0' } else { b'a' - 10 };
            self.push(digit.wrapping_add(first));
            let Some(next) = shift.checked_sub(4) else {
                return self;
            };
            shift = next;
        }
    }

    fn push(&mut self, byte: u8) {
        // What doesn't fit is left out: no name of ours comes near, which a test holds.
        if let Some(place) = self.bytes.get_mut(usize::from(self.len)) {
            *place = byte;
            self.len = self.len.saturating_add(1);
        }
    }
}

impl Deref for Key {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Key {}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_they_are_read() {
        for number in [0, 7, 10, 15, 16, 255, 1_073_741_824, u64::MAX] {
            let key = Key::new("n").number(number).with(".");
            assert_eq!(*key, *format!("n{number:x}.").as_bytes());
        }
    }
}
