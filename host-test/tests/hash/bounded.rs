//! Bounded load over two workers.

use serde_json::json;

use crate::backend::Backend;
use crate::rig::{Rig, backends, hosts, port};

const STREAMS: usize = 64;

/// The most that a host of eight may have of so many requests: a quarter more than the average.
fn bound(requests: usize) -> usize {
    (requests * 125).div_ceil(800)
}

fn loads(backends: &[Backend]) -> Vec<usize> {
    backends.iter().map(Backend::in_flight).collect()
}

#[test]
fn no_host_is_ever_above_the_factor_with_64_slow_streams_over_two_workers() {
    let backends = backends(8);
    let config = json!({
        "key": [{"header": "x-key"}],
        "hosts": hosts(&backends),
        "bounded_load": {"balance_factor": 1.25},
    });
    let Some(rig) = Rig::start(&config, &backends, None) else {
        return;
    };
    for round in 0..3 {
        backends
            .iter()
            .for_each(|backend| backend.seen().open_gate(false));
        let mut clients: Vec<_> = (0..STREAMS).map(|_| rig.connect()).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            // Half of all requests have one key, and would be at one host.
            let key = match number % 2 {
                0 => "the same".to_owned(),
                _ => format!("{round}-{number}"),
            };
            client.send(&format!(
                "GET /slow HTTP/1.1\r\nhost: a\r\nx-key: {key}\r\n\r\n"
            ));
            // What has arrived is at most what was sent, and so is what the filter counted.
            let loads = loads(&backends);
            assert!(
                loads.iter().all(|load| *load <= bound(number + 1)),
                "{number}: {loads:?}"
            );
        }
        rig.until("all streams have arrived", |_| {
            let loads = loads(&backends);
            assert!(
                loads.iter().all(|load| *load <= bound(STREAMS)),
                "{loads:?}"
            );
            loads.iter().sum::<usize>() == STREAMS
        });
        let full = loads(&backends);
        assert_eq!(
            full.iter().max(),
            Some(&bound(STREAMS)),
            "the key's own host is full: {full:?}"
        );
        backends
            .iter()
            .for_each(|backend| backend.seen().open_gate(true));
        for client in &mut clients {
            port(&client.response());
        }
        // The next round needs all of these to be counted off.
        rig.until("the key's own host has room", |rig| {
            let mut client = rig.connect();
            let first = rig.host_of(&mut client, "the same");
            (0..8).all(|_| rig.host_of(&mut client, "the same") == first)
        });
    }
    assert_eq!(
        rig.metric("consistent_hash_errors_total_cause=contention"),
        0
    );
}

#[test]
fn many_workers_count_together() {
    let backends = backends(4);
    let config = json!({
        "missing": "least_request",
        "count_requests": true,
        "hosts": hosts(&backends),
    });
    let Some(rig) = Rig::start(&config, &backends, None) else {
        return;
    };
    backends
        .iter()
        .for_each(|backend| backend.seen().open_gate(false));
    let mut clients: Vec<_> = (0..80).map(|_| rig.connect()).collect();
    for client in &clients {
        client.send("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n");
    }
    rig.until("all have arrived", |_| {
        loads(&backends).iter().sum::<usize>() == clients.len()
    });
    // Of ten million rounds on paper, two choices had a host further off in three; chance alone has in
    // three of ten.
    let loads = loads(&backends);
    assert!(loads.iter().all(|load| load.abs_diff(20) <= 6), "{loads:?}");
    backends
        .iter()
        .for_each(|backend| backend.seen().open_gate(true));
    for client in &mut clients {
        port(&client.response());
    }
}
