//! The requests that a worker holds until their units have come back.

use std::cell::Cell;

use filter_core::time::Timestamp;

/// Requests on hold, by the numbers of their streams.
///
/// The list is taken out while it is worked on, so nothing can go wrong when a callback comes in
/// between.
#[derive(Default)]
pub struct Held {
    streams: Cell<Vec<(u32, Timestamp)>>,
    len: Cell<usize>,
}

impl Held {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.len.get()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Holds a request until that moment.
    pub fn add(&self, stream: u32, until: Timestamp) {
        self.edit(|streams| streams.push((stream, until)));
    }

    /// Forgets a request, if it is held.
    pub fn remove(&self, stream: u32) {
        if !self.is_empty() {
            self.edit(|streams| streams.retain(|(held, _)| *held != stream));
        }
    }

    /// Takes out the requests whose moment has come, in the order of their moments.
    pub fn take_due(&self, now: Timestamp) -> Vec<u32> {
        let mut due: Vec<(u32, Timestamp)> = Vec::new();
        self.edit(|streams| {
            streams.retain(|held| {
                let is_due = held.1 <= now;
                if is_due {
                    let later = due.iter().position(|(_, until)| *until > held.1);
                    due.insert(later.unwrap_or(due.len()), *held);
                }
                !is_due
            });
        });
        due.into_iter().map(|(stream, _)| stream).collect()
    }

    fn edit(&self, edit: impl FnOnce(&mut Vec<(u32, Timestamp)>)) {
        let mut streams = self.streams.take();
        edit(&mut streams);
        self.len.set(streams.len());
        self.streams.set(streams);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: u64) -> Timestamp {
        Timestamp::from_nanos(nanos)
    }

    #[test]
    fn requests_come_out_when_and_in_the_order_they_are_due() {
        let held = Held::default();
        for (stream, until) in [(1, 30), (2, 10), (3, 20), (4, 40), (5, 10)] {
            held.add(stream, at(until));
        }
        assert_eq!(held.take_due(at(9)), [0; 0]);
        assert_eq!(held.take_due(at(30)), [2, 5, 3, 1]);
        assert_eq!(held.len(), 1);
    }

    #[test]
    fn a_request_that_has_ended_is_held_no_more() {
        let held = Held::default();
        held.add(1, at(10));
        held.add(2, at(10));
        held.remove(1);
        held.remove(7);
        assert_eq!(held.take_due(at(10)), [2]);
        assert!(held.is_empty());
    }
}
