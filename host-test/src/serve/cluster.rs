//! A worker's view of a cluster: its endpoints and whose turn it is.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use consistent_hash::placement::maglev::Maglev;
use consistent_hash::placement::ring::Ring;
use hyper::client::conn::{http1, http2};
use tokio::sync::Notify;

use super::body::UpstreamBody;
use super::host::{Group, Host};
use super::random::Random;
use super::stats::ClusterStats;
use super::steer::Steer;
use crate::bootstrap::{Balancing, Family};

/// A host with a worker's connections to it.
pub(super) struct Endpoint {
    pub(super) host: Arc<Host>,
    /// Requests on their way from this worker.
    pub(super) active: Cell<u32>,
    /// Connections of HTTP/1.1 of this worker, in use or not.
    pub(super) open: Cell<u32>,
    /// Used last comes first, so that the others may grow old and be closed.
    pub(super) idle: RefCell<Vec<http1::SendRequest<UpstreamBody>>>,
    /// The connection of HTTP/2; locked while it is made.
    pub(super) shared: tokio::sync::Mutex<Option<http2::SendRequest<UpstreamBody>>>,
}

impl Endpoint {
    fn new(host: Arc<Host>) -> Rc<Self> {
        Rc::new(Self {
            host,
            active: Cell::new(0),
            open: Cell::new(0),
            idle: RefCell::default(),
            shared: tokio::sync::Mutex::default(),
        })
    }
}

/// The endpoints of a cluster.
pub(super) struct Endpoints {
    pub(super) group: Arc<Group>,
    pub(super) stats: Arc<ClusterStats>,
    all: RefCell<Vec<Rc<Endpoint>>>,
    /// Those that requests are given to: the healthy ones, or all if too few are.
    usable: RefCell<Vec<Rc<Endpoint>>>,
    table: RefCell<Table>,
    next: Cell<usize>,
    /// Of an `ORIGINAL_DST` cluster: endpoints by address, with the time of their last use.
    named: RefCell<HashMap<SocketAddr, (Rc<Endpoint>, Instant)>>,
    /// A connection was given back or has ended.
    pub(super) freed: Notify,
}

/// What a hashing load balancer looks up in; over the usable endpoints.
enum Table {
    None,
    Maglev(Maglev),
    Ring(Ring),
}

/// How long the endpoints that requests name are kept after their last use: Envoy's default of
/// `cleanup_interval`.
const NAMED: Duration = Duration::from_secs(5);

impl Endpoints {
    pub(super) fn new(group: &Arc<Group>, stats: Arc<ClusterStats>, random: &Random) -> Rc<Self> {
        let endpoints = Rc::new(Self {
            group: Arc::clone(group),
            stats,
            all: RefCell::default(),
            usable: RefCell::default(),
            table: RefCell::new(Table::None),
            // Workers that all began with the first would hit it together.
            next: Cell::new(random.below(1 << 16)),
            named: RefCell::default(),
            freed: Notify::new(),
        });
        endpoints.update();
        endpoints
    }

    /// Takes the hosts and their health as they are now.
    pub(super) fn update(&self) {
        let hosts = self.group.hosts().unwrap_or_default();
        let old = std::mem::take(&mut *self.all.borrow_mut());
        let all: Vec<Rc<Endpoint>> = hosts
            .iter()
            .map(|host| {
                let mut known = old.iter().filter(|known| Arc::ptr_eq(&known.host, host));
                let known = known.next().cloned();
                known.unwrap_or_else(|| Endpoint::new(Arc::clone(host)))
            })
            .collect();
        let healthy: Vec<_> = all
            .iter()
            .filter(|e| e.host.is_healthy())
            .cloned()
            .collect();
        let panic = self.group.is_panic(healthy.len(), all.len());
        let usable = if panic { all.clone() } else { healthy };
        *self.table.borrow_mut() = self.fill(&usable);
        *self.usable.borrow_mut() = usable;
        *self.all.borrow_mut() = all;
    }

    fn fill(&self, usable: &[Rc<Endpoint>]) -> Table {
        let balancing = match &self.group.cluster.balancing {
            Balancing::OverrideHost(policy) => &policy.fallback,
            balancing => balancing,
        };
        let hosts = || -> Vec<(&str, u32)> {
            let names = usable.iter().map(|endpoint| (&*endpoint.host.name, 1));
            names.collect()
        };
        match balancing {
            Balancing::Maglev { table_size } => Table::Maglev(Maglev::new(&hosts(), *table_size)),
            Balancing::RingHash {
                min_size, max_size, ..
            } => Table::Ring(Ring::new(&hosts(), *min_size, *max_size)),
            _ => Table::None,
        }
    }

