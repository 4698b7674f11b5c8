//! The bound under any order of beginnings and ends, against a model that counts naively.

use consistent_hash::bounded::{Bound, Load, Totals, pick};
use consistent_hash::placement::hosts::{Host, HostSet};
use consistent_hash::placement::{Algorithm, Placement};
use proptest::prelude::*;

/// What happens to a gateway.
#[derive(Clone, Debug)]
enum Happening {
    /// A request with this hash begins.
    Begins(u64),
    /// One of those under way ends.
    Ends(prop::sample::Index),
    /// A host goes out or comes back.
    Turns(prop::sample::Index),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        // Few keys, so that hosts fill up.
        6 => (0_u64..6).prop_map(|key| Happening::Begins(key.wrapping_mul(0x9e37_79b9_7f4a_7c15))),
        3 => any::<prop::sample::Index>().prop_map(Happening::Ends),
        1 => any::<prop::sample::Index>().prop_map(Happening::Turns),
    ]
}

proptest! {
    #[test]
    fn no_request_goes_to_a_host_above_its_bound(
        weights in proptest::collection::vec(1_u32..4, 1..12),
        percent in 100_u32..300,
        happenings in proptest::collection::vec(happening(), 1..300),
    ) {
        let hosts = weights.iter().enumerate();
        let hosts = hosts.map(|(host, &weight)| Host::new(format!("{host:02}")).with_weight(weight));
        let set = HostSet::new(hosts.collect()).unwrap();
        let placement = Placement::build(&set, Algorithm::Rendezvous);
        let bound = Bound::new(percent).unwrap();
        let mut loads = vec![0_u32; weights.len()];
        let mut out = vec![false; weights.len()];
        let mut under_way = Vec::new();
        for happening in happenings {
            match happening {
                Happening::Ends(which) if !under_way.is_empty() => {
                    let host: usize = under_way.swap_remove(which.index(under_way.len()));
                    loads[host] -= 1;
                }
                Happening::Ends(_) => {}
                Happening::Turns(which) => {
                    let host = which.index(weights.len());
                    out[host] = !out[host];
                }
                Happening::Begins(hash) => {
                    let available = || (0..weights.len()).filter(|&host| !out[host]);
                    let totals = Totals {
                        in_flight: available().map(|host| u64::from(loads[host])).sum(),
                        weight: available().map(|host| u64::from(weights[host])).sum(),
                    };
                    let order: Vec<usize> = placement.candidates(hash).filter(|&host| !out[host]).collect();
                    let load = |host: usize| Load { in_flight: loads[host], weight: weights[host] };
                    let Some(picked) = pick(order.iter().copied(), bound, totals, load) else {
                        prop_assert!(order.is_empty());
                        continue;
                    };
                    // ceil(c · m · w / W), in rational numbers.
                    let most = |host: usize| {
                        let parts = u128::from(percent)
                            * u128::from(totals.in_flight + 1)
                            * u128::from(weights[host]);
                        parts.div_ceil(u128::from(totals.weight) * 100)
                    };
                    prop_assert!(picked.has_room);
                    prop_assert!(u128::from(loads[picked.index] + 1) <= most(picked.index));
                    // The first one with room, in the key's own order.
                    let first = order.iter().position(|&host| u128::from(loads[host] + 1) <= most(host));
                    prop_assert_eq!(first, Some(picked.passed_over));
                    prop_assert_eq!(order[picked.passed_over], picked.index);
                    loads[picked.index] += 1;
                    under_way.push(picked.index);
                }
            }
        }
    }
}

#[test]
fn with_room_a_key_keeps_its_host() {
    let set = HostSet::new((0..10).map(|host| Host::new(host.to_string())).collect()).unwrap();
    let placement = Placement::build(&set, Algorithm::Rendezvous);
    let bound = Bound::new(125).unwrap();
    let totals = Totals {
        in_flight: 40,
        weight: 10,
    };
    let load = |_| Load {
        in_flight: 4,
        weight: 1,
    };
    for key in 0..1_000_u64 {
        let hash = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let picked = pick(placement.candidates(hash), bound, totals, load).unwrap();
        assert_eq!(Some(picked.index), placement.first(hash));
    }
}
