//! wasm-opt over a module, skipped when the same input went through the same wasm-opt before.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;
use crate::setup::wasm_opt::WasmOpt;

/// `-g` keeps the names: Envoy prints them in the backtrace of a trap, and they are a fifth of a
/// module (63.7 instead of 49.0 KB for one that does next to nothing). Features are read from the
/// module itself, where the compiler lists those that it used; `--all-features` made it larger, as
/// did -O4; `--converge` and a second round saved less than 0.2 %.
const FLAGS: [&str; 2] = ["-O3", "-g"];

/// A folder with the last input and output of each module.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// Makes the folder if needed.
    pub(crate) fn open(folder: PathBuf) -> Result<Self> {
        fs::create_dir_all(&folder).with_context(|| format!("can't make {}", folder.display()))?;
        Ok(Self { folder })
    }

    /// Returns the optimised module.
    pub(crate) fn optimize(&self, name: &str, module: &[u8], tool: &WasmOpt) -> Result<Vec<u8>> {
        let file = |suffix: &str| self.folder.join(format!("{name}.{suffix}"));
        let (input, output, recipe) = (file("in.wasm"), file("out.wasm"), file("recipe"));
        let how = format!("wasm-opt {} {}", tool.version, FLAGS.join(" "));
        let is_fresh = fs::read(&input).is_ok_and(|before| before == module)
            && fs::read_to_string(&recipe).is_ok_and(|before| before == how);
        if is_fresh && let Ok(optimised) = fs::read(&output) {
            return Ok(optimised);
        }
        // The recipe goes first and comes last: it vouches for the other two.
        let _ = fs::remove_file(&recipe);
        write(&input, module)?;
        let mut command = Command::new(&tool.program);
        command.args(FLAGS).arg(&input).arg("-o").arg(&output);
        process::capture(&mut command)?;
        let optimised =
            fs::read(&output).with_context(|| format!("can't read {}", output.display()))?;
        write(&recipe, how.as_bytes())?;
        Ok(optimised)
    }
}

/// Writes a file unless it holds the same bytes already, so that its time tells of real changes.
pub(crate) fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(file).is_ok_and(|before| before == bytes) {
        return Ok(());
    }
    fs::write(file, bytes).with_context(|| format!("can't write {}", file.display()))
}
