//! The README shows the files that are tested here.

const README: &str = include_str!("../README.md");

#[test]
fn the_readme_shows_the_filter_and_its_tests() {
    assert!(README.contains(include_str!("../src/lib.rs")));
    let tests = include_str!("needs_a_key.rs");
    let (start, end) = (tests.find("#[test]"), tests.find("/// Where the build"));
    let shown = tests[start.expect("there is a test")..end.expect("it comes last")].trim();
    assert!(README.contains(shown));
}

#[test]
fn the_readme_shows_the_manifest_and_the_scenario() {
    let manifest =
        include_str!("../Cargo.toml").replace("../../host-test", "../penstock/host-test");
    let (shown, _) = manifest
        .split_once("\n# For `cargo xtask")
        .expect("it has our part");
    assert!(README.contains(shown.trim()));
    let scenario = include_str!("../scenarios/needs-a-key.yaml");
    let (_, scenario) = scenario
        .split_once('\n')
        .expect("its first line is for editors");
    let folder = "../target/wasm32-unknown-unknown/release";
    assert!(README.contains(&scenario.replace("${WASM_DIR}", folder)));
}
