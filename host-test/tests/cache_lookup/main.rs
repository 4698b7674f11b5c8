//! cache-lookup in the real Envoy, with two workers: stampedes, dead origins, purges, memory, Redis, and a
//! long mixed load whose every byte is checked.

mod bad_origins;
#[path = "../common/client.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod client;
mod fleet;
mod gateway;
mod late_bodies;
#[path = "../common/listeners.rs"]
mod listeners;
mod origin;
#[path = "../common/ports.rs"]
mod ports;
#[allow(dead_code, reason = "all of it is about the real Envoy here")]
#[path = "../common/process.rs"]
mod process;
#[path = "../common/real_envoy.rs"]
mod real_envoy;
mod redis;
mod remote;
mod soak;
mod stampede;
mod store;
#[path = "../common/until.rs"]
mod until;
#[path = "../common/upstream.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod upstream;
