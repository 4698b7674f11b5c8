//! The benchmark of host-test itself: what a request costs in the library, and what `serve` costs
//! beside the real Envoy on the same bootstrap.
//!
//! host-test is compiled as one unit for it, as a release would be: `cargo test` builds it in
//! sixteen, which compile quickly and can't be inlined into one another.

mod requests;
mod serving;
mod startup;

use anyhow::Result;
use serde_json::{Value, json};

use crate::bench::wrk;
use crate::cli::{BenchOptions, Host};
use crate::gateway::{self, Purpose};
use crate::workspace::Workspace;

/// Runs all measurements; those in Envoy only when Envoy is among the hosts.
pub(crate) fn run(workspace: &Workspace, options: &BenchOptions) -> Result<Value> {
    let hosts: Vec<Host> = [Host::Wasmtime, Host::Envoy]
        .into_iter()
        .filter(|host| options.host.include(*host))
        .collect();
    wrk::expect_installed()?;
    gateway::prepare(workspace, Host::Wasmtime, Purpose::Speed)?;
    if hosts.contains(&Host::Envoy) {
        gateway::prepare(workspace, Host::Envoy, Purpose::Speed)?;
    }
    Ok(json!({
        "requests": requests::measure(workspace)?,
        "startup": startup::measure(workspace, &hosts)?,
        "serving": serving::measure(workspace, &hosts)?,
    }))
}

/// A row: what, the target, what was measured, and whether that is within the target.
fn print_row(what: &str, target: &str, measured: &str, met: Option<bool>) {
    let verdict = match met {
        Some(true) => "met",
        Some(false) => "missed",
        None => "",
    };
    println!("{what:<52} {target:>10} {measured:>22}  {verdict}");
}

fn print_header(title: &str) {
    println!("\n{title}");
    println!("{:<52} {:>10} {:>22}", "", "target", "measured");
}
