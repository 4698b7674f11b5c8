//! `bench`: measurements against the native filters, side by side in one run.
//!
//! A machine that does other things as well is the rule, so the figures that matter are counts
//! (exact) and ratios of medians over interleaved rounds. Results go to the screen and, with
//! everything that was measured, to `target/bench/NAME.json`.

mod bootstrap;
mod jwt;
mod load;
mod procfs;
mod rate_limit;
mod speed;
mod wrk;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::build;
use crate::cli::BenchOptions;
use crate::workspace::Workspace;

/// A benchmark: its name and what runs it.
type Bench = (&'static str, fn(&Workspace, &BenchOptions) -> Result<Value>);

/// Every benchmark.
const BENCHES: [Bench; 2] = [("rate-limit", rate_limit::run), ("jwt", jwt::run)];

/// Returns the names of the benchmarks.
pub(crate) fn names() -> Vec<&'static str> {
    BENCHES.iter().map(|(name, _)| *name).collect()
}

/// Runs one benchmark, or all.
pub(crate) fn run(workspace: &Workspace, options: &BenchOptions) -> Result<()> {
    build::run(workspace)?;
    let folder = workspace.target("bench");
    std::fs::create_dir_all(&folder).with_context(|| format!("can't make {}", folder.display()))?;
    let wanted = |name: &str| options.name.as_deref().is_none_or(|wanted| wanted == name);
    for (name, bench) in BENCHES.iter().filter(|(name, _)| wanted(name)) {
        let results = json!({ "machine": machine(), "results": bench(workspace, options)? });
        let file = folder.join(format!("{name}.json"));
        std::fs::write(&file, format!("{results:#}\n"))
            .with_context(|| format!("can't write {}", file.display()))?;
        println!("\nAll figures: {}", workspace.relative(&file));
    }
    Ok(())
}

/// What a reader needs to know of the machine to judge the figures.
fn machine() -> Value {
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    json!({
        "cpu": model.map(|(_, name)| name),
        "cores": std::thread::available_parallelism().map(usize::from).unwrap_or(1),
        "load_average": read("/proc/loadavg").trim(),
    })
}

/// Returns loopback addresses that nothing listens on.
fn free_addresses<const N: usize>() -> Result<[SocketAddr; N]> {
    // All are held until the last is found, so that no two are the same.
    let mut held = Vec::new();
    let mut addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); N];
    for address in &mut addresses {
        let listener = TcpListener::bind(*address).context("no loopback port is free")?;
        *address = listener.local_addr()?;
        held.push(listener);
    }
    Ok(addresses)
}
