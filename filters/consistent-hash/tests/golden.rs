//! Placement against the real Envoy's: tables of 100,000 keys each, taken from its answers.
//!
//! `host-test`'s test `hash_placement` asks the real Envoy for some of the keys each time it runs,
//! so that the tables can't grow old. To take them anew:
//!
//! ```sh
//! PENSTOCK_UPDATE=1 cargo test --profile host --package host-test --test hash_placement
//! ```

use consistent_hash::placement::hosts::{Host, HostSet};
use consistent_hash::placement::{Algorithm, Placement};
use filter_core::hash::digest;

/// What a table says.
struct Table {
    algorithm: Algorithm,
    /// Hosts as listed, with the number of keys of each.
    hosts: Vec<(Host, usize)>,
    keys: usize,
    /// Of the places in the list of all keys' hosts, two bytes each.
    checksum: u64,
    /// Some keys and their hosts.
    sample: Vec<(String, String)>,
}

impl Table {
    fn read(text: &str) -> Self {
        let mut table = Self {
            algorithm: Algorithm::Auto,
            hosts: Vec::new(),
            keys: 0,
            checksum: 0,
            sample: Vec::new(),
        };
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            match *line.split(' ').collect::<Vec<_>>().as_slice() {
                ["maglev", size] => {
                    table.algorithm = Algorithm::Maglev {
                        table_size: Some(size.parse().unwrap()),
                    };
                }
                ["ring_hash", minimum, maximum] => {
                    table.algorithm = Algorithm::Ring {
                        minimum: minimum.parse().unwrap(),
                        maximum: maximum.parse().unwrap(),
                    };
                }
                ["host", key, weight, keys] => {
                    let host = Host::new(key).with_weight(weight.parse().unwrap());
                    table.hosts.push((host, keys.parse().unwrap()));
                }
                ["keys", keys, checksum] => {
                    table.keys = keys.parse().unwrap();
                    table.checksum = u64::from_str_radix(checksum, 16).unwrap();
                }
                ["key", key, host] => table.sample.push((key.to_owned(), host.to_owned())),
                _ => panic!("what is {line:?}?"),
            }
        }
        table
    }

    /// Holds the placement of every key to the table.
    #[track_caller]
    fn check(&self, hosts: usize) {
        assert_eq!(self.hosts.len(), hosts);
        assert_eq!(self.keys, 100_000);
        assert_eq!(self.sample.len(), 50);
        let listed = self.hosts.iter().map(|(host, _)| host.clone());
        let set = HostSet::new(listed.collect()).unwrap();
        let placement = Placement::build(&set, self.algorithm);
        let host_of = |key: &str| {
            let place = placement.first(digest(key.as_bytes())).unwrap();
            &set.get(place).unwrap().address
        };
        for (key, host) in &self.sample {
            assert_eq!(host_of(key), host, "for {key}");
        }
        let mut counts = vec![0; hosts];
        let mut places = Vec::new();
        for number in 0..self.keys {
            let host = host_of(&format!("user-{number}"));
            let mut listed = self.hosts.iter();
            let place = listed
                .position(|(other, _)| other.address == *host)
                .unwrap();
            counts[place] += 1;
            places.extend(u16::try_from(place).unwrap().to_le_bytes());
        }
        let theirs: Vec<usize> = self.hosts.iter().map(|&(_, keys)| keys).collect();
        assert_eq!(counts, theirs);
        assert_eq!(digest(&places), self.checksum);
    }
}

macro_rules! same_host_as_envoy {
    ($($test:ident: $file:literal, $hosts:literal;)*) => {$(
        #[test]
        fn $test() {
            Table::read(include_str!(concat!("golden/", $file, ".txt"))).check($hosts);
        }
    )*};
}

same_host_as_envoy! {
    same_host_as_envoys_maglev_for_every_key_and_8_hosts: "maglev-8", 8;
    same_host_as_envoys_maglev_for_every_key_and_8_weighted_hosts: "maglev-8-weighted", 8;
    same_host_as_envoys_maglev_for_every_key_and_100_hosts: "maglev-100", 100;
    same_host_as_envoys_maglev_for_every_key_and_100_weighted_hosts: "maglev-100-weighted", 100;
    same_host_as_envoys_ring_hash_for_every_key_and_8_hosts: "ring_hash-8", 8;
    same_host_as_envoys_ring_hash_for_every_key_and_8_weighted_hosts: "ring_hash-8-weighted", 8;
    same_host_as_envoys_ring_hash_for_every_key_and_100_hosts: "ring_hash-100", 100;
    same_host_as_envoys_ring_hash_for_every_key_and_100_weighted_hosts: "ring_hash-100-weighted", 100;
}
