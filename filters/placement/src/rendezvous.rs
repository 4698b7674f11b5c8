//! Rendezvous hashing (Thaler and Ravishankar 1998): the host with the highest score for a key has
//! it, the next one is its stand-in, and so on.
//!
//! The scores of a host depend on itself and the key alone. So when a host leaves, its keys go to
//! their second candidates, and no key of another host moves. It costs a look at every host, about
//! 2 ns each.
//!
//! Weights follow Schindelhauer and Schomaker 2005: the lowest `-log(score) / weight` wins. Among
//! hosts of one weight that is the highest score, so only the best of each weight need a logarithm.

use std::cmp::Reverse;

use xxhash_rust::xxh64::xxh64;

use crate::number::{float, minus_log2};
use crate::order::in_order;

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

/// A host's score, with its place in the class in the lowest bits: the higher one is the better one,
/// and of hosts that share a key, and so all scores, the first one is.
///
/// 0 is the score of none.
type Score = u64;

const PLACE: u64 = 0xffff;
const MOST_HOSTS: usize = 0xffff;

impl Class {
    /// All scores for a hash, in the order of the hosts.
    #[inline]
    fn scores(&self, hash: u64) -> impl Iterator<Item = Score> {
        // Counted down, so that the first is the highest. Above 0, since there are fewer hosts.
        let places = (1..=PLACE).rev();
        let seeds = self.seeds.iter().zip(places);
        seeds.map(move |(&seed, place)| (score(hash, seed) & !PLACE) | place)
    }

    fn best(&self, hash: u64) -> Score {
        self.scores(hash).max().unwrap_or(0)
    }

    fn host(&self, score: Score) -> Option<u16> {
        let place = usize::try_from(PLACE.wrapping_sub(score & PLACE)).ok()?;
        self.hosts.get(place).copied()
    }

    /// What the lowest of wins among classes.
    fn cost(&self, score: Score) -> f64 {
        minus_log2(score) * self.inverse_weight
    }

    /// What [`Self::cost`] is not below, for a fifth of the time.
    fn least_cost(&self, score: Score) -> f64 {
        // -ln u is never below 1 - u. The rest is more than both may be off by.
        let fraction = float(score) * (1.0 / 18_446_744_073_709_551_616.0);
        ((1.0 - fraction) * std::f64::consts::LOG2_E - 1e-9) * self.inverse_weight
    }
}

/// The score of a host for a key, of which the upper bits count.
///
/// Both are hashes already. So what MurmurHash3's finalizer does to bits before its first
/// multiplication, and to the lower ones after its second, is left out.
#[inline]
const fn score(hash: u64, seed: u64) -> u64 {
    let number = (hash ^ seed).wrapping_mul(0xff51_afd7_ed55_8ccd);
    (number ^ (number >> 32)).wrapping_mul(0xc4ce_b9fe_1a85_ec53)
}

impl Rendezvous {
    /// Makes a ranking of hosts given by key and weight, which it names by their places in this
    /// slice. Hosts of weight 0 are no candidates.
    pub fn new(hosts: &[(&str, u32)]) -> Self {
        let host = |place: usize| {
            let (key, weight) = hosts.get(place).copied()?;
            Some((Reverse(weight), key))
        };
        let order = in_order(hosts.len(), &|one, other| host(one).cmp(&host(other)));
        let sorted = order.into_iter().filter_map(|place| {
            let number = u16::try_from(place).ok()?;
            let (Reverse(weight), key) = host(place)?;
            Some((weight, key, number)).filter(|&(weight, ..)| weight > 0)
        });
        let sorted: Vec<(u32, &str, u16)> = sorted.take(MOST_HOSTS).collect();
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
        let host = match self.classes.as_slice() {
            [class] => class.host(class.best(hash)),
            classes => {
                let mut first = (f64::INFINITY, None);
                for class in classes {
                    let score = class.best(hash);
                    if class.least_cost(score) >= first.0 {
                        continue;
                    }
                    let cost = class.cost(score);
                    if cost < first.0 {
                        first = (cost, class.host(score));
                    }
                }
                first.1
            }
        };
        host.map(usize::from)
    }

