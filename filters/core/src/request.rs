//! What a policy may know about a request.
//!
//! Every piece costs a hostcall, so a policy says first which of them it needs ([`Inputs`]) and the
//! shell fetches no more than that.

use crate::headers::Headers;

/// A request as the cores see it: borrowed from what the host handed over.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    /// The request's headers with their pseudo-headers.
    pub headers: Headers<'a>,
    /// Property `source.address`: the client as the gateway sees it, `ip:port`.
    pub source_address: &'a [u8],
    /// Property `xds.route_name`; empty if the route has no name.
    pub route_name: &'a [u8],
    /// Other properties that were asked for, by their paths: parts parted by NUL.
    pub properties: &'a [(String, Vec<u8>)],
}

impl<'a> Request<'a> {
    /// Returns a property that was asked for; empty if the gateway has none of that path.
    pub fn property(&self, path: &str) -> &'a [u8] {
        let mut properties = self.properties.iter();
        let found = properties.find(|(candidate, _)| candidate == path);
        found.map_or(&[], |(_, value)| value)
    }
}

/// Which pieces of a request are needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    /// [`Request::headers`].
    pub headers: bool,
    /// [`Request::source_address`].
    pub source_address: bool,
    /// [`Request::route_name`].
    pub route_name: bool,
}

impl Inputs {
    /// Nothing at all.
    pub const NONE: Self = Self {
        headers: false,
        source_address: false,
        route_name: false,
    };
    /// The headers alone.
    pub const HEADERS: Self = Self {
        headers: true,
        ..Self::NONE
    };
    /// The client's address alone.
    pub const SOURCE_ADDRESS: Self = Self {
        source_address: true,
        ..Self::NONE
    };
    /// The route's name alone.
    pub const ROUTE_NAME: Self = Self {
        route_name: true,
        ..Self::NONE
    };

    /// Returns what either of the two needs.
    pub const fn and(self, other: Self) -> Self {
        Self {
            headers: self.headers || other.headers,
            source_address: self.source_address || other.source_address,
            route_name: self.route_name || other.route_name,
        }
    }
}

/// Which of a request's headers are looked at. One value costs the gateway as much as all of them,
/// and whoever reads it much less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looks<'a> {
    /// None.
    Nothing,
    /// The first value of this one, named in lower case.
    First(&'a str),
    /// Several, or one that may be repeated.
    All,
}

impl<'a> FromIterator<Self> for Looks<'a> {
    fn from_iter<I: IntoIterator<Item = Self>>(looks: I) -> Self {
        looks
            .into_iter()
            .fold(Self::Nothing, |one, other| match (one, other) {
                (Self::Nothing, only) | (only, Self::Nothing) => only,
                (Self::First(one), Self::First(other)) if one == other => Self::First(one),
                _ => Self::All,
            })
    }
}

impl FromIterator<Self> for Inputs {
    fn from_iter<I: IntoIterator<Item = Self>>(inputs: I) -> Self {
        inputs.into_iter().fold(Self::NONE, Self::and)
    }
}
