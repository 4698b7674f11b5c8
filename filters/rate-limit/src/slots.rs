//! What a worker keeps about clients: a fixed number of places, so that it is bounded whatever clients
//! send.

use std::cell::RefCell;

use filter_core::hash::Hash;

/// `COUNT` places by the hash of the client. Two clients can fall on one.
pub(crate) struct Slots<T, const COUNT: u64> {
    /// Empty until it is used; then of that length.
    places: RefCell<Vec<Option<T>>>,
}

impl<T, const COUNT: u64> Slots<T, COUNT> {
    /// Changes what is in the client's place, whoever's it is.
    pub(crate) fn edit<R>(&self, client: Hash, edit: impl FnOnce(&mut Option<T>) -> R) -> R {
        let mut nowhere = None;
        // Nobody edits a place while another is edited.
        let Ok(mut places) = self.places.try_borrow_mut() else {
            return edit(&mut nowhere);
        };
        if places.is_empty() {
            places.resize_with(usize::try_from(COUNT).unwrap_or(1), || None);
        }
        let place = client.identity.checked_rem(COUNT).unwrap_or(0);
        let place = usize::try_from(place).unwrap_or(0);
        edit(places.get_mut(place).unwrap_or(&mut nowhere))
    }

    /// How many places there are, and how many there is room for.
    #[cfg(test)]
    pub(crate) fn room(&self) -> (usize, usize) {
        let places = self.places.borrow();
        (places.len(), places.capacity())
    }
}

impl<T, const COUNT: u64> Default for Slots<T, COUNT> {
    fn default() -> Self {
        Self {
            places: RefCell::default(),
        }
    }
}
