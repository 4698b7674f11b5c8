//! The real modules, as `cargo xtask build` makes them, in our host.

mod cache_lookup;
mod consistent_hash;
mod jwt_auth;
mod jwt_auth_online;
mod module;
mod rate_limit;
mod rate_limit_streams;