    /// Finds the first candidates for a hash in one look at all hosts, as many as there is room for, and
    /// returns how many there are. `None` if that takes more than one look: see [`Self::candidates`].
    pub fn lead(&self, hash: u64, places: &mut [u16]) -> Option<usize> {
        let [class] = self.classes.as_slice() else {
            return None;
        };
        let wanted = places.len().min(class.hosts.len());
        if wanted > BATCH {
            return None;
        }
        let best = best_below(Score::MAX, class.scores(hash));
        for (place, score) in places.iter_mut().zip(best).take(wanted) {
            *place = class.host(score)?;
        }
        Some(wanted)
    }

    /// Returns all candidates for a hash, in order, looked up as they are asked for.
    pub fn candidates(&self, hash: u64) -> Candidates<'_> {
        let (heaviest, others) = match self.classes.split_first() {
            Some((class, others)) => (Some(class), others),
            None => (None, &[][..]),
        };
        Candidates {
            heaviest: heaviest.map(|class| Ranking::new(class, hash)),
            others: others
                .iter()
                .map(|class| Ranking::new(class, hash))
                .collect(),
        }
    }
}

/// The candidates for a hash, in order.
#[derive(Clone, Debug)]
pub struct Candidates<'a> {
    heaviest: Option<Ranking<'a>>,
    /// Empty, and so not allocated, where all hosts have one weight.
    others: Vec<Ranking<'a>>,
}

impl Iterator for Candidates<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let heaviest = self.heaviest.as_mut()?;
        if self.others.is_empty() {
            return heaviest.take();
        }
        let mut first: Option<(f64, &mut Ranking<'_>)> = None;
        for ranking in std::iter::once(heaviest).chain(&mut self.others) {
            let most = first.as_ref().map_or(f64::INFINITY, |(cost, _)| *cost);
            if let Some(cost) = ranking.cost_below(most) {
                first = Some((cost, ranking));
            }
        }
        first?.1.take()
    }
}

/// The candidates out of one class, the best few at a time.
#[derive(Clone, Debug)]
struct Ranking<'a> {
    class: &'a Class,
    hash: u64,
    /// The best ones after those handed out before, in order; 0 behind the last one.
    batch: [Score; BATCH],
    taken: usize,
    /// The cost of the next one, once it was needed.
    cost: Option<f64>,
}

impl<'a> Ranking<'a> {
    fn new(class: &'a Class, hash: u64) -> Self {
        Self {
            class,
            hash,
            batch: [Score::MAX; BATCH],
            taken: BATCH,
            cost: None,
        }
    }

    /// Returns the best one not taken yet; 0 if there is none.
    fn best(&mut self) -> Score {
        if self.taken >= BATCH {
            let last = self.batch.last().copied().unwrap_or(0);
            self.batch = best_below(last, self.class.scores(self.hash));
            self.taken = 0;
        }
        self.batch.get(self.taken).copied().unwrap_or(0)
    }

    /// Returns what the best one costs, if it is less than that.
    fn cost_below(&mut self, most: f64) -> Option<f64> {
        let best = self.best();
        if best == 0 {
            return None;
        }
        let cost = match self.cost {
            Some(cost) => cost,
            None if self.class.least_cost(best) >= most => return None,
            None => *self.cost.insert(self.class.cost(best)),
        };
        (cost < most).then_some(cost)
    }

    /// Takes the best one.
    fn take(&mut self) -> Option<usize> {
        let best = self.best();
        if best == 0 {
            return None;
        }
        self.taken = self.taken.saturating_add(1);
        self.cost = None;
        self.class.host(best).map(usize::from)
    }
}

/// The highest scores below one, in order.
#[inline]
fn best_below(limit: Score, scores: impl Iterator<Item = Score>) -> [Score; BATCH] {
    let [mut first, mut second, mut third, mut fourth] = [0; BATCH];
    for score in scores {
        // Most are not among the best so far.
        if score <= fourth || score >= limit {
            continue;
        }
        // Branches, as there are few of these: selects would be as many for each.
        if score <= second {
            if score <= third {
                fourth = score;
            } else {
                (third, fourth) = (score, third);
            }
        } else if score <= first {
            (second, third, fourth) = (score, second, third);
        } else {
            (first, second, third, fourth) = (score, first, second, third);
        }
    }
    [first, second, third, fourth]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::number::mixed;

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
                        let score = score(hash, xxh64(key.as_bytes(), 1));
                        let fraction = float(score) / 2_f64.powi(64);
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
