//! The benchmark of cache-lookup: what a hit costs the server, beside nginx, Varnish and Envoy's own
//! cache, and what a miss adds to a proxied request.
//!
//! All in one run, in turns, one worker each; a static nginx is the origin of all. The figure to compare is
//! the server's CPU time per hit: throughput on a machine that does other things as well says little.

mod servers;
mod wrk;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::bench::cache::servers::{Server, Servers};
use crate::bench::cache::wrk::Run;
use crate::bench::{median, procfs};
use crate::cli::{BenchOptions, Host};
use crate::gateway::{self, Purpose};
use crate::workspace::Workspace;
use crate::{http, setup};

/// Bodies that are asked for.
const SIZES: [usize; 2] = [1_000, 100_000];
const ROUNDS: u32 = 5;
const SECONDS: u32 = 2;
/// Misses take more of the machine, with the origin's share of it.
const MISS_SECONDS: u32 = 1;

/// Runs the measurement.
pub(crate) fn run(workspace: &Workspace, _: &BenchOptions) -> Result<Value> {
    setup::ensure(workspace, &[&setup::peers::TOOL])?;
    gateway::prepare(workspace, Host::Envoy, Purpose::Speed)?;
    let servers = Servers::start(workspace, &SIZES)?;
    let mut hits = Vec::new();
    for size in SIZES {
        println!("\nHits of {size} bytes, {ROUNDS} rounds of {SECONDS} s, 32 connections");
        for server in servers.hits() {
            warm(server, size)?;
        }
        hits.extend(table(servers.hits(), size, |server, _| {
            wrk::run(server.address, &format!("/{size}"), None, SECONDS)
        })?);
    }
    let mut misses = Vec::new();
    let script = wrk::counting(workspace)?;
    for size in SIZES {
        println!("\nMisses of {size} bytes, {ROUNDS} rounds of {MISS_SECONDS} s, 32 connections");
        misses.extend(table(servers.misses(), size, |server, round| {
            let path = format!("/{size}?{round}-");
            wrk::run(server.address, &path, Some(&script), MISS_SECONDS)
        })?);
    }
    Ok(
        json!({ "rounds": ROUNDS, "seconds": SECONDS, "miss_seconds": MISS_SECONDS, "hits": hits, "misses": misses }),
    )
}

/// Measures servers in turns, and prints what came of each beside the first one.
fn table(
    servers: &[Server],
    size: usize,
    load: impl Fn(&Server, u32) -> Result<Run>,
) -> Result<Vec<Value>> {
    println!(
        "{:>26} {:>9} {:>8} {:>10} {:>8} {:>8}",
        "", "us CPU", "of first", "requests/s", "p99 ms", "of first"
    );
    let mut rows: Vec<Row> = servers.iter().map(|_| Row::default()).collect();
    // The first round warms up: connections, and V8's compiler.
    for round in 0..=ROUNDS {
        for (server, row) in servers.iter().zip(&mut rows) {
            let before = procfs::cpu_nanoseconds(server.pid)?;
            let run = load(server, round)?;
            let cpu = procfs::cpu_nanoseconds(server.pid)?.saturating_sub(before);
            if round > 0 {
                row.add(&run, cpu);
            }
        }
    }
    let mut first = None;
    let mut results = Vec::new();
    for (server, row) in servers.iter().zip(&mut rows) {
        let middle = row.middle()?;
        let (cpu, _, p99) = *first.get_or_insert(middle);
        let (own_cpu, per_second, own_p99) = middle;
        println!(
            "{:>26} {own_cpu:>9.1} {:>8.2} {per_second:>10.0} {own_p99:>8.2} {:>8.2}",
            server.name,
            own_cpu / cpu,
            own_p99 / p99
        );
        results.push(json!({
            "server": server.name, "bytes": size, "cpu_micros": own_cpu, "cpu_of_first": own_cpu / cpu,
            "per_second": per_second, "p99_millis": own_p99, "p99_of_first": own_p99 / p99,
            "rounds": row.micros,
        }));
    }
    Ok(results)
}

/// What was measured of a server.
#[derive(Debug, Default)]
struct Row {
    micros: Vec<f64>,
    per_second: Vec<f64>,
    p99: Vec<f64>,
}

impl Row {
    fn add(&mut self, run: &Run, cpu_nanoseconds: u64) {
        let micros = cpu_nanoseconds as f64 / 1000.0;
        self.micros.push(micros / run.requests as f64);
        self.per_second.push(run.per_second);
        self.p99.push(run.p99_millis);
    }

    /// The middles of CPU time, speed and the slowest answers.
    fn middle(&mut self) -> Result<(f64, f64, f64)> {
        let middle = |values: &mut Vec<f64>| median(values).context("no rounds");
        Ok((
            middle(&mut self.micros)?,
            middle(&mut self.per_second)?,
            middle(&mut self.p99)?,
        ))
    }
}

/// Fills a cache, and makes sure of what it answers.
fn warm(server: &Server, size: usize) -> Result<()> {
    for _ in 0..20 {
        let answer = http::get(server.address, &format!("/{size}"))?;
        ensure!(
            answer.status == 200,
            "{} answered {}",
            server.name,
            answer.status
        );
        ensure!(
            answer.message.body.as_ref().map_or(0, |body| body.len()) == size,
            "{} sent {} bytes",
            server.name,
            answer.message.body.as_ref().map_or(0, |body| body.len())
        );
    }
    Ok(())
}
