//! A host that dies under load, and comes back.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use serde_json::json;

use crate::rig::{Rig, backends, hosts, port};

const KEYS: usize = 160;

#[test]
fn a_host_that_dies_gets_no_request_once_it_is_found_out_and_gets_its_keys_back_slowly() {
    let mut backends = backends(8);
    let config = json!({
        "key": [{"header": "x-key"}],
        "hosts": hosts(&backends),
        "health": {
            "active": {"cluster": "health", "path": "/health", "interval": "200ms", "timeout": "1s",
                "unhealthy_threshold": 2, "healthy_threshold": 2},
            "passive": {"consecutive_connect_failures": 2, "ejection_time": "1s", "max_ejection_percent": 50},
            "slow_start": "4s",
        },
    });
    let Some(rig) = Rig::start(&config, &backends, None) else {
        return;
    };
    rig.until("all hosts pass checks", |rig| {
        rig.metric("consistent_hash_checks_total_outcome=passed") >= 16
    });
    let before = rig.hosts_of(KEYS);
    let dead = before[0];
    let at = backends
        .iter()
        .position(|backend| backend.address.port() == dead)
        .expect("known");
    let address = backends[at].address;
    let is_over = AtomicBool::new(false);
    let served = AtomicUsize::new(0);
    thread::scope(|scope| {
        // Load over both workers, all of which must be served: retries go to the next candidates.
        for part in 0..8_usize {
            let (rig, is_over, served) = (&rig, &is_over, &served);
            scope.spawn(move || {
                let mut client = rig.connect();
                for round in 0.. {
                    if is_over.load(Ordering::SeqCst) {
                        break;
                    }
                    let key = (part * 20 + round) % KEYS;
                    let response = client.get("/", &format!("x-key: k{key}\r\n"));
                    if response.status != 200 {
                        // Ends the scope's wait too.
                        is_over.store(true, Ordering::SeqCst);
                        panic!("{response:?}");
                    }
                    served.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let served_more = |count: usize| {
            let begun = served.load(Ordering::SeqCst);
            rig.until("requests are served", |_| {
                served.load(Ordering::SeqCst) >= begun + count || is_over.load(Ordering::SeqCst)
            });
        };
        served_more(400);
        backends[at].kill();
        rig.until("the host is out", |rig| {
            rig.metric("consistent_hash_hosts_available") == 7
        });
        // The other worker learns of it at its next tick; by checks that failed since then, which one
        // worker does every 200 ms, two ticks of the other have passed.
        let failed = "consistent_hash_checks_total_outcome=failed";
        let checks = rig.metric(failed);
        rig.until("more checks fail", |rig| rig.metric(failed) >= checks + 3);
        let attempts = rig.attempts(address);
        served_more(1000);
        assert_eq!(
            rig.attempts(address),
            attempts,
            "no request tries the dead host"
        );
        let during = rig.hosts_of(KEYS);
        for (key, (was, is)) in before.iter().zip(&during).enumerate() {
            assert_ne!(*is, dead, "k{key}");
            assert!(
                *was == dead || was == is,
                "k{key} was not the dead host's and moved"
            );
        }

        backends[at].revive();
        let all: BTreeSet<_> = (0..KEYS).filter(|key| before[*key] == dead).collect();
        let mut back = BTreeSet::new();
        let mut sizes = BTreeSet::new();
        rig.until("all keys are back", |rig| {
            let now = rig.hosts_of(KEYS);
            let found: BTreeSet<_> = (0..KEYS).filter(|key| now[*key] == dead).collect();
            sizes.insert(found.len());
            assert!(found.is_subset(&all), "it gets its own keys");
            // A worker can be a tick behind the other.
            back.extend(found.iter().copied());
            found == all
        });
        assert!(
            sizes.len() >= 3,
            "keys came back one after another, not at once: {sizes:?} of {}",
            all.len()
        );
        assert_eq!(back, all);
        is_over.store(true, Ordering::SeqCst);
    });
    assert_eq!(rig.hosts_of(KEYS), before);
    let out: u64 = rig.metric("consistent_hash_health_changes_total_to=out");
    assert!(out >= 1);
}

#[test]
fn retries_walk_the_candidates_of_the_key() {
    let mut backends = backends(8);
    // Nobody watches health, so the dead hosts are tried each time.
    let config = json!({
        "key": [{"header": "x-key"}],
        "hosts": hosts(&backends),
        "steer": {"override_host": {"candidates": 4}},
        "explain": {},
    });
    let Some(rig) = Rig::start(&config, &backends, None) else {
        return;
    };
    let mut client = rig.connect();
    let mut order = Vec::new();
    for _ in 0..4 {
        let response = client.get("/", "x-key: a key\r\n");
        order.push(port(&response));
        let choice = response
            .header("x-upstream-choice")
            .expect("explained")
            .to_owned();
        assert!(
            choice.starts_with(&format!("host=127.0.0.1:{}; reason=key", order[0])),
            "{choice}"
        );
        let at = backends
            .iter()
            .position(|backend| backend.address.port() == order[order.len() - 1]);
        backends[at.expect("known")].kill();
    }
    let different: BTreeSet<_> = order.iter().collect();
    assert_eq!(different.len(), 4, "{order:?}");
    // The same order again, as they come back.
    for expected in order.iter().rev() {
        let at = backends
            .iter()
            .position(|backend| backend.address.port() == *expected);
        backends[at.expect("known")].revive();
        assert_eq!(rig.host_of(&mut client, "a key"), *expected);
    }
}

#[test]
fn passive_ejection_alone_finds_a_dead_host_though_every_request_was_saved_by_a_retry() {
    let mut backends = backends(4);
    let config = json!({
        "key": [{"header": "x-key"}],
        "hosts": hosts(&backends),
        "health": {"passive": {"consecutive_connect_failures": 3, "ejection_time": "1m", "max_ejection_percent": 50}},
    });
    let Some(rig) = Rig::start(&config, &backends, None) else {
        return;
    };
    let mut client = rig.connect();
    let dead = rig.host_of(&mut client, "a key");
    let at = backends
        .iter()
        .position(|backend| backend.address.port() == dead)
        .expect("known");
    backends[at].kill();
    let next = rig.host_of(&mut client, "a key");
    assert_ne!(next, dead);
    rig.until("the host is out", |rig| {
        assert_eq!(rig.host_of(&mut client, "a key"), next);
        rig.metric("consistent_hash_hosts_available") == 3
    });
    assert_eq!(rig.metric("consistent_hash_health_changes_total_to=out"), 1);
}

#[test]
fn a_host_that_answers_slowly_is_out_until_its_time_is_over() {
    let backends = backends(4);
    let config = json!({
        "key": [{"header": "x-key"}],
        "hosts": hosts(&backends),
        "health": {
            // Its questions tell that time has passed.
            "active": {"cluster": "health", "path": "/health", "interval": "100ms"},
            "passive": {"slow": "50ms", "consecutive_slow": 2, "ejection_time": "3s"},
        },
    });
    let Some(rig) = Rig::start(&config, &backends, None) else {
        return;
    };
    let mut client = rig.connect();
    let own = rig.host_of(&mut client, "a key");
    let at = backends
        .iter()
        .position(|backend| backend.address.port() == own)
        .expect("known");
    for _ in 0..2 {
        backends[at].seen().open_gate(false);
        client.send("GET /slow HTTP/1.1\r\nhost: a\r\nx-key: a key\r\n\r\n");
        rig.until("the request has arrived", |_| backends[at].in_flight() == 1);
        // Of twelve questions to four hosts one host got three: twice 90 ms at least.
        let passed = "consistent_hash_checks_total_outcome=passed";
        let checks = rig.metric(passed);
        rig.until("time passes", |rig| rig.metric(passed) >= checks + 12);
        backends[at].seen().open_gate(true);
        assert_eq!(port(&client.response()), own);
    }
    rig.until("its keys are elsewhere", |rig| {
        rig.host_of(&mut client, "a key") != own
    });
    assert_eq!(rig.metric("consistent_hash_health_changes_total_to=out"), 1);
    rig.until("they are back", |rig| {
        rig.host_of(&mut client, "a key") == own
    });
}
