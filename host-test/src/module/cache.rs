//! Compiled code on disk, so that the second process to load a module needn't compile it.
//!
//! wasmtime keeps one file per module, named after a digest of the module's bytes, the engine's
//! settings and the compiler's version. Writers replace files whole, so that processes can share a
//! folder; a file that can't be read is compiled anew and replaced.

use std::ffi::OsStr;
use std::path::PathBuf;

use wasmtime::{Cache, CacheConfig};

/// Names the folder, or turns the cache off with `off`.
const VARIABLE: &str = "HOST_TEST_CACHE";

/// Opens the cache that the environment asks for: a folder of the user's own, where that can be
/// had, else none.
pub(super) fn open() -> wasmtime::Result<Option<Cache>> {
    match std::env::var_os(VARIABLE) {
        // Without one (a read-only home, say) modules are compiled by each process.
        None => Ok(Cache::new(CacheConfig::new()).ok()),
        Some(off) if off.is_empty() || off == OsStr::new("off") => Ok(None),
        Some(folder) => in_folder(folder.into()).map(Some),
    }
}

/// A folder that the user has named must be usable.
fn in_folder(folder: PathBuf) -> wasmtime::Result<Cache> {
    let mut config = CacheConfig::new();
    let named = |e: &dyn std::fmt::Display| {
        wasmtime::Error::msg(format!("{VARIABLE}={}: {e:#}", folder.display()))
    };
    config.with_directory(std::path::absolute(&folder).map_err(|e| named(&e))?);
    Cache::new(config).map_err(|e| named(&e))
}
