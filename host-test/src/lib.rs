//! A proxy-wasm host as faithful as Envoy 1.40, for tests and for a laptop.

pub mod abi;
pub mod bootstrap;
pub mod clock;
pub mod envoy;
mod exchange;
mod foreign;
pub mod headers;
pub mod host;
mod hostcalls;
mod inline;
pub mod inspect;
pub mod metrics;
pub mod module;
mod pairs;
pub mod plugin;
pub mod plugin_tester;
pub mod queues;
pub mod reply;
mod required;
pub mod scenario;
pub mod serve;
pub mod shared;
mod state;
mod vm;
pub mod worker;
