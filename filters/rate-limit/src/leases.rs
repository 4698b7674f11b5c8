//! Units that a worker has taken ahead for clients it sees often, so that most of their requests
//! need no shared data.
//!
//! A unit is charged when it is taken and used later, and that must not serve more than the limit.
//! So it can be used only until the moment at which the bucket was full before it was charged, and
//! some slack after it, by which the bucket is smaller (see [`crate::gcra::Gcra::with_slack`]). What
//! isn't used by then is lost: to a client that asks for less than it may, and it has others.

use filter_core::hash::Hash;
use filter_core::time::{Span, Timestamp};

use crate::algorithm::Level;
use crate::few::Few;
use crate::slots::Slots;

/// Clients that a worker remembers. Two that fall on one slot take turns.
const SLOTS: u64 = 1024;

/// What a worker has taken ahead.
#[derive(Default)]
pub struct Leases {
    slots: Slots<Lease, SLOTS>,
}

/// Whose units, and of which rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) client: Hash,
    /// The rule's position in the configuration.
    pub(crate) rule: usize,
}

/// Charges for requests to come, taken together.
#[derive(Clone, Debug)]
pub struct Lease {
    pub(crate) holder: Holder,
    /// For each limit, until when the first can be used, and how much longer each one after it.
    pub(crate) moments: Vec<(Timestamp, Span)>,
    /// How the client stands after all of them.
    pub(crate) levels: Vec<Level>,
    /// Requests that it is for.
    pub(crate) count: u64,
    /// Those that are used or lost.
    pub(crate) gone: u64,
    pub(crate) used: u64,
}

impl Leases {
    /// How many requests are worth to be taken together for a client: twice as many as last time if
    /// all were used, and as many as were used if not; one, for itself alone, to begin with.
    pub(crate) fn worth(&self, holder: Holder, most: u64) -> u64 {
        self.edit(holder, |slot| match slot {
            Some(lease) if lease.holder == holder && lease.used == lease.count => {
                lease.count.saturating_add(1).saturating_mul(2).min(most)
            }
            Some(lease) if lease.holder == holder => lease.used.saturating_add(1).min(most),
            _ => 1,
        })
    }

    /// Remembers what was taken, in place of what was there before.
    pub fn keep(&self, leases: Few<Box<Lease>>) {
        for lease in leases {
            self.edit(lease.holder, |slot| *slot = Some(*lease));
        }
    }

    /// Whether a request of the client could be served at `now`.
    pub(crate) fn has(&self, holder: Holder, now: Timestamp) -> bool {
        self.edit(holder, |slot| {
            let lease = slot.as_ref().filter(|lease| lease.holder == holder);
            lease.is_some_and(|lease| lease.next(now).is_some())
        })
    }

    /// Uses a request's units, and returns what becomes of how the client stands; `None` if there are
    /// none.
    pub(crate) fn take<T>(
        &self,
        holder: Holder,
        now: Timestamp,
        told: impl FnOnce(&[Level]) -> T,
    ) -> Option<T> {
        self.edit(holder, |slot| {
            let lease = slot.as_mut().filter(|lease| lease.holder == holder)?;
            lease.gone = lease.next(now)?.saturating_add(1);
            lease.used = lease.used.saturating_add(1);
            Some(told(&lease.levels))
        })
    }

    fn edit<T>(&self, holder: Holder, edit: impl FnOnce(&mut Option<Lease>) -> T) -> T {
        self.slots.edit(holder.client, edit)
    }
}

impl Lease {
    /// The number of the first request whose units can still be used.
    fn next(&self, now: Timestamp) -> Option<u64> {
        let lost = self.moments.iter().map(|(first, step)| {
            let late = now.since(*first);
            late.plus(*step)
                .minus(Span::from_nanos(1))
                .divided_by(*step)
        });
        let next = lost.max().unwrap_or(0).max(self.gone);
        (next < self.count).then_some(next)
    }
}
