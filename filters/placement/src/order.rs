//! Sorting, in one place: each kind of thing that is sorted by itself is another 5 KB of the module.

use std::cmp::Ordering;

/// Returns the numbers below `count` in order; equal ones by number.
pub fn in_order(count: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_unstable_by(|&one, &other| compare(one, other).then(one.cmp(&other)));
    order
}

/// Returns things in such an order of their numbers.
pub fn arranged<T>(things: Vec<T>, order: &[usize]) -> Vec<T> {
    let mut things: Vec<Option<T>> = things.into_iter().map(Some).collect();
    let take = |&number: &usize| things.get_mut(number)?.take();
    order.iter().filter_map(take).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_ones_keep_their_order() {
        let words = ["b", "a", "b", "", "a"];
        let order = in_order(words.len(), &|one, other| words[one].cmp(words[other]));
        assert_eq!(order, [3, 1, 4, 0, 2]);
        assert_eq!(arranged(words.to_vec(), &order), ["", "a", "a", "b", "b"]);
        assert!(in_order(0, &|_, _| Ordering::Less).is_empty());
    }
}
