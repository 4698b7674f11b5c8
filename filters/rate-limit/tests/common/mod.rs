//! A gateway in memory for tests: one table, virtual time, requests one after the other.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::BTreeMap;

use filter_core::hash::Seed;
use filter_core::headers::Headers;
use filter_core::reply::Reply;
use filter_core::request::Request;
use filter_core::table::Set;
use filter_core::time::{Span, Timestamp};
use rate_limit::config::Config;
use rate_limit::decision::{Count, Decision, Verdict};
use rate_limit::policy::Policy;

pub(crate) const SEED: Seed = Seed::from_bytes(*b"0123456789abcdef");

/// Names and values of a request's headers.
pub(crate) type Pairs<'a> = &'a [(&'a str, &'a str)];

pub(crate) fn config(json: &str) -> Config {
    Config::read(json.as_bytes()).unwrap_or_else(|errors| panic!("{errors}"))
}

pub(crate) fn policy(json: &str) -> Policy {
    Policy::new(config(json), SEED)
}

/// A policy with the table it works on.
pub(crate) struct Gateway {
    pub(crate) policy: Policy,
    pub(crate) table: BTreeMap<u32, Vec<u8>>,
    pub(crate) now: Timestamp,
}

impl Gateway {
    pub(crate) fn new(json: &str) -> Self {
        Self {
            policy: policy(json),
            table: BTreeMap::new(),
            // A clock that has run for a while, as on any machine.
            now: Timestamp::ZERO.after(Span::from_secs(1_000_000)),
        }
    }

    /// Loads another configuration; the table stays, as it does in a gateway.
    pub(crate) fn reload(&mut self, json: &str) {
        self.policy = policy(json);
    }

    pub(crate) fn wait(&mut self, seconds: u64) {
        self.now = self.now.after(Span::from_secs(seconds));
    }

    /// Sends a request with these headers from 192.0.2.1 over the route `main`.
    pub(crate) fn send(&mut self, pairs: Pairs<'_>) -> Decision {
        let block = Headers::encode(pairs.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())));
        self.send_request(&Request {
            headers: Headers::decode(&block),
            source_address: b"192.0.2.1:1234",
            route_name: b"main",
            ..Request::default()
        })
    }

    pub(crate) fn send_request(&mut self, request: &Request<'_>) -> Decision {
        let claim = self.policy.claim(request);
        let geometry = self.policy.geometry();
        let stored = |number| self.table.get(number).cloned();
        let mut sets: Vec<_> = claim
            .sets()
            .iter()
            .map(|number| Set::read(stored(number), geometry))
            .collect();
        let decision = *claim.decide(self.now, &mut sets);
        for (number, set) in claim.sets().iter().zip(sets) {
            if set.is_changed() {
                self.table.insert(*number, set.into_bytes());
            }
        }
        decision
    }

    /// Ends a request with a response of these headers and this body.
    pub(crate) fn end(&mut self, decision: Decision, pairs: Pairs<'_>, body: &str) {
        let config = self.policy.config();
        let scanners = decision.dues.scanners(config).into_iter();
        let found: Vec<_> = scanners
            .filter_map(|(rule, mut scanner)| {
                scanner.read(body.as_bytes());
                Some((rule, scanner.total()?))
            })
            .collect();
        let block = Headers::encode(pairs.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())));
        let bill = decision.dues.bill(config, &Headers::decode(&block), &found);
        for number in bill.sets() {
            let stored = self.table.get(number).cloned();
            let mut set = Set::read(stored, self.policy.geometry());
            bill.settle(*number, &mut set, self.now);
            if set.is_changed() {
                self.table.insert(*number, set.into_bytes());
            }
        }
    }

    /// Sends such requests until one is denied; returns how many were served before.
    pub(crate) fn served(&mut self, pairs: Pairs<'_>) -> usize {
        (0..10_000)
            .take_while(|_| is_allowed(&self.send(pairs)))
            .count()
    }

    /// The names of the counters that a decision adds to, without the part all have.
    pub(crate) fn counts(&self, decision: &Decision) -> Vec<String> {
        let name = |count: &Count| count.name(self.policy.config());
        let names = decision.counts.iter().map(name);
        names
            .map(|name| name.trim_start_matches("rate_limit_").to_owned())
            .collect()
    }
}

pub(crate) fn is_allowed(decision: &Decision) -> bool {
    matches!(decision.verdict, Verdict::Allow(_))
}

pub(crate) fn reply(decision: Decision) -> Reply {
    match decision.verdict {
        Verdict::Deny(reply) => *reply,
        Verdict::Allow(fields) => panic!("allowed with {fields:?}"),
    }
}

/// The headers that a decision gives to the client, allowed or not.
pub(crate) fn fields(decision: Decision) -> Vec<(String, String)> {
    match decision.verdict {
        Verdict::Allow(fields) => {
            let mut all = Vec::new();
            fields.each(|name, value, _| {
                let value = String::from_utf8(value.to_vec()).expect("text");
                all.push((name.to_owned(), value));
            });
            all
        }
        Verdict::Deny(reply) => reply.headers,
    }
}

/// Header values by name, for comparison.
pub(crate) fn field(decision: &Decision, name: &str) -> Option<String> {
    let fields = fields(decision.clone());
    let found = fields.into_iter().find(|(candidate, _)| candidate == name);
    found.map(|(_, value)| value)
}
