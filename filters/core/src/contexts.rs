//! What a filter keeps for each stream, by the number that the host gave it.
//!
//! Hosts count up, so the numbers of streams at work lie close together. Each is kept at its number
//! modulo the room, or as close behind that as there is a place.

/// Contexts by their numbers.
#[derive(Debug)]
pub struct Contexts<T> {
    /// A power of two of them, or none; at most half are taken, so that every search ends soon.
    places: Vec<Option<(u32, T)>>,
    len: usize,
}

/// Places to begin with.
const FIRST: usize = 16;

impl<T> Contexts<T> {
    /// None yet.
    pub const fn new() -> Self {
        Self {
            places: Vec::new(),
            len: 0,
        }
    }

    /// Keeps a context, in place of one of the same number.
    pub fn insert(&mut self, id: u32, context: T) {
        if self.len >= self.places.len() >> 1 {
            self.grow();
        }
        self.put(id, context);
    }

    /// The context of that number.
    #[inline]
    pub fn get_mut(&mut self, id: u32) -> Option<&mut T> {
        let at = self.find(id);
        match self.places.get_mut(at) {
            Some(Some((_, context))) => Some(context),
            _ => None,
        }
    }

    /// Takes the context of that number out.
    pub fn remove(&mut self, id: u32) -> Option<T> {
        let mut gap = self.find(id);
        let (_, context) = self.places.get_mut(gap)?.take()?;
        self.len = self.len.wrapping_sub(1);
        // What was put behind because this place was taken moves up.
        let mut at = self.behind(gap);
        while let Some(Some((other, _))) = self.places.get(at) {
            let home = self.home(*other);
            if self.way(home, at) >= self.way(gap, at) {
                let moved = self.places.get_mut(at).and_then(Option::take);
                if let Some(place) = self.places.get_mut(gap) {
                    *place = moved;
                }
                gap = at;
            }
            at = self.behind(at);
        }
        Some(context)
    }

    fn put(&mut self, id: u32, context: T) {
        let at = self.find(id);
        if let Some(place) = self.places.get_mut(at) {
            if place.is_none() {
                self.len = self.len.wrapping_add(1);
            }
            *place = Some((id, context));
        }
    }

    fn grow(&mut self) {
        let room = self.places.len().saturating_mul(2).max(FIRST);
        let mut places = Vec::new();
        places.resize_with(room, || None);
        let before = std::mem::replace(&mut self.places, places);
        self.len = 0;
        for (id, context) in before.into_iter().flatten() {
            self.put(id, context);
        }
    }

    /// Where the context of that number is, or would be.
    #[inline]
    fn find(&self, id: u32) -> usize {
        let mut at = self.home(id);
        while let Some(Some((other, _))) = self.places.get(at)
            && *other != id
        {
            at = self.behind(at);
        }
        at
    }

    #[inline]
    fn home(&self, id: u32) -> usize {
        self.wrapped(usize::try_from(id).unwrap_or(0))
    }

    #[inline]
    fn behind(&self, at: usize) -> usize {
        self.wrapped(at.wrapping_add(1))
    }

    /// How far behind one place another is.
    fn way(&self, from: usize, to: usize) -> usize {
        self.wrapped(to.wrapping_sub(from))
    }

    #[inline]
    fn wrapped(&self, at: usize) -> usize {
        at & self.places.len().wrapping_sub(1)
    }
}

impl<T> Default for Contexts<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::digest;
    use std::collections::BTreeMap;

    #[test]
    fn nothing_is_found_before_anything_is_kept() {
        let mut contexts: Contexts<u32> = Contexts::new();
        assert_eq!(contexts.get_mut(0), None);
        assert_eq!(contexts.remove(7), None);
    }

    #[test]
    fn contexts_are_found_as_in_a_map_whatever_their_numbers() {
        for spread in [1, 16, 1 << 20] {
            let mut contexts = Contexts::new();
            let mut map = BTreeMap::new();
            for step in 0..20_000_u64 {
                let random = digest(&step.to_le_bytes());
                let id = u32::try_from(random % 97).unwrap().wrapping_mul(spread);
                match random >> 32 & 3 {
                    0 | 1 => {
                        contexts.insert(id, step);
                        map.insert(id, step);
                    }
                    2 => assert_eq!(contexts.remove(id), map.remove(&id)),
                    _ => assert_eq!(contexts.get_mut(id), map.get_mut(&id)),
                }
                assert_eq!(contexts.len, map.len());
            }
            for (id, context) in map {
                assert_eq!(contexts.remove(id), Some(context));
            }
        }
    }

    #[test]
    fn a_million_streams_one_after_the_other_take_no_more_room_than_a_few() {
        let mut contexts = Contexts::new();
        for id in 0..1_000_000 {
            contexts.insert(id, id);
            if id >= 5 {
                assert_eq!(contexts.remove(id - 5), Some(id - 5));
            }
        }
        assert_eq!(contexts.places.len(), FIRST);
    }
}
