//! Envoy's `JwtProvider` as it is written, and the typed form.

use std::time::Duration;

use filter_core::config::Place;
use filter_core::config::fields::{Bounded, HeaderName, ProtoDuration};
use serde::Deserialize;

use super::binding::{CertificateBound, Dpop, RawCertificateBound, RawDpop};
use super::discovery::RawDiscovery;
use super::introspection::{Introspection, RawIntrospection};
use super::jwks::{RawJwtCacheConfig, RawLocalJwks, RawRemoteJwks, RemoteJwks};
use super::revocation::{RawRevocation, Revocation};
use super::text::RawStringMatcher;
use super::texts::RawTexts;
use crate::extract::{Location, Place as TokenPlace};
use crate::jose::algorithm::{Algorithm, Family};
use crate::jose::checks::{CLOCK_SKEW, Times};
use crate::jose::keys::KeySet;
use crate::text::TextPattern;

/// How tokens of one issuer are found, verified and handed on.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RawProvider {
    /// What `iss` must be. Without it, `iss` isn't looked at.
    pub issuer: Option<String>,
    /// What `aud` must have one of. Without any, `aud` isn't looked at.
    pub audiences: RawTexts,
    /// What `sub` must be like.
    pub subjects: Option<RawStringMatcher>,
    /// Whether a token must have `exp`.
    pub require_expiration: bool,
    /// How much longer a token may be valid at most; implies `require_expiration`.
    pub max_lifetime: Option<ProtoDuration>,
    /// How far the clocks of issuer and gateway may differ, in seconds; 60 for 0 or none.
    pub clock_skew_seconds: u32,
    /// Keys that are fetched. Exactly one of this (or `discovery`) and `local_jwks`, and none only with
    /// `introspection`.
    pub remote_jwks: Option<RawRemoteJwks>,
    /// Keys that are part of the configuration.
    pub local_jwks: Option<RawLocalJwks>,
    /// Keys whose place and algorithms the issuer's own document tells. `remote_jwks` without
    /// `http_uri` may say besides how they are cared for.
    pub discovery: Option<RawDiscovery>,
    /// An endpoint that is asked whether tokens are active.
    pub introspection: Option<RawIntrospection>,
    /// A list of revoked tokens that is polled. It counts for remembered tokens too.
    pub revocation: Option<RawRevocation>,
    /// Tokens that are bound to a key of the client's.
    pub dpop: Option<RawDpop>,
    /// Tokens that are bound to the client's certificate.
    pub certificate_bound: Option<RawCertificateBound>,
    /// Whether the token stays in the request that goes upstream.
    pub forward: bool,
    /// Headers that tokens are looked for in. Without any place, `Authorization: Bearer …` and the
    /// query parameter `access_token` are the places.
    pub from_headers: Vec<RawJwtHeader>,
    /// Query parameters that tokens are looked for in.
    pub from_params: RawTexts,
    /// Cookies that tokens are looked for in.
    pub from_cookies: RawTexts,
    /// Header in which the payload goes upstream, in base64url.
    pub forward_payload_header: Option<HeaderName>,
    /// Whether that base64url is padded.
    pub pad_forward_payload_header: bool,
    /// Key under which the payload is put into filter state (`wasm.<key>`), as JSON text. Modules
    /// can't write dynamic metadata.
    pub payload_in_metadata: Option<String>,
    /// How the payload in filter state differs from the token's.
    pub normalize_payload_in_metadata: RawNormalizePayload,
    /// Key under which the token's header is put into filter state, as JSON text.
    pub header_in_metadata: Option<String>,
    /// Key under which the reason of a refusal is put into filter state, as JSON text.
    pub failed_status_in_metadata: Option<String>,
    /// Claims that go upstream in headers. Headers of these names that a client sends are always
    /// removed.
    pub claim_to_headers: Vec<RawClaimToHeader>,
    /// Whether the route is chosen anew with those headers.
    pub clear_route_cache: bool,
    /// How many verified tokens each worker remembers: 4096 by default.
    pub jwt_cache_config: RawJwtCacheConfig,
    /// Algorithms that tokens may be signed with: `RS256` and so on. By default all that are known,
    /// but `HS…` only with `local_jwks`.
    pub algorithms: Option<Vec<String>>,
    /// What `typ` in the token's header must be one of, such as `at+jwt`. Without any, it isn't
    /// looked at.
    pub token_types: Vec<String>,
    /// The longest token that is looked at, in bytes; 8192 by default.
    pub max_token_bytes: Option<Bounded<64, 1_000_000>>,
}

