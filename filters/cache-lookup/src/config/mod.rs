//! The configuration: raw structs as they are written, and the typed form that the policy uses.

mod check;
mod defaults;
mod key;
mod raw;
mod remote;

use filter_core::cidr::Cidr;
use filter_core::config::{self, Errors};
use filter_core::matcher::Matcher;

pub use self::key::{KeyRules, NamePattern, RawKey, RawQuery};
pub use self::raw::*;
pub use self::remote::{RawRemote, Remote, RemoteProtocol};
use crate::freshness::Heuristic;

/// The configuration of a cache-lookup filter, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The rules in order; the last one is about every request and has no name.
    pub rules: Vec<Rule>,
    /// Targeted fields in lower case, the first one first.
    pub targets: Vec<String>,
    /// What becomes of parts.
    pub partial: Partial,
    /// Request headers that no key has and attackers can send.
    pub unkeyed: Vec<String>,
    /// Whether requests wait for each other.
    pub collapse: bool,
    /// For how many milliseconds at most.
    pub collapse_wait: u64,
    /// Milliseconds for which it is remembered that a response couldn't be stored.
    pub remember_uncacheable: u64,
    /// Who may purge, and how.
    pub purge: Option<Purge>,
    /// Response headers that list tags.
    pub tag_headers: Vec<String>,
    /// Bytes of the shared store.
    pub max_bytes: u64,
    /// Bytes of the largest response.
    pub max_object_bytes: u64,
    /// Bytes of each worker's own memory.
    pub worker_bytes: u64,
    /// The second store.
    pub remote: Option<Remote>,
    /// The name in `Cache-Status`; none for no such field.
    pub cache_name: Option<String>,
    /// Whether `Cache-Status` tells the key.
    pub tell_key: bool,
    /// Whether long bodies are left out of replies at first.
    pub late_bodies: bool,
}

/// What is done with some requests, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Unique name; empty for the last one.
    pub name: String,
    /// Which requests.
    pub matcher: Matcher,
    /// Types of content that may be stored: type and subtype, `*` for any subtype.
    pub content_types: Option<Vec<(String, String)>>,
    /// They are left alone.
    pub bypass: bool,
    /// Prohibitions of the origin don't count.
    pub force: bool,
    /// How long responses are fresh.
    pub ttl: Ttl,
    /// When they are used stale.
    pub stale: Stale,
    /// How keys are made.
    pub key: KeyRules,
    /// What becomes of `Set-Cookie`.
    pub set_cookie: SetCookie,
    /// Whether clients' directives count.
    pub honours_clients: bool,
    /// Bytes of the longest request body that is put into a key; none for no bodies.
    pub body_key: Option<u64>,
    /// Fields that count as not named in `Vary`.
    pub vary_ignore: Vec<String>,
    /// Fields that count as named in it.
    pub vary_add: Vec<String>,
}

/// How long responses are fresh, in seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ttl {
    /// Whatever the origin says.
    pub overriding: Option<u64>,
    /// If nothing is known.
    pub default: Option<u64>,
    /// At most.
    pub max: Option<u64>,
    /// For statuses from the first to the second.
    pub status: Vec<(u16, u16, u64)>,
    /// An estimate.
    pub heuristic: Heuristic,
}

/// When responses are used stale, in seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stale {
    /// While a new one is fetched.
    pub while_revalidate: u64,
    /// In place of an error.
    pub if_error: u64,
    /// Kept to be validated.
    pub keep: u64,
    /// Where background requests go.
    pub cluster: Option<String>,
}

/// What becomes of parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partial {
    /// They are stored.
    pub store: bool,
    /// A `Content-Range` that says too much is repaired.
    pub repair: bool,
    /// They are completed while fresh even without a strong validator.
    pub complete_without_validator: bool,
}

/// Who may purge, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purge {
    /// The method.
    pub method: String,
    /// A path under which `POST` purges too.
    pub path: Option<String>,
    /// What `header` must say.
    pub secret: Option<String>,
    /// The header of the secret.
    pub header: String,
    /// Where they may come from.
    pub addresses: Option<Vec<Cidr>>,
}

impl Config {
    /// Reads a configuration from JSON text or a serialized `google.protobuf.Struct`.
    ///
    /// # Errors
    /// All mistakes in it, with their places.
    pub fn read(bytes: &[u8]) -> Result<Self, Errors> {
        config::read(bytes, RawConfig::check)
    }
}
