//! The AssemblyScript compiler and SDK, from npm in `target/tools/assemblyscript`: host-test's tests
//! run a guest of that SDK.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;
use crate::setup::{Search, Tool, npm};
use crate::workspace::Workspace;

/// The SDK.
const SDK: &str = "@solo-io/proxy-runtime";

/// Its last version.
const SDK_VERSION: &str = "0.1.8";

/// The compiler; the SDK needs its runtime of this line.
const COMPILER: &str = "assemblyscript@0.14.9";

/// The guest's source.
const SOURCE: &str = "host-test/tests/modules/assembly_script.ts";

/// The tool as `setup` sees it.
pub(crate) const TOOL: Tool = Tool {
    name: "asc",
    purpose: "to compile a guest of the AssemblyScript SDK for the tests of host-test",
    optional: true,
    find: search,
    install,
};

/// Compiles the guest to `target/wasm/assembly_script.wasm`. Without the compiler there is none, and
/// false is returned.
pub(crate) fn compile(workspace: &Workspace) -> Result<bool> {
    let module = workspace.wasm("assembly_script");
    let compiler = compiler(workspace);
    if !process::is_executable(&compiler) {
        // An old one would look as if it had just been made.
        let _ = std::fs::remove_file(module);
        return Ok(false);
    }
    let folder = folder(workspace);
    std::fs::copy(workspace.root.join(SOURCE), folder.join("guest.ts"))
        .with_context(|| format!("can't copy {SOURCE}"))?;
    let mut command = Command::new(compiler);
    command.current_dir(&folder);
    command.args(["guest.ts", "--use", "abort=abort_proc_exit", "--optimize"]);
    command.arg("--binaryFile").arg("guest.wasm");
    let output = command.output().context("can't start asc")?;
    if !output.status.success() {
        bail!(
            "{SOURCE} does not compile:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    std::fs::copy(folder.join("guest.wasm"), &module)
        .with_context(|| format!("can't write {}", workspace.relative(&module)))?;
    Ok(true)
}

fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target("tools/assemblyscript")
}

fn compiler(workspace: &Workspace) -> PathBuf {
    folder(workspace).join("node_modules/.bin/asc")
}

fn search(workspace: &Workspace) -> Result<Search> {
    let compiler = compiler(workspace);
    let sdk = npm::installed(&folder(workspace), SDK)?;
    if !process::is_executable(&compiler) || sdk != SDK_VERSION {
        return Ok(Search::Missing(format!(
            "{} and {SDK} {SDK_VERSION} aren't there",
            workspace.relative(&compiler)
        )));
    }
    let place = workspace.relative(&compiler);
    Ok(Search::Found(format!("SDK {SDK_VERSION}, {place}")))
}

fn install(workspace: &Workspace) -> Result<()> {
    let packages = [COMPILER, &format!("{SDK}@{SDK_VERSION}")];
    npm::install(&folder(workspace), &packages, "")
}
