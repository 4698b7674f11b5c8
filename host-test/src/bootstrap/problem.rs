//! What is wrong with a bootstrap file, where, and how it is shown.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

/// A place in the file: line and column count from 1, in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line, from 1; 0 if the problem concerns the whole file.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// Number of characters that the caret line marks.
    pub length: usize,
}

impl Place {
    pub(crate) fn new(line: usize, column: usize, length: usize) -> Self {
        Self {
            line,
            column,
            length,
        }
    }
}

/// Whether a problem may be passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Envoy wouldn't take it either, or it has no meaning here.
    Malformed,
    /// Envoy knows it and this gateway doesn't; `--lenient` makes it a warning.
    Unsupported,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it is.
    pub at: Place,
    /// Whether `--lenient` passes over it.
    pub fault: Fault,
    /// A sentence without a full stop at its end.
    pub message: String,
}

impl Problem {
    pub(crate) fn malformed(at: Place, message: impl Into<String>) -> Self {
        Self {
            at,
            fault: Fault::Malformed,
            message: message.into(),
        }
    }

    pub(crate) fn unsupported(at: Place, message: impl Into<String>) -> Self {
        Self {
            at,
            fault: Fault::Unsupported,
            message: message.into(),
        }
    }
}

/// The problems of one file, in the order of the file, with what is needed to show them.
#[derive(Clone, Debug)]
pub struct Report {
    path: PathBuf,
    source: String,
    problems: Vec<Problem>,
}

impl Report {
    pub(crate) fn new(path: &Path, source: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.at);
        Self {
            path: path.to_owned(),
            source: source.to_owned(),
            problems,
        }
    }

    /// The problems in the order of the file.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Adds what was found after parsing, for instance a plugin that refused its configuration.
    pub fn push(&mut self, at: Place, message: impl Into<String>) {
        self.problems.push(Problem::malformed(at, message));
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// Takes out what `--lenient` passes over.
    pub(crate) fn split_unsupported(mut self) -> (Self, Self) {
        let (unsupported, malformed) = self
            .problems
            .drain(..)
            .partition(|problem| problem.fault == Fault::Unsupported);
        let warnings = Self {
            problems: unsupported,
            ..self.clone()
        };
        self.problems = malformed;
        (warnings, self)
    }
}

impl fmt::Display for Report {
    /// `FILE:LINE:COLUMN: message`, then the line with its part marked by carets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Problem { at, message, .. }) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_char('\n')?;
            }
            let path = self.path.display();
            let line = at.line.checked_sub(1);
            let Some(text) = line.and_then(|line| self.source.lines().nth(line)) else {
                writeln!(f, "{path}: {message}")?;
                continue;
            };
            writeln!(f, "{path}:{}:{}: {message}", at.line, at.column)?;
            let number = at.line.to_string();
            let margin = " ".repeat(number.len());
            let indent = " ".repeat(at.column.saturating_sub(1));
            let room = text.chars().count().saturating_sub(at.column - 1).max(1);
            let carets = "^".repeat(at.length.clamp(1, room));
            writeln!(f, "{margin} |")?;
            writeln!(f, "{number} | {text}")?;
            writeln!(f, "{margin} | {indent}{carets}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Report {}

/// The candidate nearest to a word, if one is near enough to be what was meant.
pub(crate) fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .iter()
        .map(|candidate| (distance(word, candidate), *candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// The number of insertions, removals, replacements and swaps of neighbours between two words.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_shown_with_its_line_and_carets() {
        let problems = vec![
            Problem::malformed(Place::new(2, 3, 4), "bad word"),
            Problem::malformed(Place::default(), "nothing there"),
        ];
        let report = Report::new(Path::new("e.yaml"), "a:\n  bcde: 1\n", problems);
        let expected =
            "e.yaml: nothing there\n\ne.yaml:2:3: bad word\n  |\n2 |   bcde: 1\n  |   ^^^^\n";
        assert_eq!(report.to_string(), expected);
    }

    #[test]
    fn nearest_finds_slips_of_the_finger_and_nothing_else() {
        let words = ["prefix", "path", "safe_regex"];
        assert_eq!(nearest("prefxi", &words), Some("prefix"));
        assert_eq!(nearest("saferegex", &words), Some("safe_regex"));
        assert_eq!(nearest("paths", &words), Some("path"));
        assert_eq!(nearest("cluster", &words), None);
    }
}
