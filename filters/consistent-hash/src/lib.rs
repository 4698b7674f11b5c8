//! Chooses the upstream host by the request, so that equal keys meet the same host.
//!
//! **Not built yet.** Today the module refuses every configuration, so that no request is routed by a choice it didn't make:
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

pub mod balance;
pub mod bounded;
pub mod config;
pub mod health;
pub mod hosts;
pub mod hot_keys;
pub mod maglev;
mod number;
pub mod placement;
pub mod rendezvous;
pub mod ring;
pub mod share;
#[cfg(target_arch = "wasm32")]
pub mod shell;
pub mod zones;
