//! Limits how often a client may do what.
//!
//! The core is pure: a [`policy::Policy`] made of a [`config::Config`] turns a request into a
//! [`claim::Claim`], which names the table sets it needs; given those and the time it comes to a
//! [`decision::Decision`]. The shell, on wasm alone, carries it out.

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

pub mod algorithm;
mod charge;
pub mod claim;
pub mod config;
pub mod decision;
pub mod dues;
pub mod few;
pub mod fields;
pub mod gcra;
pub mod global;
pub mod held;
pub mod leases;
pub mod policy;
mod replies;
#[cfg(target_arch = "wasm32")]
pub mod shell;
mod slots;
pub mod usage;
pub mod window;
