//! The README names a test for everything that it says the filter does: each of them exists.

use std::fs;
use std::path::Path;

/// Where a test is if its file isn't named.
const USUAL: &str = "tests/behaviour.rs";

/// The rows of the table under a heading: what is in their last column.
fn last_column<'a>(readme: &'a str, heading: &str) -> Vec<&'a str> {
    let section = readme.split("\n## ").find(|it| it.starts_with(heading));
    let section = section.unwrap_or_else(|| panic!("no section {heading:?}"));
    let rows = section.lines().filter(|line| line.starts_with("| "));
    let cells = rows.filter_map(|row| row.trim_end_matches(" |").rsplit(" | ").next());
    cells.skip(1).collect()
}

/// What a cell has between backquotes.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

fn missing(heading: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).expect("the README");
    let cells = last_column(&readme, heading);
    assert!(cells.len() > 5, "{heading}: {cells:?}");
    let mut missing = Vec::new();
    for cell in cells {
        // After a file's name come its tests, up to the next semicolon.
        for part in cell.split(';') {
            let mut text = fs::read_to_string(root.join(USUAL)).expect("the usual file");
            for word in quoted(part) {
                if word.ends_with(".rs") {
                    text = fs::read_to_string(root.join(word)).unwrap_or_default();
                    if !text.contains("#[test]") {
                        missing.push(format!("tests in {word}"));
                    }
                } else if !text.contains(&format!("fn {word}(")) {
                    missing.push(format!("{word}, in {part}"));
                }
            }
        }
    }
    missing
}

#[test]
fn every_test_that_the_table_of_rfc_9111_names_exists() {
    assert_eq!(missing("RFC 9111, section by section"), [""; 0]);
}

#[test]
fn every_test_that_the_table_of_bad_input_names_exists() {
    assert_eq!(missing("Bad input"), [""; 0]);
}
