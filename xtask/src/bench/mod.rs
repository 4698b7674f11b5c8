//! `bench`: measurements against the native filters and the real Envoy, side by side in one run.
//!
//! A machine that does other things as well is the rule, so the figures that matter are counts
//! (exact) and ratios of medians over interleaved rounds. Results go to the screen and, with
//! everything that was measured, to `target/bench/NAME.json`.

mod bootstrap;
mod cache;
mod hash;
mod host;
mod jwt;
mod load;
mod procfs;
mod rate_limit;
mod serve;
mod speed;
mod wrk;

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::build;
use crate::cli::BenchOptions;
use crate::workspace::Workspace;

/// A benchmark: its name, what runs it, and the modules that it needs; all when none is named.
type Bench = (
    &'static str,
    fn(&Workspace, &BenchOptions) -> Result<Value>,
    &'static [&'static str],
);

/// Every benchmark.
const BENCHES: [Bench; 6] = [
    ("cache", cache::run, &[]),
    ("hash", hash::run, &[]),
    ("host", host::run, &[]),
    ("jwt", jwt::run, &[]),
    (
        "rate-limit",
        rate_limit::run,
        &["bench-guest", "rate-limit"],
    ),
    ("serve", serve::run, &[]),
];

/// Returns the names of the benchmarks.
pub(crate) fn names() -> Vec<&'static str> {
    BENCHES.iter().map(|(name, ..)| *name).collect()
}

/// Runs one benchmark, or all.
pub(crate) fn run(workspace: &Workspace, options: &BenchOptions) -> Result<()> {
    let folder = workspace.target("bench");
    std::fs::create_dir_all(&folder).with_context(|| format!("can't make {}", folder.display()))?;
    let wanted = |name: &str| options.name.as_deref().is_none_or(|wanted| wanted == name);
    for (name, bench, modules) in BENCHES.iter().filter(|(name, ..)| wanted(name)) {
        match *modules {
            [] => build::run(workspace)?,
            modules => build::run(&workspace.with_modules(modules)?)?,
        }
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

/// Returns the middle one, or of an even number the mean of the middle two.
fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = values.len() / 2;
    let lower = values.len().checked_sub(1)? / 2;
    Some((values.get(lower)? + values.get(upper)?) / 2.0)
}

/// Returns loopback addresses that nothing listens on, none of them twice in a run.
///
/// They lie below the ports that the system gives to outgoing connections: the load of one
/// measurement would take the ports that the next one was promised.
fn free_addresses<const N: usize>() -> Result<[SocketAddr; N]> {
    const PORTS: std::ops::Range<u16> = 20_000..32_000;
    static NEXT: AtomicU16 = AtomicU16::new(PORTS.start);
    let mut addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); N];
    for address in &mut addresses {
        *address = loop {
            let port = NEXT.fetch_add(1, Ordering::Relaxed);
            ensure!(PORTS.contains(&port), "no loopback port is free");
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            if TcpStream::connect(address).is_err() {
                break address;
            }
        };
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&mut [9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 9.0]), Some(3.0));
        assert_eq!(median(&mut []), None);
    }
}
