//! The response headers that tell a client about its limits.
//!
//! `RateLimit-Policy` and `RateLimit` are lists of strings with parameters
//! (draft-ietf-httpapi-ratelimit-headers-10, RFC 9651). A policy name needs no escape: rule names
//! are letters, digits and hyphens.

use std::borrow::Cow;

use filter_core::time::{Span, Timestamp};

use crate::algorithm::{Algorithm, Level};
use crate::config::{HeaderStyle, Limit};

/// Digits of the largest number.
const MOST_DIGITS: usize = 20;
/// Room for what most lists are: memory is asked for once.
const USUAL_LISTS: usize = 128;

/// Response headers that tell a client about its limits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// The values of `RateLimit-Policy` and of `RateLimit`, one behind the other: most responses have
    /// these and no more.
    lists: Vec<u8>,
    /// Where the second begins.
    second: usize,
    others: Option<Box<Others>>,
}

/// What few responses have besides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Others {
    fields: Vec<Field>,
}

/// A response header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    /// Name in lower case.
    pub(crate) name: Cow<'static, str>,
    /// Value.
    pub(crate) value: Vec<u8>,
    /// Whether it is a list: one that the upstream sent stays beside it, and is replaced otherwise.
    pub(crate) is_list: bool,
}

impl Fields {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lists.is_empty() && self.others.is_none()
    }

    /// Adds a header.
    pub(crate) fn push(&mut self, field: Field) {
        self.others.get_or_insert_default().fields.push(field);
    }

    fn others(&self) -> &[Field] {
        self.others.as_ref().map_or(&[], |others| &others.fields)
    }

    /// Tells each header's name and value, and whether it is a list: one that the upstream sent stays
    /// beside it, and is replaced otherwise.
    pub fn each(&self, mut tell: impl FnMut(&str, &[u8], bool)) {
        if let Some((policies, limits)) = self.lists.split_at_checked(self.second)
            && !limits.is_empty()
        {
            tell("ratelimit-policy", policies, true);
            tell("ratelimit", limits, true);
        }
        for field in self.others() {
            tell(&field.name, &field.value, field.is_list);
        }
    }
}

/// How a client stands with one limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing<'a> {
    /// The limit's name.
    pub(crate) policy: &'a str,
    /// Units that come back in each window.
    pub(crate) quota: u64,
    /// What else is said of the limit.
    pub(crate) entry: Entry<'a>,
    /// Units left.
    pub(crate) remaining: u64,
    /// Whole seconds until one more unit is there: "the number of seconds until additional quota
    /// associated with the quota policy is made available" (draft section 4.1.2).
    pub(crate) reset: u64,
}

/// What is said of a limit to every client.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Entry<'a> {
    /// Text, written once.
    Written(&'a str),
    /// To be written: what the units are for.
    Of(Window),
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
            entry: Entry::Written(&limit.entry),
            remaining,
            reset,
        }
    }
}

/// What is said to every client of a limit so named, of so many units in each `per`.
pub(crate) fn entry(policy: &str, quota: u64, algorithm: &Algorithm, per: Span) -> String {
    let window = match algorithm {
        Algorithm::InFlight(_) => Window::AtOnce,
        Algorithm::FixedWindow(_) | Algorithm::Gcra(_) | Algorithm::SlidingWindow(_) => {
            per.whole_secs().map_or(Window::Unsaid, Window::Seconds)
        }
    };
    let mut out = Vec::new();
    push_entry(&mut out, policy, quota, window);
    String::from_utf8(out).unwrap_or_default()
}

