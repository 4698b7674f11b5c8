//! Points at the place in a file where something is wrong.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_saphyr::{Error, Location};

/// A line with more characters than this is shown in part.
const LONG_LINE: usize = 160;

/// A mistake in a file, with the place it was made at.
#[derive(Clone, Debug)]
pub struct SourceError {
    /// The file.
    pub path: PathBuf,
    /// Line and column, from 1; `None` if the whole file is meant.
    pub place: Option<(u64, u64)>,
    /// What is wrong, in one sentence.
    pub cause: String,
    /// The text of the line.
    line: Option<String>,
}

impl SourceError {
    /// A mistake that has no place in the file.
    pub fn whole(path: &Path, cause: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            place: None,
            cause: cause.into(),
            line: None,
        }
    }

    /// A mistake at a line and column, both from 1.
    pub fn at(path: &Path, text: &str, place: (u64, u64), cause: impl Into<String>) -> Self {
        let line = usize::try_from(place.0.saturating_sub(1))
            .ok()
            .and_then(|index| text.lines().nth(index));
        Self {
            path: path.to_owned(),
            place: Some(place),
            cause: cause.into(),
            line: line.map(str::to_owned),
        }
    }

    /// What the YAML reader found, in a sentence for the person who wrote the file.
    pub fn yaml(path: &Path, text: &str, error: &Error) -> Self {
        let error = error.without_snippet();
        let cause = sentence(error);
        match error.location().filter(|at| *at != Location::UNKNOWN) {
            Some(at) => Self::at(path, text, (at.line(), at.column()), cause),
            None => Self::whole(path, cause),
        }
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.cause)?;
        if let (Some((number, column)), Some(line)) = (&self.place, &self.line) {
            let (line, column) = around(line, *column);
            let number = number.to_string();
            let margin = " ".repeat(number.len());
            // Tabs keep their width, so that the caret stands under its character.
            let indent: String = line
                .chars()
                .take(usize::try_from(column.saturating_sub(1)).unwrap_or_default())
                .map(|c| if c == '\t' { '\t' } else { ' ' })
                .collect();
            write!(f, "\n {number} | {line}\n {margin} | {indent}^")?;
        }
        Ok(())
    }
}

impl std::error::Error for SourceError {}

/// Of a line that is too long for any screen, the part around a column, and the column within it.
fn around(line: &str, column: u64) -> (String, u64) {
    let size = line.chars().count();
    if size <= LONG_LINE {
        return (line.to_owned(), column);
    }
    let at = usize::try_from(column.saturating_sub(1))
        .unwrap_or(usize::MAX)
        .min(size);
    let start = at.saturating_sub(LONG_LINE / 2);
    let part: String = line.chars().skip(start).take(LONG_LINE).collect();
    let before = if start > 0 { "…" } else { "" };
    let after = if start + LONG_LINE < size { "…" } else { "" };
    let column = at - start + before.chars().count() + 1;
    (format!("{before}{part}{after}"), column as u64)
}

fn sentence(error: &Error) -> String {
    match error {
        Error::SerdeUnknownField {
            field, expected, ..
        } => unknown("field", field, expected),
        Error::SerdeUnknownVariant {
            variant, expected, ..
        } => unknown("value", variant, expected),
        Error::SerdeMissingField { field, .. } => format!("the field `{field}` is missing"),
        Error::SerdeInvalidType {
            unexpected,
            expected,
            ..
        } => format!("found {unexpected}, expected {expected}"),
        other => {
            let text = other.render_with_formatter(&serde_saphyr::UserMessageFormatter);
            let text = text.lines().next().unwrap_or_default();
            // The place is said in front.
            text.split(" at line ").next().unwrap_or(text).to_owned()
        }
    }
}

fn unknown(what: &str, found: &str, expected: &[&str]) -> String {
    let known = expected
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ");
    match nearest(found, expected) {
        Some(near) => format!("unknown {what} `{found}`, did you mean `{near}`? Known: {known}"),
        None => format!("unknown {what} `{found}`; known: {known}"),
    }
}

/// The known name that someone who typed `found` may have meant.
pub(crate) fn nearest<'a>(found: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|name| (distance(found, name), *name))
        .filter(|(distance, name)| *distance <= (name.len() / 3).max(1))
        .min()
        .map(|(_, name)| name)
}

/// Edits between two words, where swapping two neighbours is one edit.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let width = b.len() + 1;
    let mut table = vec![0; (a.len() + 1) * width];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            let best = if i == 0 || j == 0 {
                i + j
            } else {
                let differ = usize::from(a[i - 1] != b[j - 1]);
                let replaced = table[(i - 1) * width + j - 1] + differ;
                let best = replaced
                    .min(table[(i - 1) * width + j] + 1)
                    .min(table[i * width + j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best.min(table[(i - 2) * width + j - 2] + 1)
                } else {
                    best
                }
            };
            table[i * width + j] = best;
        }
    }
    table[a.len() * width + b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_the_name_that_was_meant() {
        let known = ["request", "expect", "advance", "repeat"];
        assert_eq!(nearest("reqeust", &known), Some("request"));
        assert_eq!(nearest("exspect", &known), Some("expect"));
        assert_eq!(nearest("expcet", &known), Some("expect"));
        assert_eq!(nearest("advances", &known), Some("advance"));
        assert_eq!(nearest("tick", &known), None);
        assert_eq!(nearest("", &known), None);
    }

    #[test]
    fn the_caret_stands_under_its_column() {
        let error = SourceError::at(
            Path::new("a.yaml"),
            "one\n\t  two: 3\n",
            (2, 4),
            "it is odd",
        );
        assert_eq!(
            error.to_string(),
            "a.yaml:2:4: it is odd\n 2 | \t  two: 3\n   | \t  ^"
        );
    }

    #[test]
    fn of_a_very_long_line_the_part_around_the_column_is_shown() {
        let text = format!("{}!{}", "a".repeat(10_000), "b".repeat(10_000));
        let error = SourceError::at(Path::new("a.yaml"), &text, (1, 10_001), "it is odd");
        let shown = error.to_string();
        let lines: Vec<Vec<char>> = shown.lines().map(|line| line.chars().collect()).collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[1].len() < 180, "{shown}");
        let caret = lines[2].iter().position(|c| *c == '^').unwrap();
        assert_eq!(lines[1][caret], '!', "{shown}");
        let at_start = SourceError::at(Path::new("a.yaml"), &text, (1, 1), "it is odd");
        assert!(at_start.to_string().ends_with("aaa…\n   | ^"));
    }

    #[test]
    fn a_mistake_of_the_whole_file_has_no_caret() {
        let error = SourceError::whole(Path::new("a.yaml"), "it is empty");
        assert_eq!(error.to_string(), "a.yaml: it is empty");
    }
}
