//! Hostcalls for the filters, and what is built of nothing else: replies, counters, transactions.
//!
//! Built for wasm alone; natively this crate is empty. Every call returns a [`host::Status`] that the
//! host gave, and none panics, whatever the host answers: a panic would be a 503 for every request
//! until the VM is loaded anew. Callbacks are dispatched by the proxy-wasm SDK; its hostcalls, which
//! panic on statuses they don't expect, aren't used, but for calls to other services: the dispatcher
//! hands answers over only if the SDK made the call.

#![cfg(target_arch = "wasm32")]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

pub mod complaints;
pub mod counters;
pub mod fetched;
pub mod host;
pub mod log;
mod memory;
pub mod setup;
pub mod shared;

/// Prepares a module: a panic, should one happen, is told in the host's log before the trap.
pub fn start() {
    std::panic::set_hook(Box::new(|panic| {
        log::critical(&panic.to_string());
    }));
}
