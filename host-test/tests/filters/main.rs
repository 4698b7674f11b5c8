//! The real modules, as `cargo xtask build` makes them, in our host.

mod cache_lookup;
mod jwt_auth;
mod module;
mod rate_limit;
mod rate_limit_streams;
