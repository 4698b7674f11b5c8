//! Who makes up clients: ten million of them, and forged addresses.

mod common;

use common::policy;
use filter_core::headers::Headers;
use filter_core::request::Request;
use filter_core::table::Set;
use filter_core::time::{Span, Timestamp};
use rate_limit::decision::{Count, Verdict};
use rate_limit::policy::Policy;

/// Keys of an attacker, each for a single request.
const KEYS: u64 = 10_000_000;

/// A table in shared data and its clock, made for speed: a place for each set.
struct Table {
    policy: Policy,
    values: Vec<Option<Vec<u8>>>,
    now: Timestamp,
    pressure: u64,
}

impl Table {
    fn new(json: &str) -> Self {
        let policy = policy(json);
        let sets = usize::try_from(policy.geometry().sets()).unwrap();
        Self {
            policy,
            values: vec![None; sets],
            now: Timestamp::ZERO.after(Span::from_secs(1_000_000)),
            pressure: 0,
        }
    }

    /// Whether a request of this client is served.
    fn serves(&mut self, user: &str) -> bool {
        let block = Headers::encode([(&b"x-user"[..], user.as_bytes())]);
        self.serves_request(&Request {
            headers: Headers::decode(&block),
            ..Request::default()
        })
    }

    fn serves_request(&mut self, request: &Request<'_>) -> bool {
        let claim = self.policy.claim(request);
        let at = usize::try_from(claim.sets()[0]).unwrap();
        let mut sets = [Set::read(self.values[at].take(), self.policy.geometry())];
        let decision = claim.decide(self.now, &mut sets);
        let [set] = sets;
        self.values[at] = Some(set.into_bytes());
        let pressed = decision
            .counts
            .iter()
            .filter(|count| **count == Count::Pressure);
        self.pressure += u64::try_from(pressed.count()).unwrap();
        matches!(decision.verdict, Verdict::Allow(_))
    }

    /// Bytes in shared data, but for what it needs to find them.
    fn bytes(&self) -> usize {
        self.values.iter().flatten().map(Vec::len).sum()
    }
}

fn users(requests: u64, per: &str) -> Table {
    Table::new(&format!(
        r#"{{"headers": "none", "rules": [{{"name": "a", "key": [{{"header": "x-user"}}],
            "limits": [{{"requests": {requests}, "per": "{per}"}}]}}]}}"#
    ))
}

#[test]
fn ten_million_keys_fill_the_table_and_no_more_and_nobody_is_forgiven() {
    let mut table = users(5, "1d");
    let victim = |table: &mut Table| (0..5).filter(|_| table.serves("victim")).count();
    assert_eq!(victim(&mut table), 5);
    let mut served = 0;
    for key in 0..KEYS {
        served += u64::from(table.serves(&key.to_string()));
        // A client in debt stays in debt, however full the table is by then.
        if key % 1_000_000 == 0 {
            assert_eq!(victim(&mut table), 0, "after {key} keys");
        }
    }
    let records = table.policy.geometry().capacity();
    assert_eq!(table.bytes(), usize::try_from(records * 16).unwrap());
    // Nobody is there to be served but by a bucket of the table, each of which holds five.
    assert!(served <= 5 * records, "{served}");
    // All others came to a full set, and each was told.
    assert!(table.pressure >= KEYS - 5 * records, "{}", table.pressure);
    assert_eq!(victim(&mut table), 0);
    // A day later all is as if nothing had been.
    table.now = table.now.after(Span::from_secs(24 * 60 * 60));
    assert_eq!(victim(&mut table), 5);
}

#[test]
fn a_flood_of_new_keys_takes_nothing_from_clients_within_their_limits() {
    // A hundred thousand new keys in each second; each has its record for a tenth of one.
    let mut table = users(10, "1s");
    let clients = ["ana", "ben", "cem"];
    let gap = Span::from_nanos(10_000);
    for key in 0..2_000_000_u64 {
        table.now = table.now.after(gap);
        assert!(table.serves(&key.to_string()), "key {key}");
        // Ten requests a second of each client.
        if key % 10_000 == 0 {
            for client in clients {
                assert!(table.serves(client), "{client} at key {key}");
            }
        }
    }
    assert_eq!(table.pressure, 0);
}

#[test]
fn a_million_forged_addresses_are_one_client() {
    for key in [
        r#""trusted_hops": 1"#,
        r#""trusted_cidrs": ["203.0.113.0/24"]"#,
    ] {
        let mut table = Table::new(&format!(
            r#"{{"headers": "none", "rules": [{{"name": "a", "key": [{{"client_address": {{{key}}}}}],
                "limits": [{{"requests": 20, "per": "1d"}}]}}]}}"#
        ));
        let mut served = 0;
        for forged in 0..500_000_u32 {
            let [_, a, b, c] = forged.to_be_bytes();
            // The gateway's own proxy wrote the last one.
            let list = format!("2001:db8::{forged:x}, 10.{a}.{b}.{c}, 192.0.2.1");
            let block = Headers::encode([(&b"x-forwarded-for"[..], list.as_bytes())]);
            served += u32::from(table.serves_request(&Request {
                headers: Headers::decode(&block),
                source_address: b"203.0.113.7:1234",
                ..Request::default()
            }));
        }
        assert_eq!(served, 20, "{key}");
        assert_eq!(table.pressure, 0, "{key}");
        let used = table.values.iter().flatten().count();
        assert_eq!(used, 1, "{key}: a set for one client");
    }
}
