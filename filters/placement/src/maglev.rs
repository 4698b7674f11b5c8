//! Maglev hashing (Eisenbud et al., NSDI 2016, 3.4): a table that names a host for every remainder.
//!
//! Each host goes through the places of the table in an order of its own, and the hosts take free
//! places in turn until there is none. A look-up is one remainder and one read, whatever the number
//! of hosts. When a host leaves, its places are shared out and only few others change.
//!
//! The table is **the one that Envoy 1.40 builds** for the policy `maglev`, entry by entry: hosts
//! in the order of their keys, XXH64 with seeds 0 and 1 for a host's order, and weights as fractions
//! of the sum in double precision. consistent-hash's `tests/golden.rs` holds it to tables taken from Envoy.

use xxhash_rust::xxh64::xxh64;

use crate::modulus::{Modulus, remainder};
use crate::number::float;
use crate::order::in_order;

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

/// A table, finished or in the making.
#[derive(Clone, Debug, PartialEq)]
pub struct Maglev {
    table: Vec<u16>,
    size: u64,
    /// None once every place has a host.
    making: Option<Making>,
}

impl Maglev {
    /// Builds the table for hosts given by key and weight, which [`Self::choose`] then names by
    /// their places in this slice.
    ///
    /// Hosts of weight 0 get no place. `table_size` must be one for which [`is_table_size`] holds.
    pub fn new(hosts: &[(&str, u32)], table_size: u32) -> Self {
        let mut table = Self::begin(hosts, table_size);
        table.step(usize::MAX);
        table
    }

    /// Begins a table, so that many hosts don't hold up the gateway; see [`Self::step`].
    pub fn begin(hosts: &[(&str, u32)], table_size: u32) -> Self {
        let making = Making::new(hosts, table_size);
        let places = usize::try_from(making.free).unwrap_or(0);
        Self {
            table: vec![FREE; places],
            size: u64::try_from(places).unwrap_or(0),
            making: Some(making).filter(|making| making.free > 0),
        }
    }

    /// Goes on for about `work` places looked at, and returns whether the table is finished.
    ///
    /// Some 120,000 of them are a millisecond in V8. A place that has a host keeps it.
    pub fn step(&mut self, work: usize) -> bool {
        if let Some(making) = &mut self.making
            && making.step(&mut self.table, work)
        {
            self.making = None;
        }
        self.is_finished()
    }

    /// Returns whether every place has a host, or there is none to have it.
    pub fn is_finished(&self) -> bool {
        self.making.is_none()
    }

    /// Returns the host for a hash, or for a further attempt with it, as Envoy does; `None` if
    /// no host has a place, or none this place yet.
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
        let host = self.table.get(place).copied();
        host.filter(|&host| host != FREE).map(usize::from)
    }

    /// Returns how many places there are: 0 if no host has one.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Returns whether no host has a place.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Returns the host at each place that has one.
    pub fn places(&self) -> impl Iterator<Item = usize> {
        let hosts = self.table.iter().copied();
        hosts.filter(|&host| host != FREE).map(usize::from)
    }
}

/// A host's way through the table.
#[derive(Clone, Debug, PartialEq)]
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

/// What is known of a table while it is made.
///
/// The longer it takes the more of the places that a host asks for are taken: the last hundreds of
/// free ones cost as much as all others before. Two things keep that short. What is taken is one bit,
/// so that all of them stay in a processor's cache. And once few are free, a host doesn't walk to the
/// next one but computes which of them is first on its way ([`Last`]).
#[derive(Clone, Debug, PartialEq)]
struct Making {
    size: u32,
    free: u32,
    /// One bit for each place.
    taken: Vec<u64>,
    turns: Vec<Turn>,
    heaviest: f64,
    round: u32,
    next: usize,
    last: Option<Last>,
}

impl Making {
    fn new(hosts: &[(&str, u32)], table_size: u32) -> Self {
        let sum: u64 = hosts.iter().map(|&(_, weight)| u64::from(weight)).sum();
        let key = |place: usize| hosts.get(place).map(|&(key, _)| key);
        let by_key = in_order(hosts.len(), &|one, other| key(one).cmp(&key(other)));
        let sorted = by_key.into_iter().filter_map(|place| {
            let host = u16::try_from(place).ok().filter(|&host| host != FREE)?;
            let &(key, weight) = hosts.get(place).filter(|&&(_, weight)| weight > 0)?;
            Some((key, weight, host))
        });
        let size = table_size.max(3);
        let turns: Vec<Turn> = sorted
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
            size,
            free,
            taken: vec![0; usize::try_from(free.div_ceil(64)).unwrap_or(0)],
            heaviest: turns.iter().map(|turn| turn.weight).fold(0.0, f64::max),
            turns,
            round: 1,
            next: 0,
            last: None,
        }
    }

    /// Goes on for about `work` places looked at, and returns whether the table is full.
    fn step(&mut self, table: &mut [u16], work: usize) -> bool {
        let few = Last::few(self.size);
        let mut left = work;
        while self.free > 0 {
            if left == 0 {
                return false;
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
            if self.free <= few && self.last.is_none() {
                self.last = Some(Last::new(&self.taken, self.size));
            }
            let found = match &mut self.last {
                Some(last) => {
                    left = left.saturating_sub(last.places.len());
                    last.take(turn.place, turn.skip)
                }
                None => {
                    let (found, looked) = turn.walk(&mut self.taken, self.size);
                    left = left.saturating_sub(looked);
                    found
                }
            };
            if let Some(place) = found.and_then(|place| usize::try_from(place).ok())
                && let Some(host) = table.get_mut(place)
            {
                *host = turn.host;
            }
            self.free = self.free.saturating_sub(1);
        }
        true
    }
}

