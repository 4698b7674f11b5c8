//! Envoy's `RequirementRule` and `JwtRequirement` as they are written, and what rules have beyond.

use filter_core::config::Place;
use filter_core::config::fields::{Bounded, HeaderName, Name};
use serde::Deserialize;

use super::claims::RawCondition;
use super::route::{RawEmpty, RawRouteMatch};
use super::texts::RawTexts;
use crate::claims::Condition;
use crate::requirement::{Ask, Requirement};
use crate::route::RouteMatch;

/// What requests to some places need. The first rule that a request matches counts.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawRule {
    /// Which requests the rule is about.
    #[serde(rename = "match")]
    pub matching: RawRouteMatch,
    /// What tokens they need; none without this and `requirement_name`.
    #[serde(default)]
    pub requires: Option<RawRequirement>,
    /// The same, by its name in `requirement_map`.
    #[serde(default)]
    pub requirement_name: Option<String>,
    /// Name in metrics and response details; its number, from `rule-0` on, by default.
    #[serde(default)]
    pub name: Option<Name>,
    /// Whether the rule refuses requests or only reports which it would refuse.
    #[serde(default)]
    pub mode: Mode,
    /// The share of requests that it is enforced on, in percent; for the others it is in shadow mode.
    /// Requests with the same token share a fate, and those without one from the same client (the last
    /// address in `x-forwarded-for`), in all gateways. For roll-outs: a client can choose what it sends.
    #[serde(default = "percent")]
    pub percent: Bounded<0, 100>,
    /// Scopes of which the token must have all: words of its claim `scope`, or items of its list
    /// `scp`. Without them the answer is 403.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// What the token must claim. Otherwise the answer is 403.
    #[serde(default)]
    pub claims: Option<RawCondition>,
    /// The realm in `WWW-Authenticate`; the URL of the request by default.
    #[serde(default)]
    pub realm: Option<String>,
    /// URL of the metadata of the protected resource (RFC 9728), for `WWW-Authenticate`.
    #[serde(default)]
    pub resource_metadata: Option<String>,
}

/// What tokens a request needs: at most one of these fields. `{}` needs none.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RawRequirement {
    /// A token of this provider.
    pub provider_name: Option<String>,
    /// A token of a provider, with audiences in place of the provider's own.
    pub provider_and_audiences: Option<RawProviderAndAudiences>,
    /// Any of these requirements.
    pub requires_any: Option<RawRequirements>,
    /// All of these requirements.
    pub requires_all: Option<RawRequirements>,
    /// Satisfied without a token, but not by a wrong one.
    pub allow_missing: Option<RawEmpty>,
    /// Always satisfied. What a right token claims goes upstream all the same.
    pub allow_missing_or_failed: Option<RawEmpty>,
    /// Always satisfied, and the upstream is told by a header if a token isn't right. Such a token
    /// stays where it is, and nothing that it claims goes into headers: so it is in Envoy's jwt_authn,
    /// whatever the name says.
    pub extract_only_without_validation: Option<RawExtractOnly>,
}

/// A token of a provider, with audiences in place of the provider's own.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawProviderAndAudiences {
    /// The provider.
    pub provider_name: String,
    /// What `aud` must have one of; the provider's own if there are none.
    #[serde(default)]
    pub audiences: RawTexts,
}

/// Several requirements.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct RawRequirements {
    /// The requirements, at least two.
    pub requirements: Vec<RawRequirement>,
}

/// How the upstream is told that a token isn't right.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RawExtractOnly {
    /// Header that says `false` upstream if a token isn't right; `x-jwt-signature-verified` by
    /// default, `-` for none.
    pub verification_status_header: Option<String>,
}

/// Whether a rule refuses requests.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    derive(schemars::JsonSchema, serde::Serialize)
)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It does.
    #[default]
    Enforce,
    /// It verifies, counts and reports, but refuses nothing.
    Shadow,
}

/// What requests to some places need, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Name in metrics and response details.
    pub name: String,
    /// Which requests.
    pub matching: RouteMatch,
    /// What tokens they need.
    pub requirement: Requirement,
    /// Whether the rule refuses.
    pub mode: Mode,
    /// The share of requests that it is enforced on, in percent.
    pub percent: u64,
    /// Scopes of which a token must have all.
    pub scopes: Vec<String>,
    /// What a token must claim.
    pub claims: Option<Condition>,
    /// The realm in `WWW-Authenticate`.
    pub realm: Option<String>,
    /// URL of metadata in `WWW-Authenticate`.
    pub resource_metadata: Option<String>,
}

/// What requirements refer to, and what they ask for, which is collected from all rules.
pub(crate) struct Context<'c> {
    /// Names of the providers, in their order.
    pub(crate) providers: &'c [String],
    /// Whether all providers could be read, so that a name that isn't there is a mistake.
    pub(crate) providers_are_whole: bool,
    /// Requirements by name; none for one with a mistake.
    pub(crate) requirements: Vec<(String, Option<Requirement>)>,
    pub(crate) requirements_are_whole: bool,
    pub(crate) asks: Vec<Ask>,
}

const fn percent() -> Bounded<0, 100> {
    const { Bounded::new(100).unwrap() }
}

const STATUS_HEADER: &str = "x-jwt-signature-verified";

