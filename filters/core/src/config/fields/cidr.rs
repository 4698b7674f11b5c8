//! Networks and single addresses.

use std::fmt;

use super::text::{Text, impl_text};
use crate::cidr::Cidr;

/// A network, or a single address: `10.0.0.0/8`, `2001:db8::/32`, `192.0.2.7`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CidrText(Cidr);

impl CidrText {
    /// Returns the network.
    pub const fn get(self) -> Cidr {
        self.0
    }
}

impl Text for CidrText {
    const ALLOWED: &'static str =
        "an address or a network without bits beyond its prefix, such as \"10.0.0.0/8\"";

    fn parse(text: &str) -> Option<Self> {
        Cidr::parse(text).map(Self)
    }
}

impl_text!(CidrText, "Cidr", "^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$");

impl fmt::Display for CidrText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
