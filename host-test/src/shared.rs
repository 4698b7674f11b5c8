//! What all VMs of a process share: shared data by `vm_id`, queues, metrics, and the clusters that
//! callouts may name.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::abi::Status;
use crate::clusters::Clusters;
use crate::metrics::Metrics;
use crate::queues::Queues;

/// Tells a worker, by its number, that it has something to run.
type Waker = Box<dyn Fn(u64) + Send + Sync>;

/// The process-wide stores.
#[derive(Default)]
pub struct Shared {
    data: Mutex<SharedData>,
    queues: Mutex<Queues>,
    metrics: Mutex<Metrics>,
    clusters: Mutex<Clusters>,
    waker: OnceLock<Waker>,
}

impl Shared {
    /// The shared data.
    pub fn data(&self) -> MutexGuard<'_, SharedData> {
        lock(&self.data)
    }

    /// The queues.
    pub fn queues(&self) -> MutexGuard<'_, Queues> {
        lock(&self.queues)
    }

    /// The metrics.
    pub fn metrics(&self) -> MutexGuard<'_, Metrics> {
        lock(&self.metrics)
    }

    /// The clusters that callouts may name. They are to be there before workers are started:
    /// plugins may make callouts while they are configured.
    pub fn clusters(&self) -> MutexGuard<'_, Clusters> {
        lock(&self.clusters)
    }

    /// Sets what is called, on the enqueuing thread, when a worker has a queue callback to run with
    /// [`Worker::run_queue_callbacks`](crate::worker::Worker::run_queue_callbacks). Workers on
    /// threads of their own need it; only the first call counts.
    pub fn wake_with(&self, waker: impl Fn(u64) + Send + Sync + 'static) {
        // A second waker would take notice away from those who rely on the first.
        let _ = self.waker.set(Box::new(waker));
    }

    /// Appends an item to a queue and wakes the worker that its callback is for.
    pub(crate) fn enqueue(&self, token: u32, item: &[u8]) -> Result<(), Status> {
        let target = self.queues().enqueue(token, item)?;
        if let (Some(target), Some(waker)) = (target, self.waker.get()) {
            waker(target.worker);
        }
        Ok(())
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The stores are consistent between any two statements, so a poisoned lock is as good as any.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A value and its CAS number.
type Entry = (Vec<u8>, u32);

/// Keys and values by `vm_id`. Nothing is ever removed, as in Envoy.
#[derive(Debug, Default)]
pub struct SharedData {
    scopes: HashMap<String, HashMap<Vec<u8>, Entry>>,
    /// One counter for all keys of the process; 0 is never given out.
    last_cas: u32,
}

impl SharedData {
    /// The value and its CAS number.
    pub fn get(&self, vm_id: &str, key: &[u8]) -> Option<(&[u8], u32)> {
        let (value, cas) = self.scopes.get(vm_id)?.get(key)?;
        Some((value, *cas))
    }

    /// Sets a value. A `cas` other than 0 must match, but only if the key exists: so a number that
    /// can't match inserts if absent.
    pub fn set(&mut self, vm_id: &str, key: &[u8], value: &[u8], cas: u32) -> Status {
        let next = match self.last_cas.wrapping_add(1) {
            0 => 1,
            next => next,
        };
        if !self.scopes.contains_key(vm_id) {
            self.scopes.insert(vm_id.to_owned(), HashMap::new());
        }
        let Some(scope) = self.scopes.get_mut(vm_id) else {
            return Status::InternalFailure;
        };
        match scope.get_mut(key) {
            Some((_, current)) if cas != 0 && cas != *current => return Status::CasMismatch,
            Some((present, current)) => {
                present.clear();
                present.extend_from_slice(value);
                *current = next;
            }
            None => {
                scope.insert(key.to_vec(), (value.to_vec(), next));
            }
        }
        // Only a write uses a number up.
        self.last_cas = next;
        Status::Ok
    }

    /// All keys and values of a scope.
    pub fn scope(&self, vm_id: &str) -> BTreeMap<String, Vec<u8>> {
        self.scopes
            .get(vm_id)
            .into_iter()
            .flatten()
            .map(|(key, (value, _))| (String::from_utf8_lossy(key).into_owned(), value.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cas_that_cannot_match_inserts_if_absent() {
        let mut data = SharedData::default();
        assert_eq!(data.set("", b"k", b"first", u32::MAX), Status::Ok);
        assert_eq!(data.set("", b"k", b"second", u32::MAX), Status::CasMismatch);
        assert_eq!(
            data.get("", b"k").map(|(value, _)| value),
            Some(&b"first"[..])
        );
    }

    #[test]
    fn cas_zero_overwrites_and_a_matching_cas_wins_once() {
        let mut data = SharedData::default();
        data.set("", b"k", b"a", 0);
        let (_, cas) = data.get("", b"k").expect("just set");
        assert_eq!(data.set("", b"k", b"b", cas), Status::Ok);
        assert_eq!(data.set("", b"k", b"c", cas), Status::CasMismatch);
        assert_eq!(data.set("", b"k", b"d", 0), Status::Ok);
    }

    #[test]
    fn scopes_do_not_see_each_other() {
        let mut data = SharedData::default();
        data.set("one", b"k", b"a", 0);
        assert_eq!(data.get("two", b"k"), None);
    }
}
