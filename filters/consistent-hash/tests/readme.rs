//! What the README says is held by tests is.

use std::collections::BTreeSet;
use std::path::Path;

/// The texts of all files below a folder that end so.
fn texts(folder: &Path, ending: &str) -> String {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut all = String::new();
    for entry in entries {
        let path = entry.expect("it can be listed").path();
        if path.is_dir() {
            all += &texts(&path, ending);
        } else if path.extension().is_some_and(|found| found == ending) {
            all += &std::fs::read_to_string(&path).expect("text");
        }
    }
    all
}

#[test]
fn every_test_that_the_readme_names_exists_and_every_row_names_one() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.join("../..");
    let mut tests = texts(&here.join("src"), "rs") + &texts(&here.join("tests"), "rs");
    tests += &texts(&root.join("filters/placement/src"), "rs");
    for folder in ["filters", "hash"] {
        tests += &texts(&root.join("host-test/tests").join(folder), "rs");
    }
    let readme = std::fs::read_to_string(here.join("README.md")).expect("text");
    let mut named = BTreeSet::new();
    let mut rows = 0;
    let mut lines = readme.lines();
    while let Some(line) = lines.next() {
        if line != "| | | held by |" {
            continue;
        }
        for row in lines
            .by_ref()
            .skip(1)
            .take_while(|line| line.starts_with('|'))
        {
            let cell = row
                .trim_end_matches(" |")
                .rsplit(" | ")
                .next()
                .expect("a cell");
            let names: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
            assert!(!names.is_empty(), "held by nothing: {row}");
            named.extend(names);
            rows += 1;
        }
    }
    assert!(rows >= 25, "the README's tables have {rows} rows");
    for name in named {
        let exists = if name.ends_with(".yaml") {
            let folder = root.join("examples/scenarios/consistent-hash");
            folder.join(name).exists()
        } else if name.ends_with(".rs") {
            here.join(name).exists()
        } else {
            tests.contains(&format!("#[test]\nfn {name}("))
                || tests.contains(&format!("#[test]\n    fn {name}("))
        };
        assert!(exists, "the README names `{name}`, which is no test");
    }
}
