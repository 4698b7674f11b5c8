//! What placements cost within a module: tables built, keys looked up.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::bench::bootstrap::{self, Listener};
use crate::bench::free_addresses;
use crate::cli::Host;
use crate::gateway::{Gateway, Plan};
use crate::http;
use crate::workspace::Workspace;

const MODULE: &str = "placement_guest";

/// Algorithm, hosts, different weights.
const ROWS: [(&str, u32, u32); 10] = [
    ("rendezvous", 8, 1),
    ("rendezvous", 100, 1),
    ("rendezvous", 100, 5),
    ("rendezvous", 100, 100),
    ("rendezvous", 256, 1),
    ("maglev", 8, 1),
    ("maglev", 100, 1),
    ("maglev", 1_000, 1),
    ("maglev", 1_000, 5),
    ("maglev", 10_000, 1),
];

/// Asks the guest within a gateway.
pub(crate) fn measure(workspace: &Workspace, host: Host) -> Result<Value> {
    let [admin, address] = free_addresses()?;
    let listener = Listener {
        name: "placement",
        address,
        filters: vec![bootstrap::ours(workspace, MODULE, MODULE, &json!({}))],
        upstream: None,
    };
    let file = bootstrap::write(workspace, "hash-placement", admin, &[listener])?;
    let plan = Plan {
        host,
        bootstrap: &file,
        listeners: &["placement"],
        admin,
        workers: 1,
        log: &workspace.target("bench/hash-placement.log"),
    };
    let _gateway = Gateway::start(workspace, plan)?;
    println!("\nwithin a module in {host}: the best of some runs, another key each time");
    println!(
        "{:<12} {:>6} {:>8} {:>10} {:>13} {:>18}",
        "", "hosts", "weights", "build ms", "first host ns", "first three hosts"
    );
    let row = |(algorithm, hosts, weights): (&str, u32, u32)| -> Result<Value> {
        let answer = http::get(address, &format!("/{algorithm}/{hosts}/{weights}"))?;
        let row: Value = serde_json::from_str(&answer.text())
            .with_context(|| format!("{}: {}", answer.status, answer.text()))?;
        let number = |name: &str| row[name].as_f64().unwrap_or(f64::NAN);
        println!(
            "{algorithm:<12} {hosts:>6} {weights:>8} {:>10.2} {:>13.1} {:>18.1}",
            number("build_ns") / 1e6,
            number("first_ns"),
            number("three_ns"),
        );
        Ok(row)
    };
    ROWS.into_iter()
        .map(row)
        .collect::<Result<Vec<_>>>()
        .map(Value::from)
}
