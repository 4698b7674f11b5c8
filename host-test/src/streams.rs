//! The open streams of a worker, found by number without a search.
//!
//! Each hostcall looks its stream up, some several times: a slot in a vector makes that cheaper than
//! anything with a hash. A stream's number is its slot and how often the slot had been used before,
//! so that a number is never used twice and one of a closed stream finds nothing.

use crate::state::{Stream, StreamId};

/// Streams in slots.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    slots: Vec<Slot>,
    /// Slots that hold no stream.
    free: Vec<u32>,
}

#[derive(Debug, Default)]
struct Slot {
    /// How many streams have been in it.
    uses: u32,
    /// Boxed: a stream is large, and is only looked at where it is.
    stream: Option<Box<Stream>>,
}

impl Streams {
    /// Opens a stream and gives it its number.
    pub(crate) fn insert(&mut self, stream: Box<Stream>) -> StreamId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).expect("2^32 streams don't fit in memory")
        });
        let entry = &mut self.slots[slot as usize];
        entry.stream = Some(stream);
        StreamId(u64::from(entry.uses) << 32 | u64::from(slot))
    }

    /// An open stream.
    #[inline]
    pub(crate) fn get(&self, id: &StreamId) -> Option<&Stream> {
        let slot = self.slots.get(slot(*id))?;
        (slot.uses == uses(*id)).then_some(slot.stream.as_deref()?)
    }

    /// An open stream, to be changed.
    #[inline]
    pub(crate) fn get_mut(&mut self, id: &StreamId) -> Option<&mut Stream> {
        let slot = self.slots.get_mut(slot(*id))?;
        (slot.uses == uses(*id)).then_some(slot.stream.as_deref_mut()?)
    }

    /// Takes a stream out for good.
    pub(crate) fn remove(&mut self, id: &StreamId) -> Option<Box<Stream>> {
        let entry = self.slots.get_mut(slot(*id))?;
        if entry.uses != uses(*id) {
            return None;
        }
        let stream = entry.stream.take()?;
        // A slot whose uses can't be told apart any more is not used again.
        if let Some(uses) = entry.uses.checked_add(1) {
            entry.uses = uses;
            self.free.extend(u32::try_from(slot(*id)));
        }
        Some(stream)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the lower half is what is asked for"
)]
fn slot(id: StreamId) -> usize {
    id.0 as u32 as usize
}

fn uses(id: StreamId) -> u32 {
    (id.0 >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_a_closed_stream_finds_nothing_in_its_slot() {
        let mut streams = Streams::default();
        let first = streams.insert(Box::default());
        let second = streams.insert(Box::default());
        assert!(streams.remove(&first).is_some());
        let third = streams.insert(Box::default());
        assert_eq!(slot(third), slot(first));
        assert!(streams.get(&first).is_none() && streams.remove(&first).is_none());
        assert!(streams.get_mut(&second).is_some() && streams.get(&third).is_some());
    }

    #[test]
    fn a_slot_is_given_up_before_its_numbers_repeat() {
        let mut streams = Streams::default();
        let id = streams.insert(Box::default());
        streams.slots[0].uses = u32::MAX;
        assert!(streams.get(&id).is_none());
        let last = StreamId(u64::from(u32::MAX) << 32);
        assert!(streams.remove(&last).is_some());
        assert_eq!(slot(streams.insert(Box::default())), 1);
    }
}
