//! `lint`: format, features of dependencies, and clippy, warnings being errors.
//!
//! clippy runs twice because `filter-shell` and the shells of the filters exist on wasm alone.
//! Features are compared because wasmtime would be compiled twice, minutes each, if tests asked for
//! others of anything that it is made of.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::process;
use crate::setup::{self, wasm_target};
use crate::workspace::Workspace;

type Check = fn(&Workspace) -> Result<()>;

/// Runs all checks, also when one fails.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    setup::ensure(workspace, &[&wasm_target::TOOL])?;
    let checks: [(&str, Check); 4] = [
        ("format", format),
        ("features", features),
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

/// Compares the features of host-test's dependencies with and without its tests.
fn features(workspace: &Workspace) -> Result<()> {
    let tree = |edges: &str| {
        let mut cargo = workspace.cargo();
        cargo.args(["tree", "--package", "host-test", "--edges", edges]);
        cargo.args(["--prefix", "none", "--no-dedupe", "--format", "{p}\t{f}"]);
        process::capture(&mut cargo)
    };
    let (command, tests) = (tree("normal,build")?, tree("normal,build,dev")?);
    let different = different_features(&command, &tests);
    if !different.is_empty() {
        bail!(
            "host-test and its tests want different features of {}: give its dependencies those \
             of its dev-dependencies",
            different.join(", ")
        );
    }
    Ok(())
}

/// Returns the packages of `command` that have other features in `tests`.
fn different_features<'a>(command: &'a str, tests: &'a str) -> Vec<&'a str> {
    let parse = |text: &'a str| {
        text.lines()
            .filter_map(|line| line.split_once('\t'))
            .collect()
    };
    let tests: BTreeMap<&str, &str> = parse(tests);
    let command: BTreeMap<&str, &str> = parse(command);
    let differs = |(package, features): (&'a str, &str)| {
        tests
            .get(package)
            .is_some_and(|other| *other != features)
            .then_some(package)
    };
    command.into_iter().filter_map(differs).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_that_tests_add_are_found() {
        let command = "host-test v0.1.0 (/penstock)\t\nmemchr v2.8.3\talloc,std\nlog v0.4.35\t\n";
        let same = "host-test v0.1.0 (/penstock)\t\nmemchr v2.8.3\talloc,std\nwat v1.0.0\tdwarf\n";
        assert_eq!(different_features(command, same), Vec::<&str>::new());
        let more = "memchr v2.8.3\talloc,default,std\nlog v0.4.35\t\n";
        assert_eq!(different_features(command, more), ["memchr v2.8.3"]);
    }
}