impl Turn {
    /// Walks on to a free place, takes it, and returns it with how many places were looked at.
    #[inline]
    fn walk(&mut self, taken: &mut [u64], size: u32) -> (Option<u32>, usize) {
        let mut place = self.place;
        let skip_or_back = self.skip.wrapping_sub(size);
        // There is a free place, and the size is prime: the way leads there.
        for looked in 0..size {
            let word = usize::try_from(place >> 6_u32).ok();
            let Some(word) = word.and_then(|word| taken.get_mut(word)) else {
                break;
            };
            let bit = 1_u64.wrapping_shl(place);
            let is_taken = *word & bit != 0;
            let at = place;
            // Below 2^23 each. Negative if the way goes on without a turn, and no branch to be guessed.
            let next = place.wrapping_add(skip_or_back);
            place = next.wrapping_add(size & 0_u32.wrapping_sub(next >> 31_u32));
            if !is_taken {
                *word |= bit;
                self.place = place;
                let looked = usize::try_from(looked).unwrap_or(0);
                return (Some(at), looked.wrapping_add(1));
            }
        }
        (None, 1)
    }
}

/// The last free places of a table.
///
/// On the way `start, start + skip, start + 2 skip, …` modulo the size, a place is number
/// `(place - start) / skip`, and the size is prime, so that there is a quotient modulo the size. The
/// free place of the lowest number is where a walk would end.
#[derive(Clone, Debug, PartialEq)]
struct Last {
    places: Vec<u32>,
    modulus: Modulus,
}

impl Last {
    /// At how many free places to compute: a place costs about what a step on the way does, and a walk
    /// takes `size / free` of them.
    fn few(size: u32) -> u32 {
        size.isqrt()
    }

    fn new(taken: &[u64], size: u32) -> Self {
        let mut places = Vec::new();
        for (word, first) in taken.iter().zip((0..size).step_by(64)) {
            let mut free = !word;
            while free != 0 {
                places.push(first.wrapping_add(free.trailing_zeros()));
                free &= free.wrapping_sub(1);
            }
        }
        // The last word has more bits than there are places.
        places.retain(|&place| place < size);
        Self {
            places,
            modulus: Modulus::new(size),
        }
    }

    /// Takes the place that a host at `start` comes to first.
    fn take(&mut self, start: u32, skip: u32) -> Option<u32> {
        let modulus = self.modulus;
        let inverse = modulus.times_2_32(modulus.inverse(skip));
        let start = modulus.product_by_2_32(start, inverse);
        let numbers = self.places.iter().map(|&place| {
            let number = modulus.product_by_2_32(place, inverse);
            modulus.difference(number, start)
        });
        let (at, _) = numbers.enumerate().min_by_key(|&(_, number)| number)?;
        Some(self.places.swap_remove(at))
    }
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

    /// The table as the paper and Envoy make it: every host walks to the next free place.
    fn walked(hosts: &[(&str, u32)], size: u32) -> Vec<usize> {
        let mut sorted: Vec<(&str, f64, usize)> = hosts
            .iter()
            .enumerate()
            .filter(|(_, (_, weight))| *weight > 0)
            .map(|(place, &(key, weight))| (key, f64::from(weight), place))
            .collect();
        sorted.sort_by(|one, other| one.0.cmp(other.0));
        let sum: f64 = sorted.iter().map(|(_, weight, _)| weight).sum();
        let heaviest = sorted.iter().map(|(_, weight, _)| weight / sum);
        let heaviest = heaviest.fold(0.0, f64::max);
        let size = u64::from(size);
        let mut table = vec![None; size as usize];
        let mut steps = vec![0; sorted.len()];
        let mut targets = vec![0.0; sorted.len()];
        for round in 1.. {
            for (turn, &(key, weight, host)) in sorted.iter().enumerate() {
                if f64::from(round) * (weight / sum) < targets[turn] {
                    continue;
                }
                targets[turn] += heaviest;
                loop {
                    let skip = xxh64(key.as_bytes(), 1) % (size - 1) + 1;
                    let at = (xxh64(key.as_bytes(), 0) % size + skip * steps[turn]) % size;
                    steps[turn] += 1;
                    let place = &mut table[at as usize];
                    if place.is_none() {
                        *place = Some(host);
                        break;
                    }
                }
                if table.iter().all(Option::is_some) {
                    return table.into_iter().flatten().collect();
                }
            }
        }
        unreachable!("rounds have no end");
    }

    #[test]
    fn the_table_is_the_one_that_walking_makes() {
        let keys: Vec<String> = (0..40).map(|n| format!("10.0.{n}.1:80")).collect();
        for (count, weights, size) in [
            (1, 1, 3),
            (3, 1, 7),
            (5, 4, 251),
            (40, 1, 1_021),
            (40, 7, 2_039),
        ] {
            let weight = |n: usize| u32::try_from(n % weights).unwrap() + 1;
            let hosts: Vec<(&str, u32)> =
                (0..count).map(|n| (keys[n].as_str(), weight(n))).collect();
            let places: Vec<usize> = Maglev::new(&hosts, size).places().collect();
            assert_eq!(places, walked(&hosts, size), "{count} hosts, {size} places");
        }
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
            let mut table = Maglev::begin(&HOSTS, 1_021);
            let mut steps = 1;
            let mut had = 0;
            while !table.step(work) {
                steps += 1;
                let mut places = table.table.iter().zip(&whole.table);
                assert!(places.all(|(host, last)| *host == FREE || host == last));
                assert!(table.places().count() > had || work < 3);
                had = table.places().count();
            }
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
