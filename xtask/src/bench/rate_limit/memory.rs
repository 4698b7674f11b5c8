//! Ever new keys: does the gateway grow?

use anyhow::Result;
use serde_json::{Value, json};

use crate::bench::rate_limit::limiter::{Limit, Per};
use crate::bench::rate_limit::start;
use crate::bench::{load, procfs};
use crate::cli::Host;
use crate::workspace::Workspace;

const LIMIT: Limit = Limit {
    requests: 5,
    per: Per::Second,
    burst: 5,
};
const CONNECTIONS: u64 = 16;

/// Requests with a single key before the first reading: buffers and threads are then in place.
const WARM_UP: u64 = 2_000;

/// Readings after the first.
const READINGS: u64 = 10;

/// Sends `keys` requests, each with a key of its own, and reads the memory along the way.
pub(crate) fn measure(workspace: &Workspace, host: Host, keys: u64) -> Result<Value> {
    let (gateway, address) = start(workspace, host, "memory", LIMIT, 2)?;
    println!("\n{host}: resident memory over {keys} distinct keys");
    load::send(address, CONNECTIONS, WARM_UP, |_| "warm-up".to_owned())?;
    let before = procfs::resident_kib(gateway.pid())?;
    println!("{:>12} keys {before:>9} KiB", 0);
    let mut readings = vec![json!({ "keys": 0, "resident_kib": before })];
    let mut sent = 0;
    for reading in 1..=READINGS {
        let until = keys * reading / READINGS;
        let first = sent;
        load::send(address, CONNECTIONS, until - sent, |number| {
            format!("k{}", first + number)
        })?;
        sent = until;
        let resident = procfs::resident_kib(gateway.pid())?;
        let growth = i128::from(resident) - i128::from(before);
        println!("{sent:>12} keys {resident:>9} KiB {growth:>+9}");
        readings.push(json!({ "keys": sent, "resident_kib": resident }));
    }
    Ok(json!({ "host": host.to_string(), "keys": keys, "readings": readings }))
}
