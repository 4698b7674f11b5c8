//! Rendezvous hashing (Thaler and Ravishankar 1998): the host with the highest score for a key has
//! it, the next one is its stand-in, and so on.
//!
//! The scores of a host depend on itself and the key alone. So when a host leaves, its keys go to
//! their second candidates, and no key of another host moves. It costs a look at every host, about
//! 2 ns each.
//!
//! Weights follow Schindelhauer and Schomaker 2005: the lowest `-log(score) / weight` wins. Among
//! hosts of one weight that is the highest score, so only the best of each weight need a logarithm.

use xxhash_rust::xxh64::xxh64;

use crate::number::{minus_log2, mixed};

/// How many candidates one look at all hosts brings.
const BATCH: usize = 4;

/// Hosts, ready to be ranked.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendezvous {
    /// Hosts of equal weight together, the heaviest first.
    classes: Vec<Class>,
}

/// Hosts of one weight.
#[derive(Clone, Debug, PartialEq)]
struct Class {
    inverse_weight: f64,
    seeds: Vec<u64>,
    /// Whose each seed is.
    hosts: Vec<u16>,
}

impl Rendezvous {
    /// Makes a ranking of hosts given by key and weight, which it names by their places in this
    /// slice. Hosts of weight 0 are no candidates.
    pub fn new(hosts: &[(&str, u32)]) -> Self {
        let mut sorted: Vec<(u32, &str, u16)> = hosts
            .iter()
            .zip(0..u16::MAX)
            .map(|(&(key, weight), host)| (weight, key, host))
            .filter(|&(weight, ..)| weight > 0)
            .collect();
        sorted.sort_by(|one, other| (other.0, one.1, one.2).cmp(&(one.0, other.1, other.2)));
        let classes = sorted.chunk_by(|one, other| one.0 == other.0);
        Self {
            classes: classes
                .map(|class| Class {
                    inverse_weight: class
                        .first()
                        .map_or(0.0, |&(weight, ..)| 1.0 / f64::from(weight)),
                    // Not seed 0, with which keys are hashed: a key equal to a host's is none special.
                    seeds: class
                        .iter()
                        .map(|(_, key, _)| xxh64(key.as_bytes(), 1))
                        .collect(),
                    hosts: class.iter().map(|&(.., host)| host).collect(),
                })
                .collect(),
        }
    }

    /// Returns the first candidate for a hash; `None` if there is none.
    pub fn first(&self, hash: u64) -> Option<usize> {
        let best = |class: &Class| {
            let mut best = (0, None);
            for (&seed, &host) in class.seeds.iter().zip(&class.hosts) {
                let score = mixed(hash ^ seed);
                if score > best.0 || best.1.is_none() {
                    best = (score, Some(host));
                }
            }
            best
        };
        let host = match self.classes.as_slice() {
            [class] => best(class).1,
            classes => {
                let mut first = (f64::INFINITY, None);
                for class in classes {
                    let (score, host) = best(class);
                    let cost = minus_log2(score) * class.inverse_weight;
                    if cost < first.0 || first.1.is_none() {
                        first = (cost, host);
                    }
                }
                first.1
            }
        };
        host.map(usize::from)
    }

    /// Returns all candidates for a hash, in order, looked up as they are asked for.
    pub fn candidates(&self, hash: u64) -> Candidates<'_> {
        Candidates {
            hash,
            rankings: self.classes.iter().map(Ranking::new).collect(),
        }
    }
}

/// The candidates for a hash, in order.
#[derive(Clone, Debug)]
pub struct Candidates<'a> {
    hash: u64,
    rankings: Vec<Ranking<'a>>,
}

impl Iterator for Candidates<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        if let [ranking] = self.rankings.as_mut_slice() {
            let (_, _, host) = ranking.best(self.hash)?;
            ranking.taken = ranking.taken.saturating_add(1);
            return Some(usize::from(host));
        }
        let mut first: Option<(f64, usize, u16)> = None;
        for (place, ranking) in self.rankings.iter_mut().enumerate() {
            let Some((score, _, host)) = ranking.best(self.hash) else {
                continue;
            };
            let cost = minus_log2(score) * ranking.class.inverse_weight;
            if first.is_none_or(|(best, ..)| cost < best) {
                first = Some((cost, place, host));
            }
        }
        let (_, place, host) = first?;
        let ranking = self.rankings.get_mut(place)?;
        ranking.taken = ranking.taken.saturating_add(1);
        Some(usize::from(host))
    }
}

