//! What a worker remembers of the service's answers, so that most requests need none: clients that
//! are over their limit, and requests that were charged for ahead. Bounded, whatever clients send.

use filter_core::hash::Hash;
use filter_core::time::Timestamp;

use crate::slots::Slots;

/// Clients that are remembered. Of two that fall on one slot the later is.
const SLOTS: u64 = 4096;

/// A client under a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// The keyed hash of its key.
    pub(crate) client: Hash,
    /// The rule's position in the configuration.
    pub(crate) rule: usize,
    /// Which of the rule's lists of limits.
    pub(crate) tier: usize,
}

/// What a worker remembers.
#[derive(Default)]
pub(super) struct Memory {
    slots: Slots<Entry, SLOTS>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    holder: Holder,
    /// Until when requests are over the limit that cost so much or more.
    over: Option<(Timestamp, u64)>,
    /// Requests that were charged for ahead, and how many of them came.
    count: u64,
    used: u64,
    /// Until when those can be used.
    until: Timestamp,
    /// Until when an answer may still come to a call that charges ahead; meanwhile no other does.
    asking: Timestamp,
    /// The most that may be charged for ahead, by what the service said was left.
    room: u64,
}

impl Entry {
    fn new(holder: Holder) -> Self {
        Self {
            holder,
            over: None,
            count: 0,
            used: 0,
            until: Timestamp::ZERO,
            asking: Timestamp::ZERO,
            room: u64::MAX,
        }
    }
}

impl Memory {
    /// Until when a request of that cost is known to be over the limit, if it is.
    pub(super) fn over(&self, holder: Holder, cost: u64, now: Timestamp) -> Option<Timestamp> {
        let (until, least) = self.read(holder)?.over?;
        (now < until && cost >= least).then_some(until)
    }

    /// Remembers that requests of that cost and more are over the limit until then.
    pub(super) fn remember_over(&self, holder: Holder, cost: u64, until: Timestamp) {
        self.write(holder, |entry| entry.over = Some((until, cost)));
    }

    /// Whether a request has been charged for already.
    pub(super) fn has(&self, holder: Holder, now: Timestamp) -> bool {
        self.read(holder)
            .is_some_and(|entry| entry.used < entry.count && now < entry.until)
    }

    /// Uses a request that has been charged for.
    pub(super) fn take(&self, holder: Holder) {
        self.write(holder, |entry| entry.used = entry.used.saturating_add(1));
    }

    /// How many requests are worth to be charged for ahead: twice as many as last time if all came, as
    /// many as came if not, none for a client that isn't known or that another call charges ahead for.
    /// One whose answer is to come by `deadline` is then taken to be under way.
    pub(super) fn worth(
        &self,
        holder: Holder,
        most: u64,
        now: Timestamp,
        deadline: Timestamp,
    ) -> u64 {
        let known = self.read(holder);
        let ahead = known.map_or(0, |entry| {
            if now < entry.asking || (entry.used < entry.count && now < entry.until) {
                0
            } else if entry.used >= entry.count {
                entry
                    .count
                    .saturating_add(1)
                    .saturating_mul(2)
                    .min(entry.room)
            } else {
                entry.used.min(entry.room)
            }
        });
        let ahead = ahead.min(most.saturating_sub(1));
        self.write(holder, |entry| {
            if ahead > 0 {
                entry.asking = deadline;
            }
        });
        ahead
    }

    /// Takes down what came of a call that was to charge for requests ahead: so many, to be used
    /// until then.
    pub(super) fn granted(&self, holder: Holder, ahead: u64, until: Timestamp) {
        self.write(holder, |entry| {
            (entry.count, entry.used, entry.until) = (ahead, 0, until);
            entry.asking = Timestamp::ZERO;
        });
    }

    /// Takes down that at most so many requests may be charged for ahead next time.
    pub(super) fn has_room(&self, holder: Holder, room: u64) {
        self.write(holder, |entry| entry.room = room);
    }

    fn read(&self, holder: Holder) -> Option<Entry> {
        self.edit(holder, |slot| slot.filter(|entry| entry.holder == holder))
    }

    fn write(&self, holder: Holder, write: impl FnOnce(&mut Entry)) {
        self.edit(holder, |slot| {
            let known = slot.filter(|entry| entry.holder == holder);
            let mut entry = known.unwrap_or_else(|| Entry::new(holder));
            write(&mut entry);
            *slot = Some(entry);
        });
    }

    fn edit<T>(&self, holder: Holder, edit: impl FnOnce(&mut Option<Entry>) -> T) -> T {
        self.slots.edit(holder.client, edit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use filter_core::time::Span;

    fn holder(client: u64) -> Holder {
        Holder {
            client: Hash {
                place: 0,
                identity: client,
            },
            rule: 0,
            tier: 0,
        }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO.after(Span::from_secs(seconds))
    }

    #[test]
    fn a_client_over_its_limit_is_known_until_its_reset_and_not_for_less() {
        let memory = Memory::default();
        memory.remember_over(holder(1), 3, at(10));
        assert_eq!(memory.over(holder(1), 3, at(9)), Some(at(10)));
        assert_eq!(memory.over(holder(1), 4, at(9)), Some(at(10)));
        assert_eq!(memory.over(holder(1), 2, at(9)), None);
        assert_eq!(memory.over(holder(1), 3, at(10)), None);
        assert_eq!(memory.over(holder(2), 3, at(9)), None);
    }

    #[test]
    fn what_is_worth_to_be_taken_grows_with_use_and_falls_without() {
        let memory = Memory::default();
        let client = holder(1);
        assert_eq!(memory.worth(client, 100, at(0), at(1)), 0);
        for expected in [2, 6, 14, 30, 62, 99, 99] {
            let ahead = memory.worth(client, 100, at(0), at(1));
            assert_eq!(ahead, expected);
            memory.granted(client, ahead, at(5));
            (0..ahead).for_each(|_| memory.take(client));
        }
        memory.granted(client, 50, at(5));
        (0..7).for_each(|_| memory.take(client));
        assert!(memory.has(client, at(4)));
        assert!(!memory.has(client, at(5)));
        assert_eq!(memory.worth(client, 100, at(5), at(6)), 7);
    }

    #[test]
    fn one_call_at_a_time_charges_ahead_for_a_client() {
        let memory = Memory::default();
        memory.worth(holder(1), 100, at(0), at(1));
        assert_eq!(memory.worth(holder(1), 100, at(0), at(1)), 2);
        assert_eq!(memory.worth(holder(1), 100, at(0), at(1)), 0);
        assert_eq!(memory.worth(holder(1), 100, at(1), at(2)), 2);
    }

    #[test]
    fn a_million_clients_take_no_more_room_than_a_few_thousand() {
        let memory = Memory::default();
        (0..1_000_000).for_each(|client| memory.remember_over(holder(client), 1, at(1)));
        assert_eq!(memory.slots.room(), (4096, 4096));
    }
}
