//! jwt-auth in gateways, our own and the real Envoy, with two workers each: what it asks other
//! services for, whatever those answer, and tokens that are bound to their senders.
//!
//! Nothing here waits for a time to pass: every wait is for something to be seen, and ends in
//! failure if it isn't seen for long. How many fetches there may be is reckoned from the time that
//! really went by.

mod certificates;
#[path = "../common/client.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod client;
mod discovery;
mod introspection;
mod issuer;
mod keys;
#[path = "../common/one_filter.rs"]
mod one_filter;
#[path = "../common/p256_key.rs"]
mod p256_key;
mod percent;
#[path = "../common/ports.rs"]
mod ports;
#[path = "../common/process.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod process;
mod proofs;
#[path = "../common/real_envoy.rs"]
mod real_envoy;
mod revocation;
mod rig;
#[path = "../common/until.rs"]
mod until;
#[path = "../common/upstream.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod upstream;