/// Returns the headers in a style, none if no limit applied.
///
/// On a denial `retry_after` is what the client is told to wait, in seconds.
pub(crate) fn fields(
    style: HeaderStyle,
    standings: &[Standing<'_>],
    retry_after: Option<u64>,
) -> Fields {
    if standings.is_empty() || style == HeaderStyle::None {
        return Fields::default();
    }
    let mut fields = Fields::default();
    if matches!(style, HeaderStyle::Standard | HeaderStyle::All) {
        let mut lists = Vec::with_capacity(USUAL_LISTS);
        for standing in standings {
            push_comma(&mut lists, 0);
            push_policy(&mut lists, standing);
        }
        fields.second = lists.len();
        for standing in standings {
            push_comma(&mut lists, fields.second);
            push_limit(&mut lists, standing, retry_after);
        }
        fields.lists = lists;
    }
    let tightest = standings
        .iter()
        .min_by_key(|standing| (standing.remaining, std::cmp::Reverse(standing.reset)));
    if matches!(style, HeaderStyle::Legacy | HeaderStyle::All)
        && let Some(tightest) = tightest
    {
        let numbers = [
            ("x-ratelimit-limit", tightest.quota),
            ("x-ratelimit-remaining", tightest.remaining),
            ("x-ratelimit-reset", tightest.reset),
        ];
        for (name, number) in numbers {
            let mut value = Vec::new();
            push_number(&mut value, number);
            fields.push(Field {
                name: Cow::Borrowed(name),
                value,
                is_list: false,
            });
        }
    }
    fields
}

/// The headers of a response to which two sets of rules had a say: lists stand side by side, and of
/// the others those of the tighter limit are taken.
pub(crate) fn merged(mut ours: Fields, theirs: Fields) -> Fields {
    let remaining = |fields: &Fields| {
        let mut others = fields.others().iter();
        let found = others.find(|field| field.name == "x-ratelimit-remaining")?;
        std::str::from_utf8(&found.value).ok()?.parse::<u64>().ok()
    };
    let tighter = match (remaining(&ours), remaining(&theirs)) {
        (Some(ours), Some(theirs)) => theirs < ours,
        (None, _) => true,
        (_, None) => false,
    };
    if tighter && let Some(others) = &mut ours.others {
        others.fields.retain(|field| field.is_list);
    }
    theirs.each(|name, value, is_list| {
        if is_list || tighter {
            ours.push(Field {
                name: Cow::Owned(name.to_owned()),
                value: value.to_vec(),
                is_list,
            });
        }
    });
    ours
}

fn push_policy(out: &mut Vec<u8>, standing: &Standing<'_>) {
    match standing.entry {
        Entry::Written(entry) => out.extend_from_slice(entry.as_bytes()),
        Entry::Of(window) => push_entry(out, standing.policy, standing.quota, window),
    }
}

/// `"login";q=5;w=60`. The window is in whole seconds and left out if it isn't a number of them.
fn push_entry(out: &mut Vec<u8>, policy: &str, quota: u64, window: Window) {
    out.push(b'"');
    out.extend_from_slice(policy.as_bytes());
    out.extend_from_slice(b"\";q=");
    push_number(out, quota);
    match window {
        Window::AtOnce => out.extend_from_slice(b";qu=\"concurrent-requests\""),
        Window::Seconds(seconds) => {
            out.extend_from_slice(b";w=");
            push_number(out, seconds);
        }
        Window::Unsaid => {}
    }
}

/// `"login";r=3;t=12`. A full bucket has nothing to wait for; and a limit that isn't the reason of a
/// denial tells no time beyond `Retry-After` (draft section 6).
fn push_limit(out: &mut Vec<u8>, standing: &Standing<'_>, retry_after: Option<u64>) {
    out.push(b'"');
    out.extend_from_slice(standing.policy.as_bytes());
    out.extend_from_slice(b"\";r=");
    push_number(out, standing.remaining);
    let reset = standing.reset;
    if reset > 0 && retry_after.is_none_or(|wait| reset <= wait) {
        out.extend_from_slice(b";t=");
        push_number(out, reset);
    }
}

/// Parts an entry from the one before, if it isn't the first of a list that begins there.
fn push_comma(out: &mut Vec<u8>, start: usize) {
    if out.len() > start {
        out.extend_from_slice(b", ");
    }
}

/// Writes a number. `format!` takes several times as long, and every response has two of them.
pub(crate) fn push_number(out: &mut Vec<u8>, number: u64) {
    if let Ok(digit @ ..10) = u8::try_from(number) {
        out.push(digit | b'0');
        return;
    }
    let mut digits = [[0_u8; 2]; MOST_DIGITS / 2];
    let mut rest = number;
    let mut unused = MOST_DIGITS;
    for pair in digits.iter_mut().rev() {
        let [last, ..] = (rest % 100).to_le_bytes();
        *pair = [(last / 10) | b'0', (last % 10) | b'0'];
        unused = unused.wrapping_sub(2);
        if rest < 100 {
            unused = unused.wrapping_add(usize::from(last < 10));
            break;
        }
        rest /= 100;
    }
    out.extend_from_slice(digits.as_flattened().get(unused..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_anyone_writes_them() {
        for number in [0, 9, 10, 99, 100, 12_345_678_909, u64::MAX] {
            let mut out = Vec::new();
            push_number(&mut out, number);
            assert_eq!(out, number.to_string().into_bytes());
        }
    }

    #[test]
    fn of_two_sets_lists_stand_side_by_side_and_the_tighter_number_counts() {
        let set = |left: &str| Fields {
            lists: format!("p{left}").into_bytes(),
            second: 1,
            others: Some(Box::new(Others {
                fields: vec![Field {
                    name: Cow::Borrowed("x-ratelimit-remaining"),
                    value: left.as_bytes().to_vec(),
                    is_list: false,
                }],
            })),
        };
        let of = |fields: Fields| {
            let mut values = Vec::new();
            fields.each(|name, value, _| {
                if name != "ratelimit-policy" {
                    values.push(String::from_utf8(value.to_vec()).unwrap());
                }
            });
            values
        };
        assert_eq!(of(merged(set("3"), set("2"))), ["3", "2", "2"]);
        assert_eq!(of(merged(set("2"), set("3"))), ["2", "2", "3"]);
        assert_eq!(of(merged(Fields::default(), set("3"))), ["3", "3"]);
        assert_eq!(of(merged(set("3"), Fields::default())), ["3", "3"]);
    }
}
