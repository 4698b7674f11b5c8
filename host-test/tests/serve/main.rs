//! The gateway over real sockets on the loopback, ports chosen by the system.
//!
//! Nothing sleeps: where order matters, both ends say over channels how far they are.

mod access_log;
mod admin;
mod balancing;
mod bodies;
#[path = "../common/client.rs"]
mod client;
mod command;
mod failures;
#[allow(dead_code, reason = "the ABI tests use more of it")]
#[path = "../common/frame.rs"]
mod frame;
mod gateway;
#[allow(dead_code, reason = "the ABI tests use more of it")]
#[path = "../abi/guest.rs"]
mod guest;
mod http2;
mod plugins;
#[path = "../common/ports.rs"]
mod ports;
mod rate_limit;
mod refused;
mod reload;
mod robust;
mod routing;
#[path = "../common/upstream.rs"]
mod upstream;
