//! A worker's view of a cluster: its endpoints and whose turn it is.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use hyper::client::conn::http1::SendRequest;

use super::body::UpstreamBody;
use super::random::Random;
use crate::bootstrap::{Balancing, Cluster, Discovery, Family};

/// An address with the connections to it that wait for a request.
pub(super) struct Endpoint {
    pub(super) address: SocketAddr,
    /// Requests on their way.
    pub(super) active: Cell<u32>,
    /// Used last comes first, so that the others may grow old and be closed.
    pub(super) idle: RefCell<Vec<SendRequest<UpstreamBody>>>,
}

/// The endpoints of a cluster.
pub(super) struct Endpoints {
    balancing: Balancing,
    discovery: Discovery,
    all: RefCell<Vec<Rc<Endpoint>>>,
    next: Cell<usize>,
}

impl Endpoints {
    pub(super) fn new(cluster: &Cluster, random: &Random) -> Self {
        let endpoints = Self {
            balancing: cluster.balancing,
            discovery: cluster.discovery,
            all: RefCell::default(),
            // Workers that all began with the first would hit it together.
            next: Cell::new(random.below(1 << 16)),
        };
        if cluster.discovery == Discovery::Static {
            let parse = |(host, port): &(String, u16)| {
                let ip: IpAddr = host.parse().ok()?;
                Some(SocketAddr::new(ip, *port))
            };
            endpoints.set(cluster.endpoints.iter().filter_map(parse).collect());
        }
        endpoints
    }

    /// Takes new addresses; what is known of those that stay is kept.
    pub(super) fn set(&self, mut addresses: Vec<SocketAddr>) {
        if self.discovery == Discovery::LogicalDns {
            addresses.truncate(1);
        }
        let mut all = self.all.borrow_mut();
        let old = std::mem::take(&mut *all);
        *all = addresses
            .into_iter()
            .map(|address| {
                let known = old.iter().find(|endpoint| endpoint.address == address);
                known.cloned().unwrap_or_else(|| {
                    Rc::new(Endpoint {
                        address,
                        active: Cell::new(0),
                        idle: RefCell::default(),
                    })
                })
            })
            .collect();
    }

    /// The number of endpoints.
    pub(super) fn len(&self) -> usize {
        self.all.borrow().len()
    }

    /// The endpoint for the next request; `None` if there is none.
    pub(super) fn pick(&self, random: &Random) -> Option<Rc<Endpoint>> {
        let all = self.all.borrow();
        let any = || all.get(random.below(all.len()));
        let chosen = match self.balancing {
            _ if all.is_empty() => None,
            Balancing::Random => any(),
            Balancing::RoundRobin => {
                let turn = self.next.get();
                self.next.set(turn.wrapping_add(1));
                all.get(turn % all.len())
            }
            Balancing::LeastRequest => match (any(), any()) {
                (Some(one), Some(other)) if other.active < one.active => Some(other),
                (one, _) => one,
            },
        };
        chosen.cloned()
    }
}

/// The addresses of names, in their order, as the cluster's family asks.
pub(super) fn choose_family(family: Family, found: &[SocketAddr]) -> Vec<SocketAddr> {
    let only = |v4: bool| -> Vec<SocketAddr> {
        let of = |address: &&SocketAddr| address.is_ipv4() == v4;
        found.iter().filter(of).copied().collect()
    };
    let first_of = |v4: bool| {
        let preferred = only(v4);
        if preferred.is_empty() {
            only(!v4)
        } else {
            preferred
        }
    };
    match family {
        Family::All => found.to_vec(),
        Family::Auto => first_of(false),
        Family::V4 => only(true),
        Family::V4Preferred => first_of(true),
        Family::V6 => only(false),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use super::*;
    use crate::bootstrap::Place;

    fn endpoints(balancing: Balancing, ports: &[u16]) -> Endpoints {
        let cluster = Cluster {
            name: "c".into(),
            discovery: Discovery::Static,
            balancing,
            endpoints: ports
                .iter()
                .map(|port| ("127.0.0.1".into(), *port))
                .collect(),
            connect_timeout: Duration::ZERO,
            refresh: Duration::ZERO,
            family: Family::Auto,
            at: Place::default(),
        };
        Endpoints::new(&cluster, &Random::new(7))
    }

    #[test]
    fn each_endpoint_has_its_turn() {
        let endpoints = endpoints(Balancing::RoundRobin, &[1, 2, 3]);
        let random = Random::new(1);
        let ports: Vec<u16> = (0..6)
            .map(|_| endpoints.pick(&random).unwrap().address.port())
            .collect();
        assert_eq!(ports[..3], ports[3..]);
        assert_eq!(ports[..3].iter().collect::<HashSet<_>>().len(), 3);
    }

    #[test]
    fn the_less_busy_of_two_is_taken() {
        let endpoints = endpoints(Balancing::LeastRequest, &[1, 2]);
        endpoints.all.borrow()[0].active.set(100);
        let random = Random::new(1);
        let busy = (0..1000)
            .filter(|_| endpoints.pick(&random).unwrap().address.port() == 1)
            .count();
        // Only if both draws fall on it: one time in four.
        assert!((150..350).contains(&busy), "{busy}");
    }

    #[test]
    fn an_empty_cluster_has_nobody_to_pick() {
        for balancing in [
            Balancing::LeastRequest,
            Balancing::Random,
            Balancing::RoundRobin,
        ] {
            assert!(endpoints(balancing, &[]).pick(&Random::new(1)).is_none());
        }
    }

    #[test]
    fn an_address_that_stays_keeps_what_is_known_of_it() {
        let endpoints = endpoints(Balancing::RoundRobin, &[1, 2]);
        endpoints.all.borrow()[1].active.set(5);
        endpoints.set(vec![
            "127.0.0.1:2".parse().unwrap(),
            "127.0.0.1:3".parse().unwrap(),
        ]);
        let active: Vec<u32> = endpoints
            .all
            .borrow()
            .iter()
            .map(|e| e.active.get())
            .collect();
        assert_eq!(active, [5, 0]);
    }

    #[test]
    fn families_choose_among_the_addresses_of_a_name() {
        let v4: SocketAddr = "1.2.3.4:80".parse().unwrap();
        let v6: SocketAddr = "[::1]:80".parse().unwrap();
        assert_eq!(choose_family(Family::Auto, &[v4, v6]), [v6]);
        assert_eq!(choose_family(Family::Auto, &[v4]), [v4]);
        assert_eq!(choose_family(Family::V4Preferred, &[v6, v4]), [v4]);
        assert_eq!(choose_family(Family::V6, &[v4]), []);
        assert_eq!(choose_family(Family::All, &[v4, v6]), [v4, v6]);
    }
}
