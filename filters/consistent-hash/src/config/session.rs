//! The cookie that gives clients a key.

use std::time::Duration;

use filter_core::config::Place;
use filter_core::config::fields::DurationText;
use serde::Deserialize;

use crate::cookie::Sessions;

/// A cookie with a random name for the client, given to one whose request has no key. It is signed: a
/// client can't make one up, and so can't choose a host. It is `HttpOnly`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawSession {
    /// The cookie's name.
    #[serde(default = "name")]
    pub name: String,
    /// Secrets of at least 16 characters, the same in all gateways. The first signs, all are believed, so
    /// that one can be changed: put the new one first, and take the old one away after `ttl`.
    pub secrets: Vec<String>,
    /// How long a cookie counts; it is renewed when half of that is over. Until the browser is closed if
    /// it is left out.
    pub ttl: Option<DurationText>,
    /// The cookie's `Path`.
    #[serde(default = "root")]
    pub path: String,
    /// The cookie's `Domain`.
    pub domain: Option<String>,
    /// The cookie's `SameSite`.
    #[serde(default)]
    pub same_site: SameSite,
    /// Whether browsers send the cookie over TLS alone. Must be true with `same_site: none`.
    #[serde(default = "yes")]
    pub secure: bool,
}

/// Which requests from other sites a browser sends the cookie with.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    derive(schemars::JsonSchema, serde::Serialize)
)]
#[serde(rename_all = "snake_case")]
pub enum SameSite {
    /// None.
    Strict,
    /// Those that follow a link.
    #[default]
    Lax,
    /// All.
    None,
}

/// Fewer characters of a secret can be guessed.
const SHORTEST_SECRET: usize = 16;

impl RawSession {
    /// Makes sessions, or reports all that is wrong at `place`.
    pub(super) fn check(self, place: &Place<'_>) -> Option<Sessions> {
        let mut fits = true;
        // RFC 6265 section 4.1.1: a token.
        let tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if self.name.is_empty() || !self.name.bytes().all(tchar) {
            place
                .field("name")
                .refuse("a cookie's name, such as \"session\"");
            fits = false;
        }
        let at = place.field("secrets");
        if self.secrets.is_empty() {
            at.refuse("a list of at least one secret");
            fits = false;
        }
        for (index, secret) in self.secrets.iter().enumerate() {
            if secret.len() < SHORTEST_SECRET {
                // Not `refuse`, which would write the secret into the log.
                at.index(index)
                    .report("too short; allowed: a secret of at least 16 characters");
                fits = false;
            }
        }
        let is_value = |text: &str| {
            let plain = |byte: u8| matches!(byte, 0x20..=0x7e) && byte != b';' && byte != b',';
            text.bytes().all(plain)
        };
        if !self.path.starts_with('/') || !is_value(&self.path) {
            place
                .field("path")
                .refuse("a path such as \"/\", without \";\" and \",\"");
            fits = false;
        }
        if let Some(domain) = &self.domain
            && (domain.is_empty() || !is_value(domain) || domain.contains(' '))
        {
            place
                .field("domain")
                .refuse("a domain such as \"example.com\"");
            fits = false;
        }
        if self.same_site == SameSite::None && !self.secure {
            place
                .field("secure")
                .report("browsers refuse \"same_site: none\" without it");
            fits = false;
        }
        let mut attributes = vec![format!("Path={}", self.path)];
        attributes.extend(self.domain.map(|domain| format!("Domain={domain}")));
        attributes.push("HttpOnly".to_owned());
        attributes.extend(self.secure.then(|| "Secure".to_owned()));
        let same_site = match self.same_site {
            SameSite::Strict => "Strict",
            SameSite::Lax => "Lax",
            SameSite::None => "None",
        };
        attributes.push(format!("SameSite={same_site}"));
        // A cookie counts whole seconds.
        let seconds = |ttl: Duration| ttl.as_secs().max(1);
        let ttl = self.ttl.map(|ttl| seconds(ttl.get()));
        let sessions = Sessions::new(&self.name, &self.secrets, ttl, &attributes);
        sessions.filter(|_| fits)
    }
}

fn name() -> String {
    "session-affinity".to_owned()
}

fn root() -> String {
    "/".to_owned()
}

const fn yes() -> bool {
    true
}
