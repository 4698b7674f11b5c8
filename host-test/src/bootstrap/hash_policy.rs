//! `hash_policy` of a route: what of a request a hashing load balancer goes by.

use std::time::Duration;

use super::fields::{Fields, Problems};
use super::yaml::Node;

/// One of `hash_policy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashPolicy {
    /// What is hashed.
    pub source: HashSource,
    /// Whether the policies after it are left out if it gives a hash.
    pub terminal: bool,
}

/// What is hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashSource {
    /// The client's address.
    ConnectionIp,
    /// A cookie, made if it is absent and has a time to live.
    Cookie {
        /// Its name.
        name: String,
        /// How long one that is made lives; zero is as long as the session.
        ttl: Option<Duration>,
        /// Path of one that is made.
        path: String,
    },
    /// An object of filter state.
    FilterState(String),
    /// A header, lower case.
    Header(String),
    /// A query parameter.
    Query(String),
}

impl HashPolicy {
    pub(super) fn read(node: &Node, problems: &Problems) -> Option<Self> {
        let mut fields = Fields::of(node, "a hash_policy", problems)?;
        let source = fields.require_one(&[
            "header",
            "cookie",
            "connection_properties",
            "query_parameter",
            "filter_state",
        ]);
        let terminal = fields.take("terminal");
        fields.finish(&[]);
        let (name, node, _) = source?;
        let source = match name {
            "header" => {
                let mut fields = Fields::of(node, "a header's hash_policy", problems)?;
                let name = fields.require("header_name");
                fields.finish(&["regex_rewrite"]);
                HashSource::Header(problems.string(name?, "header_name")?.to_ascii_lowercase())
            }
            "cookie" => cookie(node, problems)?,
            "connection_properties" => {
                let mut fields = Fields::of(node, "connection_properties", problems)?;
                let source_ip = fields.take("source_ip");
                fields.finish(&[]);
                match source_ip {
                    Some(node) if problems.boolean(node, "source_ip")? => {}
                    _ => {
                        problems.malformed(node.at, "connection_properties needs `source_ip: true`")
                    }
                }
                HashSource::ConnectionIp
            }
            "query_parameter" => {
                let mut fields = Fields::of(node, "query_parameter", problems)?;
                let name = fields.require("name");
                fields.finish(&[]);
                HashSource::Query(problems.string(name?, "name")?)
            }
            _ => {
                let mut fields = Fields::of(node, "filter_state", problems)?;
                let key = fields.require("key");
                fields.finish(&[]);
                HashSource::FilterState(problems.string(key?, "key")?)
            }
        };
        Some(Self {
            source,
            terminal: match terminal {
                Some(node) => problems.boolean(node, "terminal")?,
                None => false,
            },
        })
    }
}

fn cookie(node: &Node, problems: &Problems) -> Option<HashSource> {
    let mut fields = Fields::of(node, "a cookie's hash_policy", problems)?;
    let name = fields.require("name");
    let ttl = fields.take("ttl");
    let path = fields.take("path");
    fields.finish(&["attributes"]);
    Some(HashSource::Cookie {
        name: problems.string(name?, "name")?,
        ttl: match ttl {
            Some(node) => Some(problems.duration(node, "ttl")?),
            None => None,
        },
        path: match path {
            Some(node) => problems.string(node, "path")?,
            None => String::new(),
        },
    })
}
