//! Consistent hashing with bounded loads (Mirrokni, Thorup and Zadimoghaddam, SODA 2018).
//!
//! No host gets a request that would lift it above its capacity, the factor times its fair part of
//! all requests in flight, the new one included: `ceil(c · m · w / W)`. A key whose host is full
//! goes to the next candidate in its own order, so the same keys overflow to the same hosts.
//!
//! Since the capacities add up to at least `c · m`, there always is a host with room. When requests
//! end, the capacities shrink, and a host may then have more than would be given to it now: requests
//! under way can't be moved. It gets no other until that is over.

/// The factor `c`, in hundredths: at least 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    percent: u64,
}

/// Sums over the hosts that may be chosen at the moment; those that are out have no part in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests in flight, without the new one.
    pub in_flight: u64,
    /// Weights.
    pub weight: u64,
}

/// What one host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Requests in flight.
    pub in_flight: u32,
    /// Its weight.
    pub weight: u32,
}

/// The candidate that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picked {
    /// Its place in the host set.
    pub index: usize,
    /// How many candidates before it had no room.
    pub passed_over: usize,
    /// Whether it has room itself: it does unless the totals given were wrong.
    pub has_room: bool,
}

impl Bound {
    /// Makes a bound of so many hundredths; `None` below 100, where not all requests would fit.
    pub const fn new(percent: u32) -> Option<Self> {
        if percent < 100 {
            return None;
        }
        // u64::from isn't const, and shifting is no cast.
        Some(Self {
            percent: u64_from(percent),
        })
    }

    /// Returns how many requests a host of this weight may have, the new one included: at least one.
    pub fn capacity(self, totals: Totals, weight: u32) -> u64 {
        let requests = totals.in_flight.saturating_add(1);
        let weight = u64::from(weight);
        // Checked multiplication takes wasm a hundred instructions.
        let parts = match (requests | self.percent | weight) >> 21 {
            0 => requests.wrapping_mul(self.percent).wrapping_mul(weight),
            _ => requests.saturating_mul(self.percent).saturating_mul(weight),
        };
        // What is beyond 64 bits gets less than its part, never more.
        let whole = totals.weight.saturating_mul(100).max(1);
        parts.div_ceil(whole).max(1)
    }

    /// Returns whether the host may have the new request too.
    pub fn admits(self, totals: Totals, load: Load) -> bool {
        u64::from(load.in_flight) < self.capacity(totals, load.weight)
    }
}

#[expect(clippy::as_conversions, reason = "u64::from isn't const yet")]
const fn u64_from(number: u32) -> u64 {
    number as u64
}

/// Takes the first candidate with room.
///
/// If none has, which takes totals that don't match the loads, it is the one with the least load for
/// its weight: better too much for a host than no answer. `None` without a candidate.
pub fn pick(
    candidates: impl IntoIterator<Item = usize>,
    bound: Bound,
    totals: Totals,
    load: impl Fn(usize) -> Load,
) -> Option<Picked> {
    let mut least: Option<(Load, Picked)> = None;
    for (passed_over, index) in candidates.into_iter().enumerate() {
        let load = load(index);
        let has_room = bound.admits(totals, load);
        let picked = Picked {
            index,
            passed_over,
            has_room,
        };
        if has_room {
            return Some(picked);
        }
        if least.is_none_or(|(other, _)| is_lighter(load, other)) {
            least = Some((load, picked));
        }
    }
    least.map(|(_, picked)| picked)
}

/// Whether `one` has less in flight for its weight than `other`.
pub(crate) fn is_lighter(one: Load, other: Load) -> bool {
    let cross =
        |load: Load, weight: u32| u64::from(load.in_flight).saturating_mul(u64::from(weight));
    cross(one, other.weight) < cross(other, one.weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(percent: u32) -> Bound {
        Bound::new(percent).unwrap()
    }

    fn totals(in_flight: u64, weight: u64) -> Totals {
        Totals { in_flight, weight }
    }

    #[test]
    fn a_capacity_is_the_factor_times_the_fair_part_rounded_up() {
        // 1.25 · 40 / 4 = 12.5
        assert_eq!(bound(125).capacity(totals(39, 4), 1), 13);
        // 1.25 · 40 · 3 / 6 = 25
        assert_eq!(bound(125).capacity(totals(39, 6), 3), 25);
        assert_eq!(bound(100).capacity(totals(0, 100), 1), 1);
        assert!(bound(u32::MAX).capacity(totals(u64::MAX, 1), u32::MAX) > 1 << 50);
        assert_eq!(Bound::new(99), None);
    }

    #[test]
    fn a_full_host_is_passed_over_in_the_order_of_the_key() {
        let loads = [13, 13, 2, 0];
        let load = |index: usize| Load {
            in_flight: loads[index],
            weight: 1,
        };
        let picked = pick([0, 1, 2, 3], bound(125), totals(39, 4), load).unwrap();
        assert_eq!((picked.index, picked.passed_over), (2, 2));
        let picked = pick([3, 0], bound(125), totals(39, 4), load).unwrap();
        assert_eq!((picked.index, picked.passed_over), (3, 0));
    }

    #[test]
    fn with_wrong_totals_the_lightest_for_its_weight_is_taken() {
        let loads = [(50, 1), (60, 2), (90, 1)];
        let load = |index: usize| Load {
            in_flight: loads[index].0,
            weight: loads[index].1,
        };
        let picked = pick([0, 1, 2], bound(100), totals(0, 4), load).unwrap();
        assert_eq!((picked.index, picked.has_room), (1, false));
        assert_eq!(pick([], bound(100), totals(0, 4), load), None);
    }
}
