//! Counters, defined once when a plugin is configured and then known by position.

use crate::host::{self, Status};

/// The counters of a plugin.
#[derive(Debug)]
pub struct Counters {
    ids: Vec<u32>,
}

impl Counters {
    /// Defines counters of these names.
    ///
    /// # Errors
    /// The host's status at the first one that it refuses.
    pub fn define(names: impl IntoIterator<Item = String>) -> Result<Self, Status> {
        let ids = names.into_iter().map(|name| host::define_counter(&name));
        Ok(Self {
            ids: ids.collect::<Result<_, _>>()?,
        })
    }

    /// Adds one to the counter at that position. A count that the host loses hurts nobody.
    pub fn add_one(&self, position: usize) {
        self.add(position, 1);
    }

    /// Adds so many to the counter at that position.
    pub fn add(&self, position: usize, by: u32) {
        if let Some(id) = self.ids.get(position)
            && by > 0
        {
            let _ = host::add_to_counter(*id, i64::from(by));
        }
    }
}
