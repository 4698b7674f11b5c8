//! The requests that are kept: the last ones, bounded in number and in bytes.

use std::collections::VecDeque;

/// A request as it is kept: written already, so that its size is known.
#[derive(Debug)]
pub(crate) struct Kept {
    /// A row of the list, as JSON.
    pub(crate) summary: String,
    /// All that is known, as JSON.
    pub(crate) detail: String,
    /// As it came from the client, to be sent again.
    pub(crate) original: Option<Original>,
}

/// A request as it came from the client, with nothing masked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Original {
    /// Position of the listener that it came to.
    pub(crate) listener: usize,
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    /// None if more of it came than is kept.
    pub(crate) body: Option<Vec<u8>>,
}

impl Kept {
    fn bytes(&self) -> usize {
        let original = self.original.as_ref().map_or(0, |original| {
            let headers = original.headers.iter();
            let headers: usize = headers
                .map(|(name, value)| name.len() + value.len() + 48)
                .sum();
            let body = original.body.as_ref().map_or(0, Vec::len);
            original.target.len() + headers + body
        });
        self.summary.len() + self.detail.len() + original + size_of::<Self>()
    }
}

/// See the module's text. Requests are numbered from 1, and a number is never used twice.
#[derive(Debug)]
pub(crate) struct Ring {
    kept: VecDeque<Kept>,
    /// The number of the first one that is kept.
    first: u64,
    bytes: usize,
    limits: Limits,
}

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) requests: usize,
    pub(crate) bytes: usize,
}

impl Ring {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            kept: VecDeque::new(),
            first: 1,
            bytes: 0,
            limits,
        }
    }

    /// The number that the next request will have.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.kept.len() as u64
    }

    /// Keeps a request; the oldest ones go.
    pub(crate) fn push(&mut self, kept: Kept) {
        self.bytes += kept.bytes();
        self.kept.push_back(kept);
        // One that is too large for all the room there is stays until the next comes.
        while self.kept.len() > 1
            && (self.kept.len() > self.limits.requests || self.bytes > self.limits.bytes)
        {
            if let Some(oldest) = self.kept.pop_front() {
                self.bytes -= oldest.bytes();
                self.first += 1;
            }
        }
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Kept> {
        let place = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.kept.get(place)
    }

    /// The requests before a number, the latest first.
    pub(crate) fn before(&self, number: u64) -> impl Iterator<Item = &Kept> {
        let place = number.saturating_sub(self.first);
        let count = usize::try_from(place).unwrap_or(usize::MAX);
        self.kept.iter().take(count).rev()
    }

    /// Summaries of at most so many requests after a number, and the number of the last.
    pub(crate) fn after(&self, number: u64, most: usize) -> (Vec<&str>, u64) {
        let skipped = (number + 1).saturating_sub(self.first);
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        let kept = self.kept.iter().skip(skipped).take(most);
        let summaries: Vec<&str> = kept.map(|kept| kept.summary.as_str()).collect();
        let start = (number + 1).max(self.first);
        let last = (start + summaries.len() as u64).saturating_sub(1);
        (summaries, last.max(number))
    }

    /// Number and bytes of what is kept.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.kept.len(), self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(summary: &str, size: usize) -> Kept {
        Kept {
            summary: summary.to_owned(),
            detail: "x".repeat(size),
            original: None,
        }
    }

    fn ring(requests: usize, bytes: usize) -> Ring {
        Ring::new(Limits { requests, bytes })
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let mut ring = ring(3, usize::MAX);
        for name in ["1", "2", "3", "4", "5"] {
            ring.push(kept(name, 0));
        }
        assert_eq!(ring.after(0, 10), (vec!["3", "4", "5"], 5));
        assert_eq!(ring.after(3, 1), (vec!["4"], 4));
        assert_eq!(ring.after(5, 10), (vec![], 5));
        assert!(ring.get(2).is_none());
        assert_eq!(ring.get(3).unwrap().summary, "3");
        let before: Vec<&str> = ring.before(5).map(|kept| &*kept.summary).collect();
        assert_eq!(before, ["4", "3"]);
        assert_eq!(ring.next(), 6);
    }

    #[test]
    fn the_oldest_go_when_they_are_too_large() {
        let mut ring = ring(1000, 10_000);
        for _ in 0..100 {
            ring.push(kept("a", 3_000));
            assert!(ring.size().1 <= 10_000);
        }
        assert_eq!(ring.size().0, 3);
        // One that fills all the room alone is kept alone.
        ring.push(kept("b", 20_000));
        assert_eq!(ring.size().0, 1);
        ring.push(kept("c", 10));
        assert_eq!(ring.after(0, 10), (vec!["c"], 102));
    }
}
