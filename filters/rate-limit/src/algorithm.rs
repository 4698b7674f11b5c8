//! What a limit counts by, over the records of a table set.
//!
//! Every algorithm keeps its state in moments of the table (see [`filter_core::table`]), one or two
//! to a client, and a later moment never allows more: that is what lets all of them share one table
//! and inherit each other's records without forgiving anyone.

use filter_core::hash::digest;
use filter_core::table::{Fingerprint, Place, Set};
use filter_core::time::{Span, Timestamp};

use crate::gcra::{Answer, Gcra};
use crate::window::{Counts, Window};

/// How units come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// All at once, when a window ends.
    FixedWindow(Window),
    /// One by one.
    Gcra(Gcra),
    /// When the requests they were for end, or at the latest when a window has passed.
    InFlight(Window),
    /// One by one in the window after, as a share of those that were used.
    SlidingWindow(Window),
}

/// The longest debt that can be charged; below the table's horizon.
const LONGEST_DEBT: Span = Span::from_secs(366 * 24 * 60 * 60);

/// Whose records they are; the two are one where an algorithm keeps a single moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owners([Fingerprint; 2]);

/// How a client stands with a limit, as far as it is stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Level {
    counts: Counts,
    /// Where the moment that grows is kept.
    place: Place,
}

impl Level {
    /// The moment that grows.
    pub(crate) fn moment(&self) -> Timestamp {
        self.counts.current
    }

    /// Whether its record is another one's: the table set is full.
    pub(crate) fn is_shared(&self) -> bool {
        self.place.shared
    }
}

impl Algorithm {
    /// Records that a client needs in a table set.
    pub fn records(&self) -> usize {
        match self {
            Self::FixedWindow(_) | Self::Gcra(_) => 1,
            Self::InFlight(_) | Self::SlidingWindow(_) => 2,
        }
    }

    /// Names the records of a client, whose key has that hash.
    pub(crate) fn owners(&self, client: u64) -> Owners {
        // The numbers too: a changed limit starts fresh.
        let owner = |[first, second]: [u64; 2], kind: &[u8]| {
            let mut identity = [0; 26];
            let parts = [client, first, second];
            for (chunk, part) in identity.as_chunks_mut().0.iter_mut().zip(parts) {
                *chunk = part.to_le_bytes();
            }
            let (_, rest) = identity.split_at_mut(24);
            for (byte, kind) in rest.iter_mut().zip(kind) {
                *byte = *kind;
            }
            let len = kind.len().saturating_add(24);
            Fingerprint::new(digest(identity.get(..len).unwrap_or(&identity)))
        };
        Owners(match self {
            Self::FixedWindow(window) => [owner(window.numbers(), b"f"); 2],
            Self::Gcra(gcra) => [owner(gcra.numbers(), b""); 2],
            Self::InFlight(window) => [b"i0", b"i1"].map(|kind| owner(window.numbers(), kind)),
            Self::SlidingWindow(window) => [b"s0", b"s1"].map(|kind| owner(window.numbers(), kind)),
        })
    }

    /// Looks up how a client stands.
    pub(crate) fn level(&self, set: &Set, owners: Owners, now: Timestamp) -> Level {
        self.level_at(set, owners, now, now)
    }

    /// Looks up how a client stands for a request that is let in at `at`, now or later. What has
    /// come free by then isn't free yet.
    pub(crate) fn level_at(
        &self,
        set: &Set,
        owners: Owners,
        now: Timestamp,
        at: Timestamp,
    ) -> Level {
        let Owners([even, odd]) = owners;
        let (Self::InFlight(window) | Self::SlidingWindow(window)) = self else {
            let place = set.place(even, now);
            return Level {
                counts: Counts {
                    current: place.until,
                    previous: Timestamp::ZERO,
                },
                place,
            };
        };
        let (current, previous) = match window.number(at).is_multiple_of(2) {
            true => (even, odd),
            false => (odd, even),
        };
        let place = set.place(current, now);
        Level {
            counts: Counts {
                current: place.until,
                previous: set.place(previous, now).until,
            },
            place,
        }
    }