/// A header that a token is looked for in.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawJwtHeader {
    /// The header's name.
    pub name: HeaderName,
    /// What comes before the token, such as `Bearer ` with its space; a header without it has no
    /// token.
    #[serde(default)]
    pub value_prefix: String,
}

/// How the payload in filter state differs from the token's.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RawNormalizePayload {
    /// Claims whose texts are split at spaces into lists.
    pub space_delimited_claims: RawTexts,
}

/// A claim that goes upstream in a header.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawClaimToHeader {
    /// The header's name.
    pub header_name: HeaderName,
    /// The claim: its name, or a path of names with dots between them. Text, numbers, `true` and
    /// `false` go into the header as they are, lists and objects as the base64 of their JSON.
    #[serde(default)]
    pub claim_name: Option<String>,
    /// The same as a list of names, for names with dots in them.
    #[serde(default)]
    pub claim_path: Vec<RawPathSegment>,
}

/// One name in a path to a claim.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawPathSegment {
    /// The name.
    pub key: String,
}

/// How tokens of one issuer are found, verified and handed on, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// Name in the configuration.
    pub name: String,
    /// What `iss` must be.
    pub issuer: Option<String>,
    /// What `aud` must have one of, if there are any.
    pub audiences: Vec<String>,
    /// What `sub` must be like.
    pub subjects: Option<TextPattern>,
    /// When tokens are accepted.
    pub times: Times,
    /// Where the keys come from.
    pub keys: KeySource,
    /// Who is asked about tokens.
    pub introspection: Option<Introspection>,
    /// Which tokens are revoked.
    pub revocation: Option<Box<Revocation>>,
    /// Whether tokens are bound to a key.
    pub dpop: Option<Dpop>,
    /// Whether tokens are bound to a certificate.
    pub certificate: Option<CertificateBound>,
    /// Where tokens are looked for.
    pub locations: Vec<Location>,
    /// What becomes of a verified token.
    pub output: Output,
    /// Key of filter state for the reason of a refusal.
    pub failed_status: Option<String>,
    /// Algorithms that are allowed.
    pub algorithms: Vec<Algorithm>,
    /// What `typ` must be one of, if there are any.
    pub token_types: Vec<String>,
    /// The longest token.
    pub max_token_bytes: usize,
    /// Tokens that are remembered.
    pub memory: usize,
    /// The longest token that is remembered.
    pub memory_token_bytes: usize,
}

/// Where a provider's keys come from.
#[derive(Clone, PartialEq, Eq)]
pub enum KeySource {
    /// The configuration has them: the text of a set that can be read and has usable keys.
    Local(String),
    /// They are fetched.
    Remote(Box<RemoteJwks>),
    /// There are none: all tokens are introspected.
    None,
}

/// What becomes of a verified token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Whether the token stays in the request.
    pub forward: bool,
    /// Header for the payload.
    pub payload_header: Option<String>,
    /// Whether it is padded.
    pub pad: bool,
    /// Headers for claims: name, and path to the claim.
    pub claims: Vec<(String, Vec<String>)>,
    /// Key of filter state for the payload.
    pub payload_key: Option<String>,
    /// Claims that are split at spaces there.
    pub split: Vec<String>,
    /// Key of filter state for the token's header.
    pub header_key: Option<String>,
    /// Whether the route is chosen anew.
    pub clear_route_cache: bool,
}

const MAX_TOKEN_BYTES: usize = 8192;
const MEMORY: u64 = 4096;
const MEMORY_TOKEN_BYTES: u64 = 4096;

