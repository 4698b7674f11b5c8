//! A proxy-wasm host as faithful as Envoy 1.40, for tests and for a laptop.

pub mod bootstrap;
pub mod headers;
pub mod host;
pub mod module;
pub mod plugin;
pub mod worker;
