//! Compiled modules and what Envoy would say of them at load.

use std::path::Path;

/// A compiled proxy-wasm module.
#[derive(Debug)]
pub struct Module {}

/// Why a module can't be loaded, in Envoy's words where Envoy has any.
#[derive(Debug)]
pub struct ModuleError(pub String);

impl Module {
    /// Compiles a module, or takes it from the on-disk cache.
    pub fn from_file(path: &Path) -> Result<Self, ModuleError> {
        let _ = path;
        todo!()
    }
}
