//! From a request and what a worker knows to a choice.
//!
//! [`Policy::find_key`] says what the head of a request is told by, or that its body has to be read;
//! [`Policy::choose`] which host that means. [`Policy::decide`] puts the choice into the form in which the
//! gateway takes it.

use std::iter;

use filter_core::hash::digest;
use filter_core::request::{Inputs, Request};
use filter_core::time::Timestamp;

use crate::balance;
use crate::bounded;
use crate::config::{Config, Missing, NoHost, Steer};
use crate::cookie::{self, Session, hexed};
use crate::decision::{Choice, Decision, Reason, Verdict, reject_missing, reject_no_host};
use crate::hot_keys::{Heat, HotKeys};
use crate::key::Found;
use crate::places::Places;
use crate::view::{Loads, View};
use crate::zones;
use placement::hosts::Host;

/// A configuration at work.
#[derive(Clone, Debug)]
pub struct Policy {
    config: Config,
    inputs: Inputs,
    properties: Vec<String>,
    lone_header: Option<String>,
}

/// What a request is told by, and what it is to be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its key, if it has one.
    pub key: Option<Vec<u8>>,
    /// The session whose cookie is to be written.
    pub session: Option<cookie::Id>,
    /// Whether the choice is to be explained.
    pub explain: bool,
    /// Whether the header of `steer` came with the request, or may have.
    pub forged: bool,
}

/// What the head of a request says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The key.
    pub found: Found,
    /// A session that is right but old.
    pub renew: Option<cookie::Id>,
    /// Whether the choice is to be explained.
    pub explain: bool,
    /// Whether the header of `steer` came with the request, or may have.
    pub forged: bool,
}

/// What a choice depends on besides the request and the view.
#[derive(Clone, Copy, Debug)]
pub struct Chance<'a> {
    /// Whether the key is hot.
    pub heat: Heat,
    /// Requests in flight, where they are counted.
    pub loads: Option<&'a Loads<'a>>,
    /// Counts up with each request without a key.
    pub turn: u64,
    /// Drawn for each request without a key.
    pub random: u64,
}

impl Policy {
    /// Puts a configuration to work.
    pub fn new(config: Config) -> Self {
        let mut inputs = config.keys.inputs();
        let asks = config.explain.as_ref();
        // A client's own copy of the header is looked for where headers are fetched anyway.
        inputs.headers |= config.keys.read_sessions()
            || asks.is_some_and(|explain| explain.request_header.is_some());
        let is_enough = config.sessions.is_none()
            && asks.is_none_or(|explain| explain.request_header.is_none());
        let lone_header = config.keys.lone_header().filter(|_| is_enough);
        Self {
            properties: config.keys.properties(),
            inputs,
            lone_header: lone_header.map(str::to_owned),
            config,
        }
    }

    /// Returns the configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns what must be known of each request.
    pub fn inputs(&self) -> Inputs {
        self.inputs
    }

    /// Returns the paths of properties that must be known besides, parts parted by NUL.
    pub fn properties(&self) -> &[String] {
        &self.properties
    }

    /// Whether the wall clock is needed to read a request.
    pub fn reads_sessions(&self) -> bool {
        self.config.sessions.is_some()
    }

    /// The header whose value is all that must be known of a request; most are told by one.
    pub fn lone_header(&self) -> Option<&str> {
        self.lone_header.as_deref()
    }

    /// What is known of a request by the value of [`Self::lone_header`].
    pub fn know_by_header(&self, value: Option<Vec<u8>>) -> Known {
        Known {
            key: value.and_then(|value| self.config.keys.normalize(value)),
            session: None,
            explain: self.config.explain.is_some(),
            forged: self.config.steer.header().is_some(),
        }
    }

