//! Which host a key belongs to, and who stands in for it.
//!
//! A placement is built of a host set and an algorithm, once for each change of the set, and then
//! only read. Health has no part in it: who is out is passed over, in the key's own order, so that
//! only its keys move and they come back when it does.

#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

pub mod hosts;
pub mod maglev;
mod modulus;
pub mod number;
pub mod order;
pub mod rendezvous;
pub mod ring;

use crate::hosts::HostSet;
use crate::maglev::Maglev;
use crate::rendezvous::Rendezvous;
use crate::ring::Ring;

/// Up to how many hosts rendezvous hashing is taken by default: some half a microsecond for a choice.
pub const MOST_RENDEZVOUS_HOSTS: usize = 256;

/// Up to how many hosts a Maglev table has Envoy's default size: a hundred places for each.
const MOST_OF_DEFAULT_TABLE: usize = 655;

/// How keys are placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Rendezvous for up to [`MOST_RENDEZVOUS_HOSTS`] hosts, Maglev for more.
    Auto,
    /// Rendezvous hashing.
    Rendezvous,
    /// Maglev, as Envoy places keys with a table of the same size.
    Maglev {
        /// A prime, see [`maglev::is_table_size`]. If not given it is Envoy's default for up to 655
        /// hosts, and [`maglev::table_size_for`] more.
        table_size: Option<u32>,
    },
    /// Ring hashing, as Envoy places keys with a ring of the same size and hosts listed in the same
    /// order.
    Ring {
        /// How many points there are at least.
        minimum: u32,
        /// How many points there are at most.
        maximum: u32,
    },
}

/// Where keys belong, for one set of hosts.
#[derive(Clone, Debug, PartialEq)]
pub struct Placement {
    method: Method,
    /// The places of the hosts that have a weight.
    hosts: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq)]
enum Method {
    Rendezvous(Rendezvous),
    Maglev(Maglev),
    /// The ring, and the place in the set of each host by its place in the list.
    Ring(Ring, Vec<usize>),
}

impl Placement {
    /// Builds the placement at once.
    pub fn build(hosts: &HostSet, algorithm: Algorithm) -> Self {
        let mut placement = Self::begin(hosts, algorithm);
        placement.step(usize::MAX);
        placement
    }

    /// Begins to build the placement, so that many hosts don't hold up the gateway; see [`Self::step`].
    ///
    /// Until it is finished, keys whose place in the table has no host yet go to one of their further
    /// candidates, and all others to where they will stay.
    pub fn begin(hosts: &HostSet, algorithm: Algorithm) -> Self {
        let weighed: Vec<(&str, u32)> =
            hosts.iter().map(|host| (host.key(), host.weight)).collect();
        let eligible = weighed.iter().enumerate();
        let eligible: Vec<usize> = eligible
            .filter(|(_, (_, weight))| *weight > 0)
            .map(|(place, _)| place)
            .collect();
        let count = eligible.len();
        let table_size = match algorithm {
            Algorithm::Maglev { table_size } => Some(match table_size {
                Some(size) => size,
                None if count <= MOST_OF_DEFAULT_TABLE => maglev::DEFAULT_TABLE_SIZE,
                None => maglev::table_size_for(count),
            }),
            Algorithm::Auto if count > MOST_RENDEZVOUS_HOSTS => Some(maglev::table_size_for(count)),
            Algorithm::Auto | Algorithm::Rendezvous | Algorithm::Ring { .. } => None,
        };
        let method = match (table_size, algorithm) {
            (Some(size), _) => Method::Maglev(Maglev::begin(&weighed, size)),
            (None, Algorithm::Ring { minimum, maximum }) => {
                let listed: Vec<usize> = hosts.listed().collect();
                let in_list = listed
                    .iter()
                    .filter_map(|&place| weighed.get(place).copied());
                let ring = Ring::new(&in_list.collect::<Vec<_>>(), minimum, maximum);
                Method::Ring(ring, listed)
            }
            (None, _) => Method::Rendezvous(Rendezvous::new(&weighed)),
        };
        Self {
            method,
            hosts: eligible,
        }
    }

