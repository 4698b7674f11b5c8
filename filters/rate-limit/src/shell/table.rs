//! The table of buckets in the gateway's shared data.

use std::cell::RefCell;

use filter_core::table::{Geometry, Set};
use filter_core::time::Timestamp;
use filter_shell::host;
use filter_shell::shared::{self, Failure, Plan, Stored};

use crate::fields::push_number;

/// Races that a request may lose. Two workers at 30,000 writes a second on one key lose one in 150.
const TRIES: u32 = 32;

/// Where the sets are.
pub(super) struct Table {
    geometry: Geometry,
    /// What the keys of the sets begin with.
    prefix: Vec<u8>,
    /// Room for one key.
    key: RefCell<Vec<u8>>,
}

impl Table {
    pub(super) fn new(geometry: Geometry) -> Self {
        let (sets, ways) = (geometry.sets(), geometry.ways());
        Self {
            geometry,
            // A table of another size is another table.
            prefix: format!("penstock.rate_limit.{sets}x{ways}.").into_bytes(),
            key: RefCell::default(),
        }
    }

    fn write_key(&self, number: u32, key: &mut Vec<u8>) {
        key.clear();
        key.extend_from_slice(&self.prefix);
        push_number(key, number.into());
    }

    /// Edits one set. It is one value, so that nothing can be stored half-way.
    pub(super) fn edit<T>(
        &self,
        number: u32,
        mut edit: impl FnMut(&mut Set, Timestamp) -> T,
    ) -> Result<Stored<T>, Failure> {
        // Nothing is edited while another set is: it doesn't come to a second key.
        let mut other = Vec::new();
        let mut own = self.key.try_borrow_mut();
        let key = own.as_deref_mut().unwrap_or(&mut other);
        self.write_key(number, key);
        for conflicts in 0..TRIES {
            let (stored, cas) = host::shared(key)?;
            let mut set = Set::read(stored, self.geometry);
            // Read after the set was: see `Claim::decide`.
            let output = edit(&mut set, host::monotonic_now()?);
            if !set.is_changed() || host::set_shared(key, set.bytes(), cas)? {
                return Ok(Stored { output, conflicts });
            }
        }
        Err(Failure::Contention { conflicts: TRIES })
    }

    /// Edits several sets as one. What an edit at some time put into one of them, by its position, is
    /// taken back if another can't be stored.
    pub(super) fn edit_all<T>(
        &self,
        numbers: &[u32],
        edit: impl Fn(&mut [Set], Timestamp) -> T,
        take_back: impl Fn(&T, usize, &mut Set, [Timestamp; 2]),
    ) -> Result<Stored<T>, Failure> {
        let key = |number: &u32| {
            let mut key = Vec::new();
            self.write_key(*number, &mut key);
            key
        };
        let keys: Vec<_> = numbers.iter().map(key).collect();
        let stored = shared::transact(
            &keys,
            TRIES,
            |values| {
                let values = values.into_iter();
                let mut sets: Vec<_> = values
                    .map(|value| Set::read(value, self.geometry))
                    .collect();
                // Read after the sets were: see `Claim::decide`.
                let now = host::monotonic_now()?;
                let output = edit(&mut sets, now);
                let changed = sets.into_iter().enumerate();
                Ok(Plan {
                    output: (output, now),
                    writes: changed
                        .filter(|(_, set)| set.is_changed())
                        .map(|(at, set)| (at, set.into_bytes()))
                        .collect(),
                })
            },
            |(output, then), at, value| {
                let mut set = Set::read(value, self.geometry);
                take_back(output, at, &mut set, [*then, host::monotonic_now()?]);
                Ok(set.into_bytes())
            },
        )?;
        Ok(Stored {
            output: stored.output.0,
            conflicts: stored.conflicts,
        })
    }
}
