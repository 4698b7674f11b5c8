//! The response headers that tell a client about its limits.
//!
//! `RateLimit-Policy` and `RateLimit` are lists of strings with parameters
//! (draft-ietf-httpapi-ratelimit-headers-10, RFC 9651). A policy name needs no escape: rule names
//! are letters, digits and hyphens.

use filter_core::time::Timestamp;

use crate::algorithm::{Algorithm, Level};
use crate::config::{HeaderStyle, Limit};
use crate::decision::Field;

/// How a client stands with one limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing<'a> {
    pub(crate) limit: &'a Limit,
    pub(crate) level: Level,
}

impl Standing<'_> {
    fn remaining(&self, now: Timestamp) -> u64 {
        self.limit.algorithm.remaining(&self.level, now)
    }

    /// Whole seconds until one more unit is there: "the number of seconds until additional quota
    /// associated with the quota policy is made available" (draft section 4.1.2).
    fn reset(&self, now: Timestamp) -> u64 {
        self.limit
            .algorithm
            .next_unit(&self.level, now)
            .as_secs_rounded_up()
    }
}

/// Returns the headers in a style, none if no limit applied.
///
/// On a denial `retry_after` is what the client is told to wait, in seconds.
pub(crate) fn fields(
    style: HeaderStyle,
    standings: &[Standing<'_>],
    now: Timestamp,
    retry_after: Option<u64>,
) -> Vec<Field> {
    let mut fields = Vec::new();
    let mut put = |name, value, is_list| {
        fields.push(Field {
            name,
            value,
            is_list,
        });
    };
    let tightest = standings.iter().min_by_key(|standing| {
        let reset = std::cmp::Reverse(standing.reset(now));
        (standing.remaining(now), reset)
    });
    let Some(tightest) = tightest else {
        return fields;
    };
    if matches!(style, HeaderStyle::Standard | HeaderStyle::All) {
        let limits = |standing: &Standing<'_>| service_limit(standing, now, retry_after);
        put("ratelimit-policy", list(standings, policy), true);
        put("ratelimit", list(standings, limits), true);
    }
    if matches!(style, HeaderStyle::Legacy | HeaderStyle::All) {
        let numbers = [
            ("x-ratelimit-limit", tightest.limit.requests),
            ("x-ratelimit-remaining", tightest.remaining(now)),
            ("x-ratelimit-reset", tightest.reset(now)),
        ];
        for (name, number) in numbers {
            put(name, number.to_string(), false);
        }
    }
    fields
}

fn list(standings: &[Standing<'_>], item: impl Fn(&Standing<'_>) -> String) -> String {
    let items: Vec<_> = standings.iter().map(item).collect();
    items.join(", ")
}

/// `"login";q=5;w=60`. The window is in whole seconds and left out if it isn't a number of them.
fn policy(standing: &Standing<'_>) -> String {
    let Limit {
        policy,
        requests,
        per,
        ..
    } = standing.limit;
    if let Algorithm::InFlight(_) = standing.limit.algorithm {
        return format!("\"{policy}\";q={requests};qu=\"concurrent-requests\"");
    }
    match per.whole_secs() {
        Some(seconds) => format!("\"{policy}\";q={requests};w={seconds}"),
        None => format!("\"{policy}\";q={requests}"),
    }
}

/// `"login";r=3;t=12`. A full bucket has nothing to wait for; and a limit that isn't the reason of a
/// denial tells no time beyond `Retry-After` (draft section 6).
fn service_limit(standing: &Standing<'_>, now: Timestamp, retry_after: Option<u64>) -> String {
    let policy = &standing.limit.policy;
    let remaining = standing.remaining(now);
    let reset = standing.reset(now);
    if reset == 0 || retry_after.is_some_and(|wait| reset > wait) {
        format!("\"{policy}\";r={remaining}")
    } else {
        format!("\"{policy}\";r={remaining};t={reset}")
    }
}
