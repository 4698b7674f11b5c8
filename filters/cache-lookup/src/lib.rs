//! A shared HTTP cache (RFC 9111) in front of upstreams.
//!
//! **Not built yet.** Today the module refuses every configuration, so that nobody takes its answers for a cache's:
//! a gateway that loads it doesn't start, and one that runs keeps its old configuration. The README
//! says what it will do.

#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

pub mod collapse;
pub mod config;
pub mod remote;
#[cfg(target_arch = "wasm32")]
pub mod shell;
pub mod store;
