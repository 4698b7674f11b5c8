//! A cluster of Envoy, and the placement that must equal its choices.

use std::net::{Ipv4Addr, SocketAddr};

use consistent_hash::placement::hosts::{Host, HostSet};
use consistent_hash::placement::{Algorithm, Placement};
use consistent_hash::placement::{maglev, ring};
use serde_json::{Value, json};

use crate::{Ports, socket};

/// What Envoy hashes of a host.
#[derive(Clone, Copy)]
pub(crate) enum Names {
    /// `hash_key` of its metadata, so that the outcome doesn't depend on the ports of a machine.
    HashKey,
    /// Its hostname.
    Hostname,
    /// Its address and port.
    Address,
}

/// How a cluster's hosts are chosen.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) algorithm: Algorithm,
    /// Of each host by its number.
    pub(crate) weights: Vec<u32>,
    pub(crate) names: Names,
    /// Whether all hosts answer 503.
    pub(crate) fails: bool,
}

/// A placement that speaks of hosts by their numbers.
pub(crate) struct Ranking {
    set: HostSet,
    placement: Placement,
}

impl Ranking {
    pub(crate) fn candidates(&self, key: &str, count: usize) -> Vec<usize> {
        let hash = filter_core::hash::digest(key.as_bytes());
        let places = self.placement.candidates(hash).take(count);
        places
            .map(|place| number(&self.set.get(place).expect("a host").address))
            .collect()
    }
}

impl Case {
    pub(crate) fn failing(self) -> Self {
        Self {
            fails: true,
            ..self
        }
    }

    /// The numbers of the hosts in the order in which they are listed: not that of their names.
    pub(crate) fn listed(&self) -> impl Iterator<Item = usize> {
        let count = self.weights.len();
        // 37 is coprime to the counts used here.
        (0..count).map(move |place| (place * 37 + 5) % count)
    }

    pub(crate) fn key_of(&self, host: usize) -> String {
        match self.names {
            Names::HashKey => format!("10.1.0.{host}:8080"),
            Names::Hostname => format!("cache-{host}.example"),
            Names::Address => unreachable!("has no name"),
        }
    }

    pub(crate) fn ranking(&self, ports: &Ports) -> Ranking {
        let hosts = self.listed().map(|host| Host {
            hash_key: match self.names {
                Names::Address => None,
                Names::HashKey | Names::Hostname => Some(self.key_of(host)),
            },
            weight: self.weights[host],
            ..Host::new(address(host, self.port(ports)).to_string())
        });
        let set = HostSet::new(hosts.collect()).expect("hosts");
        Ranking {
            placement: Placement::build(&set, self.algorithm),
            set,
        }
    }

    pub(crate) fn cluster(&self, ports: &Ports) -> Value {
        let endpoints: Vec<Value> = self
            .listed()
            .map(|host| self.endpoint(host, ports))
            .collect();
        let mut cluster = json!({
            "name": self.name,
            "type": "STATIC",
            "connect_timeout": "5s",
            "load_assignment": {
                "cluster_name": self.name,
                "endpoints": [{"lb_endpoints": endpoints}],
            },
        });
        if matches!(self.names, Names::Hostname) {
            // Envoy takes hostnames for hosts of DNS alone. An address needs no resolver.
            cluster["type"] = json!("STRICT_DNS");
            cluster["common_lb_config"] =
                json!({"consistent_hashing_lb_config": {"use_hostname_for_hashing": true}});
        }
        match self.algorithm {
            Algorithm::Maglev { table_size } => {
                cluster["lb_policy"] = json!("MAGLEV");
                cluster["maglev_lb_config"] = json!({"table_size": table_size});
            }
            Algorithm::Ring { minimum, maximum } => {
                cluster["lb_policy"] = json!("RING_HASH");
                cluster["ring_hash_lb_config"] =
                    json!({"minimum_ring_size": minimum, "maximum_ring_size": maximum});
            }
            Algorithm::Auto | Algorithm::Rendezvous => unreachable!("Envoy has no such policy"),
        }
        cluster
    }

    fn endpoint(&self, host: usize, ports: &Ports) -> Value {
        let mut endpoint = json!({"address": socket(address(host, self.port(ports)))});
        if matches!(self.names, Names::Hostname) {
            endpoint["hostname"] = json!(self.key_of(host));
        }
        let mut endpoint = json!({
            "endpoint": endpoint,
            "load_balancing_weight": self.weights[host],
        });
        if matches!(self.names, Names::HashKey) {
            let key = json!({"hash_key": self.key_of(host)});
            endpoint["metadata"] = json!({"filter_metadata": {"envoy.lb": key}});
        }
        endpoint
    }

    fn port(&self, ports: &Ports) -> u16 {
        if self.fails {
            ports.failing
        } else {
            ports.well
        }
    }
}

/// Where the host of that number is reached: it has an address of the loopback for itself.
pub(crate) fn address(host: usize, port: u16) -> SocketAddr {
    let last = u8::try_from(host + 1).expect("few hosts");
    SocketAddr::from((Ipv4Addr::new(127, 1, 0, last), port))
}

/// The number of the host that is reached there.
pub(crate) fn number(address: &str) -> usize {
    let address: SocketAddr = address.parse().expect("an address");
    let SocketAddr::V4(address) = address else {
        panic!("{address} is none of the hosts'");
    };
    usize::from(address.ip().octets()[3]) - 1
}

/// A few sizes, names and weights that the golden tables don't have.
pub(crate) fn unusual() -> Vec<Case> {
    let ring = |minimum, maximum| Algorithm::Ring { minimum, maximum };
    let maglev = |size| Algorithm::Maglev {
        table_size: Some(size),
    };
    let equal = |count| vec![1; count];
    // The largest is 10,000 times the smallest.
    let steep: Vec<u32> = (0..17_u32).map(|host| 1 + host.pow(2) * 39).collect();
    [
        (ring(64, 100), equal(8), Names::HashKey),
        (ring(7, 20), equal(17), Names::HashKey),
        (ring(5_000, ring::LARGEST), steep.clone(), Names::HashKey),
        (ring(1_024, 1_500), steep.clone(), Names::Hostname),
        (ring(1_024, ring::LARGEST), equal(11), Names::Address),
        (maglev(1_021), steep.clone(), Names::HashKey),
        (maglev(53), equal(60), Names::HashKey),
        (maglev(655_373), steep, Names::Hostname),
        (
            maglev(maglev::DEFAULT_TABLE_SIZE),
            equal(11),
            Names::Address,
        ),
    ]
    .into_iter()
    .enumerate()
    .map(|(number, (algorithm, weights, names))| Case {
        name: format!("unusual-{number}"),
        algorithm,
        weights,
        names,
        fails: false,
    })
    .collect()
}
