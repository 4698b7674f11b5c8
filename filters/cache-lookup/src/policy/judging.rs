//! What becomes of a response that came: for its client, for what is stored (RFC 9111 sections 3, 3.4, 4.3.3
//! to 4.3.5), and for what it makes worthless (4.4).

use super::{Arrival, Course, Policy, Stored, status_of};
use crate::answer;
use crate::conditional;
use crate::decision::{Answer, Edit, Outcome, Pass, Plan, Verdict};
use crate::fields;
use crate::head::Flags;
use crate::invalidation;
use crate::request::{Method, Seen};
use crate::status::{self, Facts};
use crate::storing::{self, Exchange};

impl Policy {
    /// Decides on a response, given what was stored when its request was forwarded.
    pub fn judge(
        &self,
        course: Course,
        seen: &Seen<'_>,
        arrival: &Arrival<'_>,
        stored: Option<Stored<'_>>,
    ) -> Verdict {
        let Some(rule) = self.rule(course.rule) else {
            return Verdict::Pass(Pass::default());
        };
        let now = arrival.moments.response;
        let status = status_of(&arrival.fields);
        let exchange = Exchange {
            config: &self.config,
            rule,
            seen,
            has_body_key: course.has_body_key,
            status,
            fields: &arrival.fields,
            moments: arrival.moments,
        };
        if let Some(stored) = stored
            && matches!(status, 500 | 502 | 503 | 504)
            && let Some(answer) = self.in_place_of_error(seen, stored, arrival, status)
        {
            return Verdict::Answer {
                answer: Box::new(answer),
                refreshed: None,
                drop: false,
            };
        }
        match (course.plan, stored) {
            (Plan::Validate, Some(stored)) if status == 304 => {
                self.validated(&exchange, stored, arrival, now)
            }
            (Plan::Complete, Some(stored)) if status == 206 => {
                self.completed(&exchange, course, stored)
            }
            _ => Verdict::Pass(self.passing(&exchange, course, stored, arrival)),
        }
    }

    /// A stored response in place of an error (RFC 5861 section 4; RFC 9111 section 4.3.3).
    fn in_place_of_error(
        &self,
        seen: &Seen<'_>,
        stored: Stored<'_>,
        arrival: &Arrival<'_>,
        status: u16,
    ) -> Option<Answer> {
        let (response, now) = (stored.response, arrival.moments.response);
        let forbids =
            response.flags.has(Flags::NO_CACHE) || response.flags.has(Flags::MUST_REVALIDATE);
        let in_window = response
            .staleness(now)
            .is_none_or(|by| by < response.if_error);
        let is_better = response.status < 500 && !seen.directives.no_store;
        if forbids || !in_window || !is_better {
            return None;
        }
        let answer = answer::answer(seen, &stored, Outcome::StaleIfError, now).ok()?;
        Some(self.with_status(
            answer,
            response,
            now,
            Some(status),
            arrival.key,
            arrival.collapsed,
        ))
    }

    fn validated(
        &self,
        exchange: &Exchange<'_>,
        stored: Stored<'_>,
        arrival: &Arrival<'_>,
        now: u64,
    ) -> Verdict {
        let old = stored.response;
        // "If the new response contains any strong validators …, then … the cache MUST NOT use the
        // new response to update any stored responses" that have others (section 4.3.4).
        let new_tag = conditional::strong_tag(exchange.fields);
        let old_fields = old.fields();
        let old_tag = conditional::strong_tag(&old_fields);
        let contradicts = new_tag.is_some() && old_tag.is_some() && new_tag != old_tag;
        let updated = if contradicts {
            None
        } else {
            exchange.updated(old).ok()
        };
        let current = Stored {
            response: updated.as_ref().map_or(old, |updated| &updated.shown),
            is_purged: false,
            ..stored
        };
        let answer = answer::answer(exchange.seen, &current, Outcome::Revalidated, now);
        let Ok(answer) = answer else {
            return Verdict::Pass(Pass::default());
        };
        let answer = self.with_status(
            answer,
            current.response,
            now,
            Some(304),
            arrival.key,
            arrival.collapsed,
        );
        Verdict::Answer {
            answer: Box::new(answer),
            drop: updated.is_none(),
            refreshed: updated.and_then(|updated| updated.kept).map(Box::new),
        }
    }

