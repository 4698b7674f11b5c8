//! What one request through the library costs, from putting it together to having its reply.
//!
//! `cargo xtask bench host` builds and runs this. One JSON document goes to standard output; times
//! are nanoseconds. The guests take turns, so that what else the machine does hits all alike.

use std::path::{Path, PathBuf};
use std::time::Instant;

use host_test::host::Host;
use host_test::plugin::Plugin;
use host_test::scenario::bench::Spread;
use serde_json::{Value, json};

/// Turns that each guest has, and requests in a turn: short, so that most are not interrupted.
const ROUNDS: usize = 600;
const REQUESTS: u32 = 100;

/// Fresh hosts in a turn.
const HOSTS: u32 = 2;

const RATE_LIMIT: &str = r#"{"rules": [{"name": "user", "key": [{"header": "x-user"}],
    "limits": [{"requests": 1000000, "per": "1s"}]}]}"#;

/// Name, module and configuration.
const GUESTS: [(&str, &str, &str); 4] = [
    ("no-op", "bench_guest", "0"),
    ("two-headers", "bench_guest", "2"),
    ("eleven-hostcalls", "bench_guest", "11"),
    ("rate-limit", "rate_limit", RATE_LIMIT),
];

fn main() {
    let mut guests = GUESTS.map(|(name, module, configuration)| {
        let path = folder().join(format!("{module}.wasm"));
        let plugin = Plugin::from_file(&path)
            .unwrap_or_else(|error| panic!("{error}; `cargo xtask build` makes it"))
            .config_json(configuration);
        Guest {
            name,
            host: start(&plugin),
            plugin,
            requests: Vec::new(),
            hosts: Vec::new(),
        }
    });
    for round in 0..=ROUNDS {
        for guest in &mut guests {
            let request = nanoseconds(REQUESTS, || send(&guest.host));
            // Nobody reads them, and they would grow.
            guest.host.take_logs();
            let host = nanoseconds(HOSTS, || send(&start(&guest.plugin)));
            // The first round warms up.
            if round > 0 {
                guest.requests.push(request);
                guest.hosts.push(host);
            }
        }
    }
    let rows: Vec<Value> = guests.into_iter().map(Guest::row).collect();
    println!("{:#}", Value::from(rows));
}

struct Guest {
    name: &'static str,
    plugin: Plugin,
    host: Host,
    requests: Vec<u64>,
    hosts: Vec<u64>,
}

impl Guest {
    fn row(self) -> Value {
        json!({
            "name": self.name,
            "request": spread(self.requests),
            "fresh_host_and_request": spread(self.hosts),
        })
    }
}

fn spread(numbers: Vec<u64>) -> Value {
    let spread = Spread::of(numbers);
    json!({ "low": spread.low, "median": spread.median, "high": spread.high })
}

/// Where the modules are, as for scenarios.
fn folder() -> PathBuf {
    std::env::var_os("PENSTOCK_WASM_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/wasm"),
        PathBuf::from,
    )
}

fn start(plugin: &Plugin) -> Host {
    let host = Host::builder().plugin(plugin.clone()).build();
    host.unwrap_or_else(|error| panic!("{error}"))
}

/// Eight headers, as the baseline that the targets are taken from.
fn send(host: &Host) {
    let reply = host
        .get("/some/path")
        .header("user-agent", "curl/8.0")
        .header("accept", "*/*")
        .header("accept-encoding", "gzip, br")
        .header("x-user", "ana")
        .send();
    assert_eq!(reply.status(), Some(200));
    assert!(reply.violations().is_empty());
}

/// Mean nanoseconds of one of so many.
fn nanoseconds(times: u32, mut work: impl FnMut()) -> u64 {
    let began = Instant::now();
    for _ in 0..times {
        work();
    }
    u64::try_from((began.elapsed() / times).as_nanos()).unwrap_or(u64::MAX)
}