    /// The number of endpoints.
    pub(super) fn len(&self) -> usize {
        self.all.borrow().len()
    }

    /// The endpoint for the next request; `None` if there is none.
    pub(super) fn pick(&self, random: &Random, steer: &mut Steer) -> Option<Rc<Endpoint>> {
        let mut balancing = &self.group.cluster.balancing;
        if *balancing == Balancing::Provided {
            return Some(self.at(steer.destination?));
        }
        // A retry goes to whom the load balancer says.
        if let Some((name, strict)) = steer.session.take() {
            let all = self.all.borrow();
            let named = all.iter().find(|endpoint| endpoint.host.name == name);
            match named.filter(|endpoint| endpoint.host.is_healthy()) {
                Some(endpoint) => return Some(Rc::clone(endpoint)),
                None if strict => return None,
                None => {}
            }
        }
        if let Balancing::OverrideHost(policy) = balancing {
            // Whether they are healthy isn't looked at, as in Envoy.
            let all = self.all.borrow();
            while !steer.overrides.is_empty() {
                let name = steer.overrides.remove(0);
                if let Some(endpoint) = all.iter().find(|endpoint| endpoint.host.name == name) {
                    return Some(Rc::clone(endpoint));
                }
            }
            balancing = &policy.fallback;
        }
        let hash = steer.hash.unwrap_or_else(|| random.next());
        let mut chosen = None;
        for attempt in 0..=steer.attempts {
            chosen = self.choose(balancing, hash, attempt, random);
            let tried = |endpoint: &Rc<Endpoint>| steer.tried.contains(&endpoint.host.address);
            if !chosen.as_ref().is_some_and(tried) {
                break;
            }
        }
        chosen
    }

    fn choose(
        &self,
        balancing: &Balancing,
        hash: u64,
        attempt: u32,
        random: &Random,
    ) -> Option<Rc<Endpoint>> {
        let usable = self.usable.borrow();
        if usable.is_empty() {
            return None;
        }
        let any = || usable.get(random.below(usable.len()));
        let chosen = match (balancing, &*self.table.borrow()) {
            (_, Table::Maglev(table)) => usable.get(table.choose(hash, attempt)?),
            (_, Table::Ring(ring)) => usable.get(ring.choose(hash, attempt)?),
            (Balancing::LeastRequest { choices }, _) => {
                let drawn = (0..*choices).filter_map(|_| any());
                // The first of equals.
                drawn.min_by_key(|endpoint| endpoint.active.get())
            }
            (Balancing::Random, _) => any(),
            _ => {
                let turn = self.next.get();
                self.next.set(turn.wrapping_add(1));
                usable.get(turn % usable.len())
            }
        };
        chosen.cloned()
    }