    fn completed(&self, exchange: &Exchange<'_>, course: Course, stored: Stored<'_>) -> Verdict {
        let line = exchange.fields.first("content-range").unwrap_or_default();
        let part = crate::range::content_range(line).map(|(first, last, total)| {
            let part = crate::head::Part { first, total };
            (part, last.saturating_add(1) == total)
        });
        let fits = part.filter(|(part, reaches_end)| {
            let total = stored.response.part.map(|part| part.total);
            let is_same = storing::is_same_representation(stored.response, *part, exchange.fields)
                || self.config.partial.complete_without_validator;
            part.first == stored.length && total == Some(part.total) && *reaches_end && is_same
        });
        let Some((part, _)) = fits else {
            // The client asked for the whole and there is none: it may try again.
            return Verdict::Answer {
                answer: Box::new(answer::bad_gateway()),
                refreshed: None,
                drop: true,
            };
        };
        let mut candidate = exchange.candidate().ok();
        if let Some(candidate) = &mut candidate {
            candidate.range = None;
            candidate.length = Some(part.total);
            candidate.response.status = 200;
        }
        let mut edits = vec![
            Edit::Set(":status", b"200".to_vec()),
            Edit::Set("content-length", part.total.to_string().into_bytes()),
            Edit::Remove("content-range"),
        ];
        if let Some(name) = &self.config.cache_name {
            let facts = Facts {
                name,
                outcome: Some(course.outcome),
                forwarded_status: Some(206),
                stored: candidate.is_some(),
                ..Facts::default()
            };
            let text = status::member(&facts);
            edits.push(Edit::Set("cache-status", text.into_bytes()));
        }
        Verdict::Complete {
            edits,
            candidate: candidate.map(Box::new),
        }
    }

    fn passing(
        &self,
        exchange: &Exchange<'_>,
        course: Course,
        stored: Option<Stored<'_>>,
        arrival: &Arrival<'_>,
    ) -> Pass {
        let (seen, status) = (exchange.seen, exchange.status);
        let mut pass = Pass {
            invalidate: invalidation::targets(seen, status, exchange.fields),
            groups: invalidation::groups(seen, status, exchange.fields),
            ..Pass::default()
        };
        let line = exchange.fields.first("cache-control");
        if let Some(spaced) = line.and_then(fields::spaced) {
            pass.edits.push(Edit::Set("cache-control", spaced));
        }
        let is_stored_kind = !matches!(course.plan, Plan::Pass);
        if seen.method == Method::Head {
            if let Some(stored) = stored {
                self.after_head(exchange, stored, &mut pass);
            }
        } else if is_stored_kind && status != 304 {
            let mut candidate = exchange.candidate().map(Box::new);
            let is_whole = stored.is_some_and(|stored| stored.response.part.is_none());
            if status == 206 && is_whole {
                // A part never takes the place of a whole; but if it is of another representation,
                // the whole is outdated.
                pass.drop = stored.is_some_and(|stored| {
                    let old = stored.response.fields();
                    old.first("etag") != exchange.fields.first("etag")
                });
                candidate = Err(storing::Refusal::Partial);
            }
            pass.store = Some(candidate);
        }
        if let Some(name) = &self.config.cache_name
            && course.outcome != Outcome::Bypass
        {
            let refusal = match &pass.store {
                Some(Err(refusal)) => Some(refusal.slug()),
                _ => None,
            };
            let facts = Facts {
                name,
                outcome: Some(course.outcome),
                forwarded_status: Some(status),
                stored: matches!(pass.store, Some(Ok(_))),
                collapsed: arrival.collapsed,
                key: (self.config.tell_key && !arrival.key.is_empty()).then_some(arrival.key),
                detail: refusal,
                ..Facts::default()
            };
            pass.status = Some(status::member(&facts));
        }
        pass
    }

    /// What a HEAD's response tells of the stored one (section 4.3.5).
    fn after_head(&self, exchange: &Exchange<'_>, stored: Stored<'_>, pass: &mut Pass) {
        if exchange.status != 200 || stored.response.status != 200 {
            return;
        }
        let old = stored.response.fields();
        let same = |name: &str| {
            let new = exchange.fields.first(name);
            new.is_none() || new == old.first(name)
        };
        let length = exchange.fields.first("content-length");
        let length = length.and_then(crate::cache_control::number);
        let is_same = same("etag")
            && same("last-modified")
            && length.is_none_or(|length| length == stored.length);
        match exchange.updated(stored.response) {
            Ok(updated) if is_same => pass.refreshed = updated.kept.map(Box::new),
            _ => pass.drop = true,
        }
    }
}
