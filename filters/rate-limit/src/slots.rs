//! What a worker keeps about clients: a fixed number of places, so that it is bounded whatever clients
//! send.

use std::cell::Cell;

use filter_core::hash::Hash;

/// `COUNT` places by the hash of the client. Two clients can fall on one.
pub(crate) struct Slots<T, const COUNT: u64> {
    /// Empty until it is used; then of that length.
    places: Cell<Vec<Option<T>>>,
}

impl<T, const COUNT: u64> Slots<T, COUNT> {
    /// Changes what is in the client's place, whoever's it is.
    pub(crate) fn edit<R>(&self, client: Hash, edit: impl FnOnce(&mut Option<T>) -> R) -> R {
        let mut places = self.places.take();
        if places.is_empty() {
            places.resize_with(usize::try_from(COUNT).unwrap_or(1), || None);
        }
        let place = client.identity.checked_rem(COUNT).unwrap_or(0);
        let place = usize::try_from(place).unwrap_or(0);
        let mut nowhere = None;
        let result = edit(places.get_mut(place).unwrap_or(&mut nowhere));
        self.places.set(places);
        result
    }

    /// How many places there are, and how many there is room for.
    #[cfg(test)]
    pub(crate) fn room(&self) -> (usize, usize) {
        let places = self.places.take();
        let room = (places.len(), places.capacity());
        self.places.set(places);
        room
    }
}

impl<T, const COUNT: u64> Default for Slots<T, COUNT> {
    fn default() -> Self {
        Self {
            places: Cell::default(),
        }
    }
}
