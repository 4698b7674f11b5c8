//! Request by request: what a policy decides on what a worker knows.

use consistent_hash::config::Config;
use consistent_hash::decision::{Choice, Decision, Reason, Verdict};
use consistent_hash::health::{Board, Event};
use consistent_hash::hot_keys::Heat;
use consistent_hash::in_flight::Own;
use consistent_hash::key::Found;
use consistent_hash::placement::Placement;
use consistent_hash::placement::hosts::HostId;
use consistent_hash::places::Places;
use consistent_hash::policy::{Chance, Known, Policy};
use consistent_hash::view::View;
use filter_core::headers::Headers;
use filter_core::request::Request;
use filter_core::time::{Span, Timestamp};

/// A worker with a configuration of eight hosts in two zones, and what else is said.
struct Bench {
    policy: Policy,
    view: View,
    board: Board,
    now: Timestamp,
}

const COLD: Chance<'static> = Chance {
    heat: Heat::Cold,
    loads: None,
    turn: 0,
    random: 7,
};

impl Bench {
    fn new(rest: &str) -> Self {
        let hosts: Vec<_> = (1..=8)
            .map(|number| {
                let zone = if number % 2 == 0 { "a" } else { "b" };
                format!(r#"{{"address": "10.0.0.{number}:80", "zone": "{zone}"}}"#)
            })
            .collect();
        Self::with_hosts(&hosts.join(","), rest)
    }

    fn with_hosts(hosts: &str, rest: &str) -> Self {
        let json = format!(r#"{{"key": [{{"header": "x-user"}}], "hosts": [{hosts}]{rest}}}"#);
        let config =
            Config::read(json.as_bytes()).unwrap_or_else(|errors| panic!("{}", errors.one_line()));
        let hosts = config.hosts.clone().expect("given");
        let placement = Placement::build(&hosts, config.algorithm);
        let own = config.zones.as_ref().and_then(|zones| zones.own.clone());
        let mut bench = Self {
            view: View::new(hosts, placement, own.as_deref(), None),
            policy: Policy::new(config),
            board: Board::default(),
            now: Timestamp::ZERO.after(Span::from_secs(1000)),
        };
        bench.refresh();
        bench
    }

    fn refresh(&mut self) {
        self.view
            .refresh(self.policy.config(), &self.board, self.now);
    }

    fn fail(&mut self, address: &str, event: Event, times: usize) {
        let rules = self.policy.config().health.rules;
        for _ in 0..times {
            self.board
                .apply(HostId::of(address), event, self.now, &rules, 8);
        }
        self.refresh();
    }

    fn choose(&self, key: &str) -> Choice {
        self.policy.choose(&self.view, Some(key.as_bytes()), COLD)
    }

    fn names(&self, choice: &Choice) -> Vec<String> {
        let hosts = choice
            .hosts
            .iter()
            .map(|place| self.view.hosts().get(place));
        hosts
            .map(|host| host.expect("a host").address.clone())
            .collect()
    }

    fn first(&self, key: &str) -> String {
        self.names(&self.choose(key)).swap_remove(0)
    }
}

fn keys() -> impl Iterator<Item = String> {
    (0..400).map(|number| format!("key {number}"))
}

#[test]
fn a_host_that_is_out_loses_its_keys_to_their_next_hosts_and_no_other_key_moves() {
    let mut bench = Bench::new(r#", "health": {"active": {"cluster": "c", "path": "/"}}"#);
    let before: Vec<_> = keys().map(|key| bench.names(&bench.choose(&key))).collect();
    bench.fail("10.0.0.3:80", Event::CheckFailed, 3);
    for (key, before) in keys().zip(before) {
        let choice = bench.choose(&key);
        let now = bench.names(&choice);
        if before[0] == "10.0.0.3:80" {
            assert_eq!(
                (now[0].clone(), choice.reason),
                (before[1].clone(), Reason::Failover),
                "{key}"
            );
        } else {
            assert_eq!(
                (now[0].clone(), choice.reason),
                (before[0].clone(), Reason::Key),
                "{key}"
            );
        }
        assert!(!now.contains(&"10.0.0.3:80".to_owned()));
    }
}

#[test]
fn keys_come_back_one_after_another_and_stay() {
    let mut bench = Bench::new(
        r#", "health": {"active": {"cluster": "c", "path": "/"}, "slow_start": "100s"}"#,
    );
    let own: Vec<_> = keys()
        .filter(|key| bench.first(key) == "10.0.0.3:80")
        .collect();
    bench.fail("10.0.0.3:80", Event::CheckFailed, 3);
    bench.fail("10.0.0.3:80", Event::CheckPassed, 2);
    let mut had: Vec<String> = Vec::new();
    let mut sizes = Vec::new();
    for _ in 0..11 {
        let has: Vec<_> = keys()
            .filter(|key| bench.first(key) == "10.0.0.3:80")
            .collect();
        assert!(
            had.iter().all(|key| has.contains(key)),
            "a key that came stays"
        );
        sizes.push(has.len());
        had = has;
        bench.now = bench.now.after(Span::from_secs(10));
        bench.refresh();
    }
    assert!(sizes[0] < own.len() / 3, "{sizes:?} of {}", own.len());
    assert_eq!(had, own);
    let mut different = sizes.clone();
    different.dedup();
    assert!(different.len() >= 6, "{sizes:?}");
}

#[test]
fn health_is_ignored_below_the_panic_threshold() {
    let mut bench = Bench::new(r#", "health": {"active": {"cluster": "c", "path": "/"}}"#);
    let own = bench.first("ana");
    for number in 1..=5 {
        bench.fail(&format!("10.0.0.{number}:80"), Event::CheckFailed, 3);
    }
    assert!(bench.view.panics());
    let choice = bench.choose("ana");
    assert_eq!(
        (bench.names(&choice)[0].clone(), choice.reason),
        (own, Reason::Panic)
    );
}

#[test]
fn all_hosts_out_and_no_panic_is_no_host() {
    let rest = r#", "health": {"panic_threshold": 0, "active": {"cluster": "c", "path": "/"}}, "no_host": "reject""#;
    let mut bench = Bench::new(rest);
    for number in 1..=8 {
        bench.fail(&format!("10.0.0.{number}:80"), Event::CheckFailed, 3);
    }
    for key in [Some(&b"ana"[..]), None] {
        let choice = bench.policy.choose(&bench.view, key, COLD);
        assert_eq!((choice.hosts.len(), choice.reason), (0, Reason::None));
        let known = Known {
            key: None,
            session: None,
            explain: false,
            forged: false,
        };
        let Decision {
            verdict: Verdict::Refuse(reply),
            ..
        } = bench.policy.decide(Some(&bench.view), &choice, &known, 0)
        else {
            panic!("it is refused");
        };
        assert_eq!(
            (reply.status, &*reply.details),
            (503, "consistent_hash{reason=no_host}")
        );
    }
}

#[test]
fn a_full_host_passes_requests_on_in_the_keys_order() {
    let bench = Bench::new(r#", "bounded_load": {}"#);
    let order = bench.names(&bench.choose("ana"));
    let mut own = Own::default();
    let mut served = std::collections::BTreeMap::<String, usize>::new();
    for number in 0..64_usize {
        let loads = bench.view.loads(own.iter());
        let chance = Chance {
            loads: Some(&loads),
            ..COLD
        };
        let choice = bench.policy.choose(&bench.view, Some(b"ana"), chance);
        let host = bench.names(&choice).swap_remove(0);
        if number == 0 {
            assert_eq!((&host, choice.reason), (&order[0], Reason::Key));
        }
        own.add(HostId::of(&host).as_u64());
        *served.entry(host).or_default() += 1;
        let bound = ((number + 1) * 125).div_ceil(800);
        assert!(
            served.values().all(|count| *count <= bound),
            "{number}: {served:?}"
        );
    }
    assert_eq!(served[&order[0]], 10, "{served:?}");
    assert_eq!(served.values().sum::<usize>(), 64);
}

#[test]
fn a_hot_key_goes_through_its_first_hosts_and_retries_stay_in_order() {
    let bench = Bench::new(r#", "hot_keys": {"spread": 3}"#);
    let order = bench.names(&bench.choose("ana"));
    for skip in 0..3 {
        let chance = Chance {
            heat: Heat::Hot { skip },
            ..COLD
        };
        let choice = bench.policy.choose(&bench.view, Some(b"ana"), chance);
        let names = bench.names(&choice);
        let mut expected = order.clone();
        let first = expected.remove(skip);
        expected.insert(0, first);
        assert_eq!(names, expected);
        let reason = if skip == 0 { Reason::Key } else { Reason::Hot };
        assert_eq!(choice.reason, reason);
    }
}

#[test]
fn the_own_zone_is_first_while_it_has_capacity() {
    let mut bench = Bench::new(
        r#", "zones": {"own": "a"}, "health": {"panic_threshold": 0, "active": {"cluster": "c", "path": "/"}}"#,
    );
    let is_own = |name: &str| {
        ["2", "4", "6", "8"]
            .iter()
            .any(|end| name.ends_with(&format!(".{end}:80")))
    };
    assert!(keys().all(|key| is_own(&bench.first(&key))));
    for number in [2, 4] {
        bench.fail(&format!("10.0.0.{number}:80"), Event::CheckFailed, 3);
    }
    let share = keys().filter(|key| is_own(&bench.first(key))).count();
    // Half of it is left, which carries 70 % of its keys.
    assert!((240..=320).contains(&share), "{share} of 400");
    for number in [6, 8] {
        bench.fail(&format!("10.0.0.{number}:80"), Event::CheckFailed, 3);
    }
    assert!(keys().all(|key| !is_own(&bench.first(&key))));
}

#[test]
fn a_draining_host_loses_its_keys_one_after_another() {
    let hosts = r#"{"address": "10.0.0.1:80"}, {"address": "10.0.0.2:80", "draining": true}, {"address": "10.0.0.3:80"}"#;
    let mut bench = Bench::with_hosts(hosts, r#", "drain_time": "100s""#);
    let mut left = Vec::new();
    for _ in 0..11 {
        left.push(
            keys()
                .filter(|key| bench.first(key) == "10.0.0.2:80")
                .count(),
        );
        bench.now = bench.now.after(Span::from_secs(10));
        bench.refresh();
    }
    assert!(
        left[0] > 100 && left.is_sorted_by(|one, other| one >= other),
        "{left:?}"
    );
    assert_eq!(left[10], 0);
    assert!(
        left[5] > left[0] / 3 && left[5] < left[0] * 2 / 3,
        "{left:?}"
    );
}

#[test]
fn hosts_take_turns_by_weight_without_a_key() {
    let hosts = r#"{"address": "10.0.0.1:80", "weight": 1}, {"address": "10.0.0.2:80", "weight": 3}, {"address": "10.0.0.3:80", "weight": 0}"#;
    let bench = Bench::with_hosts(hosts, "");
    let mut served = [0; 3];
    for turn in 0..400 {
        let choice = bench
            .policy
            .choose(&bench.view, None, Chance { turn, ..COLD });
        served[choice.hosts.first().unwrap()] += 1;
        assert_eq!(choice.reason, Reason::RoundRobin);
        // The other one is there for a retry.
        assert_eq!(choice.hosts.len(), 2);
    }
    assert_eq!(served, [100, 300, 0]);
}

#[test]
fn sources_are_tried_in_order_and_bodies_only_where_there_are_any() {
    let json = r#"{"hosts": [{"address": "10.0.0.1:80"}], "normalize": {"trim": true},
        "key": [{"header": "x-user"}, {"json_body": {"pointer": "/a"}}, {"query": "user"}]}"#;
    let policy = Policy::new(Config::read(json.as_bytes()).unwrap());
    let find = |path: &str, user: &str, has_body: bool| {
        let block = Headers::encode([
            (&b":path"[..], path.as_bytes()),
            (b"x-user", user.as_bytes()),
        ]);
        let request = Request {
            headers: Headers::decode(&block),
            ..Request::default()
        };
        policy.find_key(&request, has_body, 0).found
    };
    assert_eq!(find("/?user=q", " ana ", true), Found::Key(b"ana".to_vec()));
    assert_eq!(find("/?user=q", "  ", false), Found::Key(b"q".to_vec()));
    let Found::InBody(keys) = find("/?user=q", "", true) else {
        panic!("the body comes before the query");
    };
    assert_eq!(
        (keys.targets.len(), keys.otherwise),
        (1, Some(b"q".to_vec()))
    );
    assert_eq!(find("/", "", false), Found::Missing);
}

#[test]
fn only_a_header_that_came_is_removed() {
    let bench = Bench::new("");
    for forged in [false, true] {
        let known = Known {
            key: None,
            session: None,
            explain: false,
            forged,
        };
        let choice = Choice {
            hosts: Places::default(),
            reason: Reason::None,
            hash: None,
        };
        let decision = bench.policy.decide(None, &choice, &known, 0);
        let name = forged.then_some("x-upstream-candidates");
        assert_eq!(decision.verdict, Verdict::Unsteered { name });
    }
}

#[test]
fn a_decision_says_where_and_why() {
    let bench = Bench::new(r#", "explain": {}"#);
    let choice = bench.choose("ana");
    let known = Known {
        key: Some(b"ana".to_vec()),
        session: None,
        explain: true,
        forged: false,
    };
    let decision = bench.policy.decide(Some(&bench.view), &choice, &known, 0);
    let names = bench.names(&choice);
    assert_eq!(
        decision.verdict,
        Verdict::Header {
            name: "x-upstream-candidates",
            value: names.join(",").into_bytes()
        }
    );
    let hash = format!("{:016x}", Policy::hash(b"ana"));
    let explanation = format!("host={}; reason=key; key={hash}", names[0]);
    assert_eq!(decision.explanation, Some(explanation));
    assert_eq!(decision.log, None, "a key's own host is no news");
}

#[test]
fn what_is_known_of_a_host_is_explained_too() {
    let hosts = r#"{"address": "10.0.0.1:80", "metadata": {"rack": "9", "build": "abc"}}"#;
    let bench = Bench::with_hosts(hosts, r#", "explain": {}"#);
    let choice = bench.choose("ana");
    let known = Known {
        key: Some(b"ana".to_vec()),
        session: None,
        explain: true,
        forged: false,
    };
    let decision = bench.policy.decide(Some(&bench.view), &choice, &known, 0);
    let explanation = decision.explanation.expect("asked for");
    assert!(
        explanation.ends_with("; build=abc; rack=9"),
        "{explanation}"
    );
}
