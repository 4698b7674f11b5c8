//! What all VMs of a process share: shared data by `vm_id`, queues, metrics, and the clusters that
//! callouts may name.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::abi::Status;
use crate::clusters::Clusters;
use crate::fault::Faults;
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
    faults: Faults,
    clusters: Mutex<Clusters>,
    waker: OnceLock<Waker>,
    enqueued: AtomicBool,
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

    /// What goes wrong on purpose.
    pub fn faults(&self) -> &Faults {
        &self.faults
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

    /// Whether an item was put into a queue since this was asked last: spares the library, which
    /// asks several times in each request, the lock of the queues.
    pub(crate) fn was_enqueued(&self) -> bool {
        self.enqueued.load(Ordering::Acquire) && self.enqueued.swap(false, Ordering::AcqRel)
    }

    /// Appends an item to a queue and wakes the worker that its callback is for.
    pub(crate) fn enqueue(&self, token: u32, item: &[u8]) -> Result<(), Status> {
        let target = self.queues().enqueue(token, item)?;
        self.enqueued.store(true, Ordering::Release);
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
    scopes: HashMap<String, Scope>,
    limit: GrowthLimit,
    /// What strict mode has to say of the last write.
    outgrown: Option<String>,
    /// One counter for all keys of the process; 0 is never given out.
    last_cas: u32,
}

/// The keys of one `vm_id`.
#[derive(Debug, Default)]
struct Scope {
    entries: HashMap<Vec<u8>, Entry>,
    /// Keys and values together.
    bytes: usize,
    /// It has outgrown its limit, and that was said.
    outgrown: bool,
}

/// How far the shared data of a `vm_id` may grow before strict mode takes it for growth without
/// bound: nothing in Envoy ever removes a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrowthLimit {
    /// Number of keys; 10,000 by default.
    pub keys: usize,
    /// Bytes of keys and values together; 64 MiB by default.
    pub bytes: usize,
}

impl Default for GrowthLimit {
    fn default() -> Self {
        Self {
            keys: 10_000,
            bytes: 64 << 20,
        }
    }
}

impl SharedData {
    /// Sets how far it may grow.
    pub fn set_limit(&mut self, limit: GrowthLimit) {
        self.limit = limit;
    }

    /// Tells, once for each `vm_id`, that it has outgrown its limit.
    pub(crate) fn take_outgrown(&mut self) -> Option<String> {
        self.outgrown.take()
    }

    /// The value and its CAS number.
    pub fn get(&self, vm_id: &str, key: &[u8]) -> Option<(&[u8], u32)> {
        let (value, cas) = self.scopes.get(vm_id)?.entries.get(key)?;
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
            self.scopes.insert(vm_id.to_owned(), Scope::default());
        }
        let Some(scope) = self.scopes.get_mut(vm_id) else {
            return Status::InternalFailure;
        };
        match scope.entries.get_mut(key) {
            Some((_, current)) if cas != 0 && cas != *current => return Status::CasMismatch,
            Some((present, current)) => {
                scope.bytes = scope.bytes - present.len() + value.len();
                present.clear();
                present.extend_from_slice(value);
                *current = next;
            }
            None => {
                scope.bytes += key.len() + value.len();
                scope.entries.insert(key.to_vec(), (value.to_vec(), next));
            }
        }
        let (keys, bytes) = (scope.entries.len(), scope.bytes);
        if (keys > self.limit.keys || bytes > self.limit.bytes) && !scope.outgrown {
            scope.outgrown = true;
            self.outgrown = Some(format!(
                "shared data of vm_id {vm_id:?} has grown to {keys} keys and {bytes} bytes: nothing \
                 in Envoy ever removes a key"
            ));
        }
        // Only a write uses a number up.
        self.last_cas = next;
        Status::Ok
    }

    /// Gives a present key another CAS number, as if its value had been written again.
    pub(crate) fn rewrite(&mut self, vm_id: &str, key: &[u8]) {
        let value = self.get(vm_id, key).map(|(value, _)| value.to_vec());
        if let Some(value) = value {
            self.set(vm_id, key, &value, 0);
        }
    }

    /// Keys and values of a scope as they are.
    pub fn entries(&self, vm_id: &str) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let entries = self.scopes.get(vm_id).into_iter();
        entries
            .flat_map(|scope| &scope.entries)
            .map(|(key, (value, _))| (key.clone(), value.clone()))
            .collect()
    }

    /// The keys of all scopes with the sizes of their values, in order.
    pub(crate) fn sizes(&self) -> BTreeMap<&str, Vec<(&[u8], usize)>> {
        let scopes = self.scopes.iter().map(|(vm_id, scope)| {
            let entries = scope.entries.iter();
            let sizes = entries.map(|(key, (value, _))| (key.as_slice(), value.len()));
            let mut sizes: Vec<_> = sizes.collect();
            sizes.sort_unstable();
            (vm_id.as_str(), sizes)
        });
        scopes.collect()
    }

    /// All keys and values of a scope, with keys as text.
    pub fn scope(&self, vm_id: &str) -> BTreeMap<String, Vec<u8>> {
        self.scopes
            .get(vm_id)
            .into_iter()
            .flat_map(|scope| &scope.entries)
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
