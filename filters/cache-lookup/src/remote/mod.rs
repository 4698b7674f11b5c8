//! A second tier that a fleet of gateways shares: a cache that exists already, reached over HTTP.
//!
//! Today that is Redis behind webdis. The store in the gateway's memory is asked first; the remote tier
//! only by the one request per key that would otherwise go to the origin. What comes of an origin is
//! written there afterwards, and no response waits for it.
//!
//! The remote tier is never trusted and never needed: what it answers counts only if it is whole, ours,
//! about this very key and not purged since; and if it doesn't answer in time, or is down, requests go
//! on as if there were none. After some failures it isn't asked at all for a while
//! ([`breaker`]).
//!
//! Purges of many objects are a list there that every gateway reads once a second ([`fleet`]). So a purge
//! is at once where it was asked for, and within a second elsewhere.

pub mod breaker;
pub mod fleet;
pub mod value;
pub mod webdis;

use filter_core::hash::Seed;

use crate::store::Millis;

/// How the remote tier is reached and used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The gateway's cluster of webdis.
    pub cluster: String,
    /// The `:authority` of requests to it.
    pub authority: String,
    /// What all keys in Redis begin with. Gateways that share it share a cache.
    pub prefix: String,
    /// The `authorization` header of requests to it, if it asks for one.
    pub authorization: Option<String>,
    /// How long a request waits for it at most, in milliseconds.
    pub timeout: u32,
    /// Bytes of the largest body that is kept there.
    pub max_object_bytes: u64,
}

impl Settings {
    /// The name in Redis of what is stored under a key. Every gateway comes to the same, so the hash isn't
    /// a secret one; who makes two keys collide makes them misses, since the value tells its key.
    pub fn name(&self, key: &[u8]) -> String {
        const FIXED: [u8; Seed::LEN] = *b"penstock cache 1";
        let hash = Seed::from_bytes(FIXED).hash(key);
        format!("{}:{:016x}{:016x}", self.prefix, hash.place, hash.identity)
    }

    /// The name in Redis of the list of purges.
    pub fn purges(&self) -> String {
        format!("{}:purges", self.prefix)
    }
}

/// Whole seconds until then, for Redis to forget by; `None` if it has come, or is hardly worth it.
pub fn seconds_until(then: Millis, now: Millis) -> Option<u64> {
    // Redis takes no more than an i64 of milliseconds since 1970.
    const MOST: u64 = 10 * 365 * 86_400;
    let seconds = then.saturating_sub(now).div_euclid(1000).min(MOST);
    (seconds > 0).then_some(seconds)
}
