//! How a worker learns that others changed the board: by a counter of the host's that is raised after
//! each write of it.
//!
//! Whoever reads shared data gets bytes through the module's allocator: the host calls back for it, ten
//! times what it takes to read a counter. So a hit reads the counter, and the board only if that has
//! another value than before.

use filter_shell::host::{self, Status};

const NAME: &str = "cache_lookup_changes_total";

/// Counts the changes of the board.
#[derive(Debug)]
pub(super) struct Changes {
    /// None if the host keeps no such counter, as Envoy doesn't if `stats_matcher` excludes it.
    counter: Option<u32>,
}

impl Changes {
    /// Defines the counter and tries whether it counts.
    ///
    /// # Errors
    /// The host's status.
    pub(super) fn define() -> Result<Self, Status> {
        let counter = host::define_counter(NAME)?;
        let before = host::metric(counter);
        let _ = host::add_to_counter(counter, 1);
        let counts = before.is_ok_and(|before| host::metric(counter).is_ok_and(|now| now > before));
        Ok(Self {
            counter: counts.then_some(counter),
        })
    }

    /// How many there were; none if nobody knows.
    pub(super) fn number(&self) -> Option<u64> {
        host::metric(self.counter?).ok()
    }

    /// Counts one. To be called once the board is written: who sees the new number reads the new board.
    pub(super) fn tell(&self) {
        if let Some(counter) = self.counter {
            let _ = host::add_to_counter(counter, 1);
        }
    }
}
