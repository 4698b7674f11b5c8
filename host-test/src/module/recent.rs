//! The modules that this process has loaded last.
//!
//! A test suite starts a fresh host for each test, most of them with the same few modules. To fetch
//! one from the cache on disk takes milliseconds, a host of its own a tenth of that.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::{Module, ModuleError};

/// How many modules are kept: more than a chain has, and no burden for a server that is given new
/// ones for weeks.
const KEPT: usize = 16;

/// A module with the digest of its bytes, the one loaded last in front.
type Recent = VecDeque<([u8; 32], Arc<Module>)>;

static RECENT: Mutex<Recent> = Mutex::new(VecDeque::new());

impl Module {
    /// Loads a module file, or finds it among those that this process has loaded last. The file is
    /// read each time: what counts is what is in it.
    ///
    /// # Errors
    ///
    /// As [`Module::from_file`].
    pub fn load(path: &Path) -> Result<Arc<Self>, ModuleError> {
        let bytes = std::fs::read(path).map_err(|e| ModuleError {
            path: path.to_owned(),
            cause: format!("can't be read: {e}"),
        })?;
        let digest: [u8; 32] = Sha256::digest(&bytes).into();
        if let Some(module) = with(|recent| find(recent, path, &digest)) {
            return Ok(module);
        }
        // Without the lock: two that load the same module at once both compile it.
        let module = Arc::new(Self::from_bytes(path, &bytes)?);
        with(|recent| {
            recent.push_front((digest, Arc::clone(&module)));
            recent.truncate(KEPT);
        });
        Ok(module)
    }
}

fn find(recent: &mut Recent, path: &Path, digest: &[u8; 32]) -> Option<Arc<Module>> {
    let same = |(known, module): &([u8; 32], Arc<Module>)| known == digest && module.path() == path;
    let found = recent.iter().position(same)?;
    let entry = recent.remove(found)?;
    let module = Arc::clone(&entry.1);
    recent.push_front(entry);
    Some(module)
}

fn with<R>(f: impl FnOnce(&mut Recent) -> R) -> R {
    f(&mut RECENT.lock().unwrap_or_else(PoisonError::into_inner))
}
