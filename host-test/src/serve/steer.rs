//! What of a request decides to which host it goes.

use std::net::SocketAddr;

use xxhash_rust::xxh64::xxh64;

use super::native::Metadata;
use super::random::Random;
use crate::bootstrap::{Balancing, Cluster, HashPolicy, HashSource, OverrideSource};
use crate::headers::Headers;

/// What a request says about its host.
#[derive(Debug, Default)]
pub(super) struct Steer {
    /// For hashing load balancers.
    pub(super) hash: Option<u64>,
    /// The host that a stateful session names, and whether no other will do.
    pub(super) session: Option<(String, bool)>,
    /// Addresses for `override_host`, in order; each is taken once.
    pub(super) overrides: Vec<String>,
    /// Where an `ORIGINAL_DST` cluster sends it.
    pub(super) destination: Option<SocketAddr>,
    /// Hosts that were tried and are to be left out.
    pub(super) tried: Vec<SocketAddr>,
    /// How often another host is asked for instead of one that was tried.
    pub(super) attempts: u32,
}

impl Steer {
    /// Notes what the cluster's load balancer takes from headers and metadata; `state` gives an
    /// object of filter state.
    pub(super) fn read(
        &mut self,
        cluster: &Cluster,
        headers: &Headers,
        metadata: &Metadata,
        state: impl Fn(&str) -> Option<Vec<u8>>,
    ) {
        match &cluster.balancing {
            Balancing::OverrideHost(policy) => {
                let list = policy.sources.iter().find_map(|source| match source {
                    OverrideSource::Header(name) => headers.text(name).map(Into::into),
                    OverrideSource::Metadata(key) => metadata.get(key).map(str::to_owned),
                });
                let list: Option<String> = list;
                self.overrides = list.map(|list| addresses(&list)).unwrap_or_default();
            }
            Balancing::Provided => {
                let of_state = state("envoy.network.transport_socket.original_dst_address");
                let of_state = of_state.and_then(|value| String::from_utf8(value).ok());
                let header = cluster.destination_header.as_deref();
                let of_header = || Some(headers.text(header?)?.into_owned());
                let address = of_state.or_else(of_header);
                self.destination = address.and_then(|address| address.trim().parse().ok());
            }
            _ => {}
        }
    }

    /// What the headers of a callout say.
    pub(super) fn of_callout(cluster: &Cluster, headers: &Headers) -> Self {
        let mut steer = Self::default();
        steer.read(cluster, headers, &Metadata::default(), |_| None);
        steer
    }
}

/// What hash policies look at besides headers.
pub(super) struct Hashed<'h> {
    pub(super) request: &'h Headers,
    pub(super) client: SocketAddr,
}

/// A cookie that the client is to keep.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NewCookie {
    pub(super) set_cookie: String,
}

/// The hash of a request; `state` gives an object of filter state. A cookie that had to be made is
/// told as well.
pub(super) fn hash(
    policies: &[HashPolicy],
    from: &Hashed<'_>,
    state: impl Fn(&str) -> Option<Vec<u8>>,
    random: &Random,
) -> (Option<u64>, Option<NewCookie>) {
    let mut hash: Option<u64> = None;
    let mut made = None;
    for policy in policies {
        let new = match &policy.source {
            HashSource::ConnectionIp => Some(xxh64(from.client.ip().to_string().as_bytes(), 0)),
            HashSource::Header(name) => header(from.request, name),
            HashSource::Query(name) => {
                query(from.request, name).map(|value| xxh64(value.as_bytes(), 0))
            }
            HashSource::FilterState(key) => state(key).map(|value| xxh64(&value, 0)),
            HashSource::Cookie { name, ttl, path } => match (cookie(from.request, name), ttl) {
                (Some(value), _) => Some(xxh64(value.as_bytes(), 0)),
                (None, None) => None,
                (None, Some(ttl)) => {
                    let value = format!("{:016x}", random.next());
                    let mut set_cookie = format!("{name}=\"{value}\"");
                    if !ttl.is_zero() {
                        set_cookie += &format!("; Max-Age={}", ttl.as_secs());
                    }
                    if !path.is_empty() {
                        set_cookie += &format!("; Path={path}");
                    }
                    set_cookie += "; HttpOnly";
                    made = Some(NewCookie { set_cookie });
                    Some(xxh64(value.as_bytes(), 0))
                }
            },
        };
        if let Some(new) = new {
            hash = Some(hash.map_or(new, |old| old.rotate_left(1) ^ new));
        }
        if policy.terminal && hash.is_some() {
            break;
        }
    }
    (hash, made)
}

