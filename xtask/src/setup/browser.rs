//! Chromium of the distribution, and Playwright, which drives it: the npm package in
//! `target/tools/playwright`. host-test's tests look at the inspector's page with them.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::process;
use crate::setup::{Search, Tool, apt, npm};
use crate::workspace::Workspace;

/// Version of the npm package, which brings no browser of its own.
const VERSION: &str = "1.65.1";

/// Where Debian's package puts it.
const CHROMIUM: &str = "/usr/bin/chromium";

/// The tool as `setup` sees it.
pub(crate) const TOOL: Tool = Tool {
    name: "Chromium",
    purpose: "to test the inspector's page in a real browser",
    optional: false,
    find: search,
    install,
};

fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target("tools/playwright")
}

fn search(workspace: &Workspace) -> Result<Search> {
    if !process::is_executable(Path::new(CHROMIUM)) {
        return Ok(Search::Missing(format!("there is no {CHROMIUM}")));
    }
    Ok(
        match npm::installed(&folder(workspace), "playwright-core")? {
            version if version == VERSION => {
                let place = workspace.relative(&folder(workspace));
                Search::Found(format!("{CHROMIUM}, playwright-core {VERSION}, {place}"))
            }
            version if version.is_empty() => {
                Search::Missing("playwright-core is not installed".to_owned())
            }
            version => Search::Missing(format!("playwright-core {version} is not {VERSION}")),
        },
    )
}

fn install(workspace: &Workspace) -> Result<()> {
    if !process::is_executable(Path::new(CHROMIUM)) {
        apt::install(&["chromium"])?;
    }
    npm::install(
        &folder(workspace),
        &[&format!("playwright-core@{VERSION}")],
        "",
    )
}
