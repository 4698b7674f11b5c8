//! The response headers that tell a client about its limits.
//!
//! `RateLimit-Policy` and `RateLimit` are lists of strings with parameters
//! (draft-ietf-httpapi-ratelimit-headers-10, RFC 9651). A policy name needs no escape: rule names
//! are letters, digits and hyphens.

use std::borrow::Cow;

use filter_core::time::Timestamp;

use crate::algorithm::{Algorithm, Level};
use crate::config::{HeaderStyle, Limit};
use crate::decision::Field;

/// How a client stands with one limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing<'a> {
    /// The limit's name.
    pub(crate) policy: &'a str,
    /// Units that come back in each window.
    pub(crate) quota: u64,
    /// What the units are for.
    pub(crate) window: Window,
    /// Units left.
    pub(crate) remaining: u64,
    /// Whole seconds until one more unit is there: "the number of seconds until additional quota
    /// associated with the quota policy is made available" (draft section 4.1.2).
    pub(crate) reset: u64,
}

/// The time that a quota is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Window {
    /// So many whole seconds.
    Seconds(u64),
    /// One that can't be told in whole seconds.
    Unsaid,
    /// None: it is for what happens at the same time.
    AtOnce,
}

impl<'a> Standing<'a> {
    /// How a client stands with a limit whose buckets are in the table.
    pub(crate) fn new(limit: &'a Limit, level: &Level, now: Timestamp) -> Self {
        let algorithm = &limit.algorithm;
        let next_unit = algorithm.next_unit(level, now);
        Self::with(
            limit,
            algorithm.remaining(level, now),
            next_unit.as_secs_rounded_up(),
        )
    }

    /// How a client stands of whom that much is known.
    pub(crate) fn with(limit: &'a Limit, remaining: u64, reset: u64) -> Self {
        Self {
            policy: &limit.policy,
            quota: limit.requests,
            window: match limit.algorithm {
                Algorithm::InFlight(_) => Window::AtOnce,
                Algorithm::FixedWindow(_) | Algorithm::Gcra(_) | Algorithm::SlidingWindow(_) => {
                    limit
                        .per
                        .whole_secs()
                        .map_or(Window::Unsaid, Window::Seconds)
                }
            },
            remaining,
            reset,
        }
    }
}

