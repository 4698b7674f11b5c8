//! Maglev hashing (Eisenbud et al., NSDI 2016, 3.4): a table that names a host for every remainder.
//!
//! Each host goes through the places of the table in an order of its own, and the hosts take free
//! places in turn until there is none. A look-up is one remainder and one read, whatever the number
//! of hosts. When a host leaves, its places are shared out and only few others change.
//!
//! The table is **the one that Envoy 1.40 builds** for the policy `maglev`, entry by entry: hosts
//! in the order of their keys, XXH64 with seeds 0 and 1 for a host's order, and weights as fractions
//! of the sum in double precision. `tests/golden.rs` holds it to tables taken from Envoy.

use xxhash_rust::xxh64::xxh64;

use crate::number::float;

/// The size that Envoy takes unless told otherwise.
pub const DEFAULT_TABLE_SIZE: u32 = 65_537;

/// The largest size that Envoy accepts.
pub const LARGEST_TABLE_SIZE: u32 = 5_000_011;

const FREE: u16 = u16::MAX;

/// Returns whether a table may have this size: a prime up to [`LARGEST_TABLE_SIZE`].
///
/// With any other number a host's order wouldn't reach all places.
pub fn is_table_size(size: u32) -> bool {
    (3..=LARGEST_TABLE_SIZE).contains(&size)
        && size % 2 == 1
        && (3_u32..)
            .step_by(2)
            .take_while(|divisor| divisor.checked_mul(*divisor).is_some_and(|n| n <= size))
            .all(|divisor| size.checked_rem(divisor) != Some(0))
}

/// Returns the size for so many hosts: some hundred places for each, so that shares are even and few
/// keys of other hosts move when one leaves.
pub const fn table_size_for(hosts: usize) -> u32 {
    match hosts {
        0..=128 => DEFAULT_TABLE_SIZE,
        129..=6_553 => 655_373,
        _ => LARGEST_TABLE_SIZE,
    }
}

/// A finished table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maglev {
    table: Vec<u16>,
    size: u64,
}

impl Maglev {
    /// Builds the table for hosts given by key and weight, which [`Self::choose`] then names by
    /// their places in this slice.
    ///
    /// Hosts of weight 0 get no place. `table_size` must be one for which [`is_table_size`] holds.
    pub fn new(hosts: &[(&str, u32)], table_size: u32) -> Self {
        let mut building = Building::new(hosts, table_size);
        loop {
            if let Some(table) = building.step(usize::MAX) {
                return table;
            }
        }
    }

    /// Returns the host for a hash, or for a further attempt with it, as Envoy does; `None` if
    /// no host has a place.
    ///
    /// Another attempt may name the same host again.
    #[inline]
    pub fn choose(&self, hash: u64, attempt: u32) -> Option<usize> {
        // As in Envoy: the complement and a bit more for the first further attempt, and so on.
        let hash = match attempt {
            0 => hash,
            _ => hash ^ 0_u64.wrapping_sub(u64::from(attempt)),
        };
        let place = usize::try_from(hash.checked_rem(self.size)?).ok()?;
        self.table.get(place).copied().map(usize::from)
    }

    /// Returns how many places there are: 0 if no host has one.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Returns whether no host has a place.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Returns the host at each place.
    pub fn places(&self) -> impl ExactSizeIterator<Item = usize> {
        self.table.iter().copied().map(usize::from)
    }
}

/// A host's way through the table.
#[derive(Clone, Debug)]
struct Turn {
    host: u16,
    /// Where it asks next.
    place: u32,
    skip: u32,
    /// Its fraction of all weights.
    weight: f64,
    /// What its weight times the round must reach for it to take a place again.
    target: f64,
}

/// A table in the making, so that many hosts don't hold up the gateway.
#[derive(Clone, Debug)]
pub struct Building {
    table: Vec<u16>,
    size: u32,
    free: u32,
    turns: Vec<Turn>,
    heaviest: f64,
    round: u32,
    next: usize,
}

impl Building {
    /// Begins a table; see [`Maglev::new`].
    pub fn new(hosts: &[(&str, u32)], table_size: u32) -> Self {
        let sum: u64 = hosts.iter().map(|&(_, weight)| u64::from(weight)).sum();
        let mut sorted: Vec<(&str, u32, u16)> = hosts
            .iter()
            .zip(0..FREE)
            .map(|(&(key, weight), place)| (key, weight, place))
            .filter(|&(_, weight, _)| weight > 0)
            .collect();
        sorted.sort_by(|one, other| (one.0, one.2).cmp(&(other.0, other.2)));
        let size = table_size.max(3);
        let turns: Vec<Turn> = sorted
            .into_iter()
            .map(|(key, weight, host)| Turn {
                host,
                place: remainder(xxh64(key.as_bytes(), 0), size),
                skip: remainder(xxh64(key.as_bytes(), 1), size.saturating_sub(1)).saturating_add(1),
                weight: f64::from(weight) / float(sum),
                target: 0.0,
            })
            .collect();
        let free = if turns.is_empty() { 0 } else { size };
        Self {
            table: vec![FREE; usize::try_from(free).unwrap_or(0)],
            size,
            free,
            heaviest: turns.iter().map(|turn| turn.weight).fold(0.0, f64::max),
            turns,
            round: 1,
            next: 0,
        }
    }

