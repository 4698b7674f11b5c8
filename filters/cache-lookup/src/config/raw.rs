//! The configuration as it is written.

use filter_core::config::fields::{
    Bounded, CidrText, DurationText, HeaderName, Name, ProtoDuration,
};
use filter_core::matcher::RawMatch;
use serde::Deserialize;

use super::defaults::*;
use super::key::RawKey;
use super::remote::RawRemote;

/// The configuration of a cache-lookup filter, as it is written. Without any field it is a shared
/// cache as RFC 9111 describes one.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawConfig {
    /// What is different for some requests; the first rule that a request matches counts.
    #[serde(default)]
    pub rules: Vec<RawRule>,
    /// What tells one cached response from another.
    #[serde(default)]
    pub key: RawKey,
    /// How long responses are fresh, where their origin doesn't say.
    #[serde(default)]
    pub ttl: RawTtl,
    /// When a stale response is better than none.
    #[serde(default)]
    pub stale: RawStale,
    /// What becomes of responses with `Set-Cookie`.
    #[serde(default)]
    pub set_cookie: SetCookie,
    /// Whether clients' `Cache-Control` counts: `no-cache`, `max-age`, `only-if-cached` and so on.
    #[serde(default)]
    pub request_directives: RequestDirectives,
    /// Targeted fields (RFC 9213) that count in place of `Cache-Control`, the first one first.
    #[serde(default = "targets")]
    pub targets: Vec<HeaderName>,
    /// What becomes of parts of responses (206).
    #[serde(default)]
    pub partial: RawPartial,
    /// Which responses are refused for headers that an attacker can send and no key has.
    #[serde(default)]
    pub poisoning: RawPoisoning,
    /// What concurrent requests for the same response do.
    #[serde(default)]
    pub collapse: RawCollapse,
    /// How stored responses are taken out by hand. Nobody can without it.
    pub purge: Option<RawPurge>,
    /// Response headers that list the tags of a response, parted by spaces or commas.
    #[serde(default = "tag_headers")]
    pub tag_headers: Vec<HeaderName>,
    /// How much is kept.
    #[serde(default)]
    pub store: RawStore,
    /// A second store that several gateways share.
    pub remote: Option<RawRemote>,
    /// What `Cache-Status` (RFC 9211) says.
    #[serde(default)]
    pub cache_status: RawCacheStatus,
    /// Has Envoy make its reply of an answer of 16 KiB or more with 27 bytes in place of the body, which
    /// saves copies of it; the body takes their place afterwards. Not for gateways whose
    /// `local_reply_config` puts `%LOCAL_REPLY_BODY%` into answers: they would show those bytes.
    #[serde(default = "late_bodies")]
    pub late_bodies: bool,
}

/// What is different for some requests. A field that isn't given is as at the top.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawRule {
    /// Name in the access log; unique.
    pub name: Name,
    /// Which requests the rule is about; all of them by default.
    #[serde(default, rename = "match")]
    pub matching: RawMatch,
    /// Types of the response's content that may be stored, without parameters: `text/html`, or
    /// `image/*`. All of them by default.
    pub content_types: Option<Vec<String>>,
    /// Leaves the requests alone.
    #[serde(default)]
    pub bypass: bool,
    /// Stores responses that say `no-store`, `private` or `no-cache` too, or answer a request with
    /// `Authorization`. Only together with `ttl.override`, and for what is the same for everybody.
    #[serde(default)]
    pub force: bool,
    /// How long responses are fresh.
    pub ttl: Option<RawTtl>,
    /// When a stale response is better than none.
    pub stale: Option<RawStale>,
    /// What tells one cached response from another.
    pub key: Option<RawKey>,
    /// What becomes of responses with `Set-Cookie`.
    pub set_cookie: Option<SetCookie>,
    /// Whether clients' `Cache-Control` counts.
    pub request_directives: Option<RequestDirectives>,
    /// Has answers to `POST` and `QUERY` requests cached too.
    pub cache_post: Option<RawCachePost>,
    /// How `Vary` is understood.
    #[serde(default)]
    pub vary: RawVary,
}

/// How long responses are fresh. What the origin says explicitly counts before `default`, `status`
/// and `heuristic`.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    derive(schemars::JsonSchema, serde::Serialize)
)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RawTtl {
    /// Whatever the origin says of a response that may be stored.
    #[serde(rename = "override")]
    pub overriding: Option<ProtoDuration>,
    /// For responses with status 200, 301 or 308 of which nothing is known.
    pub default: Option<ProtoDuration>,
    /// At most, whatever the origin says.
    pub max: Option<ProtoDuration>,
    /// For some statuses, such as 404 or 503 (negative caching).
    pub status: Vec<RawStatusTtl>,
    /// An estimate from `Last-Modified`.
    pub heuristic: RawHeuristic,
}

/// How long responses of some statuses are fresh.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    derive(schemars::JsonSchema, serde::Serialize)
)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawStatusTtl {
    /// The lowest one.
    pub from: Bounded<200, 599>,
    /// The highest one; the same as the lowest by default.
    pub to: Option<Bounded<200, 599>>,
    /// How long.
    pub ttl: ProtoDuration,
}

/// An estimate of freshness (RFC 9111 section 4.2.2).
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    derive(schemars::JsonSchema, serde::Serialize)
)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RawHeuristic {
    /// The share of the time since `Last-Modified`, in percent; 0 for no estimate.
    pub percent: Bounded<0, 100>,
    /// The longest estimate.
    pub max: ProtoDuration,
}

