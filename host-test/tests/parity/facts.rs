//! The list of facts in `README.md` names tests that exist.

use std::path::Path;

const LIST: &str = include_str!("README.md");

/// The sources that a name's first part stands for, under `tests`.
fn sources(part: &str) -> Vec<String> {
    match part {
        "abi" | "guards" => vec![part.to_owned()],
        "foreign" => vec!["foreign.rs".to_owned()],
        "rust_sdk" | "shapes" => vec![format!("modules/{part}.rs")],
        _ => vec![format!("parity/{part}.rs")],
    }
}

fn text(path: &Path) -> String {
    if path.is_dir() {
        let files = std::fs::read_dir(path).unwrap();
        return files.map(|file| text(&file.unwrap().path())).collect();
    }
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_list_of_facts_names_tests_that_exist() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut found = 0;
    for name in LIST.split('`').skip(1).step_by(2) {
        let Some((part, test)) = name.split_once("::") else {
            continue;
        };
        if matches!(test, "test" | "…") {
            continue;
        }
        let all: String = sources(part)
            .iter()
            .map(|source| text(&tests.join(source)))
            .collect();
        assert!(all.contains(&format!("fn {test}()")), "{name}");
        found += 1;
    }
    assert!(found > 80, "{found}");
}
