//! Shared queues and the callbacks that enqueued items ask for.
//!
//! A queue belongs to nobody: any VM may enqueue and dequeue by its token. Its callback goes to the
//! root context that registered it last, once for each item, after the enqueuing guest has
//! returned. Envoy posts it to the thread of that context; here it waits in [`Queues`] until the
//! worker is asked to run it.

use std::collections::{HashMap, VecDeque};

use crate::abi::Status;

/// Where the callback of a queue runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueTarget {
    /// The worker's number; 0 is the main thread.
    pub worker: u64,
    /// The VM's position within the worker.
    pub(crate) vm: usize,
    /// The root context that registered the queue last.
    pub(crate) root: u32,
}

/// A callback to be made: one item was put into that queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueReady {
    /// Whom to tell.
    pub target: QueueTarget,
    /// Of which queue.
    pub token: u32,
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Vec<u8>>,
    target: Option<QueueTarget>,
}

/// Shared queues; tokens count up from 1 over the whole process.
#[derive(Debug, Default)]
pub struct Queues {
    tokens: HashMap<(String, Vec<u8>), u32>,
    queues: Vec<Queue>,
    ready: VecDeque<QueueReady>,
}

impl Queues {
    /// Makes the queue or finds it; who registers last is told of items. Without a target (in a
    /// throw-away VM) it stays with whom it was.
    pub(crate) fn register(
        &mut self,
        vm_id: &str,
        name: &[u8],
        target: Option<QueueTarget>,
    ) -> u32 {
        let next = u32::try_from(self.queues.len() + 1).unwrap_or(u32::MAX);
        let token = *self
            .tokens
            .entry((vm_id.to_owned(), name.to_vec()))
            .or_insert(next);
        if token == next {
            self.queues.push(Queue::default());
        }
        if let (Some(queue), Some(_)) = (self.queue(token), target) {
            queue.target = target;
        }
        token
    }

    /// Finds a queue that someone registered.
    pub(crate) fn resolve(&self, vm_id: &str, name: &[u8]) -> Option<u32> {
        self.tokens.get(&(vm_id.to_owned(), name.to_vec())).copied()
    }

    /// Appends an item and returns whom that concerns.
    pub(crate) fn enqueue(
        &mut self,
        token: u32,
        item: &[u8],
    ) -> Result<Option<QueueTarget>, Status> {
        let queue = self.queue(token).ok_or(Status::NotFound)?;
        queue.items.push_back(item.to_vec());
        let target = queue.target;
        self.ready
            .extend(target.map(|target| QueueReady { target, token }));
        Ok(target)
    }

    /// Takes the oldest item.
    pub(crate) fn dequeue(&mut self, token: u32) -> Result<Vec<u8>, Status> {
        let queue = self.queue(token).ok_or(Status::NotFound)?;
        queue.items.pop_front().ok_or(Status::Empty)
    }

    /// Takes the oldest callback of all workers.
    pub(crate) fn next_ready(&mut self) -> Option<QueueReady> {
        self.ready.pop_front()
    }

    /// Takes the callbacks of one worker, the oldest first.
    pub(crate) fn take_ready(&mut self, worker: u64) -> Vec<QueueReady> {
        let all = std::mem::take(&mut self.ready);
        let (own, others): (Vec<_>, _) = all
            .into_iter()
            .partition(|ready| ready.target.worker == worker);
        self.ready = others.into();
        own
    }

    /// Forgets all callbacks that have not run.
    pub(crate) fn clear_ready(&mut self) {
        self.ready.clear();
    }

    fn queue(&mut self, token: u32) -> Option<&mut Queue> {
        self.queues.get_mut(token.checked_sub(1)? as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(worker: u64) -> Option<QueueTarget> {
        Some(QueueTarget {
            worker,
            vm: 0,
            root: 1,
        })
    }

    #[test]
    fn queues_are_first_in_first_out_and_tell_empty_from_unknown() {
        let mut queues = Queues::default();
        let token = queues.register("vm", b"q", None);
        assert_eq!((token, queues.register("vm", b"q", None)), (1, 1));
        assert_eq!(queues.resolve("other", b"q"), None);
        queues.enqueue(token, b"1").expect("registered");
        queues.enqueue(token, b"2").expect("registered");
        assert_eq!(queues.dequeue(token), Ok(b"1".to_vec()));
        assert_eq!(queues.dequeue(token), Ok(b"2".to_vec()));
        assert_eq!(queues.dequeue(token), Err(Status::Empty));
        assert_eq!(queues.dequeue(9), Err(Status::NotFound));
        assert_eq!(queues.enqueue(0, b""), Err(Status::NotFound));
    }

    #[test]
    fn who_registers_last_is_told_and_a_throw_away_vm_changes_nothing() {
        let mut queues = Queues::default();
        let token = queues.register("vm", b"q", on(1));
        queues.register("vm", b"q", on(2));
        queues.register("vm", b"q", None);
        assert_eq!(queues.enqueue(token, b""), Ok(on(2)));
    }

    #[test]
    fn each_item_is_one_callback_for_its_worker_alone() {
        let mut queues = Queues::default();
        let one = queues.register("vm", b"one", on(1));
        let two = queues.register("vm", b"two", on(2));
        for token in [one, two, one] {
            queues.enqueue(token, b"").expect("registered");
        }
        let tokens = |ready: Vec<QueueReady>| ready.iter().map(|r| r.token).collect::<Vec<_>>();
        assert_eq!(tokens(queues.take_ready(1)), [one, one]);
        assert_eq!(queues.next_ready().map(|ready| ready.token), Some(two));
        assert_eq!(queues.next_ready(), None);
    }
}
