//! Headers that a route, a virtual host or a route table adds and removes.

use super::fields::{Fields, Problems};
use super::template::Template;
use super::yaml::Node;

/// Additions and removals of one level for requests and responses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mutations {
    /// On the request, before it goes upstream.
    pub request: Mutation,
    /// On the response, before it goes to the client.
    pub response: Mutation,
}

/// Additions and removals of headers. Removals come first, as in Envoy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mutation {
    /// Names in lower case.
    pub remove: Vec<String>,
    /// Headers to add, in order.
    pub add: Vec<AddHeader>,
}

/// Envoy's `HeaderValueOption`.
#[derive(Clone, Debug, PartialEq)]
pub struct AddHeader {
    /// Name in lower case.
    pub name: String,
    /// The value.
    pub value: Template,
    /// What is done if the header exists.
    pub action: AppendAction,
    /// Whether a value that comes out empty is added nevertheless.
    pub keep_empty: bool,
}

/// Envoy's `HeaderAppendAction`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendAction {
    /// Only if there is none.
    AddIfAbsent,
    /// Beside the ones that are there. The default.
    Append,
    /// Only if there is one, in its place.
    OverwriteIfExists,
    /// In the place of the ones that are there.
    Overwrite,
}

impl Mutations {
    /// Takes the four fields of a message.
    pub(crate) fn take(fields: &mut Fields<'_, '_>) -> Self {
        let problems = fields.problems;
        let mut side = |add, remove| Mutation {
            add: fields
                .take(add)
                .map_or(&[][..], |node| problems.list(node, add))
                .iter()
                .filter_map(|node| AddHeader::read(node, problems))
                .collect(),
            remove: fields
                .take(remove)
                .map_or(&[][..], |node| problems.list(node, remove))
                .iter()
                .filter_map(|node| removed(node, problems))
                .collect(),
        };
        Self {
            request: side("request_headers_to_add", "request_headers_to_remove"),
            response: side("response_headers_to_add", "response_headers_to_remove"),
        }
    }
}

impl Mutation {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty()
    }
}

impl AddHeader {
    pub(super) fn read(node: &Node, problems: &Problems) -> Option<Self> {
        let mut fields = Fields::of(node, "a header to add", problems)?;
        let header = fields.require("header");
        let action = fields.take("append_action");
        let keep_empty = fields.take("keep_empty_value");
        fields.finish(&["append"]);
        let mut fields = Fields::of(header?, "`header`", problems)?;
        let key = fields.require("key");
        let value = fields.take("value");
        fields.finish(&["raw_value"]);
        let name = problems.string(key?, "key")?.to_ascii_lowercase();
        if !is_header_name(&name) {
            problems.malformed(key?.at, format!("`{name}` is not a header name"));
            return None;
        }
        Some(Self {
            name,
            value: match value {
                Some(value) => Template::read(value, "value", problems)?,
                None => Template::default(),
            },
            action: match action {
                Some(action) => problems.choice(action, "append_action", &ACTIONS, &[])?,
                None => AppendAction::Append,
            },
            keep_empty: match keep_empty {
                Some(node) => problems.boolean(node, "keep_empty_value")?,
                None => false,
            },
        })
    }
}

const ACTIONS: [(&str, AppendAction); 4] = [
    ("APPEND_IF_EXISTS_OR_ADD", AppendAction::Append),
    ("ADD_IF_ABSENT", AppendAction::AddIfAbsent),
    ("OVERWRITE_IF_EXISTS_OR_ADD", AppendAction::Overwrite),
    ("OVERWRITE_IF_EXISTS", AppendAction::OverwriteIfExists),
];

pub(super) fn removed(node: &Node, problems: &Problems) -> Option<String> {
    let name = problems.string(node, "a header name")?.to_ascii_lowercase();
    // Envoy refuses these at load: a request without them can't be sent.
    if name == "host" || name.starts_with(':') {
        problems.malformed(node.at, format!("`{name}` can't be removed"));
        return None;
    }
    Some(name)
}

/// Whether Envoy takes the name for a header to add: an HTTP token other than `host`.
fn is_header_name(name: &str) -> bool {
    http::HeaderName::from_bytes(name.as_bytes()).is_ok() && name != "host"
}
