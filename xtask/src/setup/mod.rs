//! `setup`: finds the tools that the other commands need and installs those that are missing.
//!
//! What is there is read from the machine each time, never from a note about an earlier run: a
//! second run therefore finds everything and does nothing. Tools of our own go to `target/tools`;
//! only the wasm target (rustup) and distribution packages (apt, as root) touch the machine.

pub(crate) mod apt;
pub(crate) mod assembly_script;
pub(crate) mod browser;
pub(crate) mod envoy;
pub(crate) mod identity_provider;
mod npm;
pub(crate) mod openssl;
pub(crate) mod peers;
pub(crate) mod redis;
pub(crate) mod wasm_opt;
pub(crate) mod wasm_target;

use anyhow::{Context, Result, bail};

use crate::cli::SetupOptions;
use crate::workspace::Workspace;

/// Something that the commands need from the machine.
pub(crate) struct Tool {
    /// What it is called in the report.
    pub(crate) name: &'static str,
    /// Why it is needed, as the end of a sentence.
    pub(crate) purpose: &'static str,
    /// Whether the commands can do without it, with less.
    pub(crate) optional: bool,
    /// Looks for it.
    pub(crate) find: fn(&Workspace) -> Result<Search>,
    /// Installs it, showing each command it runs.
    pub(crate) install: fn(&Workspace) -> Result<()>,
}

/// What came of looking for a tool.
#[derive(Debug, PartialEq)]
pub(crate) enum Search {
    /// It is there: version and place.
    Found(String),
    /// It isn't: what was looked for.
    Missing(String),
}

/// Runs `setup`.
pub(crate) fn run(workspace: &Workspace, options: SetupOptions) -> Result<()> {
    let tools = [
        &wasm_target::TOOL,
        &wasm_opt::TOOL,
        &envoy::TOOL,
        &assembly_script::TOOL,
        &identity_provider::TOOL,
        &browser::TOOL,
        &redis::TOOL,
        &openssl::TOOL,
    ];
    let require_all = options.require_all || in_ci();
    let mut untouched = true;
    let mut failures = Vec::new();
    for tool in tools {
        let outcome = match (tool.find)(workspace) {
            Ok(Search::Found(detail)) => {
                ready(tool, &detail);
                continue;
            }
            Ok(Search::Missing(why)) if options.check => {
                println!("{:<12} missing: {why}", tool.name);
                println!("{:<12} needed {}", "", tool.purpose);
                Err(anyhow::anyhow!("missing"))
            }
            Ok(Search::Missing(why)) => {
                untouched = false;
                install(workspace, tool, &why)
            }
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            let needed = !tool.optional || require_all;
            if !options.check {
                println!(
                    "{:<12} {}: {error:#}",
                    tool.name,
                    if needed { "failed" } else { "none" }
                );
            }
            if needed {
                failures.push(tool.name);
            }
        }
    }
    match (failures.is_empty(), options.check) {
        (true, false) if untouched => println!("Everything is there: nothing to do."),
        (true, _) => {}
        (false, true) => {
            bail!(
                "missing: {}; `cargo xtask setup` installs it",
                failures.join(", ")
            )
        }
        (false, false) => bail!(
            "not set up: {} (the reasons are above)",
            failures.join(", ")
        ),
    }
    Ok(())
}

/// Makes sure that the tools are there, installing what is missing. Says nothing when all are.
///
/// An optional tool that can't be installed is reported and left out, except in CI.
pub(crate) fn ensure(workspace: &Workspace, tools: &[&Tool]) -> Result<()> {
    for tool in tools {
        let Search::Missing(why) = (tool.find)(workspace)? else {
            continue;
        };
        match install(workspace, tool, &why) {
            Err(error) if tool.optional && !in_ci() => {
                println!("{:<12} none: {error:#}", tool.name);
            }
            outcome => outcome.with_context(|| format!("{} is missing", tool.name))?,
        }
    }
    Ok(())
}

/// Returns whether this runs in continuous integration, where optional tools are required.
pub(crate) fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}

fn install(workspace: &Workspace, tool: &Tool, why: &str) -> Result<()> {
    println!("{:<12} installing {} ({why})", tool.name, tool.purpose);
    (tool.install)(workspace)?;
    match (tool.find)(workspace)? {
        Search::Found(detail) => {
            ready(tool, &detail);
            Ok(())
        }
        Search::Missing(why) => bail!("was installed, but {why}"),
    }
}

fn ready(tool: &Tool, detail: &str) {
    println!("{:<12} ready: {detail}", tool.name);
}