impl RawProvider {
    /// Makes the typed form, or reports all that is wrong at `place`.
    pub(crate) fn check(self, name: &str, place: &Place<'_>) -> Option<Provider> {
        let subjects = match self.subjects {
            Some(raw) => raw.check(&place.field("subjects")).map(Some),
            None => Some(None),
        };
        let is_local = self.local_jwks.is_some();
        let found = match self.discovery {
            Some(raw) => raw.check(&place.field("discovery")).map(Some),
            None => Some(None),
        };
        let introspection = match self.introspection {
            Some(raw) => raw.check(&place.field("introspection")).map(Some),
            None => Some(None),
        };
        let revocation = match self.revocation {
            Some(raw) => raw.check(&place.field("revocation")).map(Some),
            None => Some(None),
        };
        let dpop = match self.dpop {
            Some(raw) => raw.check(&place.field("dpop")).map(Some),
            None => Some(None),
        };
        // One that is given and wrong is still one that is given.
        let is_introspected = introspection.as_ref().is_none_or(Option::is_some);
        let issuer = some_text(self.issuer);
        let discovered = found.clone().flatten().map(|(_, found)| found.issuer);
        if let (Some(own), Some(found)) = (&issuer, &discovered)
            && own != found
        {
            let at = place.field("issuer");
            at.report("must be that of discovery, or not be there");
        }
        let keys = match (self.remote_jwks, found, self.local_jwks) {
            (remote, Some(found), None) if remote.is_some() || found.is_some() => {
                let remote = remote.unwrap_or_default();
                let remote = remote.check(found, &place.field("remote_jwks"));
                remote.map(|remote| KeySource::Remote(Box::new(remote)))
            }
            (_, None, None) => None,
            (None, Some(None), Some(local)) => local_keys(local, &place.field("local_jwks")),
            (None, Some(None), None) if is_introspected => Some(KeySource::None),
            _ => {
                place.report("must have exactly one of: remote_jwks, local_jwks, discovery");
                None
            }
        };
        let algorithms = algorithms(self.algorithms, is_local, &place.field("algorithms"));
        let locations = locations(
            self.from_headers,
            self.from_params.0,
            self.from_cookies.0,
            dpop.as_ref().is_some_and(Option::is_some),
            place,
        );
        let at = place.field("claim_to_headers");
        let claims = super::each(self.claim_to_headers, &at, RawClaimToHeader::check);
        let skew = match self.clock_skew_seconds {
            0 => CLOCK_SKEW,
            seconds => Duration::from_secs(u64::from(seconds)),
        };
        let cache = self.jwt_cache_config;
        let size = cache.jwt_cache_size.map_or(0, Bounded::get);
        let token_size = cache
            .jwt_max_token_size
            .map_or(MEMORY_TOKEN_BYTES, Bounded::get);
        Some(Provider {
            name: name.to_owned(),
            issuer: issuer.or(discovered),
            audiences: self.audiences.0,
            subjects: subjects?,
            times: Times {
                clock_skew: skew,
                require_expiration: self.require_expiration,
                max_lifetime: self.max_lifetime.map(ProtoDuration::get),
                ..Times::default()
            },
            keys: keys?,
            introspection: introspection?,
            revocation: revocation?.map(Box::new),
            dpop: dpop?,
            certificate: self
                .certificate_bound
                .map(|RawCertificateBound { tokens, source }| CertificateBound { tokens, source }),
            locations: locations?,
            output: Output {
                forward: self.forward,
                payload_header: self.forward_payload_header.map(|name| name.to_string()),
                pad: self.pad_forward_payload_header,
                claims: claims?,
                payload_key: some_text(self.payload_in_metadata),
                split: self.normalize_payload_in_metadata.space_delimited_claims.0,
                header_key: some_text(self.header_in_metadata),
                clear_route_cache: self.clear_route_cache,
            },
            failed_status: some_text(self.failed_status_in_metadata),
            algorithms: algorithms?,
            token_types: self.token_types,
            max_token_bytes: self
                .max_token_bytes
                .and_then(|most| usize::try_from(most.get()).ok())
                .unwrap_or(MAX_TOKEN_BYTES),
            memory: usize::try_from(if size == 0 { MEMORY } else { size }).unwrap_or(usize::MAX),
            memory_token_bytes: usize::try_from(token_size).unwrap_or(usize::MAX),
        })
    }
}

