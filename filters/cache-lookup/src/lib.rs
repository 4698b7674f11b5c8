//! A shared HTTP cache (RFC 9111) in front of upstreams.
//!
//! The core is pure: a [`policy::Policy`] made of a [`config::Config`] says which entries of the
//! store a request needs ([`lookup::Lookup`]); given those and the time it comes to a
//! [`decision::Decision`]; and of the response that comes from upstream it says what is stored of it
//! and what the client gets. The shell, on wasm alone, carries it out.

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

mod answer;
pub mod cache_control;
pub mod collapse;
pub mod conditional;
pub mod config;
pub mod date;
pub mod decision;
pub mod fields;
pub mod freshness;
pub mod head;
pub mod invalidation;
pub mod key;
mod list;
pub mod lookup;
pub mod policy;
pub mod purge;
pub mod range;
pub mod remote;
pub mod request;
#[cfg(target_arch = "wasm32")]
pub mod shell;
pub mod status;
pub mod store;
pub mod storing;
pub mod targeted;
pub mod vary;
