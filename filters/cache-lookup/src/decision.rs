//! What the shell must do, as data.

use crate::head::Response;
use crate::storing::{Candidate, Refusal};

/// What is done with a request once the store was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is answered from the store.
    Answer(Answer),
    /// It goes upstream.
    Forward(Forward),
}

/// An answer made of a stored response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its fields, in the block of the ABI.
    pub fields: Vec<u8>,
    /// Which of the stored bytes are its body: from the first to before the second.
    pub body: Option<(usize, usize)>,
    /// What kind of answer it is.
    pub outcome: Outcome,
    /// Whether a new response is to be fetched in the background.
    pub refresh: bool,
}

/// What became of a request, for metrics, access logs and `%RESPONSE_CODE_DETAILS%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered from the store with a fresh response.
    Hit,
    /// Answered with a stale one while a new one is fetched, or as the client allows.
    Stale,
    /// Answered with a stale one in place of an error.
    StaleIfError,
    /// Answered with a stored one that the origin validated.
    Revalidated,
    /// Forwarded, and nothing was stored for it.
    Miss,
    /// Forwarded, and what is stored is for other requests.
    VaryMiss,
    /// Forwarded, since what is stored is stale.
    Expired,
    /// Forwarded, since the client wants that.
    Request,
    /// Forwarded, since only a part is stored.
    Partial,
    /// Forwarded, since the method isn't cached.
    Method,
    /// Left alone.
    Bypass,
    /// Answered with 504, since nothing is stored.
    OnlyIfCached,
}

impl Outcome {
    /// All of them, in the order of their counters.
    pub const ALL: [Self; 12] = [
        Self::Hit,
        Self::Stale,
        Self::StaleIfError,
        Self::Revalidated,
        Self::Miss,
        Self::VaryMiss,
        Self::Expired,
        Self::Request,
        Self::Partial,
        Self::Method,
        Self::Bypass,
        Self::OnlyIfCached,
    ];

    /// Its name in metrics and access logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::StaleIfError => "stale_if_error",
            Self::Revalidated => "revalidated",
            Self::Miss => "miss",
            Self::VaryMiss => "vary_miss",
            Self::Expired => "expired",
            Self::Request => "request",
            Self::Partial => "partial",
            Self::Method => "method",
            Self::Bypass => "bypass",
            Self::OnlyIfCached => "only_if_cached",
        }
    }

    /// Why a request was forwarded, as RFC 9211 section 2.2 names it.
    pub const fn forwarded_as(self) -> &'static str {
        match self {
            Self::Miss | Self::OnlyIfCached => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Request => "request",
            Self::Partial => "partial",
            Self::Method => "method",
            Self::Bypass => "bypass",
            Self::Hit | Self::Stale | Self::StaleIfError | Self::Revalidated | Self::Expired => {
                "stale"
            }
        }
    }

    /// What `%RESPONSE_CODE_DETAILS%` says of an answer.
    pub const fn details(self) -> &'static str {
        match self {
            Self::Hit => "cache_hit",
            Self::Stale => "cache_stale",
            Self::StaleIfError => "cache_stale_if_error",
            Self::Revalidated => "cache_revalidated",
            Self::OnlyIfCached => "cache_only_if_cached",
            _ => "cache_miss",
        }
    }

    /// Where its counter is.
    pub fn index(self) -> usize {
        let mut all = Self::ALL.iter();
        all.position(|other| *other == self).unwrap_or_default()
    }
}

/// How a request goes upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// What is changed of its headers.
    pub edits: Vec<Edit>,
    /// What its response is for.
    pub plan: Plan,
    /// Why it goes.
    pub outcome: Outcome,
    /// Whether it may wait for another one of the same key.
    pub may_wait: bool,
}

/// A change of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// In place of all of the name.
    Set(&'static str, Vec<u8>),
    /// All of the name.
    Remove(&'static str),
}

/// What the response to a forwarded request is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plan {
    /// Nothing; it passes.
    #[default]
    Pass,
    /// To be stored.
    Store,
    /// To validate or replace what is stored.
    Validate,
    /// To complete the stored part.
    Complete,
}

/// What is done with a response from upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passes.
    Pass(Pass),
    /// The client gets an answer from the store instead.
    Answer {
        /// The answer.
        answer: Box<Answer>,
        /// The stored response as it is now.
        refreshed: Option<Box<Response>>,
        /// Whether the stored one must not be used again.
        drop: bool,
    },
    /// The stored part comes before it, and the client gets the whole.
    Complete {
        /// What is changed of its fields.
        edits: Vec<Edit>,
        /// The whole, to be stored.
        candidate: Option<Box<Candidate>>,
    },
}

/// A response that passes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// What is changed of its fields.
    pub edits: Vec<Edit>,
    /// `Cache-Status`, to be added.
    pub status: Option<String>,
    /// What is to be stored, or why nothing is.
    pub store: Option<Result<Box<Candidate>, Refusal>>,
    /// Targets whose stored responses are worthless now.
    pub invalidate: Vec<Vec<u8>>,
    /// Tags whose stored responses are.
    pub groups: Vec<Vec<u8>>,
    /// The stored response as it is now, after a HEAD.
    pub refreshed: Option<Box<Response>>,
    /// Whether the stored response is worthless now.
    pub drop: bool,
}