impl std::fmt::Debug for KeySource {
    /// Leaves the keys out: some are secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local(_) => f.write_str("Local"),
            Self::Remote(remote) => f.debug_tuple("Remote").field(remote).finish(),
            Self::None => f.write_str("None"),
        }
    }
}

/// In protobuf, empty text is no text.
fn some_text(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn local_keys(local: RawLocalJwks, place: &Place<'_>) -> Option<KeySource> {
    let text = local.check(place)?;
    let set = KeySet::read(text.clone().into_bytes());
    match set {
        Ok(set) if set.is_empty() => {
            place.report("this JWKS has no key that tokens could be verified with");
            None
        }
        Ok(_) => Some(KeySource::Local(text)),
        Err(problem) => {
            place.report(&problem.to_string());
            None
        }
    }
}

fn algorithms(
    names: Option<Vec<String>>,
    is_local: bool,
    place: &Place<'_>,
) -> Option<Vec<Algorithm>> {
    let Some(names) = names else {
        let allowed = |alg: &Algorithm| is_local || alg.family() != Family::Hmac;
        return Some(Algorithm::ALL.into_iter().filter(allowed).collect());
    };
    if names.is_empty() {
        place.refuse("a list with at least one algorithm, or no such field");
        return None;
    }
    named_algorithms(names, is_local, place)
}

/// Reads names of algorithms; secrets are allowed in local key sets alone.
pub(super) fn named_algorithms(
    names: Vec<String>,
    is_local: bool,
    place: &Place<'_>,
) -> Option<Vec<Algorithm>> {
    super::each(names, place, |name, place| {
        let alg = Algorithm::from_name(&name);
        if alg.is_none() {
            place.refuse(&Algorithm::ALL.map(Algorithm::name).join(", "));
        } else if alg.is_some_and(|alg| alg.family() == Family::Hmac) && !is_local {
            place.report("keys for HS… are secrets and can't be fetched; put them into local_jwks");
            return None;
        }
        alg
    })
}

fn locations(
    headers: Vec<RawJwtHeader>,
    params: Vec<String>,
    cookies: Vec<String>,
    with_dpop: bool,
    place: &Place<'_>,
) -> Option<Vec<Location>> {
    if headers.is_empty() && params.is_empty() && cookies.is_empty() {
        return Some(match with_dpop {
            true => Location::dpop(),
            false => Location::defaults(),
        });
    }
    let headers = headers
        .into_iter()
        .map(|RawJwtHeader { name, value_prefix }| {
            let name = name.to_string();
            Location::header(name, value_prefix)
        });
    let mut locations: Vec<_> = headers.collect();
    let names = |names: Vec<String>, field, kind: fn(String) -> TokenPlace| {
        super::each(names, &place.field(field), |name, place| {
            if name.is_empty() {
                place.refuse("text that is not empty");
                return None;
            }
            Some(Location::at(kind(name)))
        })
    };
    let params = names(params, "from_params", TokenPlace::Parameter);
    let cookies = names(cookies, "from_cookies", TokenPlace::Cookie);
    locations.extend(params?);
    locations.extend(cookies?);
    Some(locations)
}

impl RawClaimToHeader {
    fn check(self, place: &Place<'_>) -> Option<(String, Vec<String>)> {
        let name = self.header_name.to_string();
        let path: Vec<String> = match (some_text(self.claim_name), self.claim_path.is_empty()) {
            (Some(dotted), true) => dotted.split('.').map(str::to_owned).collect(),
            (_, false) => self.claim_path.into_iter().map(|part| part.key).collect(),
            (None, true) => {
                place.report("must have claim_name or claim_path");
                return None;
            }
        };
        Some((name, path))
    }
}
