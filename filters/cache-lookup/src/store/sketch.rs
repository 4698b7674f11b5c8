//! How often keys were asked for lately, in little memory.
//!
//! A count-min sketch of 4-bit counters that are all halved now and then: TinyLFU (Einziger,
//! Friedman, Manes: "TinyLFU: A Highly Efficient Cache Admission Policy", ACM TOS 2017). Whoever would
//! push something out must have been asked for more often, so a scan, which asks for each key once,
//! pushes out nothing. Each worker has a sketch of its own: its share of the traffic is a fair sample.

use super::wire::index;

const ROWS: u32 = 4;
const LIMIT: u8 = 15;

/// Counts of how often keys were asked for.
#[derive(Clone, Debug)]
pub struct Sketch {
    /// Two counters a byte.
    counters: Vec<u8>,
    mask: u64,
    asked: u64,
    until_halved: u64,
}

impl Sketch {
    /// Makes a sketch for about so many keys.
    pub fn new(keys: u64) -> Self {
        let counters = keys
            .clamp(64, 1 << 20)
            .saturating_mul(8)
            .next_power_of_two();
        Self {
            counters: vec![0; index(counters.div_euclid(2))],
            mask: counters.saturating_sub(1),
            asked: 0,
            until_halved: keys.max(64).saturating_mul(10),
        }
    }

    /// Tells how many keys there is room for, of the size that they have by now: counts are halved
    /// after ten times as many requests. What was hot then gives way to what is now.
    pub fn expect(&mut self, keys: u64) {
        self.until_halved = keys.max(64).saturating_mul(10);
    }

    /// Counts a request for a key.
    pub fn ask(&mut self, key: u64) {
        let least = self.count(key);
        if least < LIMIT {
            for row in 0..ROWS {
                // Only the least ones: the others counted somebody else as well.
                let place = self.place(key, row);
                if self.counter(place) == least {
                    self.raise(place);
                }
            }
        }
        self.asked = self.asked.saturating_add(1);
        if self.asked >= self.until_halved {
            self.asked = 0;
            for pair in &mut self.counters {
                *pair = (*pair >> 1) & 0x77;
            }
        }
    }

    /// How often a key was asked for, or a little more; 15 at most.
    pub fn count(&self, key: u64) -> u8 {
        let rows = (0..ROWS).map(|row| self.counter(self.place(key, row)));
        rows.min().unwrap_or(0)
    }

    fn place(&self, key: u64, row: u32) -> u64 {
        // The key is a keyed hash; its bits, turned by a different amount, are as good as another.
        let turned = key.rotate_left(row.wrapping_mul(17));
        turned.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(20) & self.mask
    }

    fn counter(&self, place: u64) -> u8 {
        let pair = self.counters.get(index(place.div_euclid(2))).copied();
        let pair = pair.unwrap_or(0);
        if place & 1 == 0 {
            pair & LIMIT
        } else {
            pair >> 4
        }
    }

    fn raise(&mut self, place: u64) {
        if let Some(pair) = self.counters.get_mut(index(place.div_euclid(2))) {
            // Below the limit, as the caller saw, so it doesn't run into its neighbour.
            *pair = pair.saturating_add(if place & 1 == 0 { 1 } else { 16 });
        }
    }
}

/// What an object is worth: how often it was asked for, a little less if it is large. A body of 5 MB
/// must be asked for 1.7 times as often as one of 100 bytes.
pub fn worth(count: u8, bytes: u64) -> u64 {
    const SCALE: u64 = 1 << 16;
    let size = u64::from(bytes.max(1).ilog2()).saturating_add(16);
    u64::from(count)
        .saturating_mul(SCALE)
        .checked_div(size)
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u64) -> u64 {
        filter_core::hash::digest(&number.to_le_bytes())
    }

    #[test]
    fn counts_are_never_too_low_and_seldom_too_high() {
        let mut sketch = Sketch::new(1000);
        for number in 0..1000 {
            for _ in 0..=(number % 5) {
                sketch.ask(key(number));
            }
        }
        let counts = (0..1000).map(|n| (sketch.count(key(n)), u8::try_from(n % 5 + 1).unwrap()));
        assert!(counts.clone().all(|(counted, asked)| counted >= asked));
        let too_high = counts.filter(|(counted, asked)| counted > asked).count();
        assert!(too_high < 50, "{too_high}");
    }

    #[test]
    fn what_was_asked_for_long_ago_is_forgotten() {
        let mut sketch = Sketch::new(100);
        (0..15).for_each(|_| sketch.ask(key(1)));
        assert_eq!(sketch.count(key(1)), 15);
        (0..5000).for_each(|n| sketch.ask(key(100 + n)));
        assert!(sketch.count(key(1)) <= 3);
    }

    #[test]
    fn of_two_objects_asked_for_as_often_the_smaller_is_worth_more() {
        assert!(worth(1, 100) > worth(1, 5_000_000));
        assert!(worth(2, 5_000_000) > worth(1, 100));
    }
}
