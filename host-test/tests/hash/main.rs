//! consistent-hash in the real Envoy: hosts that die and come back, retries, forged headers, bounded
//! load, hot keys, prompts, and discovery that lies.
//!
//! Nothing here waits for a time to pass: every wait is for something to be seen, and ends in failure
//! if it isn't seen for long.

mod backend;
mod bounded;
#[path = "../common/client.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod client;
mod discovery;
mod forged;
mod health;
mod keys;
#[path = "../common/ports.rs"]
mod ports;
#[path = "../common/process.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod process;
#[path = "../common/real_envoy.rs"]
mod real_envoy;
mod rig;
mod steering;
