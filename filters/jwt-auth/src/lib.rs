//! Proves who sent a request, by JSON Web Token, and what they may do, by claims.
//!
//! **Not built yet.** Today the module refuses every configuration, so that no request passes unchecked:
//! a gateway that loads it doesn't start, and one that runs keeps its old configuration. The README
//! says what it will do.

pub mod config;
#[cfg(target_arch = "wasm32")]
pub mod shell;
