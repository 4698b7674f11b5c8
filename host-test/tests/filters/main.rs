//! The real modules, as `cargo xtask build` makes them, in our host.

mod module;
mod rate_limit;
