//! Pure building blocks shared by the filters. No proxy-wasm, clock, randomness or I/O.

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

pub mod address;
pub mod cidr;
pub mod config;
pub mod glob;
pub mod hash;
pub mod headers;
pub mod key;
pub mod matcher;
pub mod metrics;
pub mod regex;
pub mod reply;
pub mod request;
pub mod table;
pub mod time;
pub mod transaction;
pub mod uri;
