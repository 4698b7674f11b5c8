//! Care for fetched keys: when they are fetched, by whom, and how long they are good.
//!
//! All workers of a gateway share one [`Record`] for each key set, in shared data, beside the set
//! itself. Whoever finds that a fetch is due takes a lease on it by compare-and-set, so one of them
//! fetches and the others don't; if it dies over that, the lease ends. The record says what came of
//! it. This is a machine without I/O: moments come in, records go out.

use filter_core::hash::digest;
use filter_core::time::{Span, Timestamp};

use crate::config::jwks::Pace;

/// The largest key set that is taken, in bytes.
pub const MOST_BYTES: usize = 1 << 20;

const RECORD_LEN: usize = 48;

/// What the workers know together about one key set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The set's version, which is made of its text; 0 if there never was one.
    pub version: u64,
    /// When it was fetched.
    pub fetched: Timestamp,
    /// When the last fetch was begun.
    pub begun: Timestamp,
    /// Until when somebody may still be fetching.
    lease: Timestamp,
    /// When the next fetch is due.
    next: Timestamp,
    /// Fetches that failed since the last one that didn't.
    pub failures: u64,
}

/// How good the keys are that a worker has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Fresh, or old but good for now.
    Usable,
    /// None yet, or too old ones; a fetch has not failed so far.
    Awaited,
    /// None, or too old ones, and the last fetch failed.
    Unavailable,
}

impl Record {
    /// Reads a record; one that isn't ours, or none, is that of keys that nobody has fetched.
    pub fn read(stored: Option<&[u8]>) -> Self {
        let words = stored.filter(|bytes| bytes.len() == RECORD_LEN);
        let (words, _) = words.unwrap_or_default().as_chunks::<8>();
        match words
            .iter()
            .copied()
            .map(u64::from_le_bytes)
            .collect::<Vec<_>>()[..]
        {
            [version, fetched, begun, lease, next, failures] => Self {
                version,
                fetched: Timestamp::from_nanos(fetched),
                begun: Timestamp::from_nanos(begun),
                lease: Timestamp::from_nanos(lease),
                next: Timestamp::from_nanos(next),
                failures,
            },
            _ => Self::default(),
        }
    }

    /// Writes what [`Record::read`] reads.
    pub fn write(&self) -> Vec<u8> {
        let moments = [self.fetched, self.begun, self.lease, self.next];
        let [fetched, begun, lease, next] = moments.map(Timestamp::as_nanos);
        let words = [self.version, fetched, begun, lease, next, self.failures];
        words.into_iter().flat_map(u64::to_le_bytes).collect()
    }

    /// Takes the lease on a fetch if one is due. `wanted` says that a token had an unknown `kid`.
    ///
    /// The record that is returned must be stored by compare-and-set before the fetch is begun.
    pub fn lease(&self, now: Timestamp, wanted: bool, pace: &Pace) -> Option<Self> {
        let is_due = self.next <= now || (wanted && self.may_want(now, pace));
        (is_due && self.lease <= now).then(|| Self {
            begun: now,
            lease: now.after(pace.lease),
            ..*self
        })
    }

    /// Whether a fetch for the sake of an unknown `kid` may begin, or has and isn't over.
    pub fn may_want(&self, now: Timestamp, pace: &Pace) -> bool {
        let again = self.begun.after(pace.unknown_kid);
        // While the issuer is down, failures set the pace.
        let waits = self.failures > 0 && self.next > now;
        self.lease > now || (again <= now && !waits)
    }

    /// Notes that a set came. `chance` is any number, for a moment between 80 and 95 % of its time.
    pub fn succeeded(&self, set: &[u8], now: Timestamp, chance: u64, pace: &Pace) -> Self {
        Self {
            version: version(set),
            fetched: now,
            lease: Timestamp::ZERO,
            next: now.after(ahead(pace.fresh, chance)),
            failures: 0,
            ..*self
        }
    }

    /// Notes that none came.
    pub fn failed(&self, now: Timestamp, pace: &Pace) -> Self {
        let failures = self.failures.saturating_add(1);
        Self {
            lease: Timestamp::ZERO,
            next: now.after(pause(failures, pace)),
            failures,
            ..*self
        }
    }