    /// Reads the head of a request. `seconds` since 1970 matter to sessions alone.
    pub fn find_key(&self, request: &Request<'_>, has_body: bool, seconds: u64) -> Head {
        let session = self.session(request, seconds);
        let id = session.map(|session| session.id);
        let explain = self.config.explain.as_ref().is_some_and(|explain| {
            let asked = explain.request_header.as_deref();
            asked.is_none_or(|name| request.headers.first(name).is_some())
        });
        let header = self.config.steer.header();
        Head {
            found: self.config.keys.find(request, id, has_body),
            renew: session
                .filter(|session| session.is_old)
                .map(|session| session.id),
            explain,
            forged: header
                .is_some_and(|name| !self.inputs.headers || request.headers.first(name).is_some()),
        }
    }

    fn session(&self, request: &Request<'_>, seconds: u64) -> Option<Session> {
        let sessions = self.config.sessions.as_ref()?;
        let value = request.headers.cookie(sessions.name())?;
        sessions.read(value, seconds)
    }

    /// What is known once the key is, or is known to be missing. `fresh` is a random name for a session.
    pub fn know(
        &self,
        head: &Head,
        key: Option<Vec<u8>>,
        fresh: impl FnOnce() -> Option<cookie::Id>,
    ) -> Known {
        let mut known = Known {
            key,
            session: head.renew,
            explain: head.explain,
            forged: head.forged,
        };
        if known.key.is_none() && self.config.sessions.is_some() {
            // A client that has a session has a key.
            let id = fresh();
            known.session = id;
            known.key = id.and_then(|id| self.config.keys.normalize(id.to_vec()));
        }
        known
    }

    /// The hash that places a key: what Envoy's hash policies make of a header with that value.
    pub fn hash(key: &[u8]) -> u64 {
        digest(key)
    }

    /// Notes a request in the sketch of heavy keys.
    pub fn note(hot_keys: Option<&mut HotKeys>, key: Option<&[u8]>, now: Timestamp) -> Heat {
        match (hot_keys, key) {
            (Some(hot_keys), Some(key)) => hot_keys.note(Self::hash(key), now),
            _ => Heat::Cold,
        }
    }

    /// Chooses hosts for a key, or for a request without one.
    pub fn choose(&self, view: &View, key: Option<&[u8]>, chance: Chance<'_>) -> Choice {
        let most = match self.config.steer {
            Steer::OverrideHost { candidates, .. } => candidates,
            _ => 1,
        };
        match key {
            Some(key) => self.by_key(view, Self::hash(key), chance, most),
            None => self.by_turn(view, chance, most),
        }
    }

    fn by_key(&self, view: &View, hash: u64, chance: Chance<'_>, most: usize) -> Choice {
        let bound = self.config.bound.zip(chance.loads);
        let enough = match chance.heat {
            Heat::Cold => most,
            Heat::Hot { .. } => Places::MOST,
        };
        let is_simple = view.is_whole() && view.stays().is_none();
        let (hosts, own) = match is_simple {
            true => {
                let hosts = Places::leading(view.placement(), hash, enough);
                (hosts, hosts.first())
            }
            false => {
                let hosts = order(view, hash).take(enough).collect();
                (hosts, view.placement().first(hash))
            }
        };
        let mut choice = Choice {
            reason: Reason::None,
            hosts,
            hash: Some(hash),
        };
        let mut skipped = 0;
        if let Heat::Hot { skip } = chance.heat
            && let Some(rest) = skip.checked_rem(hosts.len())
            && let Some(place) = hosts.iter().nth(rest)
        {
            skipped = rest;
            choice.hosts.bring_to_front(rest, place);
        }
        let mut passed_over = 0;
        if let Some((bound, loads)) = bound {
            let hosts = choice.hosts;
            // Looked up only if all of these are full: each few cost a look at all hosts.
            let others = || order(view, hash).skip(hosts.len());
            let candidates = hosts.iter().chain(iter::once_with(others).flatten());
            let picked = bounded::pick(candidates, bound, loads.totals(), |place| loads.of(place));
            if let Some(picked) = picked {
                passed_over = picked.passed_over;
                choice.hosts.bring_to_front(passed_over, picked.index);
            }
        }
        choice.hosts.truncate(most);
        choice.reason = match (choice.hosts.first(), own) {
            (None, _) => Reason::None,
            _ if passed_over > 0 => Reason::Overflow,
            _ if skipped > 0 => Reason::Hot,
            (Some(first), Some(own)) if first == own => match view.panics() {
                true => Reason::Panic,
                false => Reason::Key,
            },
            (Some(_), Some(own)) if view.has(own, hash) => Reason::Zone,
            _ => Reason::Failover,
        };
        choice
    }

