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
//! It is hedged: a request that has no answer of it after a short while goes to the origin as well, and
//! whichever answers first is the client's.
//!
//! What purges and writes made worthless is told in lists there that every gateway reads once a second
//! ([`fleet`]). So a purge or write is at once where it was asked for, and within a second elsewhere.

pub mod breaker;
pub mod fleet;
pub mod value;
pub mod webdis;

use filter_core::hash::Seed;

use self::fleet::List;
use crate::config::Remote;
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
    /// How long it may take to answer, in milliseconds.
    pub timeout: u32,
    /// How long a request waits for it before it goes to the origin as well, in milliseconds.
    pub hedge_after: u32,
    /// Bytes of the largest body that is kept there.
    pub max_object_bytes: u64,
}

impl Settings {
    /// Settings as the configuration has them, for bodies of at most so many bytes.
    pub fn new(remote: &Remote, max_object_bytes: u64) -> Self {
        let basic = |pair: &String| format!("Basic {}", base64(pair.as_bytes()));
        Self {
            cluster: remote.cluster.clone(),
            authority: remote.authority.clone(),
            prefix: remote.prefix.clone(),
            authorization: remote.credentials.as_ref().map(basic),
            timeout: remote.timeout,
            hedge_after: remote.hedge_after,
            max_object_bytes,
        }
    }

    /// The name in Redis of what is stored under a key. Every gateway comes to the same, so the hash isn't
    /// a secret one; who makes two keys collide makes them misses, since the value tells its key.
    pub fn name(&self, key: &[u8]) -> String {
        const FIXED: [u8; Seed::LEN] = *b"penstock cache 1";
        let hash = Seed::from_bytes(FIXED).hash(key);
        format!("{}:{:016x}{:016x}", self.prefix, hash.place, hash.identity)
    }

    /// The name in Redis of a list of the fleet.
    pub fn list(&self, list: List) -> String {
        format!("{}:{}", self.prefix, list.name())
    }
}

/// Whole seconds until then, for Redis to forget by; `None` if it has come, or is hardly worth it.
pub fn seconds_until(then: Millis, now: Millis) -> Option<u64> {
    // Redis takes no more than an i64 of milliseconds since 1970.
    const MOST: u64 = 10 * 365 * 86_400;
    let seconds = then.saturating_sub(now).div_euclid(1000).min(MOST);
    (seconds > 0).then_some(seconds)
}

/// Base64 with padding (RFC 4648 section 4), as Basic authentication has it.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4_u32 {
            let six = bits >> 18_u32.saturating_sub(place.saturating_mul(6)) & 63;
            let letter = usize::try_from(six).ok().and_then(|six| LETTERS.get(six));
            let is_there = group.len() >= usize::try_from(place).unwrap_or(0);
            out.push(match letter {
                Some(letter) if is_there => char::from(*letter),
                _ => '=',
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648_section_10() {
        let pairs = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (text, encoded) in pairs {
            assert_eq!(base64(text.as_bytes()), encoded);
        }
    }

    #[test]
    fn what_is_worth_nothing_within_a_second_is_not_kept() {
        assert_eq!(seconds_until(5999, 5000), None);
        assert_eq!(seconds_until(6000, 5000), Some(1));
        assert_eq!(seconds_until(0, 5000), None);
        assert!(seconds_until(u64::MAX, 0).is_some_and(|seconds| seconds < 1 << 32));
    }
}
