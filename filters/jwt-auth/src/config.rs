//! The configuration: raw structs as they are written, and the typed form that the policy uses.
//!
//! It is that of Envoy's `envoy.filters.http.jwt_authn` (v3) with the same names and meaning, read
//! with the freedoms of protobuf's JSON form, and more. What a raw struct can't rule out is checked
//! on the way to the typed form, and all mistakes are reported at once.

pub mod binding;
pub mod claims;
pub mod discovery;
pub mod introspection;
pub mod jwks;
pub mod map;
pub mod provider;
pub mod revocation;
pub mod route;
pub mod rule;
pub mod text;
pub mod texts;
pub mod unsupported;

use filter_core::config::{self, Errors, Place};
use serde::Deserialize;

use map::RawMap;
use provider::{Provider, RawProvider};
use rule::{Context, RawRequirement, RawRule, Rule};
use unsupported::Unsupported;

use crate::requirement::Ask;

/// The configuration of a jwt-auth filter, as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RawConfig {
    /// The providers, by names of your choice.
    pub providers: RawMap<RawProvider>,
    /// What requests need. The first rule that a request matches counts; one that matches none
    /// needs nothing.
    pub rules: Vec<RawRule>,
    /// Requirements by names of your choice, for `requirement_name` of rules.
    pub requirement_map: RawMap<RawRequirement>,
    /// Whether CORS preflight requests need nothing, whatever the rules say.
    pub bypass_cors_preflight: bool,
    /// Whether refusals have neither a body nor `WWW-Authenticate`.
    pub strip_failure_response: bool,
    /// Text in the names of the metrics, to tell several filters apart.
    pub stat_prefix: Option<String>,
    /// What the body of a refusal is.
    pub failure_body: FailureBody,
    /// What happens to a request that selects another rule once its path is decoded and resolved, its
    /// method in upper and its host in lower case.
    pub ambiguous_path: AmbiguousPath,
    /// Rules by filter state.
    #[cfg_attr(not(target_arch = "wasm32"), schemars(skip))]
    pub filter_state_rules: Option<Unsupported>,
}

/// What the body of a refusal is.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    derive(schemars::JsonSchema, serde::Serialize)
)]
#[serde(rename_all = "snake_case")]
pub enum FailureBody {
    /// The sentence that Envoy's jwt_authn would answer with.
    #[default]
    Message,
    /// JSON with the reason's slug and what exactly is wrong with the token.
    Json,
}

/// What happens to a request that selects another rule once its path is decoded and resolved, its
/// method in upper and its host in lower case, such as `//admin`, `/%61dmin` or `get`.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    derive(schemars::JsonSchema, serde::Serialize)
)]
#[serde(rename_all = "snake_case")]
pub enum AmbiguousPath {
    /// It is refused with 400.
    #[default]
    Refuse,
    /// The request counts as the client sent it, as in Envoy's jwt_authn.
    AsSent,
}

/// The configuration of a jwt-auth filter, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The providers in the order of their names.
    pub providers: Vec<Provider>,
    /// The rules in order.
    pub rules: Vec<Rule>,
    /// What rules ask of providers' tokens, each once.
    pub asks: Vec<Ask>,
    /// Whether CORS preflight requests need nothing.
    pub bypass_cors_preflight: bool,
    /// Whether refusals have neither body nor `WWW-Authenticate`.
    pub strip_failure_response: bool,
    /// Text in the names of the metrics.
    pub stat_prefix: Option<String>,
    /// What the body of a refusal is.
    pub failure_body: FailureBody,
    /// What happens to ambiguous paths.
    pub ambiguous_path: AmbiguousPath,
}

impl Config {
    /// Reads a configuration from JSON text or a serialized `google.protobuf.Struct`.
    ///
    /// # Errors
    /// All mistakes in it, with their places.
    pub fn read(bytes: &[u8]) -> Result<Self, Errors> {
        config::read_protojson(bytes, RawConfig::check)
    }
}

impl RawConfig {
    /// Makes a configuration, or reports all that is wrong.
    pub fn check(self, place: &Place<'_>) -> Option<Config> {
        let state = "a module can't read filter state of other filters as Envoy's jwt_authn does; \
                     use rules";
        let supported = Unsupported::refuse(
            place,
            &[(self.filter_state_rules, "filter_state_rules", state)],
        );
        let at = place.field("providers");
        let names: Vec<_> = self
            .providers
            .iter()
            .map(|(name, _)| name.clone())
            .collect();
        let providers: Vec<_> = self
            .providers
            .into_iter()
            .map(|(name, raw)| raw.check(&name, &at.field(&name)))
            .collect();
        let mut context = Context {
            providers: &names,
            providers_are_whole: at.is_whole(),
            requirements: Vec::new(),
            requirements_are_whole: place.field("requirement_map").is_whole(),
            asks: Vec::new(),
        };
        let at = place.field("requirement_map");
        for (name, raw) in self.requirement_map {
            let requirement = raw.check(&mut context, &at.field(&name));
            context.requirements.push((name, requirement));
        }
        let at = place.field("rules");
        let mut rule_names: Vec<String> = Vec::with_capacity(self.rules.len());
        let rules: Vec<_> = self
            .rules
            .into_iter()
            .enumerate()
            .map(|(index, raw)| {
                let at = at.index(index);
                let named = raw.name.is_some();
                let rule = raw.check(index, &mut context, &at)?;
                if rule_names.contains(&rule.name) {
                    let at = if named { at.field("name") } else { at };
                    at.report(&format!("another rule is called \"{}\" too", rule.name));
                }
                rule_names.push(rule.name.clone());
                Some(rule)
            })
            .collect();
        let prefix = self.stat_prefix.filter(|prefix| !prefix.is_empty());
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if prefix
            .as_ref()
            .is_some_and(|prefix| !prefix.bytes().all(plain))
        {
            place
                .field("stat_prefix")
                .refuse("letters, digits, \"-\", \"_\" and \".\"");
        }
        let asks = context.asks;
        Some(Config {
            providers: providers.into_iter().collect::<Option<_>>()?,
            rules: rules.into_iter().collect::<Option<_>>()?,
            asks,
            bypass_cors_preflight: self.bypass_cors_preflight,
            strip_failure_response: self.strip_failure_response,
            stat_prefix: prefix,
            failure_body: self.failure_body,
            ambiguous_path: self.ambiguous_path,
        })
        .filter(|_| supported)
    }
}

/// Checks all items of a list, so that the mistakes of all are found.
fn each<R, T>(
    raw: Vec<R>,
    place: &Place<'_>,
    mut check: impl FnMut(R, &Place<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    let checked: Vec<_> = raw
        .into_iter()
        .enumerate()
        .map(|(index, item)| check(item, &place.index(index)))
        .collect();
    checked.into_iter().collect()
}
