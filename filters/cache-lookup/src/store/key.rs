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

    /// With a number at the end.
    pub(crate) fn number(mut self, number: u64) -> Self {
        const DIGITS: usize = 20;
        let mut digits = [0_u8; DIGITS];
        let mut rest = number;
        let mut used: usize = 0;
        for digit in &mut digits {
            *digit = u8::try_from(rest.rem_euclid(10)).unwrap_or(0);
            rest = rest.div_euclid(10);
            used = used.saturating_add(1);
            if rest == 0 {
                break;
            }
        }
        let digits = digits.iter().take(used).rev();
        digits.for_each(|digit| self.push(digit.wrapping_add(b'0')));
        self
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
        for number in [0, 7, 10, 1_073_741_824, u64::MAX] {
            let key = Key::new("n").number(number).with(".");
            assert_eq!(*key, *format!("n{number}.").as_bytes());
        }
    }
}