/// When a stale response is better than none. Responses with `must-revalidate`, `proxy-revalidate`
/// or `no-cache` are never used stale.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    derive(schemars::JsonSchema, serde::Serialize)
)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RawStale {
    /// For so long after it became stale a response is used while a new one is fetched, if the
    /// origin's `stale-while-revalidate` (RFC 5861) doesn't say how long.
    pub while_revalidate: ProtoDuration,
    /// For so long it is used if the origin can't be reached or answers 500, 502, 503 or 504, if the
    /// origin's `stale-if-error` doesn't say how long.
    pub if_error: ProtoDuration,
    /// For so long a stale response is kept to be validated.
    pub keep: ProtoDuration,
    /// The cluster that background requests go to; by default the one of the request's route.
    pub cluster: Option<String>,
}

/// What becomes of responses with `Set-Cookie`.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    derive(schemars::JsonSchema, serde::Serialize)
)]
#[serde(rename_all = "snake_case")]
pub enum SetCookie {
    /// They are stored where their freshness is explicit, cookies and all, as RFC 9111 section 7.3
    /// has it: the origin says otherwise in `Cache-Control`.
    #[default]
    StoreExplicit,
    /// They are stored without it.
    Strip,
    /// They aren't stored.
    Refuse,
}

/// Whether clients' `Cache-Control` counts.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    derive(schemars::JsonSchema, serde::Serialize)
)]
#[serde(rename_all = "snake_case")]
pub enum RequestDirectives {
    /// All directives of RFC 9111 section 5.2.1, and `Pragma: no-cache` without them.
    #[default]
    Honour,
    /// None of them: no client makes the origin work. `no-store` is honoured all the same.
    Ignore,
}

/// What becomes of parts of responses (206).
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    derive(schemars::JsonSchema, serde::Serialize)
)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RawPartial {
    /// Stores them, answers ranges within them, and completes them.
    pub store: bool,
    /// What becomes of a `Content-Range` up to the end that says more bytes than the body has.
    pub content_range: ContentRange,
    /// Completes a part that has no strong validator while it is fresh. The parts of a representation
    /// that changes without saying so would be mixed.
    pub complete_without_validator: bool,
}

/// What becomes of a `Content-Range` that says more bytes than the body has.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    derive(schemars::JsonSchema, serde::Serialize)
)]
#[serde(rename_all = "snake_case")]
pub enum ContentRange {
    /// The body is believed: the whole ends where it ends.
    #[default]
    Repair,
    /// The response isn't stored.
    Strict,
}

/// Which responses are refused for request headers that an attacker can send and no key has.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    derive(schemars::JsonSchema, serde::Serialize)
)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RawPoisoning {
    /// Request headers that origins may put into responses. A redirect or an error that answers a
    /// request with one of them isn't stored, nor any response with its value in a header, unless
    /// the header is in the key or in `Vary`.
    pub unkeyed_headers: Vec<HeaderName>,
}

/// What concurrent requests for the same response do.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    derive(schemars::JsonSchema, serde::Serialize)
)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RawCollapse {
    /// Whether they wait for the first one's response.
    pub enabled: bool,
    /// For so long at most; then they go upstream on their own.
    pub wait: DurationText,
    /// For so long it is remembered that a response couldn't be stored: requests don't wait then.
    pub remember_uncacheable: DurationText,
}

/// How stored responses are taken out by hand.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawPurge {
    /// The method of purging requests.
    #[serde(default = "purge_method")]
    pub method: String,
    /// A path under which a `POST` purges too, for clients that know no other methods.
    pub path: Option<String>,
    /// What a request must have to be heard: this value in `header`.
    pub secret: Option<String>,
    /// The header of the secret.
    #[serde(default = "secret_header")]
    pub header: HeaderName,
    /// Networks that may purge, by the address of the connection. With a secret both must fit.
    pub addresses: Option<Vec<CidrText>>,
}

/// How much is kept.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    derive(schemars::JsonSchema, serde::Serialize)
)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RawStore {
    /// Bytes in the store that all workers share.
    pub max_bytes: Bounded<1_048_576, 1_073_741_824>,
    /// Bytes of the largest response that is stored.
    pub max_object_bytes: Bounded<1, 134_217_728>,
    /// Bytes that each worker keeps of its own besides.
    pub worker_bytes: Bounded<0, 268_435_456>,
}

/// What `Cache-Status` says.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    derive(schemars::JsonSchema, serde::Serialize)
)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RawCacheStatus {
    /// The name of this cache; no name, no field.
    pub name: String,
    /// Adds the key, for tests: clients see how it is made.
    pub key: bool,
}

/// Has answers to `POST` and `QUERY` requests cached: for GraphQL, searches and prompts. Needs
/// `allow_on_headers_stop_iteration: true` in the gateway's plugin.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawCachePost {
    /// Puts the request's body and its type into the key.
    pub key_from_body: bool,
    /// Bytes of the longest body that is looked at; requests with longer ones pass.
    #[serde(default = "longest_body")]
    pub max_body_bytes: Bounded<1, 1_048_576>,
}

/// How `Vary` is understood.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RawVary {
    /// Fields that count as not named in it.
    pub ignore: Vec<HeaderName>,
    /// Fields that count as named in it.
    pub add: Vec<HeaderName>,
}
