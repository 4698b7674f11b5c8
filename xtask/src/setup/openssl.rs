//! OpenSSL's program, the distribution's: it makes the certificates that bound tokens are tested with, and
//! is the client that has them.

use anyhow::Result;

use crate::setup::{Search, Tool, apt};
use crate::workspace::Workspace;

/// The program and the package that it is in.
const PROGRAMS: [(&str, &str); 1] = [("openssl", "openssl")];

/// The tool as `setup` sees it.
pub(crate) const TOOL: Tool = Tool {
    name: "openssl",
    purpose: "to test tokens that are bound to certificates",
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