    /// Goes on for about `work` places looked at, and returns the table once it is full.
    ///
    /// Some 300,000 of them are a millisecond. After the table was returned there is nothing left
    /// here but an empty one.
    pub fn step(&mut self, work: usize) -> Option<Maglev> {
        let mut left = work;
        while self.free > 0 {
            if left == 0 {
                return None;
            }
            let Some(turn) = self.turns.get_mut(self.next) else {
                self.next = 0;
                self.round = self.round.saturating_add(1);
                continue;
            };
            self.next = self.next.saturating_add(1);
            left = left.saturating_sub(1);
            if f64::from(self.round) * turn.weight < turn.target {
                continue;
            }
            turn.target += self.heaviest;
            let size = self.size;
            let mut advance = || {
                let place = turn.place;
                // Below 2^23 each, so that the sum can't overflow.
                let next = place.wrapping_add(turn.skip);
                turn.place = if next >= size {
                    next.wrapping_sub(size)
                } else {
                    next
                };
                place
            };
            // There is a free place, and the size is prime: the way leads there.
            for _ in 0..size {
                let place = usize::try_from(advance()).unwrap_or(usize::MAX);
                left = left.saturating_sub(1);
                if let Some(host) = self.table.get_mut(place).filter(|host| **host == FREE) {
                    *host = turn.host;
                    break;
                }
            }
            self.free = self.free.saturating_sub(1);
        }
        let table = std::mem::take(&mut self.table);
        Some(Maglev {
            size: u64::try_from(table.len()).unwrap_or(0),
            table,
        })
    }
}

fn remainder(hash: u64, size: u32) -> u32 {
    let rest = hash.checked_rem(u64::from(size)).unwrap_or(0);
    u32::try_from(rest).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTS: [(&str, u32); 3] = [("10.0.0.1:80", 1), ("10.0.0.2:80", 2), ("10.0.0.3:80", 4)];

    fn counts(table: &Maglev) -> [usize; 3] {
        let mut counts = [0; 3];
        for host in table.places() {
            counts[host] += 1;
        }
        counts
    }

    #[test]
    fn places_are_shared_out_by_weight() {
        let table = Maglev::new(&HOSTS, DEFAULT_TABLE_SIZE);
        assert_eq!(table.len(), 65_537);
        let [one, two, four] = counts(&table);
        assert!(one.abs_diff(65_537 / 7) <= 1, "{one}");
        assert!(two.abs_diff(65_537 * 2 / 7) <= 1, "{two}");
        assert!(four.abs_diff(65_537 * 4 / 7) <= 1, "{four}");
    }

    #[test]
    fn a_host_of_weight_0_has_no_place() {
        let table = Maglev::new(&[("a", 0), ("b", 1)], 7);
        assert!(table.places().all(|host| host == 1));
        assert_eq!(Maglev::new(&[("a", 0)], 7).choose(5, 0), None);
        assert_eq!(Maglev::new(&[], 7).choose(5, 1), None);
    }

    #[test]
    fn more_hosts_than_places_fill_the_table_all_the_same() {
        let keys: Vec<String> = (0..20).map(|n| n.to_string()).collect();
        let hosts: Vec<(&str, u32)> = keys.iter().map(|key| (key.as_str(), 1)).collect();
        let table = Maglev::new(&hosts, 7);
        assert!(table.places().all(|host| host < 20));
    }

    #[test]
    fn a_table_built_in_steps_is_the_same_table() {
        let whole = Maglev::new(&HOSTS, 1_021);
        for work in [1, 7, 100] {
            let mut building = Building::new(&HOSTS, 1_021);
            let mut steps = 1;
            let table = loop {
                if let Some(table) = building.step(work) {
                    break table;
                }
                steps += 1;
            };
            assert_eq!(table, whole);
            assert!(steps > 1_021 / (2 * work), "{steps} steps of {work}");
        }
    }

    #[test]
    fn sizes_are_odd_primes() {
        for size in [3, 7, 65_537, 655_373, 5_000_011] {
            assert!(is_table_size(size), "{size}");
        }
        for size in [0, 1, 2, 9, 65_536, 65_535, 5_000_012, u32::MAX] {
            assert!(!is_table_size(size), "{size}");
        }
        for hosts in [1, 128, 129, 6_553, 65_535] {
            assert!(is_table_size(table_size_for(hosts)), "{hosts}");
        }
    }
}
