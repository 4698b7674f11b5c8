//! What a denied client is told.

use filter_core::config::Place;
use filter_core::config::fields::{Bounded, HeaderName};
use serde::Deserialize;

/// What a denied client is told. gRPC clients get `RESOURCE_EXHAUSTED` and the message.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    derive(schemars::JsonSchema, serde::Serialize)
)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RawOnLimit {
    /// HTTP status.
    pub status: Bounded<400, 599>,
    /// The form of the body.
    pub body: Body,
    /// The text that says it; `{retry_after}` stands for the seconds to wait, `{rule}` for the
    /// rule's name.
    pub message: String,
    /// More headers of the reply.
    pub headers: Vec<RawHeader>,
}

/// A header of a reply.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    derive(schemars::JsonSchema, serde::Serialize)
)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawHeader {
    /// Its name.
    pub name: HeaderName,
    /// Its value.
    pub value: String,
}

/// The form of a reply's body.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    derive(schemars::JsonSchema, serde::Serialize)
)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// The message, as plain text.
    #[default]
    Text,
    /// An object with `error`, `message`, `rule` and `retry_after`.
    Json,
    /// Problem details (RFC 9457) of the type `quota-exceeded` of IETF draft 10, or
    /// `temporary-reduced-capacity` for a status of 500 and above.
    Problem,
}

/// What a denied client is told, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnLimit {
    /// HTTP status.
    pub status: u16,
    /// The form of the body.
    pub body: Body,
    /// The text, without control characters, so that it can be a header too.
    pub message: String,
    /// More headers: names in lower case, values without control characters.
    pub headers: Vec<(String, String)>,
}

const TOO_MANY_REQUESTS: Bounded<400, 599> = Bounded::new(429).unwrap();

/// Headers that the filter or the gateway writes.
const TAKEN: [&str; 5] = [
    "connection",
    "content-length",
    "content-type",
    "retry-after",
    "transfer-encoding",
];

impl Default for RawOnLimit {
    fn default() -> Self {
        Self {
            status: TOO_MANY_REQUESTS,
            body: Body::default(),
            message: "Too many requests. Try again in {retry_after} s.".to_owned(),
            headers: Vec::new(),
        }
    }
}

impl RawOnLimit {
    /// Makes a reply, or reports all that is wrong at `place`.
    pub(super) fn check(self, place: &Place<'_>) -> Option<OnLimit> {
        let is_line = |text: &str| !text.chars().any(char::is_control);
        // gRPC clients get it in a header.
        let message = is_line(&self.message).then_some(self.message);
        if message.is_none() {
            place
                .field("message")
                .report("has control characters in it");
        }
        let at = place.field("headers");
        let mut headers = Vec::with_capacity(self.headers.len());
        for (index, RawHeader { name, value }) in self.headers.into_iter().enumerate() {
            let at = at.index(index);
            let is_ours = TAKEN.contains(&name.as_str());
            if is_ours {
                at.field("name")
                    .report("is written by the filter or the gateway");
            }
            if !is_line(&value) {
                at.field("value").report("has control characters in it");
            }
            let fits = !is_ours && is_line(&value);
            headers.push(fits.then(|| (name.as_str().to_owned(), value)));
        }
        Some(OnLimit {
            status: u16::try_from(self.status.get()).ok()?,
            body: self.body,
            message: message?,
            headers: headers.into_iter().collect::<Option<_>>()?,
        })
    }
}
