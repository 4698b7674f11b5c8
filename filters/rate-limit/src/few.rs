//! Lists that have one entry as a rule, in requests that few things are said about.

use std::ops::Deref;

/// A list whose only entry needs no memory of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Few<T>(Entries<T>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Entries<T> {
    AtMostOne(Option<T>),
    More(Vec<T>),
}

impl<T> Few<T> {
    /// Adds an entry at the end.
    pub fn push(&mut self, entry: T) {
        match &mut self.0 {
            Entries::AtMostOne(one) => match one.take() {
                None => *one = Some(entry),
                Some(first) => self.0 = Entries::More(vec![first, entry]),
            },
            Entries::More(entries) => entries.push(entry),
        }
    }

    /// Keeps the entries that it says.
    pub(crate) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        match &mut self.0 {
            Entries::AtMostOne(one) => *one = one.take().filter(keep),
            Entries::More(entries) => entries.retain(keep),
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        match &mut self.0 {
            Entries::AtMostOne(one) => one.as_mut_slice().iter_mut(),
            Entries::More(entries) => entries.iter_mut(),
        }
    }
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self(Entries::AtMostOne(None))
    }
}

impl<T> Deref for Few<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &self.0 {
            Entries::AtMostOne(one) => one.as_slice(),
            Entries::More(entries) => entries,
        }
    }
}

impl<T> IntoIterator for Few<T> {
    type Item = T;
    type IntoIter = std::iter::Chain<std::option::IntoIter<T>, std::vec::IntoIter<T>>;

    fn into_iter(self) -> Self::IntoIter {
        let (one, more) = match self.0 {
            Entries::AtMostOne(one) => (one, Vec::new()),
            Entries::More(entries) => (None, entries),
        };
        one.into_iter().chain(more)
    }
}

impl<T> Extend<T> for Few<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, entries: I) {
        entries.into_iter().for_each(|entry| self.push(entry));
    }
}

impl<T> FromIterator<T> for Few<T> {
    fn from_iter<I: IntoIterator<Item = T>>(entries: I) -> Self {
        let mut few = Self::default();
        few.extend(entries);
        few
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_those_of_a_list_however_many_there_are() {
        for count in 0..4 {
            let list: Vec<u32> = (0..count).collect();
            let mut few: Few<u32> = list.iter().copied().collect();
            assert_eq!(*few, *list);
            assert_eq!(few.clone().into_iter().collect::<Vec<_>>(), list);
            few.iter_mut().for_each(|entry| *entry += 1);
            few.retain(|entry| entry.is_multiple_of(2));
            let even: Vec<_> = (1..=count).filter(|entry| entry % 2 == 0).collect();
            assert_eq!(*few, *even);
            few.clear();
            assert!(few.is_empty());
        }
    }
}
