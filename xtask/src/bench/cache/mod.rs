//! The benchmark of cache-lookup: what a hit costs the server, beside nginx, Varnish and Envoy's own cache.
//!
//! All in one run, in turns, one worker each; a static nginx is the origin of all. The figure to compare is
//! the server's CPU time per hit: throughput on a machine that does other things as well says little.

mod servers;
mod wrk;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::bench::cache::servers::{Server, Servers};
use crate::bench::{median, procfs};
use crate::cli::{BenchOptions, Host};
use crate::workspace::Workspace;
use crate::{gateway, http, setup};

/// Bodies that are asked for.
const SIZES: [usize; 2] = [1_000, 100_000];
const ROUNDS: u32 = 5;
const SECONDS: u32 = 2;

/// Runs the measurement.
pub(crate) fn run(workspace: &Workspace, _: &BenchOptions) -> Result<Value> {
    setup::ensure(workspace, &[&setup::peers::TOOL])?;
    gateway::prepare(workspace, Host::Envoy)?;
    let servers = Servers::start(workspace, &SIZES)?;
    let mut results = Vec::new();
    for size in SIZES {
        println!("\nHits of {size} bytes, {ROUNDS} rounds of {SECONDS} s, 32 connections");
        println!(
            "{:>24} {:>12} {:>10} {:>10}",
            "", "us CPU/hit", "hits/s", "p99 ms"
        );
        let all = servers.all();
        let mut rows: Vec<Row> = all.iter().map(|_| Row::default()).collect();
        for server in &all {
            warm(server, size)?;
        }
        for _ in 0..ROUNDS {
            for (server, row) in all.iter().zip(&mut rows) {
                row.measure(server, size)?;
            }
        }
        for (server, row) in all.iter().zip(&mut rows) {
            results.push(row.tell(server, size)?);
        }
    }
    Ok(json!({ "rounds": ROUNDS, "seconds": SECONDS, "hits": results }))
}

/// What was measured of a server.
#[derive(Debug, Default)]
struct Row {
    micros: Vec<f64>,
    per_second: Vec<f64>,
    p99: Vec<f64>,
}

impl Row {
    fn measure(&mut self, server: &Server, size: usize) -> Result<()> {
        let before = procfs::cpu_nanoseconds(server.pid)?;
        let run = wrk::run(server.address, &format!("/{size}"), SECONDS)?;
        let cpu = procfs::cpu_nanoseconds(server.pid)?.saturating_sub(before);
        self.micros.push(cpu as f64 / 1000.0 / run.requests as f64);
        self.per_second.push(run.per_second);
        self.p99.push(run.p99_millis);
        Ok(())
    }

    fn tell(&mut self, server: &Server, size: usize) -> Result<Value> {
        let middle = |values: &mut Vec<f64>| median(values).context("no rounds");
        let (micros, per_second) = (middle(&mut self.micros)?, middle(&mut self.per_second)?);
        let p99 = middle(&mut self.p99)?;
        println!(
            "{:>24} {micros:>12.1} {per_second:>10.0} {p99:>10.2}",
            server.name
        );
        Ok(json!({
            "server": server.name, "bytes": size, "cpu_micros_per_hit": micros,
            "hits_per_second": per_second, "p99_millis": p99, "rounds": self.micros,
        }))
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
