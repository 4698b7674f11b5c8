//! What a request is told by: sources as they are written.

use filter_core::config::Place;
use filter_core::config::fields::{Bounded, HeaderName};
use filter_core::key::{self as core, RawClientAddress, RawKeyPart};
use serde::Deserialize;

use crate::key::{Keys, Normalization, Source, Template, json};

/// Where a key may come from. The first source that a request has counts.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RawSource {
    /// The client's IP address, or the network that it is in.
    ClientAddress(RawClientAddress),
    /// Several of a request's parts at once; a request must have them all.
    Combined(Vec<RawKeyPart>),
    /// The value of this cookie.
    Cookie(String),
    /// The first value of this metadata of a gRPC request; none on other requests.
    GrpcMetadata(HeaderName),
    /// The first value of this request header.
    Header(HeaderName),
    /// The host the client asked for, without port and in lower case.
    Host,
    /// A value in a JSON body. The request is held until it has been read, for which Envoy needs
    /// `allow_on_headers_stop_iteration: true` beside this configuration.
    JsonBody(RawJsonBody),
    /// The method.
    Method,
    /// The path, without query.
    Path,
    /// One segment of the path, counted from 1.
    PathSegment(Bounded<1, 64>),
    /// What stands in the path at the names of a template, such as `/tenants/{id}/*`. `{name}` is a
    /// segment that counts, `*` any one segment, `**` at the end any rest.
    PathTemplate(String),
    /// A property of the gateway as the parts of its path, such as `[filter_state, wasm.tenant]` or
    /// `[metadata, filter_metadata, envoy.lb, tenant]`.
    Property(Vec<String>),
    /// The first value of this query parameter, decoded.
    Query(String),
    /// The cookie that `session_cookie` gives to clients.
    SessionCookie,
}

/// A value in a JSON body.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawJsonBody {
    /// Where it is, as a JSON pointer (RFC 6901): `/model`, `/messages/0/content`.
    pub pointer: String,
    /// Leading bytes that count, so that prompts with the same beginning have the same key.
    #[serde(default = "a_kilobyte")]
    pub first_bytes: Bounded<1, 65_536>,
}

/// What is done to a key before it counts.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    derive(schemars::JsonSchema, serde::Serialize)
)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RawNormalization {
    /// Cuts blanks off both ends.
    pub trim: bool,
    /// Turns the letters A to Z into lower case.
    pub lower: bool,
    /// Of a key with `{…}` only what is within the first braces counts, as in Redis Cluster.
    pub hash_tag: bool,
}

/// What happens to a request without a key.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    derive(schemars::JsonSchema, serde::Serialize)
)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// The hosts take turns, by their weights.
    #[default]
    RoundRobin,
    /// The less busy one of two that are drawn; needs `bounded_load` or `count_requests`.
    LeastRequest,
    /// A host is drawn.
    Random,
    /// It is refused with 400.
    Reject,
}

const KILOBYTE: Bounded<1, 65_536> = Bounded::new(1024).unwrap();

const fn a_kilobyte() -> Bounded<1, 65_536> {
    KILOBYTE
}

/// Makes keys of sources, or reports all that is wrong at `place`.
pub(super) fn check(
    raw: Vec<RawSource>,
    normalization: RawNormalization,
    has_session: bool,
    place: &Place<'_>,
) -> Option<Keys> {
    let sources: Vec<_> = raw
        .into_iter()
        .enumerate()
        .map(|(index, raw)| raw.check(has_session, &place.index(index)))
        .collect();
    let RawNormalization {
        trim,
        lower,
        hash_tag,
    } = normalization;
    let normalization = Normalization {
        trim,
        lower,
        hash_tag,
    };
    let sources = sources.into_iter().collect::<Option<_>>()?;
    Some(Keys::new(sources, normalization))
}

impl RawSource {
    fn check(self, has_session: bool, place: &Place<'_>) -> Option<Source> {
        let part = match self {
            Self::Combined(parts) => {
                let at = place.field("combined");
                if parts.is_empty() {
                    at.refuse("a list of at least one part");
                    return None;
                }
                return core::check(parts, &at).map(Source::Combined);
            }
            Self::GrpcMetadata(name) => {
                return Some(Source::GrpcMetadata(name.as_str().to_owned()));
            }
            Self::JsonBody(raw) => {
                let first_bytes = usize::try_from(raw.first_bytes.get()).ok()?;
                let target = json::Target::new(&raw.pointer, first_bytes);
                if target.is_none() {
                    let at = place.field("json_body");
                    at.field("pointer").refuse(
                        "a JSON pointer such as \"/model\"; \"~\" is written \"~0\", and \"/\" in a name \"~1\"",
                    );
                }
                return target.map(Source::Json);
            }
            Self::PathTemplate(text) => {
                let template = Template::new(&text);
                if template.is_none() {
                    place.field("path_template").refuse(
                        "segments that each begin with \"/\": text, \"*\", \"{name}\" at least once, and \"**\" at the end",
                    );
                }
                return template.map(Source::Template);
            }
            Self::SessionCookie => {
                if !has_session {
                    place.report("there is no \"session_cookie\" to read");
                    return None;
                }
                return Some(Source::Session);
            }
            Self::ClientAddress(client) => RawKeyPart::ClientAddress(client),
            Self::Cookie(name) => RawKeyPart::Cookie(name),
            Self::Header(name) => RawKeyPart::Header(name),
            Self::Host => RawKeyPart::Host,
            Self::Method => RawKeyPart::Method,
            Self::Path => RawKeyPart::Path,
            Self::PathSegment(number) => RawKeyPart::PathSegment(number),
            Self::Property(path) => RawKeyPart::Property(path),
            Self::Query(name) => RawKeyPart::Query(name),
        };
        core::check_part(part, place).map(Source::Part)
    }
}
