//! Packages of the npm registry, each in a folder of its own: npm takes away what else it finds.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;

/// Installs packages, each as `name@version`. `instead` says what else would do where npm is missing.
pub(crate) fn install(folder: &Path, packages: &[&str], instead: &str) -> Result<()> {
    if process::find_on_path("npm").is_none() {
        bail!("npm isn't on PATH: install Node.js with npm{instead}");
    }
    std::fs::create_dir_all(folder).with_context(|| format!("can't make {}", folder.display()))?;
    let mut command = Command::new("npm");
    command.args([
        "install",
        "--no-save",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
    ]);
    command.arg("--prefix").arg(folder).args(packages);
    process::show_and_run(&mut command)
}

/// The version that a folder holds of a package; empty if it holds none.
///
/// Reads the package's own manifest: starting node for its version costs 0.3 s of every build.
pub(crate) fn installed(folder: &Path, package: &str) -> Result<String> {
    let file = folder
        .join("node_modules")
        .join(package)
        .join("package.json");
    if !file.exists() {
        return Ok(String::new());
    }
    let text = std::fs::read(&file).with_context(|| format!("can't read {}", file.display()))?;
    let manifest: serde_json::Value =
        serde_json::from_slice(&text).with_context(|| format!("{} isn't JSON", file.display()))?;
    Ok(manifest["version"].as_str().unwrap_or_default().to_owned())
}
