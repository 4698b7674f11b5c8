//! What is stored, and whether it answers a request (RFC 9111 section 4): as it is, stale, after a
//! validation (4.3.1), or completed (3.4).

use super::{Asked, Policy, Stored};
use crate::answer::{self, Range};
use crate::cache_control::Delta;
use crate::conditional;
use crate::config::Rule;
use crate::decision::{Answer, Decision, Edit, Forward, Outcome, Plan};
use crate::head::{Flags, Response};
use crate::lookup::Found;
use crate::request::{Method, Seen};

impl Policy {
    /// Decides on a request, given what was found for it.
    pub fn decide(&self, rule: &Rule, seen: &Seen<'_>, asked: &Asked<'_>) -> Decision {
        let only_if_cached = seen.directives.only_if_cached;
        let forward = match asked.stored {
            None => Forward {
                edits: Vec::new(),
                plan: plan_without(seen),
                outcome: match asked.found {
                    Found::OtherVariants => Outcome::VaryMiss,
                    Found::Nothing | Found::Response => Outcome::Miss,
                },
                may_wait: may_wait(seen),
            },
            Some(stored) => match self.use_of(rule, seen, stored, asked) {
                Ok(answer) => return Decision::Answer(answer),
                Err(forward) => forward,
            },
        };
        if only_if_cached {
            return Decision::Answer(answer::gateway_timeout());
        }
        Decision::Forward(forward)
    }

    /// Answers with a stored response, or says how the request is forwarded.
    fn use_of(
        &self,
        rule: &Rule,
        seen: &Seen<'_>,
        stored: Stored<'_>,
        asked: &Asked<'_>,
    ) -> Result<Answer, Forward> {
        let (response, now) = (stored.response, asked.now);
        let age = response.age(now);
        let stale = match response.staleness(now) {
            None if stored.is_purged => Some(0),
            staleness => staleness,
        };
        let is_bound = response.flags.has(Flags::NO_CACHE);
        let may_be_stale = !is_bound
            && !response.flags.has(Flags::MUST_REVALIDATE)
            && !response.flags.has(Flags::NO_STALE);
        let accepted = seen.accepts(age, response.lifetime, stale, may_be_stale);
        // As if it were fresh: the client's own limits count.
        let in_window = stale.is_some_and(|by| by < response.while_revalidate)
            && !is_bound
            && !matches!(seen.directives.min_fresh, Delta::Seconds(1..))
            && seen.accepts(age, response.lifetime.max(age), None, false);
        let is_private = seen.directives.no_store && rule.honours_clients;
        let usable = !is_bound && (accepted || in_window) && !is_private;
        let forward = |outcome, plan, edits| Forward {
            edits,
            plan,
            outcome,
            may_wait: may_wait(seen) && !is_private,
        };
        if usable {
            let outcome = if stale.is_some() {
                Outcome::Stale
            } else {
                Outcome::Hit
            };
            return match answer::answer(seen, &stored, outcome, now) {
                Ok(mut answer) => {
                    answer.refresh = stale.is_some() && !accepted;
                    Ok(self.with_status(answer, response, now, None, asked.key, asked.collapsed))
                }
                Err(Range::Missing) => Err(self.completing(seen, &stored)),
            };
        }
        let outcome = if is_private || (stale.is_none() && !is_bound) {
            Outcome::Request
        } else {
            Outcome::Expired
        };
        let edits = validators(seen, response);
        if edits.is_empty() || response.part.is_some() || is_private {
            return Err(forward(outcome, plan_without(seen), Vec::new()));
        }
        Err(forward(outcome, Plan::Validate, edits))
    }

    /// A request for what a stored part lacks.
    fn completing(&self, seen: &Seen<'_>, stored: &Stored<'_>) -> Forward {
        let fields = stored.response.fields();
        let tag = conditional::strong_tag(&fields);
        let begins = stored.response.part.is_some_and(|part| part.first == 0);
        let may = seen.method == Method::Get
            && seen.range.is_none()
            && !seen.is_conditional()
            && (tag.is_some() || self.config.partial.complete_without_validator);
        let mut forward = Forward {
            edits: Vec::new(),
            plan: plan_without(seen),
            outcome: Outcome::Partial,
            may_wait: false,
        };
        if begins && may {
            forward.plan = Plan::Complete;
            let range = format!("bytes={}-", stored.length);
            forward.edits.push(Edit::Set("range", range.into_bytes()));
            if let Some(tag) = tag {
                forward.edits.push(Edit::Set("if-range", tag.to_vec()));
            }
        }
        forward
    }
}

/// What the response to a request is for, if nothing that is stored helps.
fn plan_without(seen: &Seen<'_>) -> Plan {
    match seen.method {
        Method::Head => Plan::Pass,
        _ => Plan::Store,
    }
}

/// Whether a request may wait for the response to another one: whatever comes may be its answer.
const fn may_wait(seen: &Seen<'_>) -> bool {
    matches!(seen.method, Method::Get | Method::Post | Method::Query)
        && seen.range.is_none()
        && !seen.is_conditional()
        && !seen.is_authorized
        && !seen.directives.no_store
        && !seen.directives.only_if_cached
}

/// The conditions that validate a stored response (section 4.3.1), in place of the client's own.
pub fn validators(seen: &Seen<'_>, stored: &Response) -> Vec<Edit> {
    let fields = stored.fields();
    let mut edits = Vec::new();
    let pairs = [
        ("if-none-match", fields.first("etag"), seen.if_none_match),
        (
            "if-modified-since",
            fields.first("last-modified"),
            seen.if_modified_since.is_some(),
        ),
    ];
    if pairs.iter().all(|(_, value, _)| value.is_none()) {
        return edits;
    }
    for (name, value, is_there) in pairs {
        match value {
            Some(value) => edits.push(Edit::Set(name, value.to_vec())),
            None if is_there => edits.push(Edit::Remove(name)),
            None => {}
        }
    }
    if seen.if_range.is_some() {
        edits.push(Edit::Remove("if-range"));
    }
    edits
}
