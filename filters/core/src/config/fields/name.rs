//! Names of rules, limits and the like: they become part of metric names and of log lines.

use std::fmt;

use super::text::{Text, impl_text};

/// A name of 1 to 40 lower-case letters, digits and hyphens.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Name(String);

impl Name {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Text for Name {
    const ALLOWED: &'static str = "a name of 1 to 40 lower-case letters, digits and hyphens";

    fn parse(text: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let valid = (1..=40).contains(&text.len()) && text.bytes().all(allowed);
        valid.then(|| Self(text.to_owned()))
    }
}

impl_text!(Name, "Name", "^[a-z0-9-]{1,40}$");

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
