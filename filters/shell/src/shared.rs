//! Shared data: transactions over several values, and the seed that all workers agree on.

use std::fmt;

use filter_core::hash::Seed;
use filter_core::transaction::{Step, Transaction};

use crate::host::{self, Status};

/// What a transaction is to store.
#[derive(Debug)]
pub struct Plan<T> {
    /// What is returned once it is stored.
    pub output: T,
    /// Values that changed, by the position of their key.
    pub writes: Vec<(usize, Vec<u8>)>,
}

/// A stored transaction.
#[derive(Debug)]
pub struct Stored<T> {
    /// The output of the plan.
    pub output: T,
    /// How often another worker was faster before.
    pub conflicts: u32,
}

/// Why nothing could be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Other workers were faster in all tries.
    Contention {
        /// How often.
        conflicts: u32,
    },
    /// The host refused.
    Host(Status),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Contention { conflicts } => write!(f, "{conflicts} races lost"),
            Self::Host(status) => status.fmt(f),
        }
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Host(status)
    }
}

/// Changes the values under `keys` as one.
///
/// `decide` gets all values and returns what is to be stored of them; it runs again after a lost
/// race, at most `tries` times in all. `take_back` gets a later value under one of the keys and
/// returns it without what the plan with that output put into it. Where the host refuses half-way,
/// what is stored by then stays.
///
/// # Errors
/// See [`Failure`].
pub fn transact<T>(
    keys: &[impl AsRef<[u8]>],
    tries: u32,
    mut decide: impl FnMut(Vec<Option<Vec<u8>>>) -> Result<Plan<T>, Status>,
    mut take_back: impl FnMut(&T, usize, Option<Vec<u8>>) -> Result<Vec<u8>, Status>,
) -> Result<Stored<T>, Failure> {
    let mut transaction = Transaction::new(keys.len(), tries);
    let mut values: Vec<Option<Vec<u8>>> = vec![None; keys.len()];
    let mut output = None;
    loop {
        match transaction.step() {
            Step::Read(at) => {
                let key = keys.get(at).map_or(&[][..], AsRef::as_ref);
                let (value, cas) = host::shared(key)?;
                if let Some(slot) = values.get_mut(at) {
                    *slot = value;
                }
                transaction.read(cas);
            }
            Step::Decide => {
                let read = values.iter_mut().map(Option::take).collect();
                let plan = decide(read)?;
                transaction.decided(plan.writes.iter().map(|(at, _)| *at));
                for (at, value) in plan.writes {
                    if let Some(slot) = values.get_mut(at) {
                        *slot = Some(value);
                    }
                }
                output = Some(plan.output);
            }
            Step::Write { key: at, cas } => {
                let key = keys.get(at).map_or(&[][..], AsRef::as_ref);
                let value = values.get(at).and_then(Option::as_deref);
                transaction.wrote(host::set_shared(key, value.unwrap_or_default(), cas)?);
            }
            Step::TakeBack(at) => {
                if let (Some(slot), Some(output)) = (values.get_mut(at), &output) {
                    *slot = Some(take_back(output, at, slot.take())?);
                }
                transaction.took_back();
            }
            Step::Commit | Step::GiveUp { .. } => {
                let conflicts = transaction.lost();
                return match (transaction.step(), output) {
                    (Step::Commit, Some(output)) => Ok(Stored { output, conflicts }),
                    _ => Err(Failure::Contention { conflicts }),
                };
            }
        }
    }
}

/// The seed kept under `key`, made by whichever worker comes first.
///
/// # Errors
/// The host's status.
pub fn seed(key: &str) -> Result<Seed, Failure> {
    const TRIES: u32 = 8;
    for _ in 0..TRIES {
        let (value, cas) = host::shared(key.as_bytes())?;
        if let Some(Ok(bytes)) = value.map(<[u8; Seed::LEN]>::try_from) {
            return Ok(Seed::from_bytes(bytes));
        }
        // Nobody was here yet, or the value isn't a seed. If the write loses, another worker's is
        // there.
        let bytes = host::random::<{ Seed::LEN }>()?;
        let _: bool = host::set_shared(key.as_bytes(), &bytes, cas)?;
    }
    Err(Failure::Contention { conflicts: TRIES })
}
