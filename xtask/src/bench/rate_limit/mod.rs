//! The benchmark of rate-limit: does it forgive, what does it cost, is it exact, does it grow?

mod exactness;
mod headline;
pub(crate) mod limiter;
mod memory;
mod service;
mod speed;

use std::net::SocketAddr;

use anyhow::Result;
use serde_json::{Value, json};

use crate::bench::bootstrap::{self, Listener};
use crate::bench::{free_addresses, wrk};
use crate::cli::{BenchOptions, Host};
use crate::gateway::{self, Gateway, Plan, Purpose};
use crate::workspace::Workspace;

use self::limiter::{Limit, Limiter};

/// Runs all four measurements, those in Envoy alone only when Envoy is among the hosts.
pub(crate) fn run(workspace: &Workspace, options: &BenchOptions) -> Result<Value> {
    let hosts: Vec<Host> = [Host::Envoy, Host::Wasmtime]
        .into_iter()
        .filter(|host| options.host.include(*host))
        .collect();
    let in_envoy = hosts.contains(&Host::Envoy);
    if in_envoy {
        wrk::expect_installed()?;
    }
    for host in &hosts {
        gateway::prepare(workspace, *host, Purpose::Speed)?;
    }
    let headline = in_envoy.then(|| headline::measure(workspace)).transpose()?;
    let speed = in_envoy
        .then(|| speed::measure(workspace, options.rounds))
        .transpose()?;
    let exactness = each(&hosts, |host| exactness::measure(workspace, host))?;
    let memory = each(&hosts, |host| {
        memory::measure(workspace, host, options.keys)
    })?;
    Ok(json!({
        "headline": headline,
        "speed": speed,
        "exactness": exactness,
        "memory": memory,
    }))
}

fn each(hosts: &[Host], measure: impl Fn(Host) -> Result<Value>) -> Result<Value> {
    hosts
        .iter()
        .map(|host| measure(*host))
        .collect::<Result<Vec<_>>>()
        .map(Value::from)
}

/// Starts a gateway whose only listener has our limiter; returns where it listens.
fn start(
    workspace: &Workspace,
    host: Host,
    name: &'static str,
    limit: Limit,
    workers: u32,
) -> Result<(Gateway, SocketAddr)> {
    let [admin, address] = free_addresses()?;
    let listener = Listener {
        name,
        address,
        filters: Limiter::OursTold(limit).filters(workspace),
        upstream: None,
    };
    let plan = Plan {
        host,
        bootstrap: &bootstrap::write(workspace, name, admin, &[listener])?,
        listeners: &[name],
        admin,
        workers,
        log: &workspace.target(&format!("bench/{name}.log")),
    };
    Ok((Gateway::start(workspace, plan)?, address))
}
