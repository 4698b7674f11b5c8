//! From what is written to what works, with all that is wrong on the way.

use filter_core::config::Place;
use filter_core::time::Span;

use super::{Config, Explain, Missing, RawBoundedLoad, RawConfig, RawHost, RawHotKeys, key};
use crate::bounded::Bound;
use crate::hot_keys::HotRule;
use placement::hosts::{Fault, HostSet};

/// More hosts than this have too long a value of requests in flight.
const MOST_COUNTED: usize = 4096;

impl RawConfig {
    /// Makes a configuration, or reports all that is wrong.
    pub fn check(self, place: &Place<'_>) -> Option<Config> {
        let steer = self.steer.check();
        let chooses = steer.chooses();
        let are_clusters = matches!(steer, super::Steer::ClusterHeader { .. });
        if !chooses {
            let given = [
                ("hosts", !self.hosts.is_empty()),
                ("discovery", self.discovery.is_some()),
                ("bounded_load", self.bounded_load.is_some()),
                ("count_requests", self.count_requests),
                ("hot_keys", self.hot_keys.is_some()),
                ("zones", self.zones.is_some()),
                ("explain", self.explain.is_some()),
            ];
            for (field, _) in given.into_iter().filter(|(_, given)| *given) {
                let at = place.field(field);
                at.report("with \"steer: hash_key\" the gateway chooses the host; leave it out");
            }
            if self.health.active.is_some() || self.health.passive.is_some() {
                let at = place.field("health");
                at.report("with \"steer: hash_key\" the gateway chooses the host; leave it out");
            }
            if self.key.is_empty() {
                place.field("key").refuse("a list of at least one source");
            }
        }
        let has_session = self.session_cookie.is_some();
        let keys = key::check(self.key, self.normalize, has_session, &place.field("key"));
        let at = place.field("session_cookie");
        let sessions = self.session_cookie.map(|raw| raw.check(&at));
        if has_session && keys.as_ref().is_some_and(|keys| !keys.read_sessions()) {
            at.report("is given and never read; add \"session_cookie\" to \"key\"");
        }
        let at = place.field("hosts");
        let hosts = if self.hosts.is_empty() {
            if chooses && self.discovery.is_none() {
                at.refuse("a list of at least one host, or \"discovery\"");
            }
            Some(None)
        } else {
            check_hosts(self.hosts, are_clusters, &at).map(Some)
        };
        let at = place.field("discovery");
        if are_clusters && self.discovery.is_some() {
            at.report(
                "finds addresses, and with \"steer: cluster_header\" a host is a \"cluster\"",
            );
        }
        let discovery = self.discovery.map(|raw| raw.check(&at));
        let algorithm = self.algorithm.check(&place.field("algorithm"));
        let at = place.field("bounded_load");
        let bound = self.bounded_load.map(|raw| raw.check(&at));
        let counts_requests = self.count_requests || bound.is_some();
        if self.missing == Missing::LeastRequest && !counts_requests {
            let at = place.field("missing");
            at.report("\"least_request\" needs \"count_requests\" or \"bounded_load\"");
        }
        let counted = hosts
            .as_ref()
            .and_then(|set| set.as_ref().map(HostSet::len));
        if counts_requests && counted.is_some_and(|len| len > MOST_COUNTED) {
            place
                .field("hosts")
                .report("requests in flight are counted for up to 4096 hosts");
        }
        let at = place.field("hot_keys");
        let hot_keys = self.hot_keys.map(|raw| raw.check(&at));
        let health = self.health.check(are_clusters, &place.field("health"));
        let explain = self.explain.map(|raw| Explain {
            header: raw.header.as_str().to_owned(),
            request_header: raw.request_header.map(|name| name.as_str().to_owned()),
        });
        Some(Config {
            keys: keys?,
            missing: self.missing,
            body_limit: usize::try_from(self.body_limit.get()).ok()?,
            sessions: whole(sessions)?,
            hosts: hosts?,
            discovery: whole(discovery)?,
            algorithm: algorithm?,
            bound: whole(bound)?,
            counts_requests,
            hot_keys: whole(hot_keys)?,
            health: health?,
            zones: self.zones.map(super::RawZones::check),
            drain_time: Span::from_duration(self.drain_time.get()),
            no_host: self.no_host,
            explain,
            state: self
                .state
                .map_or_else(|| "default".to_owned(), |name| name.as_str().to_owned()),
            steer,
        })
    }
}

/// What is given must be right.
fn whole<T>(given: Option<Option<T>>) -> Option<Option<T>> {
    match given {
        Some(checked) => Some(Some(checked?)),
        None => Some(None),
    }
}

fn check_hosts(raw: Vec<RawHost>, are_clusters: bool, place: &Place<'_>) -> Option<HostSet> {
    let mut hosts = Vec::with_capacity(raw.len());
    for (index, raw) in raw.into_iter().enumerate() {
        hosts.push(raw.check(are_clusters, &place.index(index)));
    }
    let hosts: Vec<_> = hosts.into_iter().collect::<Option<_>>()?;
    let addresses: Vec<_> = hosts.iter().map(|host| host.address.clone()).collect();
    match HostSet::new(hosts) {
        Ok(set) => Some(set),
        Err(fault) => {
            match &fault {
                Fault::Duplicate { address } => {
                    let second = addresses.iter().rposition(|other| other == address);
                    place.index(second.unwrap_or(0)).report(&fault.to_string());
                }
                _ => place.report(&fault.to_string()),
            }
            None
        }
    }
}

impl RawBoundedLoad {
    fn check(self, place: &Place<'_>) -> Option<Bound> {
        let percent = scaled(self.balance_factor, 100.0);
        let percent = percent.filter(|percent| (101..=1000).contains(percent));
        if percent.is_none() {
            place
                .field("balance_factor")
                .refuse("a number above 1 and up to 10, such as 1.25");
        }
        Bound::new(percent?)
    }
}

impl RawHotKeys {
    fn check(self, place: &Place<'_>) -> Option<HotRule> {
        let share = scaled(self.hot_share, 1000.0);
        let share = share.filter(|share| (10..=1000).contains(share));
        if share.is_none() {
            place
                .field("hot_share")
                .refuse("a number from 0.01 to 1, such as 0.2");
        }
        Some(HotRule {
            share: share?,
            spread: self.spread.get_u32(),
            window: Span::from_duration(self.window.get()),
        })
    }
}

/// A number times another, to the nearest integer.
fn scaled(number: f64, by: f64) -> Option<u32> {
    // Through text: a cast would be silent about what doesn't fit.
    format!("{:.0}", number * by).parse().ok()
}