/// Several values are hashed one after the other, in their order as sorted text.
fn header(request: &Headers, name: &str) -> Option<u64> {
    let mut values: Vec<&[u8]> = request.all(name).collect();
    values.sort_unstable();
    let mut values = values.into_iter();
    let first = xxh64(values.next()?, 0);
    Some(values.fold(first, |hash, value| xxh64(value, hash)))
}

fn query(request: &Headers, name: &str) -> Option<String> {
    let path = request.text(":path")?;
    let (_, query) = path.split_once('?')?;
    let query = query.split('#').next()?;
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then(|| value.to_owned())
    })
}

fn cookie(request: &Headers, name: &str) -> Option<String> {
    request.all("cookie").find_map(|value| {
        let text = String::from_utf8_lossy(value);
        text.split(';').find_map(|pair| {
            let (key, value) = pair.trim().split_once('=')?;
            let value = value.strip_prefix('"').unwrap_or(value);
            let value = value.strip_suffix('"').unwrap_or(value);
            (key == name).then(|| value.to_owned())
        })
    })
}

/// The addresses of a list for `override_host`.
fn addresses(list: &str) -> Vec<String> {
    let parts = list.split(',').map(str::trim);
    parts
        .filter(|part| part.parse::<SocketAddr>().is_ok())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn hashed(sources: &[(HashSource, bool)], request: &[(&str, &str)]) -> Option<u64> {
        let policies: Vec<HashPolicy> = sources
            .iter()
            .map(|(source, terminal)| HashPolicy {
                source: source.clone(),
                terminal: *terminal,
            })
            .collect();
        let request: Headers = request.iter().copied().collect();
        let from = Hashed {
            request: &request,
            client: "9.9.9.9:5".parse().unwrap(),
        };
        hash(&policies, &from, |_| None, &Random::new(1)).0
    }

    fn named(name: &str) -> HashSource {
        HashSource::Header(name.into())
    }

    #[test]
    fn hashes_of_several_policies_are_combined_unless_one_ends_them() {
        let request = [("x-a", "1"), ("x-b", "2"), (":path", "/p?q=1")];
        let (one, two) = (xxh64(b"1", 0), xxh64(b"2", 0));
        let both = [(named("x-a"), false), (named("x-b"), false)];
        assert_eq!(hashed(&both, &request), Some(one.rotate_left(1) ^ two));
        let first = [(named("x-a"), true), (named("x-b"), false)];
        assert_eq!(hashed(&first, &request), Some(one));
        let absent = [(named("x-z"), true), (HashSource::Query("q".into()), false)];
        assert_eq!(hashed(&absent, &request), Some(one));
        assert_eq!(hashed(&[(named("x-z"), false)], &request), None);
    }

    #[test]
    fn a_cookie_is_found_or_made() {
        let source = HashSource::Cookie {
            name: "s".into(),
            ttl: Some(Duration::from_secs(9)),
            path: "/p".into(),
        };
        let found = hashed(&[(source.clone(), false)], &[("cookie", "a=b; s=\"1\"")]);
        assert_eq!(found, Some(xxh64(b"1", 0)));
        let policy = HashPolicy {
            source,
            terminal: false,
        };
        let from = Hashed {
            request: &Headers::new(),
            client: "9.9.9.9:5".parse().unwrap(),
        };
        let (hash, made) = hash(&[policy], &from, |_| None, &Random::new(1));
        let made = made.unwrap().set_cookie;
        let value = made
            .strip_prefix("s=\"")
            .unwrap()
            .split('"')
            .next()
            .unwrap();
        assert_eq!(hash, Some(xxh64(value.as_bytes(), 0)));
        assert!(made.ends_with("\"; Max-Age=9; Path=/p; HttpOnly"), "{made}");
    }

    #[test]
    fn what_is_no_address_is_left_out_of_a_list() {
        assert_eq!(addresses("1.2.3.4:5, x,[::1]:6"), ["1.2.3.4:5", "[::1]:6"]);
    }
}
