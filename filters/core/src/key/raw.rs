//! The parts of a key as they are written, and what makes a [`Key`] of them.

use serde::Deserialize;

use super::{ClientAddress, Key, Part};
use crate::config::Place;
use crate::config::fields::{Bounded, CidrText, HeaderName};

/// A part of a request that tells one client from another.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RawKeyPart {
    /// The client's IP address.
    ClientAddress(RawClientAddress),
    /// A text of your own, equal for all requests.
    Constant(String),
    /// The value of this cookie.
    Cookie(String),
    /// The first value of this request header.
    Header(HeaderName),
    /// The host the client asked for, without port and in lower case.
    Host,
    /// The method.
    Method,
    /// The path, without query.
    Path,
    /// One segment of the path, counted from 1.
    PathSegment(Bounded<1, 64>),
    /// A property of the gateway as the parts of its path, such as
    /// `[filter_state, wasm.tenant]` or `[metadata, filter_metadata, envoy.lb, tenant]`.
    Property(Vec<String>),
    /// The first value of this query parameter, decoded.
    Query(String),
    /// The name of the gateway's route.
    RouteName,
}

/// How a client's address is found and how much of it counts.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RawClientAddress {
    /// Which address of `X-Forwarded-For` is the client's, counted from the right: 1 is the last
    /// one, which the nearest proxy wrote. What stands further left can be forged and is ignored; a
    /// shorter list counts as none. 0 takes the address that the gateway itself
    /// found (`source.address`), which is right behind a connection manager with
    /// `use_remote_address` and `xff_num_trusted_hops`.
    pub trusted_hops: Bounded<0, 32>,
    /// Instead of `trusted_hops`: addresses of your own proxies. The client is the first address
    /// that is none of them, from the connection's on and then through `X-Forwarded-For` from the
    /// right. What stands further left is ignored.
    pub trusted_cidrs: Vec<CidrText>,
    /// Leading bits of an IPv4 address that count.
    pub v4_prefix: Bounded<0, 32>,
    /// Leading bits of an IPv6 address that count. A single client usually has a whole /64.
    pub v6_prefix: Bounded<0, 128>,
}

const DIRECT: Bounded<0, 32> = Bounded::new(0).unwrap();
const WHOLE_V4: Bounded<0, 32> = Bounded::new(32).unwrap();
const NETWORK_V6: Bounded<0, 128> = Bounded::new(64).unwrap();

/// Makes a key of its parts, or reports all that is wrong at `place`.
pub fn check(parts: Vec<RawKeyPart>, place: &Place<'_>) -> Option<Key> {
    let parts: Vec<_> = parts
        .into_iter()
        .enumerate()
        .map(|(index, part)| part.check(&place.index(index)))
        .collect();
    let parts = parts.into_iter().collect::<Option<_>>()?;
    Some(Key { parts })
}

/// Makes a key of one part, or reports all that is wrong at `place`.
pub fn check_part(part: RawKeyPart, place: &Place<'_>) -> Option<Key> {
    let parts = vec![part.check(place)?];
    Some(Key { parts })
}

impl RawKeyPart {
    fn check(self, place: &Place<'_>) -> Option<Part> {
        let some_text = |field, text: String| {
            if text.is_empty() {
                place.field(field).refuse("text that is not empty");
                return None;
            }
            Some(text)
        };
        Some(match self {
            Self::ClientAddress(client) => {
                Part::ClientAddress(client.check(&place.field("client_address"))?)
            }
            Self::Constant(text) => Part::Constant(some_text("constant", text)?),
            Self::Cookie(name) => Part::Cookie(some_text("cookie", name)?),
            Self::Header(name) => Part::Header(name.as_str().to_owned()),
            Self::Host => Part::Host,
            Self::Method => Part::Method,
            Self::Path => Part::Path,
            Self::PathSegment(number) => {
                Part::PathSegment(usize::try_from(number.get()).unwrap_or(usize::MAX))
            }
            Self::Property(path) => {
                let fits = |part: &String| !part.is_empty() && !part.contains('\0');
                if path.is_empty() || !path.iter().all(fits) {
                    place
                        .field("property")
                        .refuse("the parts of a property's path, none of them empty");
                    return None;
                }
                Part::Property(path.join("\0"))
            }
            Self::Query(name) => Part::Query(some_text("query", name)?),
            Self::RouteName => Part::RouteName,
        })
    }
}

impl Default for RawClientAddress {
    fn default() -> Self {
        Self {
            trusted_hops: DIRECT,
            trusted_cidrs: Vec::new(),
            v4_prefix: WHOLE_V4,
            v6_prefix: NETWORK_V6,
        }
    }
}

impl RawClientAddress {
    fn check(self, place: &Place<'_>) -> Option<ClientAddress> {
        if self.trusted_hops != DIRECT && !self.trusted_cidrs.is_empty() {
            place
                .field("trusted_cidrs")
                .report("beside \"trusted_hops\" it isn't clear which of the two counts");
            return None;
        }
        let prefix = |value: u64| u8::try_from(value).unwrap_or(u8::MAX);
        Some(ClientAddress {
            trusted_hops: usize::try_from(self.trusted_hops.get()).unwrap_or(usize::MAX),
            trusted_cidrs: self.trusted_cidrs.into_iter().map(CidrText::get).collect(),
            v4_prefix: prefix(self.v4_prefix.get()),
            v6_prefix: prefix(self.v6_prefix.get()),
        })
    }
}