    /// Goes on for so many places of a table, of which some 120,000 take a millisecond in V8, and returns
    /// whether the placement is finished. Only tables take more than the beginning.
    pub fn step(&mut self, work: usize) -> bool {
        match &mut self.method {
            Method::Maglev(table) => table.step(work.max(1)),
            Method::Rendezvous(_) | Method::Ring(..) => true,
        }
    }

    /// Returns whether every key is where it will stay.
    pub fn is_finished(&self) -> bool {
        match &self.method {
            Method::Maglev(table) => table.is_finished(),
            Method::Rendezvous(_) | Method::Ring(..) => true,
        }
    }

    /// Returns the place in the host set where a key with this hash belongs; `None` if every host has
    /// weight 0.
    ///
    /// The hash is XXH64 of the key with seed 0, which is what Envoy's hash policies make of a header.
    #[inline]
    pub fn first(&self, hash: u64) -> Option<usize> {
        // Otherwise there is nobody, or the table is in the making.
        self.choose(hash, 0)
            .or_else(|| self.candidates(hash).next())
    }

    #[inline]
    fn choose(&self, hash: u64, attempt: u32) -> Option<usize> {
        match &self.method {
            Method::Rendezvous(rendezvous) => rendezvous.first(hash),
            Method::Maglev(maglev) => maglev.choose(hash, attempt),
            Method::Ring(ring, listed) => listed.get(ring.choose(hash, attempt)?).copied(),
        }
    }

    /// Finds the first of [`Self::candidates`], as many as there is room for, and returns how many there
    /// are: the short way for the few that a request needs.
    // Within a caller that is compiled for size it would be too.
    #[inline(never)]
    pub fn lead(&self, hash: u64, places: &mut [u16]) -> usize {
        let found = match &self.method {
            Method::Rendezvous(rendezvous) => rendezvous.lead(hash, places),
            Method::Maglev(_) | Method::Ring(..) => self.lead_by_attempts(hash, places),
        };
        found.unwrap_or_else(|| {
            let mut count = 0_usize;
            for (place, host) in places.iter_mut().zip(self.candidates(hash)) {
                // There are fewer hosts than that.
                *place = u16::try_from(host).unwrap_or(u16::MAX);
                count = count.saturating_add(1);
            }
            count
        })
    }

    /// The first few hosts that attempts meet; `None` if these are too few.
    fn lead_by_attempts(&self, hash: u64, places: &mut [u16]) -> Option<usize> {
        let wanted = places.len().min(self.hosts.len());
        let mut count = 0_usize;
        let mut attempt = 0_u32;
        while count < wanted {
            if attempt >= self.most_attempts() {
                return None;
            }
            let host = self.choose(hash, attempt);
            attempt = attempt.saturating_add(1);
            let host = host.and_then(|host| u16::try_from(host).ok());
            if let (Some(host), Some((before, [place, ..]))) =
                (host, places.split_at_mut_checked(count))
                && !before.contains(&host)
            {
                *place = host;
                count = count.saturating_add(1);
            }
        }
        Some(wanted)
    }

    /// Hosts of one weight have all come by then, but for one in some thousand keys.
    fn most_attempts(&self) -> u32 {
        let most = self.hosts.len().saturating_mul(16).saturating_add(64);
        u32::try_from(most).unwrap_or(u32::MAX)
    }

    /// Returns the places in the host set where a key with this hash may go, in the key's own order,
    /// looked up as they are asked for.
    ///
    /// Every host with a weight comes once. The first one is [`Self::first`]; where keys are placed
    /// as Envoy does, the next ones are those of its further attempts.
    pub fn candidates(&self, hash: u64) -> Candidates<'_> {
        Candidates(match &self.method {
            Method::Rendezvous(rendezvous) => Walk::Ranked(rendezvous.candidates(hash)),
            Method::Maglev(_) | Method::Ring(..) => Walk::Attempts(Attempts {
                placement: self,
                hash,
                attempt: 0,
                first: None,
                seen: Vec::new(),
                rest: 0,
            }),
        })
    }

    /// Returns the name of the algorithm: `rendezvous`, `maglev` or `ring`.
    pub fn name(&self) -> &'static str {
        match self.method {
            Method::Rendezvous(_) => "rendezvous",
            Method::Maglev(_) => "maglev",
            Method::Ring(..) => "ring",
        }
    }
}

