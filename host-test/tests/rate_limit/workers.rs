//! Exact over the workers of an Envoy, whatever the algorithm.

use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Instant;

use serde_json::json;

use crate::client::Client;
use crate::process::Gateway;
use crate::upstream::Upstream;
use crate::{bootstrap, envoys, flood, gateway, listener, module};

#[test]
fn two_workers_admit_five_hundred_and_not_one_more_whatever_the_algorithm() {
    for kind in envoys() {
        for algorithm in ["gcra", "fixed_window", "sliding_window"] {
            // So long that nothing comes back while the test runs.
            let config = json!({"rules": [{
                "name": "all", "key": [{"header": "x-user"}],
                "limits": [{"requests": 500, "per": "182d", "algorithm": algorithm}],
            }]});
            let gateway = gateway(&kind, &config);
            let served = flood(gateway.address("main"), 1600, "x-user: alice\r\n");
            assert_eq!(served, 500, "{algorithm}");
        }
    }
}

#[test]
fn units_taken_ahead_admit_no_more_than_the_limit() {
    for kind in envoys() {
        let config = json!({"rules": [{
            "name": "all", "key": [{"header": "x-user"}], "lease": 20,
            "limits": [{"requests": 800, "per": "182d"}],
        }]});
        let gateway = gateway(&kind, &config);
        let served = flood(gateway.address("main"), 2400, "x-user: alice\r\n");
        // An eighth of the burst can't be used at once, and a lease may be left on each worker.
        assert!((700 - 2 * 20..=800).contains(&served), "{served}");
    }
}

#[test]
fn two_workers_admit_the_rate_that_real_time_brings_back() {
    for kind in envoys() {
        let config = json!({"rules": [{
            "name": "all", "key": [{"header": "x-user"}],
            "limits": [{"requests": 1000, "per": "1s", "burst": 100}],
        }]});
        let gateway = gateway(&kind, &config);
        let begun = Instant::now();
        let served = flood(gateway.address("main"), 16_000, "x-user: alice\r\n");
        // More time has gone by here than between the first and the last decision.
        let brought_back = usize::try_from(begun.elapsed().as_millis()).expect("short");
        assert!(served >= 100, "{served}");
        assert!(
            served <= 100 + brought_back + 1,
            "{served} in {brought_back} ms"
        );
    }
}

/// What goes on at the upstream, which answers when three requests run and nine were denied.
#[derive(Default)]
struct Scene {
    running: usize,
    most: usize,
    denied: usize,
}

#[test]
fn three_requests_run_at_the_same_time_and_never_a_fourth() {
    for kind in envoys() {
        let scene = Arc::new((Mutex::new(Scene::default()), Condvar::new()));
        let upstream = {
            let scene = scene.clone();
            Upstream::new(move |mut connection| {
                while connection.head().is_some() {
                    let (state, changed) = &*scene;
                    let mut state = state.lock().expect("no panic");
                    state.running += 1;
                    state.most = state.most.max(state.running);
                    changed.notify_all();
                    let waits = |state: &mut Scene| state.denied < 9 || state.most < 3;
                    let mut state = changed.wait_while(state, waits).expect("no panic");
                    state.running -= 1;
                    drop(state);
                    connection.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
                }
            })
        };
        let config = json!({"rules": [{
            "name": "all", "key": [{"header": "x-user"}], "concurrent": {"requests": 3},
        }]});
        let listener = listener(
            &module(),
            &config,
            json!({"route": {"cluster": "upstream"}}),
        );
        let bootstrap = bootstrap(listener, Some(upstream.address)).to_string();
        let gateway = Gateway::start(&kind, &bootstrap);
        let address = gateway.address("main");
        let clients: Vec<_> = (0..12)
            .map(|_| {
                let scene = scene.clone();
                thread::spawn(move || {
                    let status = Client::connect(address)
                        .get("/", "x-user: alice\r\n")
                        .status;
                    scene.0.lock().expect("no panic").denied += usize::from(status == 429);
                    scene.1.notify_all();
                    status
                })
            })
            .collect();
        let statuses = clients
            .into_iter()
            .map(|client| client.join().expect("no panic"));
        let statuses: Vec<_> = statuses.collect();
        let served = statuses.iter().filter(|status| **status == 200);
        assert_eq!(served.count(), 3, "{statuses:?}");
        assert_eq!(scene.0.lock().expect("no panic").most, 3);
        // All places are free again.
        let mut client = Client::connect(address);
        (0..10).for_each(|_| assert_eq!(client.get("/", "x-user: alice\r\n").status, 200));
    }
}