    fn by_turn(&self, view: &View, chance: Chance<'_>, most: usize) -> Choice {
        let (places, weights) = view.available();
        let (picked, reason) = match self.config.missing {
            Missing::RoundRobin | Missing::Reject => (
                balance::round_robin(chance.turn, weights),
                Reason::RoundRobin,
            ),
            Missing::Random => (balance::random(chance.random, weights), Reason::Random),
            Missing::LeastRequest => {
                let picked = match chance.loads {
                    Some(loads) => balance::least_request(chance.random, weights, |at| {
                        // A position out of range is none of a host.
                        loads.of(places.get(at).copied().unwrap_or(usize::MAX))
                    }),
                    // They are unknown only if shared data is out of order.
                    None => balance::random(chance.random, weights),
                };
                (picked, Reason::LeastRequest)
            }
        };
        let first = picked.and_then(|at| places.get(at)).copied();
        let others = || {
            let others = view.placement().candidates(chance.random);
            others.filter(|place| Some(*place) != first && view.is_in(*place))
        };
        let hosts: Places = match first {
            Some(first) if most > 1 => iter::once(first).chain(others()).take(most).collect(),
            first => first.into_iter().collect(),
        };
        Choice {
            reason: match hosts.is_empty() {
                true => Reason::None,
                false => reason,
            },
            hosts,
            hash: None,
        }
    }

    /// Whether a request that is told by nothing is refused.
    pub fn refuses(&self, known: &Known) -> bool {
        known.key.is_none() && self.config.missing == Missing::Reject
    }

    /// What becomes of a request without the key that it needs.
    pub fn refuse_missing(&self) -> Decision<'_> {
        Decision {
            log: Some("reason=missing_key".to_owned()),
            ..decision(Verdict::Refuse(Box::new(reject_missing())))
        }
    }

    /// What becomes of a request whose host the gateway chooses by the key.
    pub fn hand_over(&self, known: &Known, seconds: u64) -> Decision<'_> {
        let unsteered = Verdict::Unsteered {
            name: self.unforged(known),
        };
        let verdict = match (&known.key, self.config.steer.header()) {
            (Some(key), Some(name)) => Verdict::Header {
                name,
                value: in_header(key),
            },
            (Some(key), None) => Verdict::FilterState(in_header(key)),
            (None, _) => unsteered,
        };
        Decision {
            cookie: self.cookie(known, seconds),
            ..decision(verdict)
        }
    }

    /// What a choice means for the request.
    pub fn decide(
        &self,
        view: Option<&View>,
        choice: &Choice,
        known: &Known,
        seconds: u64,
    ) -> Decision<'_> {
        let places = choice.hosts.iter();
        let mut hosts = places.filter_map(|place| view?.hosts().get(place));
        let first = hosts.next();
        let verdict = match (first, self.config.no_host) {
            (Some(first), _) => Verdict::Header {
                name: self.config.steer.header().unwrap_or_default(),
                value: match self.config.steer {
                    Steer::OverrideHost { .. } => listed(first, hosts),
                    Steer::StatefulSession { .. } => base64(first.address.as_bytes()).into_bytes(),
                    Steer::ClusterHeader { .. } | Steer::HashKey { .. } => {
                        first.address.as_bytes().to_vec()
                    }
                },
            },
            (None, NoHost::Pass) => Verdict::Unsteered {
                name: self.unforged(known),
            },
            (None, NoHost::Reject) => Verdict::Refuse(Box::new(reject_no_host())),
        };
        let facts = |separator: &str| {
            let mut facts = vec![
                format!("host={}", first.map_or("none", |host| &*host.address)),
                format!("reason={}", choice.reason.word()),
            ];
            facts.extend(
                choice
                    .hash
                    .map(|hash| format!("key={}", hexed(&hash.to_be_bytes()))),
            );
            let metadata = first.into_iter().flat_map(|host| &host.metadata);
            facts.extend(metadata.map(|(name, value)| format!("{name}={value}")));
            facts.join(separator)
        };
        let explain = self.config.explain.as_ref().filter(|_| known.explain);
        Decision {
            hosts: self.config.health.is_passive.then(|| {
                let places = choice.hosts.iter();
                places.filter_map(|place| view?.id(place)).collect()
            }),
            count: Some((choice.hosts.first(), choice.reason)),
            log: (choice.reason != Reason::Key).then(|| facts(" ")),
            explanation: explain.map(|_| facts("; ")),
            cookie: self.cookie(known, seconds),
            verdict,
        }
    }

    fn cookie(&self, known: &Known, seconds: u64) -> Option<String> {
        let sessions = self.config.sessions.as_ref()?;
        known.session.map(|id| sessions.write(id, seconds))
    }

    /// The header to be removed because a client may have written it.
    fn unforged(&self, known: &Known) -> Option<&str> {
        self.config.steer.header().filter(|_| known.forged)
    }
}

