//! A module that traps: the gateway loads it anew, and nothing is forgiven.

use std::path::PathBuf;
use std::thread;

use serde_json::json;

use crate::client::Client;
use crate::process::Gateway;
use crate::tripwire::{MOST_HEADERS, with_tripwire};
use crate::{bootstrap, envoys, flood, listener, module, served};

/// The module with a tripwire, in a file that goes away with this.
struct Rigged(PathBuf);

impl Rigged {
    fn new() -> Self {
        let name = format!("penstock-tripwire-{}.wasm", std::process::id());
        let path = std::env::temp_dir().join(name);
        let module = std::fs::read(module()).expect("the module is built");
        std::fs::write(&path, with_tripwire(&module)).expect("written");
        Self(path)
    }
}

impl Drop for Rigged {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Reads numbers of the gateway whose names contain that.
fn numbers(gateway: &Gateway, name: &str) -> Vec<(String, u64)> {
    let mut admin = Client::connect(gateway.address("admin"));
    let stats = admin.get(&format!("/stats?filter={name}"), "").body;
    let lines = stats.lines().filter_map(|line| line.split_once(": "));
    lines
        .map(|(name, value)| (name.to_owned(), value.parse().expect("a number")))
        .collect()
}

/// A connection to each of the two workers, found by the connections that Envoy counts for them.
fn connections(gateway: &Gateway) -> [Client; 2] {
    let counted = |worker: &str| {
        let found = numbers(gateway, "worker_.*downstream_cx_total");
        let mut of_worker = found
            .into_iter()
            .filter(|(name, _)| name.starts_with("listener.127") && name.contains(worker));
        of_worker.next().map_or(0, |(_, value)| value)
    };
    let address = gateway.address("main");
    ["worker_0", "worker_1"].map(|worker| {
        loop {
            let before = counted(worker);
            let mut client = Client::connect(address);
            assert_eq!(client.get("/", "x-user: nobody\r\n").status, 200);
            if counted(worker) > before {
                return client;
            }
        }
    })
}

#[test]
fn a_module_that_traps_is_back_at_once_and_no_bucket_is_forgiven() {
    for kind in envoys() {
        let rigged = Rigged::new();
        let config = json!({"rules": [
            {"name": "all", "key": [{"header": "x-user"}],
             "limits": [{"requests": 100, "per": "182d"}]},
        ]});
        let path = rigged.0.to_str().expect("text");
        let listener = listener(path, &config, served());
        let gateway = Gateway::start(&kind, &bootstrap(listener, None).to_string());
        let address = gateway.address("main");
        let alice = "x-user: alice\r\n";
        assert_eq!(flood(address, 64, alice), 64);

        let odd: String = (0..MOST_HEADERS)
            .map(|n| format!("x-{n}: odd\r\n"))
            .collect();
        for (worker, mut client) in connections(&gateway).into_iter().enumerate() {
            let trapped = client.get("/", &odd);
            assert_eq!(trapped.status, 503, "worker {worker}: {trapped:?}");
            // It is loaded anew by the next request, unless that was done less than the back-off ago.
            loop {
                match client.get("/", "x-user: bob\r\n").status {
                    200 => break,
                    503 => thread::yield_now(),
                    status => panic!("worker {worker} answers {status}"),
                }
            }
        }
        let reloads = numbers(&gateway, "vm_reload_success");
        assert_eq!(
            reloads.iter().map(|(_, count)| count).sum::<u64>(),
            2,
            "{reloads:?}"
        );
        // What alice had used is used.
        assert_eq!(flood(address, 64, alice), 36);
        assert_eq!(flood(address, 16, alice), 0);
        // And so is what came while a worker was away.
        assert_eq!(flood(address, 120, "x-user: bob\r\n"), 98);
    }
}
