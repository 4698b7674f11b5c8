//! Ranges (RFC 9110 section 14) from stored bytes: one range, of a whole representation or a part.

use crate::cache_control;
use crate::head::Part;

/// What a `Range` field asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// From this byte to that one, both included; to the end without the second.
    From(u64, Option<u64>),
    /// So many bytes at the end.
    Last(u64),
    /// Several ranges, another unit, or what can't be read: "a server MAY ignore the Range header
    /// field", and so does the cache; the whole is sent.
    Ignored,
}

/// What a request for a range gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 206: these bytes of the representation, both included.
    Bytes {
        /// The first one's position.
        first: u64,
        /// The last one's position.
        last: u64,
    },
    /// 416: the range has nothing of the representation.
    Unsatisfiable,
    /// The stored part doesn't have it; the origin is to be asked.
    Missing,
    /// The whole representation.
    Whole,
}

impl Asked {
    /// Reads the field's value.
    pub fn parse(text: &[u8]) -> Self {
        Self::read(text).unwrap_or(Self::Ignored)
    }

    fn read(text: &[u8]) -> Option<Self> {
        let text = text.trim_ascii();
        let (unit, set) = text.split_at_checked(6)?;
        if !unit.eq_ignore_ascii_case(b"bytes=") {
            return None;
        }
        let set = set.trim_ascii();
        let dash = set.iter().position(|&byte| byte == b'-')?;
        let (first, last) = set.split_at_checked(dash)?;
        let last = last.get(1..)?;
        if first.is_empty() {
            return cache_control::number(last).map(Self::Last);
        }
        let first = cache_control::number(first)?;
        let last = match last {
            b"" => None,
            digits => Some(cache_control::number(digits)?),
        };
        // "An int-range is invalid if the last-pos value is present and less than first-pos."
        last.is_none_or(|last| last >= first)
            .then_some(Self::From(first, last))
    }

    /// Answers from `length` stored bytes, which are the whole or a part of it.
    pub fn answer(self, part: Option<Part>, length: u64) -> Answer {
        let Part { first, total } = part.unwrap_or(Part {
            first: 0,
            total: length,
        });
        let (from, to) = match self {
            Self::Ignored if part.is_none() => return Answer::Whole,
            Self::Ignored => return Answer::Missing,
            Self::From(from, _) if from >= total => return Answer::Unsatisfiable,
            Self::From(from, to) => {
                let end = total.saturating_sub(1);
                (from, to.map_or(end, |to| to.min(end)))
            }
            Self::Last(0) => return Answer::Unsatisfiable,
            Self::Last(_) if total == 0 => return Answer::Unsatisfiable,
            Self::Last(count) => (total.saturating_sub(count), total.saturating_sub(1)),
        };
        let stored = first..first.saturating_add(length);
        if stored.contains(&from) && stored.contains(&to) {
            Answer::Bytes {
                first: from,
                last: to,
            }
        } else {
            Answer::Missing
        }
    }
}

/// Reads `Content-Range: bytes 4-9/10` of a response; `None` for another unit, an unknown total or
/// what can't be read.
pub fn content_range(text: &[u8]) -> Option<(u64, u64, u64)> {
    let text = text.trim_ascii();
    let (unit, rest) = text.split_at_checked(6)?;
    if !unit.eq_ignore_ascii_case(b"bytes ") {
        return None;
    }
    let mut parts = rest.split(|&byte| byte == b'/');
    let (range, total, None) = (parts.next()?, parts.next()?, parts.next()) else {
        return None;
    };
    let mut ends = range.split(|&byte| byte == b'-');
    let (first, last, None) = (ends.next()?, ends.next()?, ends.next()) else {
        return None;
    };
    let number = cache_control::number;
    let (first, last, total) = (number(first)?, number(last)?, number(total)?);
    (first <= last && last < total).then_some((first, last, total))
}

