//! oidc-provider, the OpenID server that jwt-auth is tested with: the npm package in
//! `target/tools/oidc-provider`.

use std::path::PathBuf;

use anyhow::Result;

use crate::process;
use crate::setup::{Search, Tool, npm};
use crate::workspace::Workspace;

/// Version of the npm package.
const VERSION: &str = "9.13.3";

/// The tool as `setup` sees it.
pub(crate) const TOOL: Tool = Tool {
    name: "oidc-provider",
    purpose: "to issue the tokens that jwt-auth is tested with",
    optional: false,
    find: search,
    install,
};

fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target("tools/oidc-provider")
}

fn search(workspace: &Workspace) -> Result<Search> {
    if process::find_on_path("node").is_none() {
        return Ok(Search::Missing("no node on PATH".to_owned()));
    }
    Ok(match npm::installed(&folder(workspace), "oidc-provider")? {
        version if version == VERSION => {
            let place = workspace.relative(&folder(workspace));
            Search::Found(format!("version {VERSION}, {place}"))
        }
        version if version.is_empty() => Search::Missing("not installed".to_owned()),
        version => Search::Missing(format!("version {version} is not {VERSION}")),
    })
}

fn install(workspace: &Workspace) -> Result<()> {
    npm::install(
        &folder(workspace),
        &[&format!("oidc-provider@{VERSION}")],
        "",
    )
}