    /// Charges `cost` units to a client, if it has them.
    pub(crate) fn charge(&self, level: &Level, cost: u64, now: Timestamp) -> Answer {
        let Level { counts, .. } = *level;
        match self {
            Self::FixedWindow(window) => window.charge_fixed(counts.current, cost, now),
            Self::Gcra(gcra) => gcra.charge(counts.current, cost, now),
            Self::InFlight(window) => window.charge_in_flight(counts, cost, now),
            Self::SlidingWindow(window) => window.charge_sliding(counts, cost, now),
        }
    }

    /// Returns what [`Algorithm::charge`] would allow, whether the client has the units or not.
    pub(crate) fn force(&self, level: &Level, cost: u64, now: Timestamp) -> Timestamp {
        let Level { counts, .. } = *level;
        match self {
            Self::FixedWindow(window) => window.force_fixed(counts.current, cost, now),
            Self::Gcra(gcra) => gcra.force(counts.current, cost, now, LONGEST_DEBT),
            Self::InFlight(window) | Self::SlidingWindow(window) => {
                window.force_sliding(counts, cost, now)
            }
        }
    }

    /// The units of a request that costs so many: one request is in flight, whatever it costs.
    pub(crate) fn units(&self, cost: u64) -> u64 {
        match self {
            Self::InFlight(_) => 1,
            Self::FixedWindow(_) | Self::Gcra(_) | Self::SlidingWindow(_) => cost,
        }
    }

    /// Stores what [`Algorithm::charge`] answered, and returns how the client stands then.
    ///
    /// Nothing may be put into the set between the look-up and this.
    pub(crate) fn put(
        &self,
        set: &mut Set,
        owners: Owners,
        level: Level,
        charged: Timestamp,
        now: Timestamp,
    ) -> Level {
        let Owners([even, odd]) = owners;
        let owner = match self {
            Self::InFlight(window) | Self::SlidingWindow(window)
                if !window.number(now).is_multiple_of(2) =>
            {
                odd
            }
            _ => even,
        };
        set.put(level.place, owner, charged);
        let mut level = level;
        level.counts.current = charged;
        level
    }

    /// Takes back from a set `cost` units that were charged at `then`, as far as they still count.
    pub(crate) fn take_back(
        &self,
        set: &mut Set,
        owners: Owners,
        cost: u64,
        [then, now]: [Timestamp; 2],
    ) {
        let Owners([even, odd]) = owners;
        match self {
            Self::Gcra(gcra) => {
                // Since then the bucket may have been full, and lost what it couldn't hold: the
                // charge is worth less by the time that has gone by.
                let price = gcra.price(cost).minus(now.since(then));
                set.take_back(even, price, now);
            }
            Self::FixedWindow(window) => {
                if window.number(then) == window.number(now) {
                    set.take_back(even, Span::from_nanos(cost), now);
                }
            }
            Self::InFlight(window) | Self::SlidingWindow(window) => {
                let number = window.number(then);
                // Two windows on, the record is another window's.
                if window.number(now).saturating_sub(number) < 2 {
                    let owner = if number.is_multiple_of(2) { even } else { odd };
                    set.take_back(owner, Span::from_nanos(cost), now);
                }
            }
        }
    }

    /// Returns the whole units that a client has left.
    pub(crate) fn remaining(&self, level: &Level, now: Timestamp) -> u64 {
        let Level { counts, .. } = *level;
        match self {
            Self::FixedWindow(window) => window.remaining_fixed(counts.current, now),
            Self::Gcra(gcra) => gcra.remaining(counts.current, now),
            Self::InFlight(window) => {
                let [requests, _] = window.numbers();
                requests.saturating_sub(window.in_flight(counts, now))
            }
            Self::SlidingWindow(window) => window.remaining_sliding(counts, now),
        }
    }

    /// Returns the time until a client has one unit more; nothing if it has all, or if that can't be
    /// known.
    pub(crate) fn next_unit(&self, level: &Level, now: Timestamp) -> Span {
        let Level { counts, .. } = *level;
        let more = || self.remaining(level, now).saturating_add(1);
        match self {
            Self::Gcra(gcra) => gcra.next_unit(counts.current, now),
            Self::InFlight(_) => Span::ZERO,
            Self::FixedWindow(window) | Self::SlidingWindow(window)
                if more() > window.numbers()[0] =>
            {
                Span::ZERO
            }
            Self::FixedWindow(window) => window.wait_fixed(counts.current, more(), now),
            Self::SlidingWindow(window) => window.wait_sliding(counts, more(), now),
        }
    }
}