    /// Returns how good the keys are, if a worker has this version of them.
    pub fn standing(&self, now: Timestamp, pace: &Pace) -> Standing {
        let until = self.fetched.after(pace.fresh).after(pace.stale);
        match (self.version != 0 && now < until, self.failures) {
            (true, _) => Standing::Usable,
            (false, 0) => Standing::Awaited,
            (false, _) => Standing::Unavailable,
        }
    }
}

/// Returns the version of a set: never 0.
pub fn version(set: &[u8]) -> u64 {
    digest(set).max(1)
}

/// A moment between 80 and 95 % of a time, so that many gateways don't ask at once.
const fn ahead(fresh: Span, chance: u64) -> Span {
    let thousandths = match chance.checked_rem(151) {
        Some(spread) => spread.saturating_add(800),
        None => 800,
    };
    let thousandth = match fresh.as_nanos().checked_div(1000) {
        Some(nanos) => Span::from_nanos(nanos),
        None => Span::ZERO,
    };
    thousandth.times(thousandths)
}

/// The pause after a number of failures.
fn pause(failures: u64, pace: &Pace) -> Span {
    if failures > u64::from(pace.retries) {
        return pace.failed;
    }
    let doublings = u32::try_from(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    let factor = 1_u64.checked_shl(doublings).unwrap_or(u64::MAX);
    pace.retry_base.times(factor).min(pace.retry_most)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_nanos(seconds * SECOND)
    }

    fn pace() -> Pace {
        Pace {
            fresh: Span::from_secs(600),
            stale: Span::from_secs(3600),
            unknown_kid: Span::from_secs(10),
            lease: Span::from_secs(4),
            failed: Span::from_secs(1),
            retries: 0,
            retry_base: Span::from_secs(1),
            retry_most: Span::from_secs(10),
        }
    }

    #[test]
    fn a_record_is_what_was_written() {
        let record = Record::default()
            .lease(at(5), false, &pace())
            .unwrap()
            .succeeded(b"{}", at(6), 3, &pace());
        assert_eq!(Record::read(Some(&record.write())), record);
        for foreign in [&b""[..], b"x", &[0xff; 47], &[0xff; 49]] {
            assert_eq!(Record::read(Some(foreign)), Record::default());
        }
    }

    #[test]
    fn the_first_worker_fetches_and_the_others_wait() {
        let first = Record::default().lease(at(5), false, &pace()).unwrap();
        assert_eq!(first.lease(at(5), true, &pace()), None);
        assert_eq!(first.lease(at(8), false, &pace()), None);
        // Whoever had it is gone.
        assert!(first.lease(at(9), false, &pace()).is_some());
    }

    #[test]
    fn keys_are_fetched_ahead_of_their_end() {
        for chance in 0..1000 {
            let record = Record::default().succeeded(b"{}", at(0), chance, &pace());
            assert_eq!(record.lease(at(479), false, &pace()), None, "{chance}");
            assert!(record.lease(at(570), false, &pace()).is_some(), "{chance}");
        }
    }

    #[test]
    fn an_unknown_kid_has_keys_fetched_once_in_an_interval() {
        let leased = Record::default().lease(at(100), false, &pace()).unwrap();
        assert!(leased.may_want(at(100), &pace()), "one is under way");
        let record = leased.succeeded(b"{}", at(100), 0, &pace());
        assert_eq!(record.lease(at(109), true, &pace()), None);
        assert!(!record.may_want(at(109), &pace()));
        let again = record.lease(at(110), true, &pace()).unwrap();
        assert_eq!(again.begun, at(110));
    }

    #[test]
    fn an_unknown_kid_doesn_t_hurry_an_issuer_that_is_down() {
        let slow = Pace {
            failed: Span::from_secs(60),
            ..pace()
        };
        let record = Record::default().succeeded(b"{}", at(0), 0, &slow);
        let record = record.failed(at(100), &slow);
        assert_eq!(record.lease(at(159), true, &slow), None);
        assert!(record.lease(at(160), true, &slow).is_some());
    }

    #[test]
    fn failures_are_repeated_at_their_own_pace() {
        let pace = Pace {
            retries: 3,
            failed: Span::from_secs(30),
            retry_most: Span::from_secs(3),
            ..pace()
        };
        let mut record = Record::default();
        for seconds in [1, 2, 3, 30, 30] {
            record = record.failed(at(0), &pace);
            assert_eq!(record.next, at(seconds));
        }
    }

    #[test]
    fn old_keys_are_good_while_the_issuer_is_down_and_no_longer_than_allowed() {
        let mut record = Record::default();
        assert_eq!(record.standing(at(0), &pace()), Standing::Awaited);
        record = record.failed(at(0), &pace());
        assert_eq!(record.standing(at(0), &pace()), Standing::Unavailable);
        record = record.succeeded(b"{}", at(0), 0, &pace());
        for _ in 0..100 {
            record = record.failed(at(500), &pace());
        }
        assert_eq!(record.standing(at(4199), &pace()), Standing::Usable);
        assert_eq!(record.standing(at(4200), &pace()), Standing::Unavailable);
        let strict = Pace {
            stale: Span::ZERO,
            ..pace()
        };
        assert_eq!(record.standing(at(599), &strict), Standing::Usable);
        assert_eq!(record.standing(at(600), &strict), Standing::Unavailable);
    }

    #[test]
    fn the_same_set_has_the_same_version() {
        let record = Record::default();
        let one = record.succeeded(b"{}", at(0), 0, &pace());
        let two = record.succeeded(b"{}", at(9), 5, &pace());
        let other = record.succeeded(b"{} ", at(9), 5, &pace());
        assert_eq!(one.version, two.version);
        assert_ne!(one.version, other.version);
    }

    /// What happens next in a gateway of several workers.
    #[derive(Clone, Debug)]
    enum Event {
        /// Time passes, in milliseconds.
        Pass(u64),
        /// A worker reads the record.
        Read(usize),
        /// It takes the lease on what it read, if one is due and nobody was faster.
        Lease(usize, bool),
        /// Its fetch ends.
        End(usize, bool),
    }

    fn events() -> impl Strategy<Value = Event> {
        prop_oneof![
            (1..2000_u64).prop_map(Event::Pass),
            (0..3_usize).prop_map(Event::Read),
            (0..3_usize, any::<bool>()).prop_map(|(w, wanted)| Event::Lease(w, wanted)),
            (0..3_usize, any::<bool>()).prop_map(|(w, good)| Event::End(w, good)),
        ]
    }

    proptest! {
        /// Whatever the workers do, and however many unknown kids come: fetches are begun no closer
        /// than the shortest pause.
        #[test]
        fn no_interleaving_fetches_more_often_than_allowed(
            events in prop::collection::vec(events(), 0..300),
        ) {
            let pace = pace();
            let mut now = at(1000);
            let mut stored = (0_u32, Record::default());
            let mut seen = [stored; 3];
            let mut fetching = [false; 3];
            let mut begun: Vec<(Timestamp, u64)> = Vec::new();
            for event in events {
                match event {
                    Event::Pass(millis) => now = now.after(Span::from_nanos(millis * 1_000_000)),
                    Event::Read(worker) => seen[worker] = stored,
                    Event::Lease(worker, wanted) => {
                        let (cas, record) = seen[worker];
                        let lease = record.lease(now, wanted, &pace);
                        if let Some(lease) = lease && cas == stored.0 && !fetching[worker] {
                            stored = (cas + 1, lease);
                            fetching[worker] = true;
                            begun.push((now, record.failures));
                        }
                    }
                    Event::End(worker, good) if fetching[worker] => {
                        fetching[worker] = false;
                        let record = match good {
                            true => stored.1.succeeded(b"{}", now, 0, &pace),
                            false => stored.1.failed(now, &pace),
                        };
                        stored = (stored.0 + 1, record);
                    }
                    Event::End(..) => {}
                }
            }
            for pair in begun.windows(2) {
                let pause = pair[1].0.since(pair[0].0);
                prop_assert!(pause >= pace.failed, "{:?}", begun);
                // Between fetches that didn't fail, the interval of unknown kids, unless the lease
                // ended and the first one never did.
                prop_assert!(
                    pair[1].1 > 0 || pause >= pace.lease,
                    "{:?}", begun
                );
            }
        }
    }
}
