//! Room that a worker has of the ledger in advance, so that not each small object costs a read and a
//! write of that.
//!
//! The ledger counts it as in use. It is good for half a second: whoever counts anew what is in use waits
//! until nobody can have any.

use super::Millis;
use super::evict::QUIET;

/// Serial numbers that come with it.
pub(crate) const SERIALS: u64 = 64;

/// Room, and numbers for what is put there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Credit {
    pub(crate) bytes: u64,
    /// The next serial number, and how many there are.
    pub(crate) serial: u64,
    pub(crate) serials: u64,
    pub(crate) taken: Millis,
    /// The ledger's epoch then.
    pub(crate) epoch: u64,
}

impl Credit {
    /// Takes room for one object; returns its serial number.
    pub(crate) fn take(&mut self, bytes: u64, now: Millis) -> Option<u64> {
        let serials = self.serials.checked_sub(1)?;
        let left = self.bytes.checked_sub(bytes)?;
        self.is_good(now).then_some(())?;
        let serial = self.serial;
        self.bytes = left;
        self.serials = serials;
        self.serial = serial.wrapping_add(1);
        Some(serial)
    }

    /// Keeps room that has become free, up to `most` bytes; false if it can't.
    pub(crate) fn give(&mut self, bytes: u64, most: u64, now: Millis) -> bool {
        let sum = self.bytes.saturating_add(bytes);
        let keeps = self.is_good(now) && sum <= most;
        if keeps {
            self.bytes = sum;
        }
        keeps
    }

    fn is_good(&self, now: Millis) -> bool {
        let age = now.checked_sub(self.taken);
        age.is_some_and(|age| age < QUIET.div_euclid(2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDIT: Credit = Credit {
        bytes: 100,
        serial: 7,
        serials: 2,
        taken: 1_000,
        epoch: 0,
    };

    #[test]
    fn room_and_numbers_are_given_out_once() {
        let mut credit = CREDIT;
        assert_eq!(credit.take(60, 1_000), Some(7));
        assert_eq!(credit.take(60, 1_000), None);
        assert!(credit.give(60, 100, 1_000));
        assert!(!credit.give(1, 100, 1_000), "more than it may hold");
        assert_eq!(credit.take(60, 1_000), Some(8));
        assert_eq!(credit.take(1, 1_000), None, "no number is left");
    }

    #[test]
    fn it_is_over_long_before_anybody_counts_anew() {
        for now in [999, 1_000 + QUIET / 2, 1_000 + QUIET] {
            let mut credit = CREDIT;
            assert_eq!(credit.take(1, now), None, "{now}");
            assert!(!credit.give(1, 1_000, now), "{now}");
        }
    }
}
