//! What a limiter costs: CPU time of Envoy for a request, and requests in a second.
//!
//! One Envoy has a listener for each limiter, and rounds go from one to the next: what else happens
//! on the machine then hits all alike. Once answered in place, once by an upstream, which is an
//! Envoy of its own. Limits are so high that nothing is refused.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::bench::bootstrap::{self, Limit, Limiter, Listener, Per};
use crate::bench::{free_addresses, median, procfs, wrk};
use crate::cli::Host;
use crate::gateway::{Gateway, Plan};
use crate::workspace::Workspace;

const LIMIT: Limit = Limit {
    requests: 1_000_000,
    per: Per::Second,
    burst: 1_000_000,
};

/// Rounds, and seconds of each measurement in a round.
const ROUNDS: u32 = 9;
const SECONDS: u32 = 1;

/// The rows of the table.
const ROWS: [(&str, Limiter); 3] = [
    ("no limiter", Limiter::None),
    ("local_ratelimit, per key", Limiter::Native(LIMIT)),
    ("rate-limit, exact", Limiter::Ours(LIMIT)),
];

/// What the rounds of a row came to.
#[derive(Default)]
struct Samples {
    microseconds: Vec<f64>,
    per_second: Vec<f64>,
}

/// Measures both ways of answering.
pub(crate) fn measure(workspace: &Workspace) -> Result<Value> {
    let in_place = measure_with(workspace, "answered in place", None)?;
    let [admin, origin] = free_addresses()?;
    let listener = Listener {
        name: "origin",
        address: origin,
        limiter: Limiter::None,
        upstream: None,
    };
    let _origin = start(workspace, "origin", admin, &[listener])?;
    let upstream = measure_with(workspace, "answered by an upstream", Some(origin))?;
    Ok(json!({ "in_place": in_place, "upstream": upstream }))
}

fn measure_with(workspace: &Workspace, what: &str, upstream: Option<SocketAddr>) -> Result<Value> {
    let [admin, none, native, ours] = free_addresses()?;
    let listener = |name, address, (_, limiter)| Listener {
        name,
        address,
        limiter,
        upstream,
    };
    let [first, second, third] = ROWS;
    let listeners = [
        listener("none", none, first),
        listener("native", native, second),
        listener("ours", ours, third),
    ];
    let gateway = start(workspace, "speed", admin, &listeners)?;
    let mut samples: [Samples; 3] = Default::default();
    // The first round warms up: connections, caches, V8's optimising compiler.
    for round in 0..=ROUNDS {
        for (listener, samples) in listeners.iter().zip(&mut samples) {
            let before = procfs::cpu_nanoseconds(gateway.pid())?;
            let run = wrk::run(listener.address, SECONDS)?;
            let spent = procfs::cpu_nanoseconds(gateway.pid())?.saturating_sub(before);
            if round > 0 {
                samples
                    .microseconds
                    .push(spent as f64 / 1_000.0 / run.requests as f64);
                samples.per_second.push(run.per_second);
            }
        }
    }
    let mut rows = Vec::new();
    for ((name, _), samples) in ROWS.iter().zip(&mut samples) {
        let cpu = median(&mut samples.microseconds).context("no rounds")?;
        let per_second = median(&mut samples.per_second).context("no rounds")?;
        rows.push((*name, cpu, per_second));
    }
    Ok(table(what, &rows))
}

fn table(what: &str, rows: &[(&str, f64, f64)]) -> Value {
    println!("\nOne key, one worker, {what}: medians of {ROUNDS} interleaved rounds");
    println!(
        "{:<26} {:>12} {:>8} {:>12} {:>15}",
        "", "CPU µs/req", "over none", "requests/s", "of native's rps"
    );
    let none = rows.first().map_or(0.0, |(_, cpu, _)| *cpu);
    let native = rows.get(1).map_or(1.0, |(_, _, per_second)| *per_second);
    let row = |(name, cpu, per_second): &(&str, f64, f64)| {
        let (over, ratio) = (cpu - none, per_second / native);
        println!("{name:<26} {cpu:>12.1} {over:>+8.1} {per_second:>12.0} {ratio:>15.2}");
        json!({
            "limiter": name, "cpu_us_per_request": cpu, "cpu_us_over_none": over,
            "requests_per_second": per_second, "ratio_to_native": ratio,
        })
    };
    rows.iter().map(row).collect::<Vec<_>>().into()
}

fn start(
    workspace: &Workspace,
    name: &str,
    admin: SocketAddr,
    listeners: &[Listener],
) -> Result<Gateway> {
    let plan = Plan {
        host: Host::Envoy,
        bootstrap: &bootstrap::write(workspace, name, admin, listeners)?,
        listeners: &[],
        admin,
        workers: 1,
        log: &workspace.target(&format!("bench/{name}.log")),
    };
    Gateway::start(workspace, plan)
}
