//! How often each hostcall was made.

use std::collections::BTreeMap;
use std::fmt;

use crate::abi::HOSTCALLS;

/// Counts by position in [`HOSTCALLS`]: counting is one addition, names come when someone asks.
#[derive(Clone)]
pub(crate) struct CallCounts([u32; HOSTCALLS.len()]);

impl CallCounts {
    /// Counts one call, given by its position.
    pub(crate) fn count(&mut self, call: usize) {
        if let Some(count) = self.0.get_mut(call) {
            *count = count.saturating_add(1);
        }
    }

    /// The calls that were made, by name.
    pub(crate) fn by_name(&self) -> BTreeMap<&'static str, u64> {
        let named = HOSTCALLS.iter().zip(self.0);
        named
            .filter(|(_, count)| *count > 0)
            .map(|((name, _), count)| (*name, u64::from(count)))
            .collect()
    }
}

impl Default for CallCounts {
    fn default() -> Self {
        Self([0; HOSTCALLS.len()])
    }
}

impl fmt::Debug for CallCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.by_name().fmt(f)
    }
}
