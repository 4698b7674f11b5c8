//! A part of a host's keys: which of them it has while it comes back slowly, or drains.
//!
//! Whether a key is in the part is decided by key and host alone. As the part grows, keys only join
//! it, as it shrinks, they only leave: none goes back and forth, and all gateways agree on each.

use filter_core::time::Span;

use placement::hosts::HostId;
use placement::number::mixed;

/// How large a part is: from none to all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

impl Share {
    /// No key.
    pub const NONE: Self = Self(0);

    /// Every key.
    pub const WHOLE: Self = Self(1 << 16);

    /// Makes a share of so many hundredths; the whole if they are more than that.
    pub const fn percent(percent: u32) -> Self {
        let parts = percent.saturating_mul(Self::WHOLE.0) / 100;
        Self(if parts > Self::WHOLE.0 {
            Self::WHOLE.0
        } else {
            parts
        })
    }

    /// Returns the share that `part` is of `whole`: the whole if that is nothing or less than `part`.
    pub fn ratio(part: u64, whole: u64) -> Self {
        if part >= whole {
            return Self::WHOLE;
        }
        // Below the whole: shift both until the product fits.
        let excess = 48_u32.saturating_sub(whole.leading_zeros());
        let whole = (whole >> excess).max(1);
        let parts = (part >> excess).saturating_mul(u64::from(Self::WHOLE.0));
        let parts = parts.checked_div(whole).unwrap_or(0);
        Self(
            u32::try_from(parts)
                .unwrap_or(Self::WHOLE.0)
                .min(Self::WHOLE.0),
        )
    }

    /// Returns the share of a host that has been back for `elapsed` out of `window`: it rises evenly
    /// from `floor` to the whole.
    pub fn rising(elapsed: Span, window: Span, floor: Self) -> Self {
        let risen = Self::ratio(elapsed.as_nanos(), window.as_nanos());
        let above = Self::WHOLE.0.saturating_sub(floor.0);
        Self(floor.0.saturating_add(risen.of(above)))
    }

    /// Returns the share of a host that has been draining for `elapsed` out of `window`: it falls
    /// evenly from the whole to none.
    pub fn falling(elapsed: Span, window: Span) -> Self {
        let gone = Self::ratio(elapsed.as_nanos(), window.as_nanos());
        Self(Self::WHOLE.0.saturating_sub(gone.0))
    }

    /// Returns this share of the other one.
    #[must_use]
    pub fn times(self, other: Self) -> Self {
        Self(self.of(other.0))
    }

    /// Returns whether a key with this hash is in this share of the host's keys.
    pub fn keeps(self, hash: u64, host: HostId) -> bool {
        self.has(mixed(hash ^ host.as_u64()))
    }

    /// Returns whether well-mixed bits fall into the share.
    pub(crate) fn has(self, bits: u64) -> bool {
        bits >> 48 < u64::from(self.0)
    }

    /// Returns the share as hundredths, rounded.
    pub const fn as_percent(self) -> u32 {
        self.0.saturating_mul(100).saturating_add(1 << 15) >> 16
    }

    fn of(self, number: u32) -> u32 {
        let product = u64::from(self.0).saturating_mul(u64::from(number));
        u32::try_from(product >> 16).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_join_a_growing_share_and_none_leaves_it() {
        let host = HostId::of("10.0.0.1:80");
        for hash in (0..2_000).map(mixed) {
            let first = (0..=100).find(|&percent| Share::percent(percent).keeps(hash, host));
            let first = first.expect("the whole keeps every key");
            assert!((first..=100).all(|percent| Share::percent(percent).keeps(hash, host)));
        }
        assert!(!Share::NONE.keeps(0, host));
    }

    #[test]
    fn a_share_keeps_its_part_of_the_keys() {
        let host = HostId::of("10.0.0.1:80");
        let kept = (0..100_000)
            .map(mixed)
            .filter(|&hash| Share::percent(30).keeps(hash, host));
        assert!((29_300..30_700).contains(&kept.count()));
    }

    #[test]
    fn shares_rise_and_fall_with_time() {
        let window = Span::from_secs(10);
        let floor = Share::percent(10);
        let risen = |secs| Share::rising(Span::from_secs(secs), window, floor).as_percent();
        assert_eq!(
            [risen(0), risen(5), risen(10), risen(99)],
            [10, 55, 100, 100]
        );
        let fallen = |secs| Share::falling(Span::from_secs(secs), window).as_percent();
        assert_eq!(
            [fallen(0), fallen(5), fallen(10), fallen(99)],
            [100, 50, 0, 0]
        );
        assert_eq!(Share::rising(Span::ZERO, Span::ZERO, floor), Share::WHOLE);
    }

    #[test]
    fn ratios_of_any_numbers_are_near() {
        for (part, whole, percent) in [
            (0, 0, 100),
            (1, 2, 50),
            (1 << 62, 1 << 63, 50),
            (3, 1 << 63, 0),
            (u64::MAX - 1, u64::MAX, 99),
        ] {
            let share = Share::ratio(part, whole).as_percent();
            assert!(share.abs_diff(percent) <= 1, "{part}/{whole}: {share}");
        }
    }
}
