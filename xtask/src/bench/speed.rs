//! What filters cost: CPU time of Envoy for a request, and requests in a second.
//!
//! One Envoy has a listener for each row, and rounds go from one to the next: what else happens on
//! the machine then hits all alike. The first row is the one without the filter, the second the
//! native filter that the others are compared with.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::bench::bootstrap::{self, Listener};
use crate::bench::wrk::{Answers, Load};
use crate::bench::{free_addresses, median, procfs, wrk};
use crate::cli::Host;
use crate::gateway::{Gateway, Plan};
use crate::workspace::Workspace;

/// Rounds, unless told otherwise, and seconds of each measurement in a round.
const ROUNDS: u32 = 9;
const SECONDS: u32 = 1;

/// What the rows of a table have in common.
pub(crate) struct Scene<'a> {
    /// The table's title.
    pub(crate) title: &'a str,
    /// Who answers; the gateway itself when absent.
    pub(crate) upstream: Option<SocketAddr>,
    /// What the filters talk to besides.
    pub(crate) clusters: Vec<Value>,
    /// How often each row is measured.
    pub(crate) rounds: u32,
}

/// A row of the table.
pub(crate) struct Row {
    /// What it is called.
    pub(crate) label: &'static str,
    /// The name of its listener.
    pub(crate) name: &'static str,
    /// What a request passes.
    pub(crate) filters: Vec<Value>,
    /// What is sent to it.
    pub(crate) load: Load,
    /// What it answers.
    pub(crate) answers: Answers,
}

/// What the rounds of a row came to.
#[derive(Default)]
struct Samples {
    microseconds: Vec<f64>,
    per_second: Vec<f64>,
}

/// An Envoy that answers for the gateway under measurement.
pub(crate) struct Origin {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    _gateway: Gateway,
}

impl Origin {
    /// Starts it.
    pub(crate) fn start(workspace: &Workspace) -> Result<Self> {
        let [admin, address] = free_addresses()?;
        let listener = Listener {
            name: "origin",
            address,
            filters: Vec::new(),
            upstream: None,
        };
        let gateway = start(workspace, "origin", admin, &[listener], Vec::new())?;
        Ok(Self {
            address,
            _gateway: gateway,
        })
    }
}

/// Measures the rows, interleaved, and prints their table under a title.
pub(crate) fn measure<const N: usize>(
    workspace: &Workspace,
    title: &str,
    upstream: Option<SocketAddr>,
    rows: &[Row; N],
) -> Result<Value> {
    let scene = Scene {
        title,
        upstream,
        clusters: Vec::new(),
        rounds: ROUNDS,
    };
    measure_in(workspace, &scene, rows)
}

/// The same in a scene.
pub(crate) fn measure_in<const N: usize>(
    workspace: &Workspace,
    scene: &Scene<'_>,
    rows: &[Row; N],
) -> Result<Value> {
    let [admin] = free_addresses()?;
    let addresses = free_addresses::<N>()?;
    let listeners: Vec<Listener> = rows
        .iter()
        .zip(addresses)
        .map(|(row, address)| Listener {
            name: row.name,
            address,
            filters: row.filters.clone(),
            upstream: scene.upstream,
        })
        .collect();
    let gateway = start(
        workspace,
        "speed",
        admin,
        &listeners,
        scene.clusters.clone(),
    )?;
    let mut samples: Vec<Samples> = rows.iter().map(|_| Samples::default()).collect();
    // The first round warms up: connections, caches, V8's optimising compiler.
    for round in 0..=scene.rounds {
        for ((row, address), samples) in rows.iter().zip(addresses).zip(&mut samples) {
            let before = procfs::cpu_nanoseconds(gateway.pid())?;
            let run = wrk::run(address, SECONDS, &row.load, row.answers)?;
            let spent = procfs::cpu_nanoseconds(gateway.pid())?.saturating_sub(before);
            if round > 0 {
                samples
                    .microseconds
                    .push(spent as f64 / 1_000.0 / run.requests as f64);
                samples.per_second.push(run.per_second);
            }
        }
    }
    let mut medians = Vec::new();
    for (row, samples) in rows.iter().zip(&mut samples) {
        let cpu = median(&mut samples.microseconds).context("no rounds")?;
        let per_second = median(&mut samples.per_second).context("no rounds")?;
        medians.push((row.label, cpu, per_second));
    }
    Ok(table(scene, &medians))
}

fn table(scene: &Scene<'_>, rows: &[(&str, f64, f64)]) -> Value {
    let Scene { title, rounds, .. } = scene;
    println!("\n{title}: medians of {rounds} interleaved rounds, one worker");
    println!(
        "{:<30} {:>12} {:>8} {:>12} {:>15}",
        "", "CPU µs/req", "over none", "requests/s", "of native's rps"
    );
    let none = rows.first().map_or(0.0, |(_, cpu, _)| *cpu);
    let native = rows.get(1).map_or(1.0, |(_, _, per_second)| *per_second);
    let row = |(label, cpu, per_second): &(&str, f64, f64)| {
        let (over, ratio) = (cpu - none, per_second / native);
        println!("{label:<30} {cpu:>12.1} {over:>+8.1} {per_second:>12.0} {ratio:>15.2}");
        json!({
            "row": label, "cpu_us_per_request": cpu, "cpu_us_over_none": over,
            "requests_per_second": per_second, "ratio_to_native": ratio,
        })
    };
    rows.iter().map(row).collect::<Vec<_>>().into()
}

fn start(
    workspace: &Workspace,
    name: &str,
    admin: SocketAddr,
    listeners: &[Listener],
    clusters: Vec<Value>,
) -> Result<Gateway> {
    let more = bootstrap::More {
        clusters,
        ..Default::default()
    };
    let plan = Plan {
        host: Host::Envoy,
        bootstrap: &bootstrap::write_with(workspace, name, admin, listeners, more)?,
        listeners: &[],
        admin,
        workers: 1,
        log: &workspace.target(&format!("bench/{name}.log")),
    };
    Gateway::start(workspace, plan)
}
