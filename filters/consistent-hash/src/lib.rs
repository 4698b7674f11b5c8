//! Chooses the upstream host by the request, so that equal keys meet the same host.
//!
//! The core is pure: a [`config::Config`] says where keys come from and which hosts there are; a
//! [`policy::Policy`] turns a request and what a worker knows of the hosts into a
//! [`decision::Decision`]. [`placement`] is about keys and hosts alone. The shell, on wasm alone, carries
//! it out.

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

pub use placement;

pub mod balance;
pub mod bounded;
pub mod config;
pub mod cookie;
pub mod decision;
pub mod discovery;
pub mod explain;
pub mod health;
pub mod hot_keys;
pub mod in_flight;
pub mod key;
pub mod lease;
pub mod outcome;
pub mod places;
pub mod policy;
pub mod share;
#[cfg(target_arch = "wasm32")]
pub mod shell;
pub mod view;
pub mod zones;
