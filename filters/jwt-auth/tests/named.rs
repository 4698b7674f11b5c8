//! The tables that name tests, against the tests that there are.

use std::collections::BTreeMap;
use std::path::Path;

const WITHSTOOD: &str = include_str!("README.md");
const MIGRATING: &str = include_str!("../MIGRATING.md");

/// What the filter must withstand: each begins an item of the table in README.md.
const ITEMS: [&str; 24] = [
    "`alg: none` in any case",
    "RS to HS confusion",
    "`jwk`, `jku`, `x5u`, `x5c` in the header",
    "`kid` as path or SQL",
    "unknown `crit`, `b64: false`",
    "ECDSA: r = s = 0, out of range, malleable",
    "low-order Ed25519 points",
    "duplicate JSON keys",
    "odd numbers in `exp`, `nbf`, `iat`",
    "base64url: other alphabet, padding, white space, unused bits",
    "nested and 5-part tokens",
    "two Authorization headers",
    "tokens in two places that differ",
    "tokens of 1 MB",
    "deep JSON",
    "a flood of bad kids",
    "forged copies of claim headers",
    "forged copies on `allow_missing`",
    "`//admin`, `/%61dmin`, `/admin/..;/`",
    "case of method and host",
    "secrets are compared in constant time",
    "secrets in logs",
    "weak RSA keys",
    "a removed key's remembered tokens",
];

/// Where tests are, below the root of the repository, and what the table calls the place.
const FOLDERS: [(&str, &str); 7] = [
    ("filters/jose/src", "native"),
    ("filters/jwt-auth/src", "native"),
    ("filters/jwt-auth/tests", "native"),
    ("host-test/tests/filters", "module"),
    ("host-test/tests/jwt_auth", "gateway"),
    ("host-test/tests/oidc", "gateway"),
    ("examples/scenarios/jwt-auth", "scenario"),
];

/// Names of tests and scenarios, with the places that have one.
fn tests() -> BTreeMap<String, Vec<&'static str>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut tests: BTreeMap<String, Vec<&'static str>> = BTreeMap::new();
    for (folder, place) in FOLDERS {
        let mut folders = vec![root.join(folder)];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                for name in names(&path) {
                    tests.entry(name).or_default().push(place);
                }
            }
        }
    }
    tests
}

/// The tests of a source file; a scenario is one by its file's name.
fn names(path: &Path) -> Vec<String> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("rs") => {
            let source = std::fs::read_to_string(path).unwrap();
            let found = source.split("#[test]\n").skip(1);
            let name = |test: &str| {
                let (_, rest) = test.split_once("fn ").unwrap();
                rest.split_once('(').unwrap().0.to_owned()
            };
            found.map(name).collect()
        }
        Some("yaml") => vec![path.file_stem().unwrap().to_str().unwrap().to_owned()],
        _ => Vec::new(),
    }
}

/// What is between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The cells of a table's rows.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = text.lines().filter(|line| line.starts_with("| "));
    lines.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
}

#[test]
fn each_item_that_is_withstood_names_tests_that_exist() {
    let tests = tests();
    let mut items = Vec::new();
    for cells in rows(WITHSTOOD).skip(1) {
        let [item, named] = cells[..] else {
            panic!("{cells:?}");
        };
        items.push(item);
        assert!(quoted(named).next().is_some(), "{item} has no test");
        for part in named.split("; ") {
            let (place, _) = part.split_once(": `").unwrap_or(("native", part));
            for name in quoted(part) {
                let places = tests.get(name);
                let is_there = places.is_some_and(|places| places.contains(&place));
                assert!(is_there, "{item}: there is no {place} test {name}");
            }
        }
    }
    for item in ITEMS {
        assert!(items.contains(&item), "{item} is not in the table");
    }
}

#[test]
fn each_of_the_36_tokens_names_tests_that_exist() {
    let tests = tests();
    let (_, table) = MIGRATING.split_once("## The 36 tokens").unwrap();
    let mut next = 1;
    for cells in rows(table).skip(1) {
        let [numbers, _, why, named] = cells[..] else {
            panic!("{cells:?}");
        };
        let (first, last) = numbers.split_once('–').unwrap_or((numbers, numbers));
        assert_eq!(first.parse(), Ok(next), "{cells:?}");
        next = last.parse::<i32>().unwrap() + 1;
        assert!(why.len() > 15, "{numbers} has no reason");
        assert!(quoted(named).next().is_some(), "{numbers} has no test");
        for name in quoted(named) {
            assert!(
                tests.contains_key(name),
                "{numbers}: there is no test {name}"
            );
        }
    }
    assert_eq!(next, 37);
    let is_numbered = |name: &str| {
        let number = name.strip_prefix("refuses_");
        number.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let numbered = tests.keys().filter(|name| is_numbered(name));
    let unnamed: Vec<_> = numbered.filter(|name| !table.contains(*name)).collect();
    assert!(unnamed.is_empty(), "{unnamed:?}");
}