    /// The endpoint at an address that a request names.
    fn at(&self, address: SocketAddr) -> Rc<Endpoint> {
        let now = Instant::now();
        let mut named = self.named.borrow_mut();
        if let Some((endpoint, used)) = named.get_mut(&address) {
            *used = now;
            return Rc::clone(endpoint);
        }
        named.retain(|_, (endpoint, used)| {
            endpoint.active.get() > 0 || now.duration_since(*used) < NAMED
        });
        let endpoint = Endpoint::new(Arc::new(Host::new(address, "")));
        named.insert(address, (Rc::clone(&endpoint), now));
        endpoint
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

    use super::*;

    fn endpoints(fields: &str, ports: &[u16]) -> Rc<Endpoints> {
        let endpoint = |port: &u16| {
            format!(
                "{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}}}"
            )
        };
        let list: Vec<String> = ports.iter().map(endpoint).collect();
        let source = format!(
            "{{static_resources: {{clusters: [{{name: c, {fields}, load_assignment: {{cluster_name: c, \
             endpoints: [{{lb_endpoints: [{}]}}]}}}}]}}}}",
            list.join(", ")
        );
        let loaded = crate::bootstrap::parse("t.yaml".as_ref(), &source, false);
        let loaded = loaded.unwrap_or_else(|report| panic!("{report}"));
        let group = Arc::new(Group::new(&loaded.bootstrap.clusters[0]));
        Endpoints::new(&group, Arc::new(ClusterStats::new()), &Random::new(7))
    }

    fn port(endpoints: &Endpoints, steer: &mut Steer) -> Option<u16> {
        let endpoint = endpoints.pick(&Random::new(1), steer)?;
        Some(endpoint.host.address.port())
    }

    const OVERRIDE: &str = r#"load_balancing_policy: {policies: [{typed_extension_config: {name: oh, typed_config: {"@type": type.googleapis.com/envoy.extensions.load_balancing_policies.override_host.v3.OverrideHost, override_host_sources: [{header: x-up}], fallback_policy: {policies: [{typed_extension_config: {name: rr, typed_config: {"@type": type.googleapis.com/envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin}}}]}}}}]}"#;

    #[test]
    fn each_endpoint_has_its_turn() {
        let endpoints = endpoints("lb_policy: ROUND_ROBIN", &[1, 2, 3]);
        let ports: Vec<u16> = (0..6)
            .filter_map(|_| port(&endpoints, &mut Steer::default()))
            .collect();
        assert_eq!(ports[..3], ports[3..]);
        assert_eq!(ports[..3].iter().collect::<HashSet<_>>().len(), 3);
    }

    #[test]
    fn the_less_busy_of_two_is_taken() {
        let endpoints = endpoints("lb_policy: LEAST_REQUEST", &[1, 2]);
        endpoints.all.borrow()[0].active.set(100);
        let random = Random::new(1);
        let busy = (0..1000)
            .filter_map(|_| endpoints.pick(&random, &mut Steer::default()))
            .filter(|endpoint| endpoint.host.address.port() == 1)
            .count();
        // Only if both draws fall on it: one time in four.
        assert!((150..350).contains(&busy), "{busy}");
    }

    #[test]
    fn an_empty_cluster_has_nobody_to_pick() {
        for policy in [
            "LEAST_REQUEST",
            "RANDOM",
            "ROUND_ROBIN",
            "RING_HASH",
            "MAGLEV",
        ] {
            let endpoints = endpoints(&format!("lb_policy: {policy}"), &[]);
            assert_eq!(port(&endpoints, &mut Steer::default()), None, "{policy}");
        }
    }

    #[test]
    fn equal_hashes_meet_the_same_host_and_a_retry_another() {
        for policy in ["RING_HASH", "MAGLEV"] {
            let endpoints = endpoints(&format!("lb_policy: {policy}"), &[1, 2, 3]);
            let hashed = |hash, tried: &[SocketAddr]| {
                let mut steer = Steer {
                    hash: Some(hash),
                    tried: tried.to_vec(),
                    attempts: 20,
                    ..Steer::default()
                };
                endpoints
                    .pick(&Random::new(1), &mut steer)
                    .unwrap()
                    .host
                    .address
            };
            for hash in 0..50 {
                let first = hashed(hash << 58 | hash, &[]);
                assert_eq!(hashed(hash << 58 | hash, &[]), first);
                assert_ne!(hashed(hash << 58 | hash, &[first]), first);
            }
        }
    }

    #[test]
    fn the_first_known_host_of_a_list_is_taken_and_retries_go_on_in_it() {
        let endpoints = endpoints(OVERRIDE, &[1, 2]);
        let mut steer = Steer {
            overrides: ["9.9.9.9:9", "127.0.0.1:2", "127.0.0.1:1"]
                .map(str::to_owned)
                .into(),
            ..Steer::default()
        };
        assert_eq!(port(&endpoints, &mut steer), Some(2));
        assert_eq!(port(&endpoints, &mut steer), Some(1));
        assert!(
            port(&endpoints, &mut steer).is_some(),
            "the fallback policy"
        );
    }

    #[test]
    fn a_session_goes_to_its_host_or_nowhere_if_it_is_strict() {
        let endpoints = endpoints("lb_policy: ROUND_ROBIN", &[1, 2]);
        let session = |name: &str, strict| {
            let mut steer = Steer {
                session: Some((name.to_owned(), strict)),
                ..Steer::default()
            };
            port(&endpoints, &mut steer)
        };
        for _ in 0..4 {
            assert_eq!(session("127.0.0.1:2", false), Some(2));
        }
        assert_eq!(session("127.0.0.1:7", true), None);
        assert!(session("127.0.0.1:7", false).is_some());
    }

    #[test]
    fn an_address_that_stays_keeps_what_is_known_of_it() {
        let endpoints = endpoints("lb_policy: ROUND_ROBIN", &[1, 2]);
        endpoints.all.borrow()[1].active.set(5);
        let at = |port: u16| (SocketAddr::from(([127, 0, 0, 1], port)), String::new());
        endpoints.group.set(vec![at(2), at(3)]);
        endpoints.update();
        let active = |endpoint: &Rc<Endpoint>| endpoint.active.get();
        let active: Vec<u32> = endpoints.all.borrow().iter().map(active).collect();
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
