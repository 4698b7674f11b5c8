//! From the start of the process to its first answer, and what memory it holds then.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{print_header, print_row};
use crate::bench::bootstrap::{self, Listener};
use crate::bench::rate_limit::limiter::{KEY_HEADER, Limit, Limiter, Per};
use crate::bench::{free_addresses, median, procfs};
use crate::cli::Host;
use crate::gateway::{self, Plan};
use crate::http::Connection;
use crate::process;
use crate::workspace::Workspace;

const ROUNDS: usize = 7;

/// Longest time from start to the first answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Time between two attempts to connect.
const PAUSE: Duration = Duration::from_micros(200);

const LIMIT: Limit = Limit {
    requests: 1_000_000,
    per: Per::Second,
    burst: 1_000_000,
};

/// A way to start.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Start {
    what: &'static str,
    host: Host,
    /// The cache of compiled code is off.
    cold: bool,
    /// Milliseconds that it may take.
    target: Option<f64>,
}

const STARTS: [Start; 3] = [
    Start {
        what: "host-test serve, compiled code in the cache",
        host: Host::Wasmtime,
        cold: false,
        target: Some(10.0),
    },
    Start {
        what: "host-test serve, without a cache",
        host: Host::Wasmtime,
        cold: true,
        target: Some(250.0),
    },
    Start {
        what: "Envoy",
        host: Host::Envoy,
        cold: false,
        target: None,
    },
];

/// Starts each in turn, and prints the medians.
pub(crate) fn measure(workspace: &Workspace, hosts: &[Host]) -> Result<Value> {
    let starts: Vec<Start> = STARTS
        .into_iter()
        .filter(|start| hosts.contains(&start.host))
        .collect();
    let mut samples = vec![(Vec::new(), Vec::new()); starts.len()];
    // The first round fills the cache.
    for round in 0..=ROUNDS {
        for (start, (times, sizes)) in starts.iter().zip(&mut samples) {
            let (milliseconds, kib) = once(workspace, *start)?;
            if round > 0 {
                times.push(milliseconds);
                sizes.push(kib as f64 / 1_024.0);
            }
        }
    }
    print_header("rate_limit.wasm, one worker: start to first answer, milliseconds");
    let mut rows = Vec::new();
    for (start, (times, sizes)) in starts.iter().zip(&mut samples) {
        let time = median(times).context("no rounds")?;
        let size = median(sizes).context("no rounds")?;
        let target = start
            .target
            .map_or_else(String::new, |it| format!("{it:.0}"));
        let met = start.target.map(|target| time <= target);
        print_row(start.what, &target, &format!("{time:.1}"), met);
        println!("    {size:.0} MiB resident after the first answer");
        rows.push(json!({
            "what": start.what, "milliseconds": time, "target": start.target, "resident_mib": size,
        }));
    }
    Ok(rows.into())
}

/// Milliseconds to the first answer, and the resident memory in KiB.
fn once(workspace: &Workspace, start: Start) -> Result<(f64, u64)> {
    let [admin, address] = free_addresses()?;
    let listener = Listener {
        name: "startup",
        address,
        filters: Limiter::Ours(LIMIT).filters(workspace),
        upstream: None,
    };
    let log = workspace.target("bench/startup.log");
    let plan = Plan {
        host: start.host,
        bootstrap: &bootstrap::write(workspace, "startup", admin, &[listener])?,
        listeners: &["startup"],
        admin,
        workers: 1,
        log: &log,
    };
    let mut command = gateway::command(workspace, &plan)?;
    if start.cold {
        command.env("HOST_TEST_CACHE", "off");
    }
    let log = File::create(&log).with_context(|| format!("can't write {}", log.display()))?;
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    let began = Instant::now();
    let mut child = command
        .spawn()
        .with_context(|| format!("can't start `{}`", process::shown(&command)))?;
    let answered = first_answer(address, began);
    let resident = procfs::resident_kib(child.id());
    process::kill(&mut child);
    Ok((answered?.as_secs_f64() * 1_000.0, resident?))
}

fn first_answer(address: SocketAddr, began: Instant) -> Result<Duration> {
    while TcpStream::connect(address).is_err() {
        if began.elapsed() > PATIENCE {
            bail!(
                "nothing listens on {address} after {} s",
                PATIENCE.as_secs()
            );
        }
        thread::sleep(PAUSE);
    }
    let answer = Connection::open(address)?.get("/", &[(KEY_HEADER, "ana")])?;
    if answer.status != 200 {
        bail!("the first answer was {}", answer.status);
    }
    Ok(began.elapsed())
}
