//! HTTP filters of Envoy's own that the gateway has beside wasm filters: header_mutation,
//! header_to_metadata and stateful_session.

use super::any::type_of;
use super::balancing::MetadataKey;
use super::fields::{Fields, Problems};
use super::mutation::{AddHeader, Mutation, removed};
use super::yaml::Node;

pub(super) const HEADER_MUTATION: &str =
    "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation";
pub(super) const HEADER_MUTATION_PER_ROUTE: &str =
    "envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute";
pub(super) const HEADER_TO_METADATA: &str =
    "envoy.extensions.filters.http.header_to_metadata.v3.Config";
pub(super) const STATEFUL_SESSION: &str =
    "envoy.extensions.filters.http.stateful_session.v3.StatefulSession";
const HEADER_SESSION: &str =
    "envoy.extensions.http.stateful_session.header.v3.HeaderBasedSessionState";

/// A filter of Envoy's own in its place.
#[derive(Clone, Debug, PartialEq)]
pub struct NativeFilter {
    /// Name of the entry, which routes use.
    pub name: String,
    /// What it does.
    pub kind: NativeKind,
    /// Whether it is off unless a route puts it on.
    pub disabled: bool,
    /// Whether it stands before the wasm filters; else after them.
    pub first: bool,
}

/// What a filter of Envoy's own does.
#[derive(Clone, Debug, PartialEq)]
pub enum NativeKind {
    /// Changes headers.
    HeaderMutation(HeaderMutation),
    /// Copies headers of requests to metadata.
    HeaderToMetadata(Vec<MetadataRule>),
    /// Sends a request to the host that a header of it names.
    StatefulSession(StatefulSession),
}

/// Envoy's `HeaderMutation`: changes in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeaderMutation {
    /// Of requests.
    pub request: Vec<Mutation>,
    /// Of responses.
    pub response: Vec<Mutation>,
}

/// A rule of `header_to_metadata`.
#[derive(Clone, Debug, PartialEq)]
pub struct MetadataRule {
    /// Lower case.
    pub header: String,
    /// Where the header's value, or the value given here, is put.
    pub present: Option<(MetadataKey, Option<String>)>,
    /// Where this value is put if there is no header.
    pub missing: Option<(MetadataKey, String)>,
    /// Whether the header is taken away.
    pub remove: bool,
}

/// Envoy's `StatefulSession` by a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatefulSession {
    /// Holds `ip:port` in base64; lower case.
    pub header: String,
    /// Whether a host that can't be had is a 503.
    pub strict: bool,
}

impl NativeKind {
    /// Reads a filter if its type is one of these.
    pub(super) fn read(kind: &str, fields: Fields<'_, '_>) -> Option<Option<Self>> {
        match kind {
            HEADER_MUTATION => Some(HeaderMutation::read(fields).map(Self::HeaderMutation)),
            HEADER_TO_METADATA => Some(header_to_metadata(fields).map(Self::HeaderToMetadata)),
            STATEFUL_SESSION => Some(stateful_session(fields).map(Self::StatefulSession)),
            _ => None,
        }
    }
}

impl HeaderMutation {
    /// Reads the filter's configuration.
    pub(super) fn read(mut fields: Fields<'_, '_>) -> Option<Self> {
        let problems = fields.problems;
        let mutations = fields.take("mutations");
        fields.finish(&["most_specific_header_mutations_wins"]);
        match mutations {
            Some(node) => Self::mutations(node, problems),
            None => Some(Self::default()),
        }
    }

    /// Reads the configuration of a route.
    pub(super) fn per_route(mut fields: Fields<'_, '_>) -> Option<Self> {
        let problems = fields.problems;
        let mutations = fields.take("mutations");
        fields.finish(&[]);
        match mutations {
            Some(node) => Self::mutations(node, problems),
            None => Some(Self::default()),
        }
    }

    fn mutations(node: &Node, problems: &Problems) -> Option<Self> {
        let mut fields = Fields::of(node, "`mutations`", problems)?;
        let mut side = |name| {
            let list = fields.take(name);
            let list = list.map_or(&[][..], |node| problems.list(node, name));
            list.iter()
                .filter_map(|node| mutation(node, problems))
                .collect()
        };
        let request = side("request_mutations");
        let response = side("response_mutations");
        fields.finish(&[
            "query_parameter_mutations",
            "response_trailers_mutations",
            "request_trailers_mutations",
        ]);
        Some(Self { request, response })
    }
}

