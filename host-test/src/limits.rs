//! What a guest may take from the machine: time, memory, hostcalls, and bytes that the host keeps.
//!
//! Envoy limits nothing but the memory: an endless loop hangs its worker, and a guest that hands it
//! gigabytes makes it fall over. A test must end, and say which callback it was.

use std::cell::Cell;
use std::time::Duration;

use wasmtime::ResourceLimiter;

/// Envoy's ceiling of a VM's memory: 16,384 pages.
const ENVOY_MEMORY: usize = 1 << 30;

/// V8's ceiling of a table.
const TABLE_ELEMENTS: usize = 10_000_000;

/// Memories and tables of one module, far above what compilers make.
const ITEMS: usize = 100;

/// Bounds of one VM and of each of its callbacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a callback may run, in steps of 10 ms; 2 s if not set.
    pub callback: Duration,
    /// Bytes of memory that a VM may have; Envoy's ceiling of 1 GiB if not set.
    pub memory: usize,
    /// Hostcalls that a callback may make; 10,000,000 if not set.
    pub hostcalls: u32,
    /// Bytes that a callback may hand to the host in all; 1 GiB if not set.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            callback: Duration::from_secs(2),
            memory: ENVOY_MEMORY,
            hostcalls: 10_000_000,
            bytes: 1 << 30,
        }
    }
}

/// What is left to a VM of its limits.
#[derive(Debug)]
pub(crate) struct Quota {
    limits: Limits,
    memory: usize,
    hostcalls: Cell<u32>,
    bytes: Cell<usize>,
    polls: Cell<u32>,
}

impl Quota {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            memory: limits.memory.min(ENVOY_MEMORY),
            hostcalls: Cell::new(limits.hostcalls),
            bytes: Cell::new(limits.bytes),
            polls: Cell::new(0),
            limits,
        }
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// A callback begins.
    pub(crate) fn refill(&self) {
        self.hostcalls.set(self.limits.hostcalls);
        self.bytes.set(self.limits.bytes);
        self.polls.set(0);
    }

    /// The guest waits for something; how often it has done so in this callback.
    pub(crate) fn count_poll(&self) -> u32 {
        let polls = self.polls.get().saturating_add(1);
        self.polls.set(polls);
        polls
    }

    /// A hostcall is made; the error ends the callback.
    pub(crate) fn spend_call(&self) -> Result<(), String> {
        match self.hostcalls.get().checked_sub(1) {
            Some(left) => {
                self.hostcalls.set(left);
                Ok(())
            }
            None => Err(format!(
                "made more than {} hostcalls",
                self.limits.hostcalls
            )),
        }
    }

    /// Bytes are handed to the host; false if that is too much.
    pub(crate) fn spend_bytes(&self, size: usize) -> bool {
        let left = self.bytes.get().checked_sub(size);
        self.bytes.set(left.unwrap_or(0));
        left.is_some()
    }
}

impl ResourceLimiter for Quota {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // Of all memories together, so that many of them are no way around.
        let left = self.memory.checked_sub(desired.saturating_sub(current));
        self.memory = left.unwrap_or(self.memory);
        Ok(left.is_some())
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }

    fn tables(&self) -> usize {
        ITEMS
    }

    fn memories(&self) -> usize {
        ITEMS
    }
}
