//! Preferring hosts in the gateway's own zone, as long as they can carry what comes.
//!
//! A part of the keys that is decided key by key goes to other zones when the own one is short of
//! hosts. All gateways of a zone agree on each key, and a key's order within its zone and within the
//! others stays its own.

use crate::share::Share;
use placement::number::mixed;

/// When keys leave the own zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spill {
    /// How much more than its part a host can carry, in hundredths: with 140, keys begin to leave
    /// when fewer than 1/1.4 = 71 % of the zone's weight are available, as in Envoy.
    pub overprovisioning: u32,
    /// The part of all traffic that enters through gateways of this zone, if that is known. Keys
    /// leave if it is more than the zone's part of all available hosts.
    pub traffic: Option<Share>,
}

/// Weights of hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Of those in the own zone that are available.
    pub own_available: u64,
    /// Of all in the own zone.
    pub own: u64,
    /// Of all that are available anywhere.
    pub available: u64,
}

impl Spill {
    /// Returns the part of the keys that stays in the own zone.
    pub fn stays(self, capacity: Capacity) -> Share {
        if capacity.own_available == 0 {
            return Share::NONE;
        }
        let can_carry = capacity
            .own_available
            .saturating_mul(u64::from(self.overprovisioning));
        let healthy = Share::ratio(can_carry, capacity.own.saturating_mul(100));
        let fair = self.traffic.map_or(Share::WHOLE, |traffic| {
            // own / available against the traffic: own against the traffic's part of available.
            let parts = u64::from(traffic.as_percent());
            Share::ratio(
                capacity.own_available.saturating_mul(100),
                capacity.available.saturating_mul(parts),
            )
        });
        healthy.min(fair)
    }
}

/// Returns whether a key with this hash is among those that stay.
pub fn stays(share: Share, hash: u64) -> bool {
    // Another constant than those of shares of hosts: a key that leaves is none special there.
    share.has(mixed(hash ^ 0x2545_f491_4f6c_dd1d))
}

/// Goes through the candidates of one zone first, then through the others: the own zone first for a
/// key that stays, and last for one that leaves. Within both the order remains.
pub fn by_zone<I>(
    candidates: I,
    stays: bool,
    is_own: impl Fn(usize) -> bool,
) -> impl Iterator<Item = usize>
where
    I: Iterator<Item = usize> + Clone,
{
    let is_own = std::rc::Rc::new(is_own);
    let again = std::rc::Rc::clone(&is_own);
    candidates
        .clone()
        .filter(move |&place| is_own(place) == stays)
        .chain(candidates.filter(move |&place| again(place) != stays))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPILL: Spill = Spill {
        overprovisioning: 140,
        traffic: None,
    };

    fn capacity(own_available: u64, own: u64, available: u64) -> Capacity {
        Capacity {
            own_available,
            own,
            available,
        }
    }

    #[test]
    fn keys_leave_when_too_few_hosts_of_the_zone_are_available() {
        let stays = |available| SPILL.stays(capacity(available, 10, 30)).as_percent();
        assert_eq!(
            [stays(10), stays(8), stays(5), stays(1), stays(0)],
            [100, 100, 70, 14, 0]
        );
    }

    #[test]
    fn keys_leave_when_more_traffic_enters_than_the_zone_can_carry() {
        let spill = Spill {
            traffic: Some(Share::percent(50)),
            ..SPILL
        };
        let stays = |own, all| spill.stays(capacity(own, own, all)).as_percent();
        // A quarter of the hosts for half of the traffic.
        assert!(stays(5, 20).abs_diff(50) <= 2, "{}", stays(5, 20));
        assert_eq!(stays(10, 20), 100);
    }

    #[test]
    fn candidates_keep_their_order_within_a_zone() {
        let candidates = [4, 1, 3, 0, 2];
        let order = |stays| -> Vec<usize> {
            by_zone(candidates.into_iter(), stays, |place| place % 2 == 0).collect()
        };
        assert_eq!(order(true), [4, 0, 2, 1, 3]);
        assert_eq!(order(false), [1, 3, 4, 0, 2]);
    }

    #[test]
    fn a_part_of_the_keys_stays() {
        let kept = (0..100_000)
            .map(mixed)
            .filter(|&hash| stays(Share::percent(70), hash));
        assert!((69_300..70_700).contains(&kept.count()));
    }
}