/// A score, the place in the class that breaks ties, and the host.
type Entry = (u64, usize, u16);

/// The candidates out of one class, the best few at a time.
#[derive(Clone, Debug)]
struct Ranking<'a> {
    class: &'a Class,
    /// The best ones after those handed out before, in order.
    batch: [Option<Entry>; BATCH],
    taken: usize,
    /// The last one of the batch before.
    after: Option<Entry>,
    filled: bool,
}

impl<'a> Ranking<'a> {
    fn new(class: &'a Class) -> Self {
        Self {
            class,
            batch: [None; BATCH],
            taken: 0,
            after: None,
            filled: false,
        }
    }

    /// Returns the best one not taken yet.
    fn best(&mut self, hash: u64) -> Option<Entry> {
        if !self.filled || self.taken >= BATCH {
            self.after = self.batch.last().copied().flatten();
            if self.filled && self.after.is_none() {
                return None;
            }
            self.fill(hash);
        }
        self.batch.get(self.taken).copied().flatten()
    }

    fn fill(&mut self, hash: u64) {
        self.batch = [None; BATCH];
        self.taken = 0;
        self.filled = true;
        // The lowest score that would still get into the batch.
        let mut least = 0;
        let seeds = self.class.seeds.iter().zip(&self.class.hosts);
        for (place, (&seed, &host)) in seeds.enumerate() {
            let score = mixed(hash ^ seed);
            if score < least {
                continue;
            }
            let mut entry = (score, place, host);
            if self.after.is_some_and(|after| !precedes(after, entry)) {
                continue;
            }
            for held in &mut self.batch {
                match held {
                    Some(other) if precedes(*other, entry) => {}
                    Some(other) => std::mem::swap(other, &mut entry),
                    None => {
                        *held = Some(entry);
                        break;
                    }
                }
            }
            least = self
                .batch
                .last()
                .copied()
                .flatten()
                .map_or(0, |(score, ..)| score);
        }
    }
}

/// Whether `one` is the better one: hosts that share a key share all scores, and their order decides.
fn precedes(one: Entry, other: Entry) -> bool {
    one.0 > other.0 || (one.0 == other.0 && one.1 < other.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("10.0.0.{n}:80")).collect()
    }

    #[test]
    fn candidates_are_all_hosts_in_the_order_of_their_scores() {
        let keys = named(23);
        let weights = [1, 3, 3, 1, 2, 0, 1];
        for weighted in [false, true] {
            let hosts: Vec<(&str, u32)> = keys
                .iter()
                .zip(weights.iter().cycle())
                .map(|(key, &weight)| (key.as_str(), if weighted { weight } else { 5 }))
                .collect();
            let rendezvous = Rendezvous::new(&hosts);
            for hash in (0..2_000).map(mixed) {
                let mut costs: Vec<(f64, usize)> = hosts
                    .iter()
                    .enumerate()
                    .filter(|(_, (_, weight))| *weight > 0)
                    .map(|(place, (key, weight))| {
                        let score = mixed(hash ^ xxh64(key.as_bytes(), 1));
                        let fraction = crate::number::float(score) / 2_f64.powi(64);
                        (-fraction.ln() / f64::from(*weight), place)
                    })
                    .collect();
                costs.sort_by(|one, other| one.0.total_cmp(&other.0));
                let naive: Vec<usize> = costs.into_iter().map(|(_, place)| place).collect();
                assert_eq!(rendezvous.candidates(hash).collect::<Vec<_>>(), naive);
                assert_eq!(rendezvous.first(hash), naive.first().copied());
            }
        }
    }

    #[test]
    fn hosts_that_share_a_key_are_each_a_candidate_once() {
        let rendezvous = Rendezvous::new(&[("a", 1); 9]);
        let candidates: Vec<usize> = rendezvous.candidates(7).collect();
        assert_eq!(candidates, (0..9).collect::<Vec<_>>());
    }

    #[test]
    fn no_host_and_weight_0_give_no_candidate() {
        for hosts in [&[][..], &[("a", 0)]] {
            let rendezvous = Rendezvous::new(hosts);
            assert_eq!(rendezvous.first(1), None);
            assert_eq!(rendezvous.candidates(1).next(), None);
        }
    }
}
