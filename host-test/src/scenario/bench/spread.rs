//! A middle value, and how far most are from it.

/// The median of some numbers, and between which the middle eight tenths lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// A tenth of the numbers is smaller.
    pub low: u64,
    /// Half of the numbers are smaller.
    pub median: u64,
    /// A tenth of the numbers is larger.
    pub high: u64,
}

impl Spread {
    /// Of any numbers in any order; zeros of none.
    pub fn of(mut numbers: Vec<u64>) -> Self {
        numbers.sort_unstable();
        let last = numbers.len().saturating_sub(1);
        let at = |tenths: usize| numbers.get(last * tenths / 10).copied().unwrap_or(0);
        Self {
            low: at(1),
            median: at(5),
            high: at(9),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outliers_do_not_move_the_median_or_the_tenths() {
        let mut numbers: Vec<u64> = (0..=100).rev().collect();
        let expected = Spread {
            low: 10,
            median: 50,
            high: 90,
        };
        assert_eq!(Spread::of(numbers.clone()), expected);
        numbers[0] = u64::MAX;
        assert_eq!(Spread::of(numbers), expected);
        assert_eq!(Spread::of(vec![7]).high, 7);
        assert_eq!(Spread::of(Vec::new()), Spread::default());
    }
}
