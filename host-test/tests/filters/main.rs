//! The real modules, as `cargo xtask build` makes them, in our host.

mod cache_lookup;
mod cache_lookup_remote;
mod consistent_hash;
mod consistent_hash_hosts;
#[path = "../common/frame.rs"]
#[allow(dead_code, reason = "the parity tests use more of it")]
mod frame;
mod jwt_auth;
mod jwt_auth_online;
mod jwt_auth_secrets;
mod module;
#[path = "../common/p256_key.rs"]
mod p256_key;
mod rate_limit;
mod rate_limit_streams;
#[path = "../jwt_authn/token.rs"]
#[allow(dead_code, reason = "the parity tests use more of it")]
mod token;
