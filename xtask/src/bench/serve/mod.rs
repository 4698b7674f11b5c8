//! The benchmark of `host-test serve`: `envoy/gateway.yaml` as it stands, served by it and by the
//! real Envoy in turn, with one worker each; and what a minute of reloads under load breaks.

mod reload;
mod upstream;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::bench::wrk::{self, Answers, Load};
use crate::bench::{free_addresses, median, procfs};
use crate::cli::{BenchOptions, Host};
use crate::gateway::{self, Gateway, Plan, Purpose};
use crate::workspace::Workspace;

/// Rounds, and seconds of each measurement in a round.
const ROUNDS: usize = 5;
const SECONDS: u32 = 2;

/// Where `envoy/gateway.yaml` has the modules.
const MODULES: &str = "target/wasm";

/// The ports that `envoy/gateway.yaml` writes: admin, gateway, three hosts of a service.
const PORTS: [u16; 5] = [9901, 10000, 10101, 10102, 10103];

/// `envoy/gateway.yaml` with ports of its own, and the gateway on it.
struct Served {
    gateway: Gateway,
    address: SocketAddr,
    file: PathBuf,
}

/// Runs both measurements.
pub(crate) fn run(workspace: &Workspace, options: &BenchOptions) -> Result<Value> {
    wrk::expect_installed()?;
    let hosts: Vec<Host> = [Host::Wasmtime, Host::Envoy]
        .into_iter()
        .filter(|host| options.host.include(*host))
        .collect();
    gateway::prepare(workspace, Host::Wasmtime, Purpose::Speed)?;
    if hosts.contains(&Host::Envoy) {
        gateway::prepare(workspace, Host::Envoy, Purpose::Speed)?;
    }
    let services = [upstream::start()?, upstream::start()?, upstream::start()?];
    let speed = speed(workspace, &hosts, services)?;
    let reload = if hosts.contains(&Host::Wasmtime) {
        let modules = reload::Modules::copy(workspace)?;
        let served = start(
            workspace,
            Host::Wasmtime,
            services,
            "reload",
            modules.folder(),
        )?;
        Some(reload::measure(served, &modules)?)
    } else {
        None
    };
    Ok(json!({ "speed": speed, "reload": reload }))
}

/// Loads the gateways in turn, and prints the medians.
fn speed(workspace: &Workspace, hosts: &[Host], services: [SocketAddr; 3]) -> Result<Value> {
    let mut rows = Vec::new();
    for host in hosts {
        let name = format!("serve-{host}");
        rows.push((
            *host,
            start(workspace, *host, services, &name, MODULES)?,
            Vec::new(),
            Vec::new(),
        ));
    }
    let load = Load::Header("x-client", "ana".to_owned());
    // The first round warms up.
    for round in 0..=ROUNDS {
        for (_, served, per_second, cpu) in &mut rows {
            let before = procfs::cpu_nanoseconds(served.gateway.pid())?;
            let run = wrk::run(served.address, SECONDS, &load, Answers::Served)?;
            let spent = procfs::cpu_nanoseconds(served.gateway.pid())?.saturating_sub(before);
            if round > 0 {
                per_second.push(run.per_second);
                cpu.push(spent as f64 / 1_000.0 / run.requests as f64);
            }
        }
    }
    println!("\nenvoy/gateway.yaml, one worker, forwarded to a service, JSON access log");
    let mut all = Vec::new();
    for (host, served, per_second, cpu) in &mut rows {
        let per_second = median(per_second).context("no rounds")?;
        let cpu = median(cpu).context("no rounds")?;
        let resident = procfs::resident_kib(served.gateway.pid())? / 1_024;
        println!(
            "{:<20} {per_second:>10.0} requests a second {cpu:>8.1} us of CPU a request \
             {resident:>5} MiB resident",
            host.to_string()
        );
        all.push(json!({
            "host": host.to_string(), "requests_per_second": per_second,
            "cpu_us_per_request": cpu, "resident_mib": resident,
        }));
    }
    Ok(all.into())
}

/// Starts a gateway, with the modules of that folder.
fn start(
    workspace: &Workspace,
    host: Host,
    services: [SocketAddr; 3],
    name: &str,
    modules: &str,
) -> Result<Served> {
    let [admin, address] = free_addresses()?;
    let yaml = workspace.root.join("envoy/gateway.yaml");
    let mut text =
        std::fs::read_to_string(&yaml).with_context(|| format!("can't read {}", yaml.display()))?;
    let addresses = [admin, address].into_iter().chain(services);
    for (written, address) in PORTS.into_iter().zip(addresses) {
        let port = address.port();
        // Clusters say a port, and consistent-hash an address.
        for before in ["port_value: ", "127.0.0.1:"] {
            text = text.replace(&format!("{before}{written}"), &format!("{before}{port}"));
        }
    }
    text = text.replace(MODULES, modules);
    let file = workspace.target(&format!("bench/{name}.yaml"));
    std::fs::write(&file, text).with_context(|| format!("can't write {}", file.display()))?;
    let plan = Plan {
        host,
        bootstrap: &file,
        listeners: &["gateway"],
        admin,
        workers: 1,
        log: &workspace.target(&format!("bench/{name}.log")),
    };
    Ok(Served {
        gateway: Gateway::start(workspace, plan)?,
        address,
        file,
    })
}