impl RawRule {
    /// Makes the typed form, or reports all that is wrong at `place`.
    pub(crate) fn check(
        self,
        number: usize,
        context: &mut Context<'_>,
        place: &Place<'_>,
    ) -> Option<Rule> {
        let matching = self.matching.check(&place.field("match"));
        let requirement = match (self.requires, self.requirement_name) {
            (Some(raw), None) => raw.check(context, &place.field("requires")),
            (None, Some(name)) => context.named(&name, &place.field("requirement_name")),
            (None, None) => Some(Requirement::Nothing),
            (Some(_), Some(_)) => {
                place.report("must have at most one of: requires, requirement_name");
                None
            }
        };
        let claims = match self.claims {
            Some(raw) => raw.check(&place.field("claims")).map(Some),
            None => Some(None),
        };
        let at = place.field("scopes");
        for (index, scope) in self.scopes.iter().enumerate() {
            if scope.is_empty() || !scope.bytes().all(is_scope) {
                at.index(index)
                    .refuse("a scope: printable ASCII without spaces, quotes and backslashes");
            }
        }
        let of_tokens = claims.as_ref().is_some_and(Option::is_some) || !self.scopes.is_empty();
        if of_tokens && requirement == Some(Requirement::Nothing) {
            place.report("scopes and claims are those of a token, but the rule requires none");
        }
        for (field, text) in [
            ("realm", &self.realm),
            ("resource_metadata", &self.resource_metadata),
        ] {
            let printable = |text: &String| text.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
            if text.as_ref().is_some_and(|text| !printable(text)) {
                place.field(field).refuse("printable ASCII text");
            }
        }
        Some(Rule {
            name: self
                .name
                .map_or_else(|| format!("rule-{number}"), |name| name.to_string()),
            matching: matching?,
            requirement: requirement?,
            mode: self.mode,
            percent: self.percent.get(),
            scopes: self.scopes,
            claims: claims?,
            realm: self.realm,
            resource_metadata: self.resource_metadata,
        })
    }
}

/// RFC 6749 section 3.3: what a scope may have in it.
const fn is_scope(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'"' && byte != b'\\'
}

impl Context<'_> {
    fn named(&self, name: &str, place: &Place<'_>) -> Option<Requirement> {
        let mut named = self.requirements.iter().filter(|(other, _)| other == name);
        let found = named.next();
        if found.is_none() && self.requirements_are_whole {
            place.report(&format!("requirement_map has no \"{name}\""));
        }
        found?.1.clone()
    }

    /// Returns the number of what is asked of a provider's tokens.
    fn ask(&mut self, provider: &str, audiences: Vec<String>, place: &Place<'_>) -> Option<usize> {
        let position = self.providers.iter().position(|name| name == provider);
        let Some(provider_number) = position else {
            if self.providers_are_whole {
                place.report(&format!("there is no provider \"{provider}\""));
            }
            return None;
        };
        let ask = Ask {
            provider: provider_number,
            audiences,
        };
        let known = self.asks.iter().position(|other| *other == ask);
        Some(known.unwrap_or_else(|| {
            self.asks.push(ask);
            self.asks.len().saturating_sub(1)
        }))
    }
}

impl RawRequirement {
    /// Makes the typed form, or reports all that is wrong at `place`.
    pub(crate) fn check(self, context: &mut Context<'_>, place: &Place<'_>) -> Option<Requirement> {
        let mut given = Vec::new();
        if let Some(name) = self.provider_name {
            let ask = context.ask(&name, Vec::new(), &place.field("provider_name"));
            given.push(ask.map(Requirement::Token));
        }
        if let Some(raw) = self.provider_and_audiences {
            let at = place.field("provider_and_audiences");
            let at = at.field("provider_name");
            let ask = context.ask(&raw.provider_name, raw.audiences.0, &at);
            given.push(ask.map(Requirement::Token));
        }
        if let Some(raw) = self.requires_any {
            let list = raw.check(context, &place.field("requires_any"));
            given.push(list.map(Requirement::Any));
        }
        if let Some(raw) = self.requires_all {
            let list = raw.check(context, &place.field("requires_all"));
            given.push(list.map(Requirement::All));
        }
        if self.allow_missing.is_some() {
            given.push(Some(Requirement::AllowMissing));
        }
        if self.allow_missing_or_failed.is_some() {
            given.push(Some(Requirement::AllowMissingOrFailed));
        }
        if let Some(raw) = self.extract_only_without_validation {
            given.push(raw.check(&place.field("extract_only_without_validation")));
        }
        match (given.pop(), given.is_empty()) {
            (None, _) => Some(Requirement::Nothing),
            (Some(requirement), true) => requirement,
            (Some(_), false) => {
                place.report(
                    "must have at most one of: provider_name, provider_and_audiences, \
                     requires_any, requires_all, allow_missing, allow_missing_or_failed, \
                     extract_only_without_validation",
                );
                None
            }
        }
    }
}

impl RawRequirements {
    fn check(self, context: &mut Context<'_>, place: &Place<'_>) -> Option<Vec<Requirement>> {
        let at = place.field("requirements");
        if self.requirements.len() < 2 {
            at.refuse("a list with at least two requirements");
        }
        super::each(self.requirements, &at, |raw, at| raw.check(context, at))
    }
}

impl RawExtractOnly {
    fn check(self, place: &Place<'_>) -> Option<Requirement> {
        let header = match self.verification_status_header.as_deref() {
            Some("-") => None,
            None | Some("") => Some(STATUS_HEADER.to_owned()),
            Some(name) => match HeaderName::new(name) {
                Some(name) => Some(name.to_string()),
                None => {
                    let at = place.field("verification_status_header");
                    at.refuse("a header's name, or \"-\"");
                    return None;
                }
            },
        };
        Some(Requirement::ExtractOnly(header))
    }
}
