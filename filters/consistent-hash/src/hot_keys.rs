//! Keys that are asked for so often that one host can't carry them.
//!
//! The heaviest keys are found with few counters by space-saving (Metwally, Agrawal and El Abbadi
//! 2005): a key without a counter takes over the smallest one and goes on from its count, which is
//! then the most by which its own may be too high. What was counted fades by half with every window,
//! so that a key that was hot last night isn't today.
//!
//! A hot key is spread in turns over its first few candidates. It is one as long as it has at least
//! half of the share that made it one, so that it doesn't go back and forth.

use filter_core::time::{Span, Timestamp};

/// When a key is hot and what that means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HotRule {
    /// The part of all requests from which on a key is hot, in thousandths: 1 to 1000.
    pub share: u32,
    /// How many of its first candidates share a hot key.
    pub spread: u32,
    /// The time after which a request counts half.
    pub window: Span,
}

/// Whether a key is hot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heat {
    /// Its first candidate has it.
    Cold,
    /// This many of its candidates are to be skipped for this request.
    Hot {
        /// Less than [`HotRule::spread`].
        skip: usize,
    },
}

/// So many requests must have been counted before any key is called hot: of fewer, chance may give a
/// key twice its part.
const ENOUGH: u64 = 100;

/// And so many of them for the key itself.
const ENOUGH_OF_ONE: u64 = 30;

#[derive(Clone, Copy, Debug)]
struct Counter {
    hash: u64,
    count: u64,
    /// By how much the count may be too high.
    error: u64,
    hot: bool,
    turn: u32,
}

/// The heaviest keys, as one worker sees them.
#[derive(Clone, Debug)]
pub struct HotKeys {
    rule: HotRule,
    counters: Vec<Counter>,
    room: usize,
    total: u64,
    halved: Timestamp,
}

impl HotKeys {
    /// Makes a sketch that has seen nothing. It takes 40 bytes for each of its counters, four for
    /// each key that could be hot at one time: 16 to 256.
    pub fn new(rule: HotRule) -> Self {
        let at_once = 1_000_u32.div_ceil(rule.share.max(1));
        let room = at_once.saturating_mul(4).clamp(16, 256);
        Self {
            rule,
            counters: Vec::new(),
            room: usize::try_from(room).unwrap_or(16),
            total: 0,
            halved: Timestamp::ZERO,
        }
    }

    /// Counts a request for the key with this hash, and returns whether the key is hot.
    pub fn note(&mut self, hash: u64, now: Timestamp) -> Heat {
        self.fade(now);
        self.total = self.total.saturating_add(1);
        let (total, rule) = (self.total, self.rule);
        let Some(counter) = self.counter(hash) else {
            return Heat::Cold;
        };
        counter.count = counter.count.saturating_add(1);
        let sure = counter.count.saturating_sub(counter.error);
        let share = if counter.hot {
            rule.share.div_ceil(2)
        } else {
            rule.share
        };
        counter.hot = sure >= ENOUGH_OF_ONE
            && total >= ENOUGH
            && sure.saturating_mul(1_000) >= total.saturating_mul(u64::from(share));
        if !counter.hot {
            return Heat::Cold;
        }
        let turn = counter.turn;
        counter.turn = turn.wrapping_add(1);
        let skip = turn.checked_rem(rule.spread).unwrap_or(0);
        Heat::Hot {
            skip: usize::try_from(skip).unwrap_or(0),
        }
    }

    /// Returns the hashes of the keys that were hot when last asked for, the heaviest first, with
    /// about how many requests of late.
    pub fn hot(&self) -> Vec<(u64, u64)> {
        let hot = self.counters.iter().filter(|counter| counter.hot);
        let mut hot: Vec<_> = hot.map(|counter| (counter.hash, counter.count)).collect();
        hot.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        hot
    }

    /// Halves all counts for every window that passed.
    fn fade(&mut self, now: Timestamp) {
        if self.total == 0 {
            self.halved = now;
            return;
        }
        let windows = now.since(self.halved).divided_by(self.rule.window);
        if windows == 0 {
            return;
        }
        self.halved = self.halved.after(self.rule.window.times(windows));
        let halvings = u32::try_from(windows).unwrap_or(u32::MAX);
        let fade = |count: u64| count.checked_shr(halvings).unwrap_or(0);
        self.total = fade(self.total);
        for counter in &mut self.counters {
            counter.count = fade(counter.count);
            counter.error = fade(counter.error);
        }
        self.counters.retain(|counter| counter.count > 0);
    }

