//! Proves who sent a request, by JSON Web Token, and what they may do, by claims.
//!
//! The core is pure: a [`policy::Policy`] made of a [`config::Config`] comes to a
//! [`decision::Decision`] about a request, given the keys; [`care`] says when keys are to be fetched.
//! [`jose`] is about tokens alone. The shell, on wasm alone, carries it out.

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

pub use jose;

pub mod care;
mod case;
pub mod certificate;
pub mod claims;
pub mod config;
mod decimal;
pub mod decision;
pub mod discovery;
#[cfg(not(target_arch = "wasm32"))]
pub mod explain;
pub mod extract;
pub mod feed;
pub mod fields;
pub mod foreign;
pub mod introspection;
pub mod memory;
pub mod path;
pub mod policy;
pub mod proof;
pub mod replay;
pub mod requirement;
pub mod revocation;
pub mod route;
#[cfg(target_arch = "wasm32")]
pub mod shell;
mod standing;
pub mod text;
pub mod token;
