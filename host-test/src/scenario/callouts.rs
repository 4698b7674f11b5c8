//! Callouts as scenarios write them: what services answer, what they must have received, and
//! answers that come late.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::matcher::TextMatch;
use super::model::UpstreamMatch;
use super::values::HeaderLines;

/// What a service answers to some of the guests' callouts.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CalloutBlock {
    /// The cluster that the service is.
    pub cluster: String,
    /// The callouts meant (default: all to this cluster). One that no block fits is answered 404.
    #[serde(default, rename = "match")]
    pub matches: UpstreamMatch,
    /// The answer to each of them.
    pub reply: Option<CalloutReply>,
    /// The answers in order; the last is repeated.
    #[serde(default)]
    pub replies: Vec<CalloutReply>,
}

/// What a service does with a callout.
#[derive(Clone, Debug)]
pub enum CalloutReply {
    /// It doesn't answer by itself: an `answer` step may, or the callout's time runs out.
    Never,
    /// The cluster has no host: the call fails at once.
    NoHost,
    /// No one listens there.
    Refused,
    /// It closes the connection without an answer.
    Reset,
    /// It answers.
    Respond(CalloutFields),
}

/// An answer of a service. A number alone is its status.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CalloutFields {
    /// The status (default 200).
    #[serde(default = "ok_status")]
    pub status: u16,
    /// The headers.
    #[serde(default)]
    pub headers: HeaderLines,
    /// The body.
    #[serde(default)]
    pub body: String,
    /// The trailers.
    #[serde(default)]
    pub trailers: HeaderLines,
    /// What happens instead of the answer's end: `reset` closes the connection.
    pub then: Option<Then>,
}

/// What happens instead of an answer's end.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// The connection is closed.
    Reset,
}

/// An answer that comes now, to a callout whose reply is `never`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AnswerFields {
    /// The cluster that was called.
    pub cluster: String,
    /// The callout meant: the oldest that fits (default: the oldest to this cluster).
    #[serde(default, rename = "match")]
    pub matches: UpstreamMatch,
    /// The answer.
    pub reply: CalloutReply,
}

/// The callouts that services must have received.
#[derive(Clone, Debug)]
pub enum CalloutsExpect {
    /// There were none.
    None,
    /// These and no others.
    List(Vec<CalloutExpect>),
}

/// A callout that a service must have received. A text alone is the cluster.
#[derive(Clone, Debug)]
pub struct CalloutExpect(pub CalloutExpectFields);

/// A callout that a service must have received; what is not named is not looked at.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CalloutExpectFields {
    /// The cluster.
    pub cluster: String,
    /// The method.
    pub method: Option<TextMatch>,
    /// The path with its query.
    pub path: Option<TextMatch>,
    /// Headers by name.
    #[serde(default)]
    pub headers: BTreeMap<String, TextMatch>,
    /// The body; `absent` if it is empty.
    pub body: Option<TextMatch>,
    /// Trailers by name.
    #[serde(default)]
    pub trailers: BTreeMap<String, TextMatch>,
}

impl CalloutBlock {
    /// The answers, however they are written.
    pub fn answers(&self) -> impl Iterator<Item = &CalloutReply> {
        self.reply.iter().chain(&self.replies)
    }
}

fn ok_status() -> u16 {
    200
}
