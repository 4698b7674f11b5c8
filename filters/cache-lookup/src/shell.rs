//! The proxy-wasm side: a root context that refuses its configuration.

pub mod remote;
pub mod store;

use proxy_wasm::traits::{Context, RootContext};

use crate::config::REFUSAL;

/// The context of one plugin: never serves a stream.
pub struct Root;

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _configuration_size: usize) -> bool {
        log::error!("{REFUSAL}");
        false
    }
}
