//! libfaketime, which lets a scenario that advances the clock run in the real Envoy.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::process;
use crate::setup::{Search, Tool, apt};
use crate::workspace::Workspace;

/// The Debian package with the library.
const PACKAGE: &str = "libfaketime";

/// The library's path below the folders that distributions keep libraries in.
const LIBRARY: &str = "faketime/libfaketime.so.1";

/// The tool as `setup` sees it.
pub(crate) const TOOL: Tool = Tool {
    name: "libfaketime",
    purpose: "to run scenarios with `advance` in Envoy without waiting",
    optional: true,
    find: search,
    install,
};

/// Returns the library: `$PENSTOCK_FAKETIME`, else where distributions put it.
pub(crate) fn find() -> Option<PathBuf> {
    if let Some(library) = std::env::var_os("PENSTOCK_FAKETIME").map(PathBuf::from) {
        return library.is_file().then_some(library);
    }
    let multiarch = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let folders = [multiarch.as_str(), "/usr/lib64", "/usr/lib"];
    folders
        .into_iter()
        .map(|folder| PathBuf::from(folder).join(LIBRARY))
        .find(|file| file.is_file())
}

fn search(_: &Workspace) -> Result<Search> {
    Ok(match find() {
        Some(library) => Search::Found(library.display().to_string()),
        None => Search::Missing(format!("no {LIBRARY} below /usr/lib")),
    })
}

fn install(_: &Workspace) -> Result<()> {
    if process::find_on_path("apt-get").is_none() {
        bail!("install libfaketime, or set $PENSTOCK_FAKETIME to its library");
    }
    apt::install(&[PACKAGE])
}
