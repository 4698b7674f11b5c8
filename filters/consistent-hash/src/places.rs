//! A few hosts in order, kept in place: each request has some, and none is to be allocated.

use placement::Placement;

/// Places of hosts in the set: at most [`Places::MOST`] of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Places {
    all: [u16; Self::MOST],
    count: usize,
}

impl Places {
    /// As many as a list for retries may have, or a hot key may be spread over.
    pub const MOST: usize = 16;

    /// The first candidates for a key, so many of them if there are.
    pub fn leading(placement: &Placement, hash: u64, most: usize) -> Self {
        let mut places = Self::default();
        let room = places.all.get_mut(..most.min(Self::MOST));
        places.count = room.map_or(0, |room| placement.lead(hash, room));
        places
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// The first one.
    pub fn first(&self) -> Option<usize> {
        self.iter().next()
    }

    /// All of them in order.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        let places = self.all.get(..self.count).unwrap_or(&[]);
        places.iter().map(|place| usize::from(*place))
    }

    /// Puts one first that is at a position, or else comes from behind the last. The others keep their
    /// order.
    pub(crate) fn bring_to_front(&mut self, at: usize, place: usize) {
        let Ok(place) = u16::try_from(place) else {
            return;
        };
        if at >= self.count {
            self.count = self.count.saturating_add(1).min(Self::MOST);
        }
        let last = at.min(self.count.saturating_sub(1));
        if let Some(places) = self.all.get_mut(..=last) {
            places.rotate_right(1);
            places.iter_mut().take(1).for_each(|first| *first = place);
        }
    }

    /// Forgets those behind so many.
    pub(crate) fn truncate(&mut self, most: usize) {
        self.count = self.count.min(most);
    }
}

impl PartialEq for Places {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Places {}

impl FromIterator<usize> for Places {
    /// Takes the first ones and leaves the others.
    fn from_iter<I: IntoIterator<Item = usize>>(places: I) -> Self {
        let mut taken = Self::default();
        let places = places.into_iter();
        // A set has fewer hosts than that.
        let places = places.filter_map(|place| u16::try_from(place).ok());
        for (held, place) in taken.all.iter_mut().zip(places) {
            *held = place;
            taken.count = taken.count.saturating_add(1);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(places: &[usize], at: usize, place: usize) -> Vec<usize> {
        let mut places: Places = places.iter().copied().collect();
        places.bring_to_front(at, place);
        places.iter().collect()
    }

    #[test]
    fn one_is_brought_to_the_front_and_the_others_keep_their_order() {
        assert_eq!(after(&[4, 5, 6], 2, 6), [6, 4, 5]);
        assert_eq!(after(&[4, 5, 6], 0, 4), [4, 5, 6]);
        assert_eq!(after(&[4, 5, 6], 7, 9), [9, 4, 5, 6]);
        assert_eq!(after(&[], 0, 9), [9]);
        let full: Vec<usize> = (0..16).collect();
        assert_eq!(after(&full, 40, 99)[..3], [99, 0, 1]);
        assert_eq!(after(&full, 40, 99).len(), Places::MOST);
    }

    #[test]
    fn what_was_forgotten_makes_no_difference() {
        let mut one: Places = (0..30).collect();
        assert_eq!(one.len(), Places::MOST);
        one.truncate(2);
        assert_eq!(one, [0, 1].into_iter().collect());
        assert_ne!(one, [0].into_iter().collect());
    }
}
