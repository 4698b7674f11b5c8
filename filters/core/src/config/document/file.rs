//! Checked-in files whose text comes out of the code.

use std::path::Path;
use std::{env, fs};

/// Compares a checked-in file, or the part of it between two lines, with what it should be.
///
/// `markers` are the lines before and after the part, such as `<!-- fields -->` and
/// `<!-- /fields -->` in a README. With `UPDATE=1` in the environment a file that differs is
/// rewritten.
///
/// # Errors
/// A sentence that says which file differs, from which line on, and how to rewrite it.
pub fn check_or_update(
    path: impl AsRef<Path>,
    markers: Option<[&str; 2]>,
    expected: &str,
) -> Result<(), String> {
    let update = env::var_os("UPDATE").is_some_and(|value| value == "1");
    compare(path.as_ref(), markers, expected, update)
}

fn compare(
    path: &Path,
    markers: Option<[&str; 2]>,
    expected: &str,
    update: bool,
) -> Result<(), String> {
    let shown = path.display();
    let found = match fs::read_to_string(path) {
        Ok(text) => text,
        // Made anew where all of it is known.
        Err(_) if markers.is_none() && !path.exists() => String::new(),
        Err(error) => return Err(format!("can't read {shown}: {error}")),
    };
    let wanted = match markers {
        Some([begin, end]) => splice(&found, begin, end, expected)
            .ok_or_else(|| format!("{shown} has no lines '{begin}' and then '{end}'"))?,
        None => expected.to_owned(),
    };
    if found == wanted {
        return Ok(());
    }
    if update {
        return fs::write(path, wanted).map_err(|error| format!("can't write {shown}: {error}"));
    }
    let same = found
        .lines()
        .zip(wanted.lines())
        .take_while(|(found, wanted)| found == wanted);
    let line = same.count().saturating_add(1);
    Err(format!(
        "{shown} differs from the code from line {line} on; run this test with UPDATE=1 to rewrite it"
    ))
}

/// Puts `part` between the lines `begin` and `end` of a text.
fn splice(text: &str, begin: &str, end: &str, part: &str) -> Option<String> {
    let (before, rest) = text.split_once(&format!("{begin}\n"))?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{begin}\n{part}{end}{after}"))
}

#[cfg(test)]
mod tests {
    use std::{fs, process};

    use super::compare;

    #[test]
    fn rewrites_only_the_part_between_the_markers_and_only_when_told() {
        let path = std::env::temp_dir().join(format!("penstock-markers-{}.md", process::id()));
        let markers = Some(["<!-- a -->", "<!-- /a -->"]);
        fs::write(&path, "one\n<!-- a -->\nold\n<!-- /a -->\nlast\n").unwrap();

        let refused = compare(&path, markers, "new\n", false).unwrap_err();
        assert!(
            refused.contains("from line 3 on; run this test with UPDATE=1"),
            "{refused}"
        );
        assert_eq!(compare(&path, markers, "new\n", true), Ok(()));
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "one\n<!-- a -->\nnew\n<!-- /a -->\nlast\n");
        assert_eq!(compare(&path, markers, "new\n", false), Ok(()));

        let refused = compare(&path, Some(["<!-- b -->", "<!-- /b -->"]), "", true).unwrap_err();
        assert!(
            refused.contains("has no lines '<!-- b -->' and then"),
            "{refused}"
        );
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn makes_a_whole_file_that_is_missing() {
        let path = std::env::temp_dir().join(format!("penstock-whole-{}.json", process::id()));
        assert!(
            compare(&path, None, "{}\n", false)
                .unwrap_err()
                .contains("from line 1 on")
        );
        assert!(!path.exists());
        assert_eq!(compare(&path, None, "{}\n", true), Ok(()));
        assert_eq!(compare(&path, None, "{}\n", false), Ok(()));
        fs::remove_file(&path).unwrap();
    }
}
