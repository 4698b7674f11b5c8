//! More clients than the native per-key limiter remembers: who forgives?
//!
//! Envoy's local_ratelimit keeps 20 keys of a wildcard descriptor by default and forgets the one
//! that was away longest, whose bucket is then full again. Clients that take turns are therefore
//! never limited as soon as there are 21 of them.

use anyhow::Result;
use serde_json::{Value, json};

use crate::bench::bootstrap::{self, Listener};
use crate::bench::rate_limit::limiter::{Limit, Limiter, Per};
use crate::bench::{free_addresses, load};
use crate::cli::Host;
use crate::gateway::{Gateway, Plan};
use crate::workspace::Workspace;

const LIMIT: Limit = Limit {
    requests: 5,
    per: Per::Minute,
    burst: 5,
};

/// Requests of each client.
const ROUNDS: u64 = 40;

/// Numbers of clients: what the native limiter remembers, one more, and many more.
const CLIENTS: [u64; 3] = [20, 21, 100];

/// Sends the same requests through both limiters in one Envoy.
pub(crate) fn measure(workspace: &Workspace) -> Result<Value> {
    let [admin, native, ours] = free_addresses()?;
    let listeners = [
        Listener {
            name: "native",
            address: native,
            filters: Limiter::Native(LIMIT).filters(workspace),
            upstream: None,
        },
        Listener {
            name: "ours",
            address: ours,
            filters: Limiter::OursTold(LIMIT).filters(workspace),
            upstream: None,
        },
    ];
    let bootstrap = bootstrap::write(workspace, "headline", admin, &listeners)?;
    let _gateway = Gateway::start(
        workspace,
        Plan {
            host: Host::Envoy,
            bootstrap: &bootstrap,
            listeners: &["native", "ours"],
            admin,
            workers: 2,
            log: &workspace.target("bench/headline.log"),
        },
    )?;
    println!(
        "\nClients in turn, {ROUNDS} requests each, limit {} a minute: passed",
        LIMIT.requests
    );
    println!(
        "{:>9} {:>9} {:>9} {:>17} {:>11}",
        "clients", "requests", "ideal", "local_ratelimit", "rate-limit"
    );
    let mut rows = Vec::new();
    for clients in CLIENTS {
        let total = clients * ROUNDS;
        // One connection: "in turn" would otherwise be up to the scheduler.
        let turn = |number: u64| format!("{clients}-{}", number % clients);
        let by_native = load::send(native, 1, total, turn)?;
        let by_ours = load::send(ours, 1, total, turn)?;
        let ideal = clients * (LIMIT.burst + refilled(by_ours.seconds));
        let (native, ours) = (by_native.passed, by_ours.passed);
        println!("{clients:>9} {total:>9} {ideal:>9} {native:>17} {ours:>11}");
        rows.push(json!({
            "clients": clients, "requests": total, "ideal": ideal,
            "local_ratelimit": native, "rate_limit": ours, "seconds": by_ours.seconds,
        }));
    }
    Ok(json!({ "limit": LIMIT.requests, "per": "1m", "rounds": ROUNDS, "passed": rows }))
}

/// Returns how many requests a client gets back while the load runs.
fn refilled(seconds: f64) -> u64 {
    // The load takes seconds and a request refills in twelve: small and not negative.
    (seconds * LIMIT.rate()).floor() as u64
}
