//! What every filter does when its plugin is configured.

use filter_core::config::Errors;
use filter_core::hash::Seed;

use crate::counters::Counters;
use crate::{host, shared};

/// What a configured plugin has.
#[derive(Debug)]
pub struct Setup<C> {
    /// Its configuration.
    pub config: C,
    /// The seed that all workers hash with.
    pub seed: Seed,
    /// Its counters.
    pub counters: Counters,
}

impl<C> Setup<C> {
    /// Reads the configuration, agrees with the other workers on a seed and defines the counters.
    ///
    /// # Errors
    /// What is wrong, in one line for the log.
    pub fn new<N: IntoIterator<Item = String>>(
        read: impl FnOnce(&[u8]) -> Result<C, Errors>,
        seed_key: &str,
        counters: impl FnOnce(&C) -> N,
    ) -> Result<Self, String> {
        let bytes = host::plugin_configuration()
            .map_err(|status| format!("the configuration can't be read: {status}"))?;
        let config = read(&bytes).map_err(|errors| errors.one_line())?;
        let seed = shared::seed(seed_key)
            .map_err(|failure| format!("no seed can be kept in shared data: {failure}"))?;
        let counters = Counters::define(counters(&config))
            .map_err(|status| format!("the counters can't be defined: {status}"))?;
        Ok(Self {
            config,
            seed,
            counters,
        })
    }
}