/// The candidates for a key, in order: places in the host set.
#[derive(Clone, Debug)]
pub struct Candidates<'a>(Walk<'a>);

#[derive(Clone, Debug)]
enum Walk<'a> {
    Ranked(rendezvous::Candidates<'a>),
    Attempts(Attempts<'a>),
}

impl Iterator for Candidates<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        match &mut self.0 {
            Walk::Ranked(candidates) => candidates.next(),
            Walk::Attempts(attempts) => attempts.next(),
        }
    }
}

/// Envoy's attempts without the hosts that came before, and in the end whoever never came.
#[derive(Clone, Debug)]
struct Attempts<'a> {
    placement: &'a Placement,
    hash: u64,
    attempt: u32,
    first: Option<usize>,
    /// The hosts that came, as one bit each; made with the second candidate.
    seen: Vec<u64>,
    /// How many hosts were looked through after the attempts.
    rest: usize,
}

impl Attempts<'_> {
    fn next(&mut self) -> Option<usize> {
        if self.attempt == 0 {
            self.attempt = 1;
            self.first = self.placement.choose(self.hash, 0);
            if self.first.is_some() {
                return self.first;
            }
        }
        let hosts = &self.placement.hosts;
        if self.seen.is_empty() {
            let last = hosts.last()?;
            self.seen = vec![0; (last >> 6_u32).saturating_add(1)];
            self.first.map(|host| mark(&mut self.seen, host));
        }
        while self.attempt < self.placement.most_attempts() {
            let host = self.placement.choose(self.hash, self.attempt);
            self.attempt = self.attempt.saturating_add(1);
            if let Some(host) = host.filter(|&host| mark(&mut self.seen, host)) {
                return Some(host);
            }
        }
        // From somewhere, so that it isn't always the same host.
        let start = self.hash.checked_rem(u64::try_from(hosts.len()).ok()?)?;
        let start = usize::try_from(start).ok()?;
        while self.rest < hosts.len() {
            let turn = start.saturating_add(self.rest).checked_rem(hosts.len())?;
            self.rest = self.rest.saturating_add(1);
            let host = hosts.get(turn).copied();
            if let Some(host) = host.filter(|&host| mark(&mut self.seen, host)) {
                return Some(host);
            }
        }
        None
    }
}

