//! What all VMs of a process share: shared data by `vm_id`, queues, and metrics.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::abi::Status;
use crate::metrics::Metrics;

/// The process-wide stores.
#[derive(Debug, Default)]
pub struct Shared {
    data: Mutex<SharedData>,
    queues: Mutex<Queues>,
    metrics: Mutex<Metrics>,
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

/// Shared queues; tokens count up from 1 over the whole process.
#[derive(Debug, Default)]
pub struct Queues {
    tokens: HashMap<(String, Vec<u8>), u32>,
    items: Vec<VecDeque<Vec<u8>>>,
}

impl Queues {
    /// Makes the queue or finds it.
    pub fn register(&mut self, vm_id: &str, name: &[u8]) -> u32 {
        let next = u32::try_from(self.items.len() + 1).unwrap_or(u32::MAX);
        let token = *self
            .tokens
            .entry((vm_id.to_owned(), name.to_vec()))
            .or_insert(next);
        if token == next {
            self.items.push(VecDeque::new());
        }
        token
    }

    /// Finds a queue that someone registered.
    pub fn resolve(&self, vm_id: &str, name: &[u8]) -> Option<u32> {
        self.tokens.get(&(vm_id.to_owned(), name.to_vec())).copied()
    }

    /// Appends an item.
    pub fn enqueue(&mut self, token: u32, item: &[u8]) -> Status {
        match self.queue(token) {
            Some(queue) => {
                queue.push_back(item.to_vec());
                Status::Ok
            }
            None => Status::NotFound,
        }
    }

    /// Takes the oldest item.
    pub fn dequeue(&mut self, token: u32) -> Result<Vec<u8>, Status> {
        let queue = self.queue(token).ok_or(Status::NotFound)?;
        queue.pop_front().ok_or(Status::Empty)
    }

    fn queue(&mut self, token: u32) -> Option<&mut VecDeque<Vec<u8>>> {
        self.items.get_mut(token.checked_sub(1)? as usize)
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

    #[test]
    fn queues_are_first_in_first_out_and_tell_empty_from_unknown() {
        let mut queues = Queues::default();
        let token = queues.register("vm", b"q");
        assert_eq!((token, queues.register("vm", b"q")), (1, 1));
        assert_eq!(queues.resolve("other", b"q"), None);
        queues.enqueue(token, b"1");
        queues.enqueue(token, b"2");
        assert_eq!(queues.dequeue(token), Ok(b"1".to_vec()));
        assert_eq!(queues.dequeue(token), Ok(b"2".to_vec()));
        assert_eq!(queues.dequeue(token), Err(Status::Empty));
        assert_eq!(queues.dequeue(9), Err(Status::NotFound));
    }
}