    /// Returns the key's counter, if need be the one that counted least.
    fn counter(&mut self, hash: u64) -> Option<&mut Counter> {
        let mut least = (u64::MAX, 0);
        let mut found = None;
        for (place, counter) in self.counters.iter().enumerate() {
            if counter.hash == hash {
                found = Some(place);
                break;
            }
            if counter.count < least.0 {
                least = (counter.count, place);
            }
        }
        let place = match found {
            Some(place) => place,
            None if self.counters.len() < self.room => {
                self.counters.push(Counter {
                    hash,
                    count: 0,
                    error: 0,
                    hot: false,
                    turn: 0,
                });
                self.counters.len().saturating_sub(1)
            }
            None => {
                let counter = self.counters.get_mut(least.1)?;
                *counter = Counter {
                    hash,
                    count: counter.count,
                    error: counter.count,
                    hot: false,
                    turn: 0,
                };
                least.1
            }
        };
        self.counters.get_mut(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use placement::number::mixed;

    const RULE: HotRule = HotRule {
        share: 100,
        spread: 3,
        window: Span::from_secs(10),
    };

    fn at(secs: u64) -> Timestamp {
        Timestamp::ZERO.after(Span::from_secs(secs))
    }

    #[test]
    fn a_key_with_half_of_the_traffic_is_spread_over_its_candidates_and_no_other_is() {
        let mut keys = HotKeys::new(RULE);
        let mut skips = [0; 3];
        for number in 0..10_000 {
            if let Heat::Hot { skip } = keys.note(7, at(1)) {
                skips[skip] += 1;
            }
            assert_eq!(keys.note(mixed(number) | 1 << 63, at(1)), Heat::Cold);
        }
        assert!(
            skips.iter().all(|&count: &u32| count.abs_diff(3_317) < 20),
            "{skips:?}"
        );
        assert_eq!(keys.hot().first().map(|&(hash, _)| hash), Some(7));
    }

    #[test]
    fn a_key_below_the_share_stays_put_however_many_keys_there_are() {
        let mut keys = HotKeys::new(RULE);
        for number in 0..100_000_u64 {
            let hash = if number % 11 == 5 { 7 } else { mixed(number) };
            assert_eq!(keys.note(hash, at(1)), Heat::Cold, "request {number}");
        }
    }

    #[test]
    fn the_first_requests_make_no_key_hot() {
        let mut keys = HotKeys::new(RULE);
        for _ in 1..ENOUGH {
            assert_eq!(keys.note(7, at(1)), Heat::Cold);
        }
        assert_eq!(keys.note(7, at(1)), Heat::Hot { skip: 0 });
    }

    #[test]
    fn a_key_cools_down_when_others_take_over() {
        let mut keys = HotKeys::new(RULE);
        for _ in 0..1_000 {
            keys.note(7, at(1));
        }
        for number in 0..1_000 {
            keys.note(mixed(number), at(62));
        }
        assert_eq!(keys.note(7, at(62)), Heat::Cold);
        assert_eq!(keys.hot(), []);
    }

    #[test]
    fn a_hot_key_stays_hot_down_to_half_of_the_share() {
        let mut keys = HotKeys::new(RULE);
        for _ in 0..1_000 {
            keys.note(7, at(1));
        }
        // From 100 % down to just above 5 %.
        for number in 0..18_000 {
            keys.note(mixed(number), at(1));
        }
        assert!(matches!(keys.note(7, at(1)), Heat::Hot { .. }));
        for number in 0..3_000 {
            keys.note(mixed(number), at(1));
        }
        assert_eq!(keys.note(7, at(1)), Heat::Cold);
    }

    #[test]
    fn memory_is_bounded_and_odd_rules_do_no_harm() {
        for (share, spread, window) in [(1, 1, 1), (0, 0, 0), (1_000, u32::MAX, u64::MAX)] {
            let mut keys = HotKeys::new(HotRule {
                share,
                spread,
                window: Span::from_nanos(window),
            });
            for number in 0..1_000 {
                keys.note(mixed(number), at(number));
            }
            assert!(keys.counters.len() <= 256);
        }
    }
}
