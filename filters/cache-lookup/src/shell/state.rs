//! What is remembered of a request on its way.

use std::ops::Range;
use std::rc::Rc;

use filter_core::hash::Hash;

use super::store::Object;
use crate::collapse::Lease;
use crate::decision::{Outcome, Plan};
use crate::head::{Head, Response, Spec};
use crate::lookup::{Found, Lookup};
use crate::policy::{Course, Stored};
use crate::store::{Draft, View};
use crate::storing::Candidate;

/// A request on its way.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Its headers as the host handed them over.
    pub(super) request: Vec<u8>,
    /// The position of its rule.
    pub(super) rule: usize,
    pub(super) stage: Stage,
    /// Its body, where that is in the key.
    pub(super) body: Option<Vec<u8>>,
    pub(super) lookup: Option<Lookup>,
    pub(super) view: Option<View>,
    /// What is stored for it.
    pub(super) hit: Option<Hit>,
    pub(super) found: Found,
    pub(super) course: Option<Course>,
    pub(super) lease: Option<Lease>,
    /// It waited for another request.
    pub(super) collapsed: bool,
    /// When it was sent upstream: milliseconds of Unix time.
    pub(super) sent: u64,
    pub(super) copy: Option<Copy>,
    /// What the remote tier had for it, by hash; the flag tells that it is stale.
    pub(super) imported: Vec<(Hash, Rc<Object<Head>>, bool)>,
    /// The keys that the remote tier was asked for.
    pub(super) asked: Vec<Vec<u8>>,
    /// When it goes to the origin if there is no answer: milliseconds of Unix time.
    pub(super) hedge_at: Option<u64>,
    /// The stream, if it did so and neither has answered yet.
    pub(super) hedged: Option<u32>,
    /// Bytes that come before the response's body.
    pub(super) prefix: Option<Vec<u8>>,
    /// The body of its answer, if that is yet to be put in.
    pub(super) body_to_come: Option<Body>,
}

/// Where a request is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// It isn't looked at any more.
    #[default]
    Done,
    /// Its body is read; up to so many bytes.
    Body(usize),
    /// It waits for another request.
    Waiting,
    /// It was sent upstream.
    Upstream,
}

/// What is stored for a request.
#[derive(Clone, Debug)]
pub(super) struct Hit {
    pub(super) hash: Hash,
    /// Its key, if there is a remote tier.
    pub(super) key: Vec<u8>,
    pub(super) object: Rc<Object<Head>>,
    pub(super) is_purged: bool,
}

/// The body of an answer.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) object: Rc<Object<Head>>,
    /// Which of the stored bytes.
    pub(super) range: Range<usize>,
}

/// A response that is copied on its way to the client.
#[derive(Debug)]
pub(super) struct Copy {
    pub(super) draft: Draft,
    pub(super) candidate: Candidate,
    /// The key that it is stored under.
    pub(super) key: Vec<u8>,
    /// The entry that leads to it, and its key.
    pub(super) spec: Option<(Vec<u8>, Spec)>,
    /// When the origin was asked for it: milliseconds of Unix time.
    pub(super) asked: u64,
    /// What purges by prefix go by.
    pub(super) name: Vec<u8>,
}

impl Body {
    pub(super) fn bytes(&self) -> &[u8] {
        let stored = self.object.stored.body.get(self.range.clone());
        stored.unwrap_or_default()
    }
}

impl Hit {
    /// The stored response as the policy sees it.
    pub(super) fn stored(&self) -> Option<Stored<'_>> {
        Some(Stored {
            response: self.response()?,
            length: u64::try_from(self.object.stored.body.len()).unwrap_or(u64::MAX),
            is_purged: self.is_purged,
        })
    }

    pub(super) fn response(&self) -> Option<&Response> {
        match &self.object.head {
            Head::Response(response) => Some(response),
            Head::Spec(_) => None,
        }
    }
}

impl State {
    /// The course of a request that only passes.
    pub(super) const fn passing(&self, outcome: Outcome) -> Course {
        Course {
            rule: self.rule,
            plan: Plan::Pass,
            outcome,
            has_body_key: false,
        }
    }
}