/// Which part `length` bytes with that `Content-Range` are.
///
/// A range that doesn't have that length contradicts its body. `repair` believes the body where the
/// range goes up to the end: the whole is then as long as the body says. Without it, and for other
/// ranges, such a response is no part of anything.
pub fn part(text: &[u8], length: u64, repair: bool) -> Option<Part> {
    let (first, last, total) = content_range(text)?;
    let claimed = last.saturating_sub(first).saturating_add(1);
    if claimed == length {
        return Some(Part { first, total });
    }
    let reaches_end = last.saturating_add(1) == total;
    (repair && reaches_end && length > 0 && length < claimed).then(|| Part {
        first,
        total: first.saturating_add(length),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str, length: u64) -> Answer {
        Asked::parse(text.as_bytes()).answer(None, length)
    }

    fn of_part(text: &str) -> Answer {
        let part = Part {
            first: 4,
            total: 10,
        };
        Asked::parse(text.as_bytes()).answer(Some(part), 6)
    }

    const fn bytes(first: u64, last: u64) -> Answer {
        Answer::Bytes { first, last }
    }

    #[test]
    fn one_range_of_a_whole_representation() {
        assert_eq!(whole("bytes=0-1", 11), bytes(0, 1));
        assert_eq!(whole("bytes=1-", 11), bytes(1, 10));
        assert_eq!(whole("bytes=-1", 11), bytes(10, 10));
        assert_eq!(whole("BYTES=0-0", 11), bytes(0, 0));
    }

    #[test]
    fn a_last_position_beyond_the_end_is_the_end() {
        assert_eq!(whole("bytes=5-99", 11), bytes(5, 10));
        assert_eq!(whole("bytes=-99", 11), bytes(0, 10));
        assert_eq!(whole("bytes=0-18446744073709551616", 11), bytes(0, 10));
    }

    #[test]
    fn a_range_that_begins_beyond_the_end_is_unsatisfiable() {
        assert_eq!(whole("bytes=11-", 11), Answer::Unsatisfiable);
        assert_eq!(whole("bytes=11-12", 11), Answer::Unsatisfiable);
        assert_eq!(whole("bytes=-0", 11), Answer::Unsatisfiable);
        assert_eq!(whole("bytes=0-0", 0), Answer::Unsatisfiable);
        assert_eq!(whole("bytes=-1", 0), Answer::Unsatisfiable);
    }

    #[test]
    fn several_ranges_other_units_and_invalid_ones_are_ignored() {
        for text in [
            "bytes=0-1,3-4",
            "items=0-1",
            "bytes=2-1",
            "bytes=a-b",
            "bytes=",
            "bytes=-",
            "bytes 0-1",
            "",
            "bytes=--1",
        ] {
            assert_eq!(whole(text, 11), Answer::Whole, "{text}");
        }
    }

    #[test]
    fn ranges_within_a_stored_part_are_answered_and_others_are_missing() {
        assert_eq!(of_part("bytes=6-8"), bytes(6, 8));
        assert_eq!(of_part("bytes=6-"), bytes(6, 9));
        assert_eq!(of_part("bytes=-1"), bytes(9, 9));
        assert_eq!(of_part("bytes=-6"), bytes(4, 9));
        assert_eq!(of_part("bytes=3-5"), Answer::Missing);
        assert_eq!(of_part("bytes=-7"), Answer::Missing);
        assert_eq!(of_part("bytes=10-"), Answer::Unsatisfiable);
        assert_eq!(of_part("bytes=5-6,7-8"), Answer::Missing);
    }

    #[test]
    fn a_content_range_tells_which_part_a_body_is() {
        let read = |text: &str, length, repair| part(text.as_bytes(), length, repair);
        let expected = Some(Part {
            first: 4,
            total: 10,
        });
        assert_eq!(read("bytes 4-9/10", 6, false), expected);
        for text in [
            "bytes 4-9/*",
            "bytes */10",
            "bytes 9-4/10",
            "bytes 4-10/10",
            "4-9/10",
            "bytes 4-9/10/1",
        ] {
            assert_eq!(read(text, 6, true), None, "{text}");
        }
    }

    #[test]
    fn a_content_range_that_contradicts_its_body_is_refused_or_repaired_at_the_end() {
        let read = |text: &str, length, repair| part(text.as_bytes(), length, repair);
        assert_eq!(read("bytes 4-9/10", 5, false), None);
        let repaired = Some(Part { first: 4, total: 9 });
        assert_eq!(read("bytes 4-9/10", 5, true), repaired);
        assert_eq!(read("bytes 4-8/10", 4, true), None, "not at the end");
        assert_eq!(read("bytes 4-9/10", 7, true), None, "more than it says");
    }
}
