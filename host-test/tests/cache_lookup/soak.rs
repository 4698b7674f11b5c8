//! A long mixed load: lookups, updates, purges, new connections, new configurations, new modules; every byte
//! of every answer is checked.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

use crate::client::Response;
use crate::gateway::Envoy;
use crate::origin::{Origin, body};

/// Requests of the ordinary run; `PENSTOCK_SOAK` says another number.
const REQUESTS: u64 = 20_000;
const THREADS: u64 = 8;
const PATHS: u64 = 300;
/// So often the gateway gets another configuration or another module in the meantime, in turn.
const RELOADS: u64 = 6;

#[test]
fn a_mixed_load_finds_no_wrong_byte() {
    const MIB: u64 = 1024 * 1024;
    let requests = std::env::var("PENSTOCK_SOAK").ok();
    let requests: u64 = requests.map_or(REQUESTS, |number| number.parse().expect("a number"));
    // A third of what is asked for fits, so that there is eviction all the time.
    let config = |name: u64| {
        json!({
            "cache_status": {"name": format!("cache-{name}")},
            "purge": {"secret": "a-secret-of-the-tests"},
            "store": {"max_bytes": 8 * MIB, "max_object_bytes": 2 * MIB, "worker_bytes": MIB},
        })
    };
    let origin = Origin::start("cache-control: max-age=600\r\nsurrogate-key: news\r\n");
    let Some((envoy, listeners)) = Envoy::start_changing(&config(0), origin.address) else {
        return;
    };
    let (hits, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let listeners = Mutex::new(listeners);
    // The version of each path that a write has come back with: no older one may be answered from then on.
    let written: Vec<_> = (0..PATHS).map(|_| AtomicU64::new(0)).collect();
    let reload = |number: u64| {
        let mut listeners = listeners.lock().expect("no panic");
        match number % 2 {
            0 => listeners.upgrade(&envoy, &config(number)),
            _ => listeners.configure(&envoy, &config(number)),
        }
    };
    let every = requests / (RELOADS + 1);
    let run = |thread: u64| {
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
            let count = done.fetch_add(1, Ordering::SeqCst) + 1;
            if count % every == 0 && count / every <= RELOADS {
                reload(count / every);
            }
            let number = (next() % PATHS).min(next() % PATHS);
            let length = [50, 900, 9000, 70_000, 200_000, 900_000][(number % 6) as usize];
            let path = format!("/{length}/o{number}");
            let written = &written[number as usize];
            let version = |answer: &Response| -> u64 {
                let version = answer.header("x-version").expect("the origin's header");
                version.parse().expect("a number")
            };
            let answer = match next() % 200 {
                0..=3 => {
                    client.send(&format!(
                        "POST {path} HTTP/1.1\r\nhost: a.example\r\ncontent-length: 0\r\n\r\n"
                    ));
                    let answer = client.response();
                    assert_eq!(answer.status, 204);
                    written.fetch_max(version(&answer), Ordering::SeqCst);
                    answer
                }
                4..=5 => {
                    let how = [
                        "",
                        "x-purge-scope: prefix\r\n",
                        "x-purge-tag: news\r\n",
                        "x-purge-scope: all\r\n",
                    ];
                    let how = how[(next() % 4) as usize];
                    client.send(&format!("PURGE {path} HTTP/1.1\r\nhost: a.example\r\nx-purge-secret: a-secret-of-the-tests\r\n{how}\r\n"));
                    let answer = client.response();
                    assert_eq!(answer.status, 200);
                    answer
                }
                6 => {
                    client = envoy.connect();
                    continue;
                }
                _ => {
                    let least = written.load(Ordering::SeqCst);
                    let answer = client.get(&path, "");
                    assert_eq!(answer.status, 200, "{path}");
                    let version = version(&answer);
                    assert!(
                        answer.body == body(&path, version),
                        "wrong bytes for {path}"
                    );
                    assert!(
                        version >= least,
                        "{path}: {version} after {least} was written"
                    );
                    assert!(version <= origin.version(&path));
                    hits.fetch_add(u64::from(answer.header("age").is_some()), Ordering::Relaxed);
                    answer
                }
            };
            // So a gateway says that a connection is one of before a reload.
            if answer.header("connection") == Some("close") {
                client = envoy.connect();
            }
        }
    };
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let run = &run;
            scope.spawn(move || run(thread));
        }
    });
    let hits = hits.into_inner();
    eprintln!(
        "{requests} requests, {hits} hits, {} upstream, {RELOADS} reloads",
        origin.requests()
    );
    assert!(hits > requests / 10, "{hits}");
}
