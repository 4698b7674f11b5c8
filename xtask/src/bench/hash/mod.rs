//! The benchmark of consistent-hash: what placements cost within a module, and what a choice costs beside Envoy's own policies, on the same keys,
//! through real upstreams.

mod gateway;
mod placement;

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::bench::bootstrap::{self, Listener};
use crate::bench::wrk::{Answers, Load};
use crate::bench::{free_addresses, median, procfs, wrk};
use crate::cli::{BenchOptions, Host};
use crate::gateway::{Gateway, Plan, prepare};
use crate::workspace::Workspace;

use self::gateway::Way;

/// The request header that is the key.
pub(crate) const KEY_HEADER: &str = "x-key";
const ROUNDS: u32 = 7;
const SECONDS: u32 = 1;

/// What is compared; the first is what the others cost more than, the second what their speed is a part
/// of.
const WAYS: [Way; 8] = [
    Way::RoundRobin,
    Way::RingHash,
    Way::Maglev,
    Way::NoOp,
    Way::HashKey,
    Way::Rendezvous,
    Way::OurMaglev,
    Way::Bounded,
];

/// Measures with 8 and with 100 hosts.
pub(crate) fn run(workspace: &Workspace, options: &BenchOptions) -> Result<Value> {
    ensure!(
        options.host.include(Host::Envoy),
        "consistent-hash is measured in Envoy alone, beside Envoy's own policies"
    );
    prepare(workspace, Host::Envoy)?;
    let placements = placement::measure(workspace, Host::Envoy)?;
    wrk::expect_installed()?;
    let script = workspace.target("bench/hash-keys.lua");
    // Each request another key, the same ones in every row.
    let text = format!(
        "local n = 0\nrequest = function()\n  n = n + 1\n  \
         return wrk.format('GET', '/', {{['{KEY_HEADER}'] = 'key-' .. n}})\nend\n"
    );
    std::fs::write(&script, text).with_context(|| format!("can't write {}", script.display()))?;
    let load = Load::Script(script);
    let few = measure::<8>(workspace, &load)?;
    let many = measure::<100>(workspace, &load)?;
    Ok(json!({ "placements": placements, "8_hosts": few, "100_hosts": many }))
}

/// Measures all ways with so many hosts, interleaved.
fn measure<const HOSTS: usize>(workspace: &Workspace, load: &Load) -> Result<Value> {
    let hosts = free_addresses::<HOSTS>()?;
    let _origin = origin(workspace, &hosts)?;
    let [admin] = free_addresses()?;
    let addresses = free_addresses::<{ WAYS.len() }>()?;
    let rows: Vec<(Way, SocketAddr)> = WAYS.into_iter().zip(addresses).collect();
    let file = gateway::write(workspace, admin, &rows, &hosts)?;
    let plan = Plan {
        host: Host::Envoy,
        bootstrap: &file,
        listeners: &[],
        admin,
        workers: 1,
        log: &workspace.target("bench/hash.log"),
    };
    let gateway = Gateway::start(workspace, plan)?;
    let mut samples: Vec<(Vec<f64>, Vec<f64>)> = vec![(Vec::new(), Vec::new()); rows.len()];
    // The first round warms up: connections, caches, V8's optimising compiler.
    for round in 0..=ROUNDS {
        for ((_, address), (cpu, speed)) in rows.iter().zip(&mut samples) {
            let before = procfs::cpu_nanoseconds(gateway.pid())?;
            let run = wrk::run(*address, SECONDS, load, Answers::Served)?;
            let spent = procfs::cpu_nanoseconds(gateway.pid())?.saturating_sub(before);
            if round > 0 {
                cpu.push(spent as f64 / 1_000.0 / run.requests as f64);
                speed.push(run.per_second);
            }
        }
    }
    println!(
        "\n{HOSTS} hosts: medians of {ROUNDS} interleaved rounds, one worker, another key each time"
    );
    println!(
        "{:<34} {:>12} {:>12} {:>12} {:>14}",
        "", "CPU µs/req", "over no-op", "requests/s", "of ring_hash's"
    );
    let mut medians = Vec::new();
    for ((way, _), (cpu, speed)) in rows.iter().zip(&mut samples) {
        let cpu = median(cpu).context("no rounds")?;
        let speed = median(speed).context("no rounds")?;
        medians.push((*way, cpu, speed));
    }
    let of = |wanted: Way| {
        let mut medians = medians.iter();
        let found = medians.find(|(way, ..)| *way == wanted);
        found.map_or((0.0, 1.0), |(_, cpu, speed)| (*cpu, *speed))
    };
    let (no_op, _) = of(Way::NoOp);
    let (_, ring) = of(Way::RingHash);
    let table = medians.iter().map(|(way, cpu, speed)| {
        let (label, over, part) = (way.label(), cpu - no_op, speed / ring);
        println!("{label:<34} {cpu:>12.1} {over:>+12.1} {speed:>12.0} {part:>14.2}");
        json!({
            "row": label, "cpu_us_per_request": cpu, "cpu_us_over_no_op": over,
            "requests_per_second": speed, "of_ring_hash": part,
        })
    });
    Ok(table.collect::<Vec<_>>().into())
}

/// An Envoy that answers for all hosts.
fn origin(workspace: &Workspace, hosts: &[SocketAddr]) -> Result<Gateway> {
    let [admin] = free_addresses()?;
    let listener = |(number, address): (usize, &SocketAddr)| Listener {
        // Names tell listeners apart in statistics, which nobody reads here.
        name: Box::leak(format!("host-{number}").into_boxed_str()),
        address: *address,
        filters: Vec::new(),
        upstream: None,
    };
    let listeners: Vec<_> = hosts.iter().enumerate().map(listener).collect();
    let file = bootstrap::write(workspace, "hash-origin", admin, &listeners)?;
    let plan = Plan {
        host: Host::Envoy,
        bootstrap: &file,
        listeners: &[],
        admin,
        workers: 1,
        log: &workspace.target("bench/hash-origin.log"),
    };
    Gateway::start(workspace, plan)
}
