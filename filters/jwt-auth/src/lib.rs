//! Proves who sent a request, by JSON Web Token, and what they may do, by claims.
//!
//! **Not built yet.** Today the module refuses every configuration, so that no request passes unchecked:
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

pub mod config;
pub mod jose;
#[cfg(target_arch = "wasm32")]
pub mod shell;
