//! What is charged when: at the request, or by what the response was.

use std::ops::RangeInclusive;

use filter_core::config::Place;
use filter_core::config::fields::HeaderName;
use serde::Deserialize;

use crate::usage::Path;

/// When a rule charges a client.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RawCharge {
    /// When the request comes.
    #[default]
    Request,
    /// When the response has ended, whatever the client has left by then; a request is let in if it
    /// has anything left. So requests that run at the same time can go beyond the limit together:
    /// `concurrent` bounds by how much.
    Response(RawResponseCharge),
}

/// Which responses are charged for, and how much.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RawResponseCharge {
    /// Statuses such as `"401"` or `"5xx"`; all by default.
    pub statuses: Option<Vec<String>>,
    /// A response header with the number of units. Without it a response costs as much as its
    /// request.
    pub cost_header: Option<HeaderName>,
    /// Numbers in the body of a response to be summed up, such as `usage.total_tokens`: the names
    /// from the outermost object on. The body is JSON, JSON by lines, or server-sent events with
    /// JSON as their data, and not compressed; of each number the last one counts. A body without
    /// any of them costs as much as without this field.
    pub usage: Option<Vec<String>>,
}

/// When a rule charges a client, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChargeOn {
    /// When the request comes.
    Request,
    /// When the response has ended.
    Response(ResponseCharge),
}

/// Which responses are charged for, and how much, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseCharge {
    /// Statuses; none of them are all.
    pub statuses: Vec<RangeInclusive<u64>>,
    /// A response header, in lower case.
    pub cost_header: Option<String>,
    /// Numbers in the body.
    pub usage: Vec<Path>,
}

const MOST_NUMBERS: usize = 8;

impl RawCharge {
    /// Makes a charge, or reports all that is wrong at `place`.
    pub(super) fn check(self, place: &Place<'_>) -> Option<ChargeOn> {
        let Self::Response(raw) = self else {
            return Some(ChargeOn::Request);
        };
        let place = place.field("response");
        let at = place.field("statuses");
        let statuses = raw.statuses.unwrap_or_default().into_iter().enumerate();
        let statuses: Vec<_> = statuses
            .map(|(index, text)| {
                let range = status(&text);
                if range.is_none() {
                    at.index(index)
                        .refuse("a status such as \"401\" or \"5xx\"");
                }
                range
            })
            .collect();
        let at = place.field("usage");
        let usage = raw.usage.unwrap_or_default();
        if usage.len() > MOST_NUMBERS {
            at.report(&format!(
                "{} numbers; allowed: up to {MOST_NUMBERS}",
                usage.len()
            ));
        }
        let usage: Vec<_> = usage
            .into_iter()
            .enumerate()
            .map(|(index, text)| {
                let path: Path = text.split('.').map(str::to_owned).collect();
                let fits = path.iter().all(|name| !name.is_empty());
                if !fits {
                    at.index(index)
                        .refuse("names parted by dots, such as \"usage.total_tokens\"");
                }
                fits.then_some(path)
            })
            .collect();
        Some(ChargeOn::Response(ResponseCharge {
            statuses: statuses.into_iter().collect::<Option<_>>()?,
            cost_header: raw.cost_header.map(|name| name.as_str().to_owned()),
            usage: usage.into_iter().collect::<Option<_>>()?,
        }))
    }
}

/// Reads `401` or `5xx`.
fn status(text: &str) -> Option<RangeInclusive<u64>> {
    let [class @ b'1'..=b'5', rest @ ..] = text.as_bytes() else {
        return None;
    };
    if rest == b"xx" {
        let first = u64::from(class.saturating_sub(b'0')).saturating_mul(100);
        return Some(first..=first.saturating_add(99));
    }
    let all_digits = rest.len() == 2 && rest.iter().all(u8::is_ascii_digit);
    let status = text.parse().ok().filter(|_| all_digits)?;
    Some(status..=status)
}
