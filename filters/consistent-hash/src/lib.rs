//! Chooses the upstream host by the request, so that equal keys meet the same host.
//!
//! **Not built yet.** Today the module refuses every configuration, so that no request is routed by a choice it didn't make:
//! a gateway that loads it doesn't start, and one that runs keeps its old configuration. The README
//! says what it will do.

pub mod config;
#[cfg(target_arch = "wasm32")]
pub mod shell;
