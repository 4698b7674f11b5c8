//! nginx, Varnish and wrk, the distribution's: what cache-lookup is measured beside, and with. The
//! benchmark starts its own; only it needs them, so `setup` doesn't install them.

use anyhow::Result;

use crate::setup::{Search, Tool, apt};
use crate::workspace::Workspace;

/// The programs and the packages that they are in.
const PROGRAMS: [(&str, &str); 3] = [
    ("nginx", "nginx-light"),
    ("varnishd", "varnish"),
    ("wrk", "wrk"),
];

/// The tool as `bench cache` sees it.
pub(crate) const TOOL: Tool = Tool {
    name: "caches",
    purpose: "to measure cache-lookup beside nginx and Varnish",
    optional: false,
    find: search,
    install,
};

fn search(_: &Workspace) -> Result<Search> {
    apt::search(&PROGRAMS)
}

fn install(_: &Workspace) -> Result<()> {
    apt::install(&PROGRAMS.map(|(_, package)| package))
}
