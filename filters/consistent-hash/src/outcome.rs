//! What the end of a request says about the hosts that it met.
//!
//! The gateway tells of the last attempt alone: its host, its status, and flags of what went wrong. But
//! attempts go through the hosts in the order in which the filter named them, so if the last one wasn't
//! the first, and there were several attempts, those before it failed.

use filter_core::time::Span;

use crate::health::Event;
use placement::hosts::HostId;

/// How a request ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The status; 0 if there was none.
    pub status: u64,
    /// Envoy's `response.flags`.
    pub flags: u64,
    /// The host of the last attempt, if there was any.
    pub host: Option<HostId>,
    /// How many attempts there were; 1 if that isn't known.
    pub attempts: u64,
    /// Whether the answer was slow.
    pub is_slow: bool,
}

/// `%RESPONSE_FLAGS%` as bits: UT, UC, UF, UR.
const TIMEOUT: u64 = 0x4;
const RESET: u64 = 0x10;
const CONNECT_FAILURE: u64 = 0x20;
const TERMINATION: u64 = 0x40;
/// UO and DC: nothing that the host did.
const OVERFLOW: u64 = 0x80;
const CLIENT_GONE: u64 = 0x4000;

impl Outcome {
    /// What it says about the hosts that were named for the request, in their order.
    pub fn events(&self, named: &[HostId]) -> Vec<(HostId, Event)> {
        let mut events = Vec::new();
        let Some(host) = self.host else {
            // No attempt, so nobody failed.
            return events;
        };
        let position = named.iter().position(|candidate| *candidate == host);
        let before = self.attempts.saturating_sub(1);
        if let Some(position) = position {
            let before = usize::try_from(before).unwrap_or(0).min(position);
            // Of those that the gateway skipped because it doesn't know them nothing is known.
            let failed = named.get(position.saturating_sub(before)..position);
            let failed = failed.unwrap_or_default().iter();
            events.extend(failed.map(|host| (*host, Event::ConnectFailure)));
        }
        let has = |flag: u64| self.flags & flag != 0;
        let event = if has(CONNECT_FAILURE) || has(TERMINATION) || has(RESET) {
            Event::ConnectFailure
        } else if has(OVERFLOW) || has(CLIENT_GONE) || self.status == 0 {
            return events;
        } else if self.status >= 500 || has(TIMEOUT) {
            Event::ServerError
        } else if self.is_slow {
            Event::Slow
        } else {
            Event::Succeeded
        };
        events.push((host, event));
        events
    }
}

/// Whether an answer after that time is slow.
pub fn is_slow(took: Option<Span>, slow: Option<Span>) -> bool {
    took.zip(slow).is_some_and(|(took, slow)| took >= slow)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> HostId {
        HostId::from_u64(number)
    }

    fn ended(status: u64, flags: u64, host: u64, attempts: u64) -> Vec<(u64, Event)> {
        let outcome = Outcome {
            status,
            flags,
            host: Some(id(host)),
            attempts,
            is_slow: false,
        };
        let events = outcome.events(&[id(1), id(2), id(3)]);
        events
            .into_iter()
            .map(|(host, event)| (host.as_u64(), event))
            .collect()
    }

    #[test]
    fn the_last_attempt_is_told_by_status_and_flags() {
        use Event::{ConnectFailure, ServerError, Succeeded};
        assert_eq!(ended(200, 0, 1, 1), [(1, Succeeded)]);
        assert_eq!(ended(404, 0, 1, 1), [(1, Succeeded)]);
        assert_eq!(ended(502, 0, 1, 1), [(1, ServerError)]);
        assert_eq!(ended(503, 0x20, 1, 1), [(1, ConnectFailure)]);
        assert_eq!(ended(200, 0x40, 1, 1), [(1, ConnectFailure)]);
        assert_eq!(ended(504, 0x4, 1, 1), [(1, ServerError)]);
        assert_eq!(ended(0, 0x4000, 1, 1), []);
        assert_eq!(ended(503, 0x80, 1, 1), []);
    }

    #[test]
    fn hosts_that_were_tried_before_failed() {
        use Event::{ConnectFailure, Succeeded};
        assert_eq!(ended(200, 0, 2, 2), [(1, ConnectFailure), (2, Succeeded)]);
        assert_eq!(
            ended(200, 0, 3, 3),
            [(1, ConnectFailure), (2, ConnectFailure), (3, Succeeded)]
        );
        // The gateway doesn't know the first one.
        assert_eq!(ended(200, 0, 2, 1), [(2, Succeeded)]);
        assert_eq!(ended(200, 0, 3, 2), [(2, ConnectFailure), (3, Succeeded)]);
        // Nobody named it.
        assert_eq!(ended(200, 0, 9, 2), [(9, Succeeded)]);
    }

    #[test]
    fn a_request_without_attempts_says_nothing() {
        let outcome = Outcome {
            status: 503,
            flags: 0x2,
            ..Outcome::default()
        };
        assert_eq!(outcome.events(&[id(1)]), []);
    }
}
