//! `lint`: format and clippy, warnings being errors.
//!
//! clippy runs twice because `filter-shell` and the shells of the filters exist on wasm alone.

use std::time::Instant;

use anyhow::{Result, bail};

use crate::process;
use crate::setup::{self, wasm_target};
use crate::workspace::Workspace;

type Check = fn(&Workspace) -> Result<()>;

/// Runs all three checks, also when one fails.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    setup::ensure(workspace, &[&wasm_target::TOOL])?;
    let checks: [(&str, Check); 3] = [
        ("format", format),
        ("clippy, native", native),
        ("clippy, wasm", wasm),
    ];
    let mut failed = Vec::new();
    for (name, check) in checks {
        let started = Instant::now();
        let outcome = check(workspace);
        let seconds = started.elapsed().as_secs_f32();
        println!(
            "{name:<16} {} in {seconds:.1} s",
            if outcome.is_ok() { "ok" } else { "failed" }
        );
        if let Err(error) = outcome {
            println!("{error:#}");
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!("lint found something in: {}", failed.join("; "));
    }
    Ok(())
}

fn format(workspace: &Workspace) -> Result<()> {
    process::run(workspace.cargo().args(["fmt", "--all", "--check"]))
}

fn native(workspace: &Workspace) -> Result<()> {
    let mut cargo = workspace.cargo();
    // The profile of the tests: build scripts and macros are then compiled once for both.
    cargo.args([
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--keep-going",
        "--profile",
        "host",
    ]);
    process::run(cargo.args(["--", "-D", "warnings"]))
}

fn wasm(workspace: &Workspace) -> Result<()> {
    let packages: Vec<&str> = workspace
        .modules
        .iter()
        .map(|it| it.package.as_str())
        .collect();
    let toolchain = wasm_target::Toolchain::find(workspace)?;
    process::run(&mut toolchain.clippy(workspace, &packages)?)
}
