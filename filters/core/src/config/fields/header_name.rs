//! Names of HTTP fields (RFC 9110 section 5.1: a token, in any case).

use std::fmt;

use super::text::{Text, impl_text};

/// A header's name, lower-cased, as proxies hand names to a filter.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct HeaderName(String);

impl HeaderName {
    /// Makes one of a token of at most 256 characters.
    pub fn new(text: &str) -> Option<Self> {
        Text::parse(text)
    }

    /// Returns the name in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Text for HeaderName {
    const ALLOWED: &'static str = "a header's name, such as \"x-api-key\"";

    fn parse(text: &str) -> Option<Self> {
        // RFC 9110 section 5.6.2: tchar.
        let tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let valid = (1..=256).contains(&text.len()) && text.bytes().all(tchar);
        valid.then(|| Self(text.to_ascii_lowercase()))
    }
}

impl_text!(
    HeaderName,
    "HeaderName",
    "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$"
);

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
