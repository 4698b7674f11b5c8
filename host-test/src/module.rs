//! Compiled modules, and what Envoy would say of them at load.

mod cache;
mod check;
mod provide;
mod recent;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use wasmtime::{Config, Engine, Instance, InstancePre, Linker, Memory, Store};

use self::check::Checked;
use crate::hostcalls;
use crate::vm::VmState;

/// How often the epoch that bounds callbacks moves on.
pub(crate) const EPOCH: Duration = Duration::from_millis(10);

/// A compiled proxy-wasm module.
pub struct Module {
    path: PathBuf,
    digest: u64,
    code: Code,
    bytes: Box<[u8]>,
    checked: Checked,
    /// The same module with counters in its code, compiled when first needed.
    counting: OnceLock<Result<Code, String>>,
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
    /// Envoy would refuse it, or crash on it while it loads.
    pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Self, ModuleError> {
        let error = |cause: String| ModuleError {
            path: path.to_owned(),
            cause,
        };
        let checked = check::check(bytes).map_err(error)?;
        let code = Code::compile(runtime(), bytes, &checked).map_err(error)?;
        if checked.has_start {
            provide::try_start(code.engine(), &code.module).map_err(error)?;
        }
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        Ok(Self {
            path: path.to_owned(),
            digest: hasher.finish(),
            code,
            bytes: bytes.into(),
            checked,
            counting: OnceLock::new(),
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

    /// The code, in the engine that counts instructions or in the one that does not.
    pub(crate) fn code(&self, counting: bool) -> Result<&Code, String> {
        if !counting {
            return Ok(&self.code);
        }
        self.counting
            .get_or_init(|| Code::compile(counting_runtime(), &self.bytes, &self.checked))
            .as_ref()
            .map_err(Clone::clone)
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

/// A module in one of the engines.
pub(crate) struct Code {
    module: wasmtime::Module,
    linking: Linking,
    /// Name of the memory that hostcalls work on.
    memory: Option<String>,
}

/// How a module's imports are met.
enum Linking {
    /// All of them are functions: linked once.
    Done(InstancePre<VmState>),
    /// There are memories or tables among them, which each instance needs its own of.
    Each(Linker<VmState>),
}

impl Code {
    /// Compiles a module, or takes it from the cache on disk, and links it.
    fn compile(runtime: &Started, bytes: &[u8], checked: &Checked) -> Result<Self, String> {
        let runtime = runtime
            .as_ref()
            .map_err(|e| format!("the engine did not start: {e:#}"))?;
        let mut bytes = Cow::Borrowed(bytes);
        if !checked.shared_memories.is_empty() {
            bytes = check::unshared(&bytes, &checked.shared_memories).into();
        }
        let module = wasmtime::Module::from_binary(&runtime.engine, &bytes)
            .map_err(|e| format!("Failed to load Wasm code: {e:#}"))?;
        let linking = if checked.is_provided_for {
            Linking::Each(runtime.linker.clone())
        } else {
            let linked = runtime.linker.instantiate_pre(&module).map_err(|e| {
                format!("Failed to load Wasm module due to an import type mismatch: {e:#}")
            })?;
            Linking::Done(linked)
        };
        Ok(Self {
            module,
            linking,
            memory: checked.memory.clone(),
        })
    }

    pub(crate) fn engine(&self) -> &Engine {
        self.module.engine()
    }

    /// Makes an instance, and tells the memory that hostcalls work on. With `allowed`, only those of
    /// its imports do what they are for.
    pub(crate) fn instantiate(
        &self,
        store: &mut Store<VmState>,
        allowed: &BTreeSet<String>,
    ) -> wasmtime::Result<(Instance, Option<Memory>)> {
        let (instance, made) = match &self.linking {
            Linking::Done(linked) if allowed.is_empty() => (linked.instantiate(&mut *store)?, None),
            linking => {
                let mut linker = match linking {
                    Linking::Done(_) => linker(self.engine())?,
                    Linking::Each(linker) => linker.clone(),
                };
                if !allowed.is_empty() {
                    hostcalls::restrict(&mut linker, &self.module, allowed)?;
                }
                let memory = provide::provide(&mut linker, &mut *store, &self.module)?;
                (linker.instantiate(&mut *store, &self.module)?, memory)
            }
        };
        let exported = self.memory.as_deref();
        let exported = exported.and_then(|name| instance.get_memory(&mut *store, name));
        Ok((instance, exported.or(made)))
    }
}

struct Runtime {
    engine: Engine,
    linker: Linker<VmState>,
}

type Started = Result<Runtime, wasmtime::Error>;

/// The engine of the process. One for all, so that a module is compiled once.
fn runtime() -> &'static Started {
    static RUNTIME: OnceLock<Started> = OnceLock::new();
    RUNTIME.get_or_init(|| start(false))
}

/// The engine for those who count instructions: counters slow the code down.
fn counting_runtime() -> &'static Started {
    static RUNTIME: OnceLock<Started> = OnceLock::new();
    RUNTIME.get_or_init(|| start(true))
}

fn start(count_instructions: bool) -> Started {
    let mut config = Config::new();
    config.epoch_interruption(true);
    config.consume_fuel(count_instructions);
    config.cache(cache::open()?);
    let engine = Engine::new(&config)?;
    let linker = linker(&engine)?;
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
}

fn linker(engine: &Engine) -> wasmtime::Result<Linker<VmState>> {
    let mut linker = Linker::new(engine);
    hostcalls::add_to_linker(&mut linker)?;
    Ok(linker)
}
