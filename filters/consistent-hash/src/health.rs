//! Whether a host may be chosen, judged by its answers.
//!
//! Two judges, either of whom keeps a host out: active checks, by how many in a row failed or
//! passed; and what requests met, of which so many failures in a row eject a host for a time that
//! doubles with every ejection soon after the last. A passed check doesn't end an ejection: a host
//! may answer its checks and fail at its work. Who comes back gets its keys one after another.
//!
//! A [`Record`] says what is to be remembered of one host, a [`Board`] of all those about whom there
//! is something to remember. A board is a value in shared data: a worker applies to the newest one
//! what it saw, so workers add to each other's counts. A record changes only by an event that says
//! something new: an answer that is well from a host that is well needs no write.

mod board;
mod record;

pub use board::Board;
pub use record::Record;

use filter_core::time::{Span, Timestamp};

use crate::share::Share;

/// When hosts go out and come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Failed checks in a row that put a host out: at least 1.
    pub unhealthy_after: u8,
    /// Passed checks in a row that let it in again: at least 1.
    pub healthy_after: u8,
    /// Answers of 500 and above in a row that eject a host; 0: never.
    pub server_errors: u16,
    /// Failures to connect in a row that eject it; 0: never.
    pub connect_failures: u16,
    /// Slow answers in a row that eject it; 0: never.
    pub slow_answers: u16,
    /// How long the first ejection takes.
    pub ejection: Span,
    /// How long one may take at most.
    pub longest_ejection: Span,
    /// The greatest part of all hosts that may be ejected at one time. One always may, unless it is
    /// the only one.
    pub most_ejected: Share,
    /// How long a host that came back is given its keys, from [`Self::slow_start_floor`] to all;
    /// nothing: all at once.
    pub slow_start: Span,
    /// The part of its keys that it has from the first moment.
    pub slow_start_floor: Share,
}

impl Default for Rules {
    /// Envoy's defaults where it has them, and no slow start.
    fn default() -> Self {
        Self {
            unhealthy_after: 3,
            healthy_after: 2,
            server_errors: 5,
            connect_failures: 5,
            slow_answers: 0,
            ejection: Span::from_secs(30),
            longest_ejection: Span::from_secs(300),
            most_ejected: Share::percent(50),
            slow_start: Span::ZERO,
            slow_start_floor: Share::percent(10),
        }
    }
}

/// What was learned about a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It passed a check.
    CheckPassed,
    /// It failed a check.
    CheckFailed,
    /// It answered a request, below 500 and in time.
    Succeeded,
    /// It answered 500 or above.
    ServerError,
    /// It couldn't be connected to, or broke the connection off.
    ConnectFailure,
    /// It answered, but took too long.
    Slow,
}

/// Why a host is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its checks fail.
    Checks,
    /// It answered 500 and above.
    ServerErrors,
    /// It couldn't be connected to.
    ConnectFailures,
    /// It was slow.
    SlowAnswers,
}

impl Reason {
    /// Returns the name for metrics and headers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Checks => "checks",
            Self::ServerErrors => "server_errors",
            Self::ConnectFailures => "connect_failures",
            Self::SlowAnswers => "slow_answers",
        }
    }
}

/// How a host stands at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It has all of its keys.
    In,
    /// It came back a while ago and has this share of its keys.
    Returning(Share),
    /// It has none.
    Out {
        /// Why.
        reason: Reason,
        /// When it comes back by itself; not before a check passes if there is no such moment.
        until: Option<Timestamp>,
    },
}

impl State {
    /// Returns the share of its keys that the host has.
    pub const fn share(self) -> Share {
        match self {
            Self::In => Share::WHOLE,
            Self::Returning(share) => share,
            Self::Out { .. } => Share::NONE,
        }
    }
}

/// What an event changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing: there is nothing to write.
    None,
    /// A count.
    Counted,
    /// The host is out now and wasn't before.
    Out(Reason),
    /// It would have been ejected if not too many were already.
    Spared(Reason),
    /// Its checks pass again.
    Back,
}

/// Returns whether so little is available that being picky does more harm than good: then all hosts
/// count as available. The numbers are weights.
pub fn in_panic(available: u64, all: u64, threshold: Share) -> bool {
    available < all && Share::ratio(available, all) < threshold
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panic_begins_below_the_threshold() {
        let half = Share::percent(50);
        assert!(!in_panic(5, 10, half));
        assert!(in_panic(4, 10, half));
        assert!(in_panic(0, 10, half));
        assert!(!in_panic(0, 10, Share::NONE));
        assert!(!in_panic(0, 0, half));
    }
}
