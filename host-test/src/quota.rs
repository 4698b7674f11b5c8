//! What a guest may take from the machine: time, memory, hostcalls, and bytes that the host keeps.
//!
//! Envoy limits nothing but the memory: an endless loop hangs its worker, and a guest that hands it
//! gigabytes makes it fall over. A test must end, and say which callback it was.

use std::cell::Cell;
use std::time::Duration;

use wasmtime::ResourceLimiter;

use crate::plugin::Limits;

/// Envoy's ceiling of a VM's memory: 16,384 pages.
const ENVOY_MEMORY: usize = 1 << 30;

/// V8's ceiling of a table.
const TABLE_ELEMENTS: usize = 10_000_000;

/// Memories and tables of one module, far above what compilers make.
const ITEMS: usize = 100;

/// How long a callback may run if nothing else is said.
const CALLBACK: Duration = Duration::from_secs(2);

/// Hostcalls that a callback may make if nothing else is said.
const HOSTCALLS: u32 = 10_000_000;

/// Bytes that a callback may hand to the host if nothing else is said.
const BYTES: usize = 1 << 30;

/// What is left to a VM of its limits.
#[derive(Debug)]
pub(crate) struct Quota {
    /// How long a callback may run.
    pub(crate) callback: Duration,
    memory: usize,
    most_hostcalls: u32,
    hostcalls: Cell<u32>,
    most_bytes: usize,
    bytes: Cell<usize>,
    polls: Cell<u32>,
}

impl Quota {
    pub(crate) fn new(limits: &Limits) -> Self {
        let most_hostcalls = limits.hostcalls.unwrap_or(HOSTCALLS);
        let most_bytes = limits.bytes.unwrap_or(BYTES);
        Self {
            callback: limits.callback.unwrap_or(CALLBACK),
            memory: limits.memory.unwrap_or(ENVOY_MEMORY).min(ENVOY_MEMORY),
            most_hostcalls,
            hostcalls: Cell::new(most_hostcalls),
            most_bytes,
            bytes: Cell::new(most_bytes),
            polls: Cell::new(0),
        }
    }

    /// A callback begins.
    pub(crate) fn refill(&self) {
        self.hostcalls.set(self.most_hostcalls);
        self.bytes.set(self.most_bytes);
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
            None => Err(format!("made more than {} hostcalls", self.most_hostcalls)),
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