fn mutation(node: &Node, problems: &Problems) -> Option<Mutation> {
    let mut fields = Fields::of(node, "a header mutation", problems)?;
    let action = fields.require_one(&["remove", "append"]);
    fields.finish(&["remove_on_match"]);
    let mut mutation = Mutation::default();
    match action? {
        ("remove", node, _) => mutation.remove.push(removed(node, problems)?),
        (_, node, _) => mutation.add.push(AddHeader::read(node, problems)?),
    }
    Some(mutation)
}

fn header_to_metadata(mut fields: Fields<'_, '_>) -> Option<Vec<MetadataRule>> {
    let problems = fields.problems;
    let rules = fields.require("request_rules");
    fields.finish(&["response_rules", "stat_prefix"]);
    let rules = problems.list(rules?, "request_rules").iter();
    Some(
        rules
            .filter_map(|node| metadata_rule(node, problems))
            .collect(),
    )
}

fn metadata_rule(node: &Node, problems: &Problems) -> Option<MetadataRule> {
    let mut fields = Fields::of(node, "a request rule", problems)?;
    let header = fields.require("header");
    let present = fields.take("on_header_present");
    let missing = fields.take("on_header_missing");
    let remove = fields.take("remove");
    fields.finish(&["cookie"]);
    let missing = match missing {
        Some(node) => {
            let (key, value) = metadata_value(node, problems)?;
            if value.is_none() {
                problems.malformed(node.at, "on_header_missing needs the field `value`");
            }
            Some((key, value?))
        }
        None => None,
    };
    Some(MetadataRule {
        header: problems.string(header?, "header")?.to_ascii_lowercase(),
        present: match present {
            Some(node) => Some(metadata_value(node, problems)?),
            None => None,
        },
        missing,
        remove: match remove {
            Some(node) => problems.boolean(node, "remove")?,
            None => false,
        },
    })
}

fn metadata_value(node: &Node, problems: &Problems) -> Option<(MetadataKey, Option<String>)> {
    let mut fields = Fields::of(node, "a metadata entry", problems)?;
    let namespace = fields.take("metadata_namespace");
    let key = fields.require("key");
    let value = fields.take("value");
    if let Some(node) = fields.take("type") {
        problems.choice(
            node,
            "type",
            &[("STRING", ())],
            &["NUMBER", "PROTOBUF_VALUE"],
        );
    }
    fields.finish(&["regex_value_rewrite", "encode"]);
    let namespace = match namespace {
        Some(node) => problems.string(node, "metadata_namespace")?,
        None => "envoy.lb".to_owned(),
    };
    let key = MetadataKey {
        namespace,
        path: vec![problems.string(key?, "key")?],
    };
    let value = match value {
        Some(node) => Some(problems.string(node, "value")?),
        None => None,
    };
    Some((key, value))
}

fn stateful_session(mut fields: Fields<'_, '_>) -> Option<StatefulSession> {
    let problems = fields.problems;
    let state = fields.require("session_state");
    let strict = fields.take("strict");
    fields.finish(&["stat_prefix"]);
    let mut fields = Fields::of(state?, "session_state", problems)?;
    let name = fields.require("name");
    let config = fields.require("typed_config");
    fields.finish(&[]);
    let known = "envoy.http.stateful_session.header";
    let name_at = name?.at;
    if problems.string(name?, "name")? != known {
        let message = format!("only a session_state named `{known}` is supported by this gateway");
        problems.unsupported(name_at, message);
        return None;
    }
    let mut fields = Fields::of(config?, "session_state's typed_config", problems)?;
    let kind = type_of(&mut fields)?;
    if kind.name != HEADER_SESSION {
        let message = format!(
            "a session state of type `{}` is not supported by this gateway; supported: {HEADER_SESSION}",
            kind.name
        );
        problems.unsupported(kind.at, message);
        return None;
    }
    let header = fields.require("name");
    fields.finish(&[]);
    Some(StatefulSession {
        header: problems.string(header?, "name")?.to_ascii_lowercase(),
        strict: match strict {
            Some(node) => problems.boolean(node, "strict")?,
            None => false,
        },
    })
}