/// A key's candidates at the moment, in order, looked up as they are asked for.
fn order(view: &View, hash: u64) -> Box<dyn Iterator<Item = usize> + '_> {
    let all = view.placement().candidates(hash);
    let has_key = move |place: &usize| view.has(*place, hash);
    match view.stays() {
        Some(share) => {
            let all: Vec<_> = all.collect();
            let stays = zones::stays(share, hash);
            let all = zones::by_zone(all.into_iter(), stays, |place| view.is_own(place));
            Box::new(all.filter(has_key))
        }
        None => Box::new(all.filter(has_key)),
    }
}

fn decision(verdict: Verdict<'_>) -> Decision<'_> {
    Decision {
        verdict,
        count: None,
        hosts: None,
        log: None,
        explanation: None,
        cookie: None,
    }
}

/// Addresses in the form of the policy `override_host`.
fn listed<'a>(first: &Host, others: impl Iterator<Item = &'a Host>) -> Vec<u8> {
    // Room for three of IPv4, which is the default.
    let mut list = Vec::with_capacity(72);
    list.extend_from_slice(first.address.as_bytes());
    for host in others {
        list.push(b',');
        list.extend_from_slice(host.address.as_bytes());
    }
    list
}

/// A key as a header's value: as it is if it is short plain text, so that the gateway hashes what it would
/// hash without the filter, and as its hash otherwise.
fn in_header(key: &[u8]) -> Vec<u8> {
    const LONGEST: usize = 256;
    let is_plain = key.len() <= LONGEST
        && key.iter().all(|byte| matches!(byte, 0x20..=0x7e))
        && key.trim_ascii().len() == key.len();
    match is_plain {
        true => key.to_vec(),
        false => hexed(&Policy::hash(key).to_be_bytes()).into_bytes(),
    }
}

/// Base64 with padding (RFC 4648 section 4), as Envoy's session state has it.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4_usize {
            let shift = 18_usize.saturating_sub(at.saturating_mul(6));
            let digit = usize::try_from((bits >> shift) & 63).unwrap_or(0);
            let digit = ALPHABET.get(digit).copied().unwrap_or(b'=');
            text.push(match at <= three.len() {
                true => char::from(digit),
                false => '=',
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        let rows = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("127.0.0.1:21051", "MTI3LjAuMC4xOjIxMDUx"),
        ];
        for (text, expected) in rows {
            assert_eq!(base64(text.as_bytes()), expected);
        }
    }

    #[test]
    fn a_key_that_is_no_plain_text_is_written_as_its_hash() {
        assert_eq!(in_header(b"user 7"), b"user 7");
        assert_eq!(in_header(b"a\r\nx-admin: 1").len(), 16);
        assert_eq!(in_header(&[0xff]).len(), 16);
        assert_eq!(in_header(b" a").len(), 16);
        assert_eq!(in_header(&[b'a'; 257]).len(), 16);
    }
}
