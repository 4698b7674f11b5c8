//! Compiled modules, and what Envoy would say of them at load.

mod check;
mod provide;

use std::borrow::Cow;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use wasmtime::{Cache, CacheConfig, Config, Engine, Instance, InstancePre, Linker, Memory, Store};

use crate::hostcalls;
use crate::vm::VmState;

/// How often the epoch that bounds callbacks moves on.
pub(crate) const EPOCH: Duration = Duration::from_millis(10);

/// A compiled proxy-wasm module.
pub struct Module {
    path: PathBuf,
    digest: u64,
    compiled: wasmtime::Module,
    /// Ready to be instantiated, unless memories or tables have to be made first.
    pre: Option<InstancePre<VmState>>,
    provided: Vec<(String, String)>,
    memory: Option<String>,
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
        let checked = check::check(bytes).map_err(error)?;
        let runtime = runtime().map_err(|e| error(format!("the engine did not start: {e:#}")))?;
        let mut code = Cow::Borrowed(bytes);
        if !checked.shared_memories.is_empty() {
            code = check::unshared(bytes, &checked.shared_memories).into();
        }
        let compiled = wasmtime::Module::from_binary(&runtime.engine, &code)
            .map_err(|e| error(format!("Failed to load Wasm code: {e:#}")))?;
        if checked.has_start {
            provide::try_start(&compiled).map_err(error)?;
        }
        let pre = if checked.provided.is_empty() {
            let pre = runtime.linker.instantiate_pre(&compiled).map_err(|e| {
                error(format!(
                    "Failed to load Wasm module due to an import type mismatch: {e:#}"
                ))
            })?;
            Some(pre)
        } else {
            None
        };
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        Ok(Self {
            path: path.to_owned(),
            digest: hasher.finish(),
            compiled,
            pre,
            provided: checked.provided,
            memory: checked.memory,
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

    pub(crate) fn engine(&self) -> &Engine {
        self.compiled.engine()
    }

    /// Makes an instance, and tells the memory that hostcalls work on.
    pub(crate) fn instantiate(
        &self,
        store: &mut Store<VmState>,
    ) -> wasmtime::Result<(Instance, Option<Memory>)> {
        let (instance, made) = match &self.pre {
            Some(pre) => (pre.instantiate(&mut *store)?, None),
            None => {
                let runtime = runtime().map_err(|e| wasmtime::Error::msg(format!("{e:#}")))?;
                let linker = runtime.linker.clone();
                provide::instantiate(linker, store, &self.compiled, &self.provided)?
            }
        };
        let exported = self.memory.as_deref();
        let exported = exported.and_then(|name| instance.get_memory(&mut *store, name));
        Ok((instance, exported.or(made)))
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
