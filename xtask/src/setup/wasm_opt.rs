//! wasm-opt of Binaryen: one on PATH, else the npm package in `target/tools/npm`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;
use crate::setup::{Search, Tool, npm};
use crate::workspace::Workspace;

/// Version of the npm package.
const VERSION: &str = "132.0.0";

/// Older ones don't know features that today's compilers write into a module.
const OLDEST: u32 = 121;

/// The tool as `setup` sees it.
pub(crate) const TOOL: Tool = Tool {
    name: "wasm-opt",
    purpose: "to shrink the modules; the size budgets count the shrunk ones",
    optional: true,
    find: search,
    install,
};

/// A wasm-opt.
#[derive(Debug)]
pub(crate) struct WasmOpt {
    /// The program.
    pub(crate) program: PathBuf,
    /// Its version, as a part of the identity of what it made.
    pub(crate) version: String,
}

impl WasmOpt {
    /// Looks for a wasm-opt. The error says what was looked for.
    pub(crate) fn find(workspace: &Workspace) -> Result<Self> {
        let mut too_old = None;
        if let Some(program) = process::find_on_path("wasm-opt") {
            let version = version_of(&program)?;
            if version >= OLDEST {
                return Ok(Self {
                    program,
                    version: version.to_string(),
                });
            }
            too_old = Some((program, version));
        }
        let program = folder(workspace).join("node_modules/.bin/wasm-opt");
        if process::is_executable(&program)
            && npm::installed(&folder(workspace), "binaryen")? == VERSION
        {
            return Ok(Self {
                program,
                version: format!("npm {VERSION}"),
            });
        }
        match too_old {
            Some((program, version)) => {
                bail!(
                    "{} is version {version}, older than {OLDEST}",
                    program.display()
                )
            }
            None => bail!("no wasm-opt on PATH"),
        }
    }
}

fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target("tools/npm")
}

fn search(workspace: &Workspace) -> Result<Search> {
    Ok(match WasmOpt::find(workspace) {
        Ok(found) => {
            let place = workspace.relative(&found.program);
            Search::Found(format!("version {}, {place}", found.version))
        }
        Err(why) => Search::Missing(why.to_string()),
    })
}

fn install(workspace: &Workspace) -> Result<()> {
    let instead = format!(", or Binaryen {OLDEST} or newer");
    npm::install(
        &folder(workspace),
        &[&format!("binaryen@{VERSION}")],
        &instead,
    )
}

/// Reads `wasm-opt version 132 (version_132)`.
fn version_of(program: &Path) -> Result<u32> {
    let line = process::capture(Command::new(program).arg("--version"))?;
    let number = line
        .split_whitespace()
        .nth(2)
        .and_then(|word| word.parse().ok());
    number.with_context(|| format!("{} printed no version: {line}", program.display()))
}
