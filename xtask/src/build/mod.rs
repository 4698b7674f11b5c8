//! `build`: the filters as modules in `target/wasm`.
//!
//! cargo compiles them, exports that a filter doesn't implement are cut, wasm-opt shrinks the rest,
//! function names are made readable, and what comes out is held to its imports, its exports and its
//! size budget. Each step is a pure function from bytes to bytes in a module of its own, except the
//! two that run a program.

mod exports;
mod imports;
mod names;
mod optimize;
mod section;
mod size;

use std::path::PathBuf;
use std::thread;

use anyhow::{Context, Result, bail};

use crate::build::optimize::Cache;
use crate::build::size::Size;
use crate::process;
use crate::setup::wasm_opt::WasmOpt;
use crate::setup::wasm_target::{TARGET, Toolchain};
use crate::setup::{self, wasm_opt, wasm_target};
use crate::workspace::{Module, Workspace};

/// Builds all modules, installing what that needs, and prints their sizes.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    setup::ensure(workspace, &[&wasm_target::TOOL, &wasm_opt::TOOL])?;
    compile(workspace)?;
    let optimizer = WasmOpt::find(workspace).ok();
    let cache = Cache::open(workspace.target("wasm-build/wasm-opt"))?;
    std::fs::create_dir_all(workspace.target("wasm")).context("can't make target/wasm")?;

    // wasm-opt takes seconds for each module: they go side by side.
    let finished: Vec<Result<Size>> = thread::scope(|scope| {
        let (cache, optimizer) = (&cache, optimizer.as_ref());
        let start = |module| scope.spawn(move || finish(workspace, module, cache, optimizer));
        let running: Vec<_> = workspace.modules.iter().map(start).collect();
        let panicked = || anyhow::anyhow!("a build thread panicked");
        running
            .into_iter()
            .map(|it| it.join().map_err(|_| panicked())?)
            .collect()
    });

    let mut rows = Vec::new();
    for (module, size) in workspace.modules.iter().zip(finished) {
        let name = module.name.as_str();
        let size = size.with_context(|| format!("{name}.wasm"))?;
        rows.push((name, size, module.budget));
    }
    print!("{}", size::table(&rows));
    if optimizer.is_none() {
        println!("Not shrunk, since wasm-opt is missing: the budgets don't apply.");
        return Ok(());
    }
    let over: Vec<String> = rows
        .iter()
        .flat_map(|(name, size, budget)| size.excesses(name, *budget))
        .collect();
    if !over.is_empty() {
        bail!("{}", over.join("; "));
    }
    Ok(())
}

fn compile(workspace: &Workspace) -> Result<()> {
    let toolchain = Toolchain::find(workspace)?;
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--release"]);
    for module in &workspace.modules {
        cargo.args(["--package", &module.package]);
    }
    toolchain.apply(workspace, &mut cargo);
    process::run(&mut cargo).context("the modules don't compile")
}

/// Cuts, shrinks, checks and writes one module; returns its size.
fn finish(
    workspace: &Workspace,
    module: &Module,
    cache: &Cache,
    optimizer: Option<&WasmOpt>,
) -> Result<Size> {
    let compiled = artifact(workspace, module);
    let bytes = std::fs::read(&compiled)
        .with_context(|| format!("can't read {}", workspace.relative(&compiled)))?;
    let mut bytes = exports::cut(&bytes, &module.callbacks)?;
    if let Some(optimizer) = optimizer {
        bytes = cache.optimize(&module.name, &bytes, optimizer)?;
    }
    let bytes = names::shorten(&bytes)?;
    exports::check(&bytes)?;
    imports::check(&bytes)?;
    let file = workspace.wasm(&module.name);
    optimize::write(&file, &bytes)?;
    Size::of(&file)
}

fn artifact(workspace: &Workspace, module: &Module) -> PathBuf {
    let folder = workspace.target("wasm-build").join(TARGET).join("release");
    folder.join(format!("{}.wasm", module.name))
}
