//! What tells one client from another.
//!
//! A [`Key`] is a list of parts of a request. Written one after the other, each with its length,
//! they name the one whom a limit, a cache entry or a choice of host is for: `a` + `bc` never reads
//! like `ab` + `c`, and a part that isn't there never like one that is empty.

mod raw;

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use crate::address;
use crate::cidr::Cidr;
use crate::request::{Inputs, Looks, Request};

pub use raw::{RawClientAddress, RawKeyPart, check, check_part};

/// The parts of a request that make a key; none of them make one key for all requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Key {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    ClientAddress(ClientAddress),
    Constant(String),
    Cookie(String),
    Header(String),
    Host,
    Method,
    Path,
    /// Counted from one.
    PathSegment(usize),
    /// A path whose parts are parted by NUL.
    Property(String),
    Query(String),
    RouteName,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ClientAddress {
    /// Zero for the connection's address.
    trusted_hops: usize,
    trusted_cidrs: Vec<Cidr>,
    v4_prefix: u8,
    v6_prefix: u8,
}

/// A part of a key was missing in the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing;

impl Key {
    /// Returns what the parts are taken from.
    pub fn inputs(&self) -> Inputs {
        self.parts.iter().map(Part::inputs).collect()
    }

    /// Returns which headers the parts are taken from.
    pub fn looks(&self) -> Looks<'_> {
        self.parts.iter().map(Part::looks).collect()
    }

    /// Returns the paths of the properties that parts are taken from, each part parted by NUL.
    pub fn properties(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Property(path) => Some(&**path),
            _ => None,
        })
    }

    /// Returns the client's whole address, found as the key's part `client_address` finds it; that
    /// of the connection for a key without such a part.
    pub fn client(&self, request: &Request<'_>) -> Option<IpAddr> {
        let mut parts = self.parts.iter();
        let client = parts.find_map(|part| match part {
            Part::ClientAddress(client) => Some(client.whole(request)),
            _ => None,
        });
        client.unwrap_or_else(|| address::parse(request.source_address))
    }

    /// Returns the name of each part and what a request has of it, for those who call clients by
    /// their names. The names are those of Envoy's own rate limit actions where it has one.
    pub fn named<'k>(
        &'k self,
        request: &'k Request<'_>,
    ) -> impl Iterator<Item = (Cow<'k, str>, Option<Vec<u8>>)> {
        self.parts
            .iter()
            .map(move |part| (part.name(), part.value(request)))
    }

    /// Returns the name of the header that is all the key is made of: then its value alone is needed. Not
    /// for `host`, by which hosts hand over `:authority` when they are asked for it alone.
    pub fn lone_header(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [Part::Header(name)] => Some(&**name).filter(|name| *name != "host"),
            _ => None,
        }
    }

    /// Whether a request can lack one of the parts.
    pub fn can_miss(&self) -> bool {
        self.parts
            .iter()
            .any(|part| !matches!(part, Part::Constant(_)))
    }

    /// Writes the parts of a request to the end of `out`.
    ///
    /// # Errors
    /// [`Missing`] if a part isn't there or is empty. The parts are written all the same, that one
    /// as missing, so that requests can share a key for lacking the same part.
    pub fn write(&self, request: &Request<'_>, out: &mut Vec<u8>) -> Result<(), Missing> {
        let mut result = Ok(());
        for part in &self.parts {
            if !part.write(request, out) {
                out.push(0);
                result = Err(Missing);
            }
        }
        result
    }
}

impl fmt::Display for Key {
    /// Writes what the key is made of, the same in every version of the filters: state is kept
    /// under it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.parts.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            match part {
                Part::ClientAddress(ClientAddress {
                    trusted_hops,
                    trusted_cidrs,
                    v4_prefix,
                    v6_prefix,
                }) => {
                    write!(f, "client_address:{trusted_hops}/{v4_prefix}/{v6_prefix}")?;
                    trusted_cidrs
                        .iter()
                        .try_for_each(|cidr| write!(f, "/{cidr}"))
                }
                Part::Constant(text) => write!(f, "constant:{text:?}"),
                Part::Cookie(name) => write!(f, "cookie:{name:?}"),
                Part::Header(name) => write!(f, "header:{name}"),
                Part::Host => f.write_str("host"),
                Part::Method => f.write_str("method"),
                Part::Path => f.write_str("path"),
                Part::PathSegment(number) => write!(f, "path_segment:{number}"),
                Part::Property(path) => write!(f, "property:{path:?}"),
                Part::Query(name) => write!(f, "query:{name:?}"),
                Part::RouteName => f.write_str("route_name"),
            }?;
        }
        Ok(())
    }
}

