//! Compiled modules, and what Envoy would say of them at load.

use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use wasmparser::{ExternalKind, Parser, Payload, TypeRef};
use wasmtime::{Cache, CacheConfig, Config, Engine, InstancePre, Linker};

use crate::abi::AbiVersion;
use crate::hostcalls;
use crate::vm::VmState;

/// How often the epoch that bounds callbacks moves on.
pub(crate) const EPOCH: Duration = Duration::from_millis(10);

/// A compiled proxy-wasm module.
pub struct Module {
    path: PathBuf,
    digest: u64,
    pre: InstancePre<VmState>,
}

/// Why a module can't be loaded, in Envoy's words where Envoy has any.
#[derive(Debug)]
pub struct ModuleError {
    /// The file, or the name given to bytes.
    pub path: PathBuf,
    /// What is wrong with it.
    pub cause: String,
}

impl Module {
    /// Compiles a module file, or takes it from the on-disk cache.
    ///
    /// # Errors
    ///
    /// The file can't be read, or Envoy would refuse it.
    pub fn from_file(path: &Path) -> Result<Self, ModuleError> {
        let error = |cause: String| ModuleError {
            path: path.to_owned(),
            cause,
        };
        let bytes = std::fs::read(path).map_err(|e| error(format!("can't be read: {e}")))?;
        Self::from_bytes(path, &bytes)
    }

    /// Compiles a module from its bytes; `path` is the name used in messages.
    ///
    /// # Errors
    ///
    /// Envoy would refuse it.
    pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Self, ModuleError> {
        let error = |cause: String| ModuleError {
            path: path.to_owned(),
            cause,
        };
        check(bytes).map_err(error)?;
        let runtime = runtime().map_err(|e| error(format!("the engine did not start: {e:#}")))?;
        let module = wasmtime::Module::from_binary(&runtime.engine, bytes)
            .map_err(|e| error(format!("Failed to load Wasm code: {e:#}")))?;
        let pre = runtime.linker.instantiate_pre(&module).map_err(|e| {
            error(format!(
                "Failed to load Wasm module: import type mismatch: {e:#}"
            ))
        })?;
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        Ok(Self {
            path: path.to_owned(),
            digest: hasher.finish(),
            pre,
        })
    }

    /// The file it came from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A number that is equal for equal bytes.
    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    pub(crate) fn pre(&self) -> &InstancePre<VmState> {
        &self.pre
    }

    /// The same for a plugin that may not use all of its imports.
    pub(crate) fn restricted(
        &self,
        allowed: &BTreeSet<String>,
    ) -> wasmtime::Result<InstancePre<VmState>> {
        let module = self.pre.module();
        let mut linker = Linker::new(module.engine());
        hostcalls::add_to_linker(&mut linker)?;
        hostcalls::restrict(&mut linker, module, allowed)?;
        linker.instantiate_pre(module)
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for ModuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.cause)
    }
}

impl std::error::Error for ModuleError {}

struct Runtime {
    engine: Engine,
    linker: Linker<VmState>,
}

/// The engine of the process. One for all, so that a module is compiled once.
fn runtime() -> Result<&'static Runtime, &'static wasmtime::Error> {
    static RUNTIME: OnceLock<Result<Runtime, wasmtime::Error>> = OnceLock::new();
    RUNTIME
        .get_or_init(|| {
            let mut config = Config::new();
            config.epoch_interruption(true);
            // Without a cache directory (a read-only home, say) modules are compiled each time.
            config.cache(Cache::new(CacheConfig::new()).ok());
            let engine = Engine::new(&config)?;
            let mut linker = Linker::new(&engine);
            hostcalls::add_to_linker(&mut linker)?;
            let ticking = engine.clone();
            std::thread::Builder::new()
                .name("epoch".into())
                .spawn(move || {
                    loop {
                        std::thread::sleep(EPOCH);
                        ticking.increment_epoch();
                    }
                })?;
            Ok(Runtime { engine, linker })
        })
        .as_ref()
}

/// Refuses what Envoy refuses (or crashes on) before the engine sees it.
fn check(bytes: &[u8]) -> Result<(), String> {
    let mut exports = BTreeSet::new();
    let mut memory_exported = false;
    let mut imports = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(|e| format!("Failed to load Wasm code: {e}"))? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import.map_err(|e| e.to_string())?;
                    imports.push((
                        import.module.to_owned(),
                        import.name.to_owned(),
                        matches!(import.ty, TypeRef::Func(_)),
                    ));
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export.map_err(|e| e.to_string())?;
                    match export.kind {
                        ExternalKind::Memory => memory_exported = true,
                        ExternalKind::Func => {
                            exports.insert(export.name.to_owned());
                        }
                        _ => {}
                    }
                }
            }
            Payload::StartSection { .. } => {
                return Err("has a start section; Envoy crashes on one that calls the host".into());
            }
            _ => {}
        }
    }
    let declared = |version: &AbiVersion| exports.contains(version.export());
    let Some(abi) = AbiVersion::ALL.into_iter().find(declared) else {
        return Err("Missing or unknown Proxy-Wasm ABI version".into());
    };
    if !exports.contains("malloc") && !exports.contains("proxy_on_memory_allocate") {
        return Err("Wasm module is missing malloc or proxy_on_memory_allocate".into());
    }
    if !memory_exported {
        return Err("exports no memory; Envoy crashes on its first use".into());
    }
    for (module, name, is_function) in &imports {
        if !is_function || !hostcalls::provides(abi, module, name) {
            return Err(format!(
                "Failed to load Wasm module due to a missing import: {module}.{name}"
            ));
        }
    }
    Ok(())
}
