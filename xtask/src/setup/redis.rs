//! Redis and webdis, the distribution's: what limits over several gateways, and a cache that they share,
//! are tested with. Tests start their own, on ports of the loopback; nothing of it is to run as a service.

use anyhow::Result;

use crate::setup::{Search, Tool, apt};
use crate::workspace::Workspace;

/// The programs and the packages, and services, that they are in.
const PROGRAMS: [(&str, &str); 2] = [("redis-server", "redis-server"), ("webdis", "webdis")];

/// The tool as `setup` sees it.
pub(crate) const TOOL: Tool = Tool {
    name: "redis",
    purpose: "to test what several gateways share, behind webdis",
    optional: false,
    find: search,
    install,
};

fn search(_: &Workspace) -> Result<Search> {
    apt::search(&PROGRAMS)
}

fn install(_: &Workspace) -> Result<()> {
    let packages = PROGRAMS.map(|(_, package)| package);
    apt::install(&packages)?;
    apt::stop_services(&packages)
}