/// Returns the headers in a style, none if no limit applied.
///
/// On a denial `retry_after` is what the client is told to wait, in seconds.
pub(crate) fn fields(
    style: HeaderStyle,
    standings: &[Standing<'_>],
    retry_after: Option<u64>,
) -> Vec<Field> {
    let mut fields = Vec::new();
    let mut put = |name, value, is_list| {
        fields.push(Field {
            name: Cow::Borrowed(name),
            value,
            is_list,
        });
    };
    let tightest = standings
        .iter()
        .min_by_key(|standing| (standing.remaining, std::cmp::Reverse(standing.reset)));
    let Some(tightest) = tightest else {
        return fields;
    };
    if matches!(style, HeaderStyle::Standard | HeaderStyle::All) {
        let mut policies = String::with_capacity(64);
        let mut limits = String::with_capacity(64);
        for standing in standings {
            push_policy(&mut policies, standing);
            push_limit(&mut limits, standing, retry_after);
        }
        put("ratelimit-policy", policies, true);
        put("ratelimit", limits, true);
    }
    if matches!(style, HeaderStyle::Legacy | HeaderStyle::All) {
        let numbers = [
            ("x-ratelimit-limit", tightest.quota),
            ("x-ratelimit-remaining", tightest.remaining),
            ("x-ratelimit-reset", tightest.reset),
        ];
        for (name, number) in numbers {
            let mut value = String::new();
            push_number(&mut value, number);
            put(name, value, false);
        }
    }
    fields
}

/// The headers of a response to which two sets of rules had a say: lists stand side by side, and of
/// the others those of the tighter limit are taken.
pub(crate) fn merged(mut ours: Vec<Field>, theirs: Vec<Field>) -> Vec<Field> {
    let remaining = |fields: &[Field]| {
        let mut fields = fields.iter();
        let found = fields.find(|field| field.name == "x-ratelimit-remaining")?;
        found.value.parse::<u64>().ok()
    };
    let tighter = match (remaining(&ours), remaining(&theirs)) {
        (Some(ours), Some(theirs)) => theirs < ours,
        (None, _) => true,
        (_, None) => false,
    };
    if tighter {
        ours.retain(|field| field.is_list);
    }
    let theirs = theirs.into_iter();
    ours.extend(theirs.filter(|field| field.is_list || tighter));
    ours
}

/// `"login";q=5;w=60`. The window is in whole seconds and left out if it isn't a number of them.
fn push_policy(out: &mut String, standing: &Standing<'_>) {
    push_name(out, standing.policy);
    out.push_str(";q=");
    push_number(out, standing.quota);
    match standing.window {
        Window::AtOnce => out.push_str(";qu=\"concurrent-requests\""),
        Window::Seconds(seconds) => {
            out.push_str(";w=");
            push_number(out, seconds);
        }
        Window::Unsaid => {}
    }
}

/// `"login";r=3;t=12`. A full bucket has nothing to wait for; and a limit that isn't the reason of a
/// denial tells no time beyond `Retry-After` (draft section 6).
fn push_limit(out: &mut String, standing: &Standing<'_>, retry_after: Option<u64>) {
    push_name(out, standing.policy);
    out.push_str(";r=");
    push_number(out, standing.remaining);
    let reset = standing.reset;
    if reset > 0 && retry_after.is_none_or(|wait| reset <= wait) {
        out.push_str(";t=");
        push_number(out, reset);
    }
}

fn push_name(out: &mut String, name: &str) {
    out.push_str(if out.is_empty() { "\"" } else { ", \"" });
    out.push_str(name);
    out.push('"');
}

/// Writes a number. `format!` takes several times as long, and every response has four of them.
pub(crate) fn push_number(out: &mut String, number: u64) {
    let mut digits = [0_u8; 20];
    let mut rest = number;
    let mut used = 0_usize;
    for digit in digits.iter_mut().rev() {
        let [last, ..] = (rest % 10).to_le_bytes();
        *digit = b'0'.saturating_add(last);
        rest /= 10;
        used = used.saturating_add(1);
        if rest == 0 {
            break;
        }
    }
    let first = digits.len().saturating_sub(used);
    let text = digits
        .get(first..)
        .and_then(|text| std::str::from_utf8(text).ok());
    out.push_str(text.unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &'static str, value: &str, is_list: bool) -> Field {
        Field {
            name: Cow::Borrowed(name),
            value: value.to_owned(),
            is_list,
        }
    }

    #[test]
    fn numbers_are_written_as_anyone_writes_them() {
        for number in [0, 9, 10, 99, 100, 12_345_678_909, u64::MAX] {
            let mut out = String::new();
            push_number(&mut out, number);
            assert_eq!(out, number.to_string());
        }
    }

    #[test]
    fn of_two_sets_lists_stand_side_by_side_and_the_tighter_number_counts() {
        let set = |left: &str| {
            vec![
                field("ratelimit", left, true),
                field("x-ratelimit-remaining", left, false),
            ]
        };
        let of = |fields: Vec<Field>| {
            fields
                .into_iter()
                .map(|field| field.value)
                .collect::<Vec<_>>()
        };
        assert_eq!(of(merged(set("3"), set("2"))), ["3", "2", "2"]);
        assert_eq!(of(merged(set("2"), set("3"))), ["2", "2", "3"]);
        assert_eq!(of(merged(Vec::new(), set("3"))), ["3", "3"]);
        assert_eq!(of(merged(set("3"), Vec::new())), ["3", "3"]);
    }
}
