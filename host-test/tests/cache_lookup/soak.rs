//! A long mixed load: lookups, updates, purges, new connections; every byte of every answer is checked.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

use crate::gateway::Envoy;
use crate::origin::{Origin, body};

/// Requests of the ordinary run; `PENSTOCK_SOAK` says another number.
const REQUESTS: u64 = 20_000;
const THREADS: u64 = 8;

#[test]
fn a_mixed_load_finds_no_wrong_byte() {
    const MIB: u64 = 1024 * 1024;
    let requests = std::env::var("PENSTOCK_SOAK").ok();
    let requests: u64 = requests.map_or(REQUESTS, |number| number.parse().expect("a number"));
    // A third of what is asked for fits, so that there is eviction all the time.
    let config = json!({
        "purge": {"secret": "a-secret-of-the-tests"},
        "store": {"max_bytes": 8 * MIB, "max_object_bytes": 2 * MIB, "worker_bytes": MIB},
    });
    let origin = Origin::start("cache-control: max-age=600\r\nsurrogate-key: news\r\n");
    let Some(envoy) = Envoy::start(&config, origin.address, None) else {
        return;
    };
    let hits = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (envoy, origin, hits) = (&envoy, &origin, &hits);
            scope.spawn(move || {
                let mut random = thread + 1;
                let mut next = move || {
                    // xorshift64: the same load in every run.
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    random
                };
                let mut client = envoy.connect();
                for _ in 0..requests / THREADS {
                    let number = (next() % 300).min(next() % 300);
                    let length = [50, 900, 9000, 70_000, 200_000, 900_000][(number % 6) as usize];
                    let path = format!("/{length}/o{number}");
                    match next() % 200 {
                        0..=3 => {
                            client.send(&format!("POST {path} HTTP/1.1\r\nhost: a.example\r\ncontent-length: 0\r\n\r\n"));
                            assert_eq!(client.response().status, 204);
                        }
                        4..=5 => {
                            let how = ["", "x-purge-scope: prefix\r\n", "x-purge-tag: news\r\n", "x-purge-scope: all\r\n"];
                            let how = how[(next() % 4) as usize];
                            client.send(&format!("PURGE {path} HTTP/1.1\r\nhost: a.example\r\nx-purge-secret: a-secret-of-the-tests\r\n{how}\r\n"));
                            assert_eq!(client.response().status, 200);
                        }
                        6 => client = envoy.connect(),
                        _ => {
                            let answer = client.get(&path, "");
                            assert_eq!(answer.status, 200, "{path}");
                            let version = answer.header("x-version").expect("the origin's header");
                            let version: u64 = version.parse().expect("a number");
                            assert!(answer.body == body(&path, version), "wrong bytes for {path}");
                            assert!(version <= origin.version(&path));
                            hits.fetch_add(u64::from(answer.header("age").is_some()), Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    let hits = hits.into_inner();
    eprintln!(
        "{requests} requests, {hits} hits, {} upstream",
        origin.requests()
    );
    assert!(hits > requests / 10, "{hits}");
}
