//! Redis and webdis, the distribution's: what rate-limit's global limits are tested with. Tests start
//! their own, on ports of the loopback; nothing of it is to run as a service.

use anyhow::Result;

use crate::process;
use crate::setup::{Search, Tool, apt};
use crate::workspace::Workspace;

/// The programs and the packages, and services, that they are in.
const PROGRAMS: [(&str, &str); 2] = [("redis-server", "redis-server"), ("webdis", "webdis")];

/// The tool as `setup` sees it.
pub(crate) const TOOL: Tool = Tool {
    name: "redis",
    purpose: "to test rate-limit's global limits with, behind webdis",
    optional: false,
    find: search,
    install,
};

fn search(_: &Workspace) -> Result<Search> {
    let mut places = Vec::new();
    for (program, _) in PROGRAMS {
        match process::find_on_path(program) {
            Some(place) => places.push(place.display().to_string()),
            None => return Ok(Search::Missing(format!("no {program} on PATH"))),
        }
    }
    Ok(Search::Found(places.join(", ")))
}

fn install(_: &Workspace) -> Result<()> {
    let packages = PROGRAMS.map(|(_, package)| package);
    apt::install(&packages)?;
    apt::stop_services(&packages)
}