/// Marks a host as seen and returns whether it wasn't before.
fn mark(seen: &mut [u64], host: usize) -> bool {
    let bit = 1_u64.rotate_left(u32::try_from(host & 63).unwrap_or(0));
    match seen.get_mut(host >> 6_u32) {
        Some(word) if *word & bit == 0 => {
            *word |= bit;
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hosts::Host;
    use crate::number::mixed;

    const RING: Algorithm = Algorithm::Ring {
        minimum: 1_024,
        maximum: 8_388_608,
    };
    const MAGLEV: Algorithm = Algorithm::Maglev { table_size: None };

    fn hosts(count: usize) -> HostSet {
        let hosts = (0..count).map(|n| Host::new(format!("10.0.0.{n}:80")));
        HostSet::new(hosts.collect()).unwrap()
    }

    fn lead(placement: &Placement, hash: u64, room: usize) -> Vec<usize> {
        let mut places = vec![u16::MAX; room];
        let count = placement.lead(hash, &mut places);
        places.into_iter().take(count).map(usize::from).collect()
    }

    #[test]
    fn the_number_of_hosts_decides_between_rendezvous_and_maglev() {
        let name = |count| Placement::build(&hosts(count), Algorithm::Auto).name();
        assert_eq!(name(256), "rendezvous");
        assert_eq!(name(257), "maglev");
    }

    #[test]
    fn candidates_are_all_hosts_with_a_weight_once_and_begin_with_the_first() {
        let listed = (0..150).map(|n| Host::new(format!("h{n}")).with_weight(n % 3));
        let set = HostSet::new(listed.collect()).unwrap();
        for algorithm in [Algorithm::Rendezvous, MAGLEV, RING] {
            let placement = Placement::build(&set, algorithm);
            for hash in (0..200).map(mixed) {
                let candidates: Vec<usize> = placement.candidates(hash).collect();
                assert_eq!(candidates.first().copied(), placement.first(hash));
                for room in [0, 1, 3, 4, 16, 150] {
                    assert_eq!(
                        lead(&placement, hash, room),
                        candidates[..room.min(candidates.len())]
                    );
                }
                let mut sorted = candidates.clone();
                sorted.sort_unstable();
                let weighed = (0..150).filter(|&n| set.get(n).unwrap().weight > 0);
                assert!(
                    sorted.into_iter().eq(weighed),
                    "{algorithm:?} {candidates:?}"
                );
            }
        }
    }

    #[test]
    fn hosts_without_a_place_in_the_table_are_the_last_candidates() {
        let set = hosts(20);
        let table_size = Some(7);
        let placement = Placement::build(&set, Algorithm::Maglev { table_size });
        for hash in (0..50).map(mixed) {
            let candidates: Vec<usize> = placement.candidates(hash).collect();
            assert_eq!(candidates.len(), 20);
            // The table was full after the first seven in canonical order.
            assert!(candidates.iter().take(7).all(|&place| place < 7));
        }
    }

    #[test]
    fn no_weight_anywhere_is_no_candidate() {
        let set = HostSet::new(vec![Host::new("a").with_weight(0)]).unwrap();
        for algorithm in [Algorithm::Auto, Algorithm::Rendezvous, MAGLEV, RING] {
            let placement = Placement::build(&set, algorithm);
            assert_eq!(placement.first(1), None);
            assert_eq!(placement.candidates(1).count(), 0);
        }
    }

    #[test]
    fn a_placement_built_in_steps_is_the_same() {
        let set = hosts(1_000);
        let mut placement = Placement::begin(&set, Algorithm::Auto);
        let mut steps = 1;
        while !placement.step(100_000) {
            steps += 1;
        }
        assert!(steps > 10, "{steps}");
        assert_eq!(placement, Placement::build(&set, Algorithm::Auto));
    }

    #[test]
    fn before_a_table_is_finished_keys_have_hosts_and_most_of_them_their_own() {
        let set = hosts(1_000);
        let whole = Placement::build(&set, Algorithm::Auto);
        let mut placement = Placement::begin(&set, Algorithm::Auto);
        let mut at_home = 0;
        for work in [1, 300_000, 700_000, 2_000_000] {
            assert!(!placement.step(work));
            let own = (0..300).map(mixed).filter(|&hash| {
                let first = placement.first(hash);
                let mut candidates = placement.candidates(hash);
                assert_eq!(candidates.next(), first);
                let mut others: Vec<usize> = candidates.take(3).chain(first).collect();
                others.sort_unstable();
                others.dedup();
                assert_eq!(others.len(), 4, "all different, and none missing");
                let candidates: Vec<usize> = placement.candidates(hash).take(3).collect();
                assert_eq!(lead(&placement, hash, 3), candidates);
                first == whole.first(hash)
            });
            let own = own.count();
            assert!(own >= at_home, "{own} after {at_home}");
            at_home = own;
        }
        assert!(at_home > 285, "{at_home} of 300");
    }

    #[test]
    fn a_ring_follows_the_order_listed_and_names_places_in_the_set() {
        let listed = ["c", "a", "b"].map(|name| Host::new(name).with_weight(3));
        let set = HostSet::new(listed.to_vec()).unwrap();
        let ring = Ring::new(&[("c", 3), ("a", 3), ("b", 3)], 1_024, 8_388_608);
        let placement = Placement::build(&set, RING);
        for hash in (0..200).map(mixed) {
            let name = ["c", "a", "b"][ring.choose(hash, 0).unwrap()];
            let place = placement.first(hash).unwrap();
            assert_eq!(set.get(place).unwrap().address, name);
        }
    }
}
