//! The guests' log lines of a host, of which each request keeps its own.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::worker::LogLine;

/// Lines in the order in which they were written, until they are taken.
#[derive(Debug, Default)]
pub(crate) struct LogBook {
    lines: Mutex<Vec<LogLine>>,
    /// Lines ever written, so that a request without any needs no lock.
    written: AtomicUsize,
}

impl LogBook {
    /// Appends a line.
    pub(crate) fn write(&self, line: LogLine) {
        let mut lines = self.lines();
        lines.push(line);
        self.written.fetch_add(1, Ordering::Release);
    }

    /// How many lines have ever been written.
    pub(crate) fn written(&self) -> usize {
        self.written.load(Ordering::Acquire)
    }

    /// Takes the lines that have not been taken yet.
    pub(crate) fn take(&self) -> Vec<LogLine> {
        std::mem::take(&mut *self.lines())
    }

    /// Copies the lines that are numbered so, but for those that were taken.
    pub(crate) fn copy(&self, numbers: std::ops::Range<usize>) -> Vec<LogLine> {
        if numbers.is_empty() {
            return Vec::new();
        }
        let lines = self.lines();
        let taken = self.written() - lines.len();
        let place = |number: usize| number.saturating_sub(taken);
        let lines = lines.get(place(numbers.start)..place(numbers.end));
        lines.unwrap_or_default().to_vec()
    }

    fn lines(&self) -> MutexGuard<'_, Vec<LogLine>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_when_lines_are_taken() {
        let book = LogBook::default();
        let write = |message: &str| {
            book.write(LogLine {
                level: log::Level::Info,
                plugin: String::new(),
                message: message.to_owned(),
            });
        };
        let copied = |numbers| -> Vec<String> {
            let lines = book.copy(numbers).into_iter();
            lines.map(|line| line.message).collect()
        };
        for message in ["a", "b", "c"] {
            write(message);
        }
        assert_eq!(copied(1..3), ["b", "c"]);
        assert_eq!(book.take().len(), 3);
        write("d");
        assert_eq!(book.written(), 4);
        assert_eq!(copied(1..4), ["d"]);
        assert_eq!(copied(1..3), [""; 0]);
    }
}
