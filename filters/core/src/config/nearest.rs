//! "Did you mean": the allowed word that is nearest to what was written.

/// Edits that may lie between a word and what was meant.
const MAX_DISTANCE: usize = 2;

/// Longest word that is looked at: no field or variant is longer.
const MAX_CHARS: usize = 40;

/// Returns the candidate that `written` most likely is a misspelling of.
pub(crate) fn nearest(written: &str, candidates: &[&'static str]) -> Option<&'static str> {
    let written: Vec<char> = written.chars().take(MAX_CHARS).map(fold).collect();
    let distances = candidates.iter().map(|&candidate| {
        let letters: Vec<char> = candidate.chars().map(fold).collect();
        // Two edits make "key" of "host": they must be less than half of the word.
        let allowed = MAX_DISTANCE.min(letters.len().saturating_sub(1) / 2);
        let distance = distance(&written, &letters);
        (distance <= allowed).then_some((distance, candidate))
    });
    distances
        .flatten()
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Makes letters equal that people confuse: case, and the ways to separate words.
const fn fold(letter: char) -> char {
    match letter {
        '-' | ' ' | '.' => '_',
        _ => letter.to_ascii_lowercase(),
    }
}

/// Counts the insertions, deletions, substitutions and swaps of neighbours between two words
/// (optimal string alignment).
fn distance(left: &[char], right: &[char]) -> usize {
    // Rows of the usual table: the one before the last, the last, and the one in the making.
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    let mut previous_left = None;
    for (row, &l) in left.iter().enumerate() {
        let mut current = vec![row.saturating_add(1)];
        let mut previous_right = None;
        for (column, &r) in right.iter().enumerate() {
            let cell =
                |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX);
            let next = column.saturating_add(1);
            let substituted = cell(&last, column).saturating_add(usize::from(l != r));
            let deleted = cell(&last, next).saturating_add(1);
            let inserted = cell(&current, column).saturating_add(1);
            let mut best = substituted.min(deleted).min(inserted);
            if previous_left == Some(r) && previous_right == Some(l) {
                best = best.min(cell(&before, column.saturating_sub(1)).saturating_add(1));
            }
            current.push(best);
            previous_right = Some(r);
        }
        before = std::mem::replace(&mut last, current);
        previous_left = Some(l);
    }
    last.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    #[test]
    fn counts_edits_and_swaps_of_neighbours() {
        let cases = [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("limits", "limits", 0),
            ("limts", "limits", 1),
            ("limitss", "limits", 1),
            ("linits", "limits", 1),
            ("ilmits", "limits", 1),
            ("limist", "limits", 1),
            ("kitten", "sitting", 3),
            ("ca", "abc", 3),
        ];
        for (left, right, expected) in cases {
            let letters = |word: &str| word.chars().collect::<Vec<_>>();
            assert_eq!(
                distance(&letters(left), &letters(right)),
                expected,
                "{left} {right}"
            );
        }
    }

    #[test]
    fn suggests_what_was_meant_but_not_what_merely_is_short() {
        let fields = [
            "name",
            "match",
            "key",
            "limits",
            "mode",
            "on_limit",
            "max_bytes",
        ];
        let cases = [
            ("limts", Some("limits")),
            ("Limits", Some("limits")),
            ("nmae", Some("name")),
            ("on-limit", Some("on_limit")),
            ("maxBytes", Some("max_bytes")),
            ("keys", Some("key")),
            ("host", None),
            ("per", None),
            ("k", None),
            ("", None),
        ];
        for (written, expected) in cases {
            assert_eq!(nearest(written, &fields), expected, "{written}");
        }
        assert_eq!(nearest(&"limits".repeat(1_000_000), &fields), None);
    }
}
