//! Log lines about what keeps going wrong.

use std::cell::Cell;

use crate::host::Status;
use crate::log;

/// Warnings of a plugin: every one at first and then ever fewer, each with how many there were.
#[derive(Debug, Default)]
pub struct Complaints {
    count: Cell<u64>,
}

impl Complaints {
    /// Logs the line, which is made only if it is.
    pub fn warn(&self, line: impl FnOnce() -> String) {
        let times = self.count.get().saturating_add(1);
        self.count.set(times);
        if times.is_power_of_two() {
            log::warn(&format!("{} times={times}", line()));
        }
    }

    /// Logs that the host refused a call.
    pub fn host_refused(&self, status: Status) {
        self.warn(|| format!("event=host_refused status={}", status.0));
    }
}
