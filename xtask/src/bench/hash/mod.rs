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
use crate::gateway::{Gateway, Plan, Purpose, prepare};
use crate::workspace::Workspace;

use self::gateway::Way;

/// The request header that is the key.
pub(crate) const KEY_HEADER: &str = "x-key";
/// The request header in which the client names hosts, for the rows that have them named so.
pub(crate) const HOSTS_HEADER: &str = "x-hosts";
const ROUNDS: usize = 7;
const SECONDS: u32 = 1;

/// What is compared.
const WAYS: [Way; 11] = [
    Way::RoundRobin,
    Way::RingHash,
    Way::Maglev,
    Way::Override,
    Way::Mutation,
    Way::NoOp,
    Way::NoOpOverride,
    Way::HashKey,
    Way::Rendezvous,
    Way::OurMaglev,
    Way::Bounded,
];

/// What the rounds of a row came to.
#[derive(Default)]
struct Samples {
    microseconds: Vec<f64>,
    per_second: Vec<f64>,
}

/// Measures with 8 and with 100 hosts.
pub(crate) fn run(workspace: &Workspace, options: &BenchOptions) -> Result<Value> {
    ensure!(
        options.host.include(Host::Envoy),
        "consistent-hash is measured in Envoy alone, beside Envoy's own policies"
    );
    prepare(workspace, Host::Envoy, Purpose::Speed)?;
    let placements = placement::measure(workspace, Host::Envoy)?;
    wrk::expect_installed()?;
    let few = measure::<8>(workspace)?;
    let many = measure::<100>(workspace)?;
    Ok(json!({ "placements": placements, "8_hosts": few, "100_hosts": many }))
}

/// The same requests for every row: each with another key, and with three hosts, which most rows don't
/// look at.
fn load(workspace: &Workspace, hosts: &[SocketAddr]) -> Result<Load> {
    let script = workspace.target("bench/hash-keys.lua");
    let list = |first: usize| {
        let three = hosts.iter().cycle().skip(first).step_by(3).take(3);
        let three: Vec<_> = three.map(SocketAddr::to_string).collect();
        format!("'{}'", three.join(","))
    };
    let lists: Vec<_> = (0..hosts.len()).map(list).collect();
    let text = format!(
        "local n = 0\nlocal hosts = {{ {} }}\nrequest = function()\n  n = n + 1\n  \
         local three = hosts[n * 7919 % #hosts + 1]\n  \
         return wrk.format('GET', '/', {{['{KEY_HEADER}'] = 'key-' .. n, ['{HOSTS_HEADER}'] = three}})\n\
         end\n",
        lists.join(", ")
    );
    std::fs::write(&script, text).with_context(|| format!("can't write {}", script.display()))?;
    Ok(Load::Script(script))
}

/// Measures all ways with so many hosts, interleaved.
fn measure<const HOSTS: usize>(workspace: &Workspace) -> Result<Value> {
    let hosts = free_addresses::<HOSTS>()?;
    let load = load(workspace, &hosts)?;
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
    let mut samples: Vec<Samples> = rows.iter().map(|_| Samples::default()).collect();
    // The first round warms up: connections, caches, V8's optimising compiler.
    for round in 0..=ROUNDS {
        for step in 0..rows.len() {
            // There and back: no row always comes in the same one's wake.
            let at = if round % 2 == 0 {
                step
            } else {
                rows.len() - 1 - step
            };
            let before = procfs::cpu_nanoseconds(gateway.pid())?;
            let run = wrk::run(rows[at].1, SECONDS, &load, Answers::Served)?;
            let spent = procfs::cpu_nanoseconds(gateway.pid())?.saturating_sub(before);
            if round > 0 {
                let microseconds = spent as f64 / 1_000.0 / run.requests as f64;
                samples[at].microseconds.push(microseconds);
                samples[at].per_second.push(run.per_second);
            }
        }
    }
    println!(
        "\n{HOSTS} hosts: medians of {ROUNDS} interleaved rounds, one worker, another key each time"
    );
    table(&samples)
}

/// Prints medians, and medians of what rows are beside others within a round: what changes between
/// rounds then has no part in it.
fn table(samples: &[Samples]) -> Result<Value> {
    println!(
        "{:<38} {:>11} {:>11} {:>12} {:>11} {:>13}",
        "", "CPU µs/req", "over no-op", "with policy", "requests/s", "of ring_hash's"
    );
    let of = |wanted: Way| {
        let at = WAYS.iter().position(|way| *way == wanted);
        at.and_then(|at| samples.get(at)).context("not measured")
    };
    let (ring, no_op, no_op_override) =
        (of(Way::RingHash)?, of(Way::NoOp)?, of(Way::NoOpOverride)?);
    let middle = |mut values: Vec<f64>| median(&mut values).context("no rounds");
    let over = |one: &Samples, other: &Samples| {
        let pairs = one.microseconds.iter().zip(&other.microseconds);
        middle(pairs.map(|(one, other)| one - other).collect())
    };
    let mut table = Vec::new();
    for (way, row) in WAYS.iter().zip(samples) {
        let label = way.label();
        let cpu = middle(row.microseconds.clone())?;
        let speed = middle(row.per_second.clone())?;
        let over_no_op = over(row, no_op)?;
        let over_override = over(row, no_op_override)?;
        let parts = row.per_second.iter().zip(&ring.per_second);
        let part = middle(parts.map(|(one, other)| one / other).collect())?;
        println!(
            "{label:<38} {cpu:>11.1} {over_no_op:>+11.1} {over_override:>+12.1} {speed:>11.0} {part:>13.2}"
        );
        table.push(json!({
            "row": label, "cpu_us_per_request": cpu, "cpu_us_over_no_op": over_no_op,
            "cpu_us_over_no_op_with_override_host": over_override,
            "requests_per_second": speed, "of_ring_hash": part,
        }));
    }
    Ok(table.into())
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
