//! `serve` beside Envoy, on the same bootstrap: requests in a second, HTTP/1.1, kept connections.
//!
//! With rate-limit alone: the other filters of the target don't serve yet.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{print_header, print_row};
use crate::bench::bootstrap::{self, Listener};
use crate::bench::rate_limit::limiter::{KEY_HEADER, Limit, Limiter, Per};
use crate::bench::wrk::{self, Answers, Load};
use crate::bench::{free_addresses, median, procfs};
use crate::cli::Host;
use crate::gateway::{Gateway, Plan};
use crate::workspace::Workspace;

/// Rounds, and seconds of each measurement in a round.
const ROUNDS: u32 = 5;
const SECONDS: u32 = 1;

const LIMIT: Limit = Limit {
    requests: 1_000_000,
    per: Per::Second,
    burst: 1_000_000,
};

/// A gateway under load, with what its rounds came to.
struct Row {
    host: Host,
    gateway: Gateway,
    address: std::net::SocketAddr,
    per_second: Vec<f64>,
    cpu: Vec<f64>,
}

/// Loads the gateways in turn, and prints the medians.
pub(crate) fn measure(workspace: &Workspace, hosts: &[Host]) -> Result<Value> {
    let mut rows = Vec::new();
    for host in hosts {
        rows.push(start(workspace, *host)?);
    }
    let load = Load::Header(KEY_HEADER, "ana".to_owned());
    // The first round warms up.
    for round in 0..=ROUNDS {
        for row in &mut rows {
            let before = procfs::cpu_nanoseconds(row.gateway.pid())?;
            let run = wrk::run(row.address, SECONDS, &load, Answers::Served)?;
            let spent = procfs::cpu_nanoseconds(row.gateway.pid())?.saturating_sub(before);
            if round > 0 {
                row.per_second.push(run.per_second);
                row.cpu.push(spent as f64 / 1_000.0 / run.requests as f64);
            }
        }
    }
    print_header("rate-limit alone, one worker, answered in place: requests in a second");
    let mut figures = Vec::new();
    for row in &mut rows {
        let per_second = median(&mut row.per_second).context("no rounds")?;
        let cpu = median(&mut row.cpu).context("no rounds")?;
        let resident = procfs::resident_kib(row.gateway.pid())? / 1_024;
        figures.push((row.host, per_second, cpu, resident));
    }
    let envoy = figures.iter().find(|(host, ..)| *host == Host::Envoy);
    let envoy = envoy.map(|(_, per_second, ..)| *per_second);
    let mut all = Vec::new();
    for (host, per_second, cpu, resident) in figures {
        let (target, met) = match (host, envoy) {
            (Host::Wasmtime, Some(envoy)) => (format!("{envoy:.0}"), Some(per_second >= envoy)),
            _ => (String::new(), None),
        };
        print_row(&host.to_string(), &target, &format!("{per_second:.0}"), met);
        println!("    {cpu:.1} us of CPU a request, {resident} MiB resident");
        all.push(json!({
            "host": host.to_string(), "requests_per_second": per_second,
            "cpu_us_per_request": cpu, "resident_mib": resident,
        }));
    }
    Ok(all.into())
}

fn start(workspace: &Workspace, host: Host) -> Result<Row> {
    let [admin, address] = free_addresses()?;
    let listener = Listener {
        name: "serving",
        address,
        filters: Limiter::Ours(LIMIT).filters(workspace),
        upstream: None,
    };
    let name = format!("serving-{host}");
    let plan = Plan {
        host,
        bootstrap: &bootstrap::write(workspace, &name, admin, &[listener])?,
        listeners: &["serving"],
        admin,
        workers: 1,
        log: &workspace.target(&format!("bench/{name}.log")),
    };
    Ok(Row {
        host,
        gateway: Gateway::start(workspace, plan)?,
        address,
        per_second: Vec::new(),
        cpu: Vec::new(),
    })
}
