//! Balancing requests that have no key.
//!
//! Each function is given what the hosts weigh that may be chosen, and returns a place among them.
//! Turns and randomness are passed in.

use crate::bounded::{Load, is_lighter};
use placement::number::{float, mixed, whole};

/// Returns the host whose turn it is. Within as many turns as all weights come to, each host has as
/// many as its weight, well mixed with those of the others.
///
/// `None` if nothing has a weight.
pub fn round_robin(turn: u64, weights: &[u32]) -> Option<usize> {
    let sum = total(weights.iter().copied());
    let position = if weights.iter().all(|weight| weights.first() == Some(weight)) {
        // Whoever comes next; the step below would be right too, only not in the order listed.
        let count = u64::try_from(weights.len()).ok()?;
        let each = weights.first().copied().map(u64::from)?;
        turn.checked_rem(count)?.saturating_mul(each)
    } else if sum > u64::from(u32::MAX) {
        mixed(turn).checked_rem(sum)?
    } else {
        // Steps near the golden section visit the positions as evenly as can be; being coprime to the
        // sum they visit all before one comes again.
        let golden = whole(float(sum) * 0.618_033_988_749_894_9).max(1);
        let step = (golden..=sum).find(|&step| are_coprime(step, sum))?;
        turn.checked_rem(sum)?.checked_mul(step)?.checked_rem(sum)?
    };
    at(position, weights.iter().copied())
}

/// Returns a host by chance, by weight. `None` if nothing has a weight.
pub fn random(random: u64, weights: &[u32]) -> Option<usize> {
    let position = mixed(random).checked_rem(total(weights.iter().copied()))?;
    at(position, weights.iter().copied())
}

/// Returns the less loaded of two hosts that chance picks by weight: Mitzenmacher's power of two
/// choices, which does nearly as well as a look at all of them, and far better when the loads known
/// are old ones.
///
/// `None` if nothing has a weight.
pub fn least_request(random: u64, weights: &[u32], load: impl Fn(usize) -> Load) -> Option<usize> {
    let sum = total(weights.iter().copied());
    let first = at(mixed(random).checked_rem(sum)?, weights.iter().copied())?;
    // The second choice is among the others: positions of the first are stepped over.
    let others = sum.saturating_sub(u64::from(*weights.get(first)?));
    let Some(position) = mixed(random ^ 0x9e37_79b9_7f4a_7c15).checked_rem(others) else {
        return Some(first);
    };
    let without_first = weights
        .iter()
        .enumerate()
        .map(|(place, weight)| if place == first { 0 } else { *weight });
    let second = at(position, without_first)?;
    Some(if is_lighter(load(second), load(first)) {
        second
    } else {
        first
    })
}

fn total(weights: impl Iterator<Item = u32>) -> u64 {
    weights.map(u64::from).fold(0, u64::saturating_add)
}

/// Returns whose the position is when each one's weight lines up one after another.
fn at(position: u64, weights: impl Iterator<Item = u32>) -> Option<usize> {
    let mut left = position;
    for (place, weight) in weights.enumerate() {
        match left.checked_sub(u64::from(weight)) {
            Some(rest) => left = rest,
            None => return Some(place),
        }
    }
    None
}

fn are_coprime(one: u64, other: u64) -> bool {
    let (mut one, mut other) = (one, other);
    while let Some(rest) = one.checked_rem(other) {
        (one, other) = (other, rest);
    }
    one == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_hosts_take_turns_in_order() {
        let turns: Vec<_> = (0..6)
            .filter_map(|turn| round_robin(turn, &[7, 7, 7]))
            .collect();
        assert_eq!(turns, [0, 1, 2, 0, 1, 2]);
        assert_eq!(round_robin(u64::MAX, &[1]), Some(0));
    }

    #[test]
    fn turns_are_by_weight_exactly_and_well_mixed() {
        let weights = [5, 1, 0, 3];
        let turns: Vec<_> = (0..9)
            .filter_map(|turn| round_robin(turn, &weights))
            .collect();
        let count = |host| turns.iter().filter(|&&turn| turn == host).count();
        assert_eq!([count(0), count(1), count(2), count(3)], [5, 1, 0, 3]);
        let in_a_row = turns
            .chunk_by(|one, other| one == other)
            .map(<[usize]>::len);
        assert!(in_a_row.max() <= Some(2), "{turns:?}");
    }

    #[test]
    fn chance_goes_by_weight() {
        let mut counts = [0; 3];
        for seed in 0..40_000 {
            counts[random(seed, &[1, 0, 3]).unwrap()] += 1;
        }
        assert!((9_500..10_500).contains(&counts[0]), "{counts:?}");
        assert_eq!(counts[1], 0);
    }

    fn least(random: u64, loads: &[Load]) -> Option<usize> {
        let weights: Vec<_> = loads.iter().map(|load| load.weight).collect();
        least_request(random, &weights, |place| loads[place])
    }

    #[test]
    fn of_two_hosts_the_less_loaded_for_its_weight_is_taken() {
        let load = |in_flight, weight| Load { in_flight, weight };
        for seed in 0..100 {
            assert_eq!(least(seed, &[load(3, 1), load(4, 2)]), Some(1));
            assert_eq!(least(seed, &[load(3, 1), load(8, 2)]), Some(0));
            assert_eq!(least(seed, &[load(9, 1)]), Some(0));
            assert_eq!(least(seed, &[load(0, 0), load(9, 1)]), Some(1));
        }
    }

    #[test]
    fn idle_hosts_are_taken_by_weight() {
        let loads = [1, 3].map(|weight| Load {
            in_flight: 0,
            weight,
        });
        let first = (0..40_000).filter(|&seed| least(seed, &loads) == Some(0));
        assert!((9_500..10_500).contains(&first.count()));
    }

    #[test]
    fn two_choices_level_the_loads() {
        let mut loads = [Load {
            in_flight: 0,
            weight: 1,
        }; 20];
        for seed in 0..20_000 {
            loads[least(seed, &loads).unwrap()].in_flight += 1;
        }
        let most = loads.iter().map(|load| load.in_flight).max();
        assert!(most <= Some(1_003), "{most:?}");
    }

    #[test]
    fn without_a_weight_there_is_no_choice() {
        for weights in [&[][..], &[0], &[0, 0]] {
            assert_eq!(round_robin(3, weights), None);
            assert_eq!(random(3, weights), None);
            let loads: Vec<Load> = weights
                .iter()
                .map(|&weight| Load {
                    in_flight: 0,
                    weight,
                })
                .collect();
            assert_eq!(least(3, &loads), None);
        }
    }
}
