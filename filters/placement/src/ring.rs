//! Ring hashing (ketama): every host has many points on a circle of 2^64, and a key belongs to the
//! first point at or after its hash.
//!
//! The ring is **the one that Envoy 1.40 builds** for the policy `ring_hash`, point by point: XXH64
//! of `key_0`, `key_1`, …, and as many points for each host as Envoy's running sums in double
//! precision come to. With unequal weights those sums depend on the order of the hosts: list them as
//! Envoy's cluster does. consistent-hash's `tests/golden.rs` holds it to choices taken from Envoy.

use xxhash_rust::xxh64::xxh64;

use crate::number::{float, whole};

/// How many points Envoy makes at least, unless told otherwise.
pub const DEFAULT_MINIMUM: u32 = 1_024;

/// How many points Envoy makes at most, also when asked for more.
pub const LARGEST: u32 = 8 * 1_024 * 1_024;

/// A finished ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ring {
    /// The points, in order.
    points: Vec<u64>,
    /// Whose each is.
    hosts: Vec<u16>,
}

impl Ring {
    /// Builds the ring for hosts given by key and weight, which [`Self::choose`] then names by
    /// their places in this slice.
    ///
    /// Hosts of weight 0 get no point. There are about `minimum` points in all, more where the
    /// lightest host would otherwise have a fraction of one, and not more than `maximum` and one
    /// for each host.
    pub fn new(hosts: &[(&str, u32)], minimum: u32, maximum: u32) -> Self {
        let weighed = || {
            hosts
                .iter()
                .zip(0..u16::MAX)
                .filter(|((_, weight), _)| *weight > 0)
        };
        let sum = float(weighed().map(|((_, weight), _)| u64::from(*weight)).sum());
        let lightest = weighed().map(|((_, weight), _)| f64::from(*weight) / sum);
        let lightest = lightest.fold(1.0, f64::min);
        let scale = ((lightest * f64::from(minimum)).ceil() / lightest).min(f64::from(maximum));

        let mut points = Vec::with_capacity(usize::try_from(whole(scale)).unwrap_or(0));
        let mut made = 0.0;
        let mut target = 0.0;
        for ((key, weight), host) in weighed() {
            let mut name = format!("{key}_");
            let stem = name.len();
            target += scale * (f64::from(*weight) / sum);
            let mut number = 0_u64;
            while made < target {
                name.truncate(stem);
                name.push_str(&number.to_string());
                points.push((xxh64(name.as_bytes(), 0), host));
                number = number.saturating_add(1);
                made += 1.0;
            }
        }
        points.sort_unstable();
        Self {
            hosts: points.iter().map(|&(_, host)| host).collect(),
            points: points.into_iter().map(|(point, _)| point).collect(),
        }
    }

    /// Returns the host for a hash, or for a further attempt with it, as Envoy does: whose the next
    /// point is. `None` if there is no point.
    ///
    /// Another attempt may name the same host again.
    pub fn choose(&self, hash: u64, attempt: u32) -> Option<usize> {
        self.after(hash, usize::try_from(attempt).ok()?)
    }

    /// Returns how many points there are.
    pub fn len(&self) -> usize {
        self.points.len()
    }

    /// Returns whether there is no point.
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// Returns the hosts of all points, in order.
    pub fn points(&self) -> impl ExactSizeIterator<Item = usize> {
        self.hosts.iter().copied().map(usize::from)
    }

    fn after(&self, hash: u64, further: usize) -> Option<usize> {
        let first = self.points.partition_point(|&point| point < hash);
        let place = first.checked_add(further)?.checked_rem(self.points.len())?;
        self.hosts.get(place).copied().map(usize::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lightest_host_has_a_whole_number_of_points() {
        let ring = Ring::new(&[("a", 1), ("b", 2), ("c", 4)], 1_024, LARGEST);
        // 1024 / 7 = 146.3: 147 points for the lightest.
        assert_eq!(ring.len(), 147 * 7);
        assert_eq!(ring.points().filter(|&host| host == 0).count(), 147);
        assert_eq!(ring.points().filter(|&host| host == 2).count(), 4 * 147);
    }

    #[test]
    fn a_maximum_may_leave_hosts_without_a_point() {
        let ring = Ring::new(&[("a", 1), ("b", 1), ("c", 1), ("d", 1)], 1_024, 2);
        assert_eq!(ring.points().map(|host| host.to_string()).len(), 2);
    }

    #[test]
    fn no_host_and_weight_0_have_no_point() {
        assert_eq!(Ring::new(&[], 1_024, LARGEST).choose(1, 0), None);
        assert_eq!(Ring::new(&[("a", 0)], 1_024, LARGEST).choose(1, 3), None);
        let ring = Ring::new(&[("a", 0), ("b", 3)], 16, LARGEST);
        assert_eq!(ring.len(), 16);
        assert!(ring.points().all(|host| host == 1));
    }

    #[test]
    fn a_key_belongs_to_the_first_point_at_or_after_its_hash() {
        let ring = Ring::new(&[("a", 1), ("b", 1)], 8, LARGEST);
        let whose: Vec<usize> = ring.points().collect();
        for (place, &point) in ring.points.iter().enumerate() {
            let next = (place + 1) % whose.len();
            assert_eq!(ring.choose(point, 0), Some(whose[place]));
            assert_eq!(ring.choose(point, 1), Some(whose[next]));
            assert_eq!(ring.choose(point + 1, 0), Some(whose[next]));
        }
        assert_eq!(ring.choose(0, 0), Some(whose[0]));
        assert_eq!(ring.choose(u64::MAX, 0), Some(whose[0]));
    }
}