impl Part {
    fn inputs(&self) -> Inputs {
        match self {
            // The connection's address stands in for a list of hops that is too short.
            Self::ClientAddress(client) => Inputs {
                headers: client.trusted_hops > 0 || !client.trusted_cidrs.is_empty(),
                ..Inputs::SOURCE_ADDRESS
            },
            // Properties are asked for by their paths.
            Self::Constant(_) | Self::Property(_) => Inputs::NONE,
            Self::RouteName => Inputs::ROUTE_NAME,
            Self::Cookie(_)
            | Self::Header(_)
            | Self::Host
            | Self::Method
            | Self::Path
            | Self::PathSegment(_)
            | Self::Query(_) => Inputs::HEADERS,
        }
    }

    fn looks(&self) -> Looks<'_> {
        match self {
            // A gateway may take `host` for `:authority` when asked for it alone.
            Self::Header(name) if name != "host" => Looks::First(name),
            Self::Method => Looks::First(":method"),
            Self::Path | Self::PathSegment(_) | Self::Query(_) => Looks::First(":path"),
            _ if !self.inputs().headers => Looks::Nothing,
            // Lines of cookies and of proxies, and a host that has two names.
            _ => Looks::All,
        }
    }

    fn name(&self) -> Cow<'_, str> {
        Cow::Borrowed(match self {
            Self::ClientAddress(_) => "remote_address",
            Self::Constant(_) => "generic_key",
            Self::Cookie(name) | Self::Header(name) | Self::Query(name) => name,
            Self::Host => "host",
            Self::Method => "method",
            Self::Path => "path",
            Self::PathSegment(number) => return Cow::Owned(format!("path_segment_{number}")),
            Self::Property(path) => return Cow::Owned(path.replace('\0', ".")),
            Self::RouteName => "route_name",
        })
    }

    /// What a request has of the part, addresses as text; nothing if it lacks it.
    fn value(&self, request: &Request<'_>) -> Option<Vec<u8>> {
        if let Self::ClientAddress(client) = self {
            return Some(client.of(request)?.to_string().into_bytes());
        }
        let mut written = Vec::new();
        if !self.write(request, &mut written) {
            return None;
        }
        // One byte that says it is there, and four of length.
        Some(written.split_off(5.min(written.len())))
    }

    /// Writes the part, or nothing and returns false if the request lacks it.
    fn write(&self, request: &Request<'_>, out: &mut Vec<u8>) -> bool {
        let headers = &request.headers;
        match self {
            Self::ClientAddress(client) => match client.of(request) {
                Some(IpAddr::V4(v4)) => write_value(&v4.octets(), out),
                Some(IpAddr::V6(v6)) => write_value(&v6.octets(), out),
                None => false,
            },
            Self::Constant(text) => write_value(text.as_bytes(), out),
            Self::Cookie(name) => write_value(headers.cookie(name).unwrap_or_default(), out),
            Self::Header(name) => write_value(headers.first(name).unwrap_or_default(), out),
            Self::Host => write_value(&headers.host().unwrap_or_default(), out),
            Self::Method => write_value(headers.method().unwrap_or_default(), out),
            Self::Path => write_value(headers.path().unwrap_or_default(), out),
            Self::PathSegment(number) => {
                let path = headers.path().unwrap_or_default();
                // What stands before the first slash is segment zero.
                let segment = path.split(|&byte| byte == b'/').nth(*number);
                write_value(segment.unwrap_or_default(), out)
            }
            Self::Property(path) => write_value(request.property(path), out),
            Self::Query(name) => write_value(&headers.query(name).next().unwrap_or_default(), out),
            Self::RouteName => write_value(request.route_name, out),
        }
    }
}

impl ClientAddress {
    fn of(&self, request: &Request<'_>) -> Option<IpAddr> {
        let address = self.whole(request)?;
        Some(address::masked(address, self.v4_prefix, self.v6_prefix))
    }

    fn whole(&self, request: &Request<'_>) -> Option<IpAddr> {
        if !self.trusted_cidrs.is_empty() {
            let peer = address::parse(request.source_address)?;
            let lines: Vec<_> = request.headers.all("x-forwarded-for").collect();
            let is_trusted = |address| self.trusted_cidrs.iter().any(|cidr| cidr.contains(address));
            return Some(address::beyond(peer, &lines, is_trusted));
        }
        let forwarded = if self.trusted_hops > 0 {
            let lines: Vec<_> = request.headers.all("x-forwarded-for").collect();
            address::forwarded(&lines, self.trusted_hops)
        } else {
            None
        };
        forwarded.or_else(|| address::parse(request.source_address))
    }
}

/// Writes a value with its length, or nothing and returns false if it is empty.
fn write_value(value: &[u8], out: &mut Vec<u8>) -> bool {
    // A host can't hand over more than 4 GiB.
    let Ok(len) = u32::try_from(value.len()) else {
        return false;
    };
    if len == 0 {
        return false;
    }
    let [a, b, c, d] = len.to_le_bytes();
    out.extend_from_slice(&[1, a, b, c, d]);
    out.extend_from_slice(value);
    true
}
