//! `host-test run`, `run --list` and `check` with suites.

use std::process::{Command, Output};

use crate::Folder;

fn host_test(folder: &Folder, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_host-test"))
        .args(arguments)
        .current_dir(&folder.path)
        .output()
        .unwrap()
}

#[track_caller]
fn assert_outcome(output: &Output, code: i32, stdout: &str, stderr: &str) {
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(output.status.code(), Some(code), "{out}{err}");
    assert!(out.contains(stdout), "{out}");
    assert!(err.contains(stderr), "{err}");
}

#[test]
fn a_folder_is_searched_for_suites_in_text_and_yaml() {
    let folder = Folder::new();
    std::fs::remove_file(folder.file("failing.textpb")).unwrap();
    assert_outcome(
        &host_test(&folder, &["run", "."]),
        0,
        "\n12 passed, 0 failed\n",
        "",
    );
}

#[test]
fn names_are_listed_and_nothing_is_run() {
    let folder = Folder::new();
    let output = host_test(&folder, &["run", "--list", "failing.textpb"]);
    let listed =
        "failing.textpb: nothing is as expected\nfailing.textpb: another answer than expected\n";
    assert_outcome(&output, 0, listed, "");
}

#[test]
fn the_command_line_goes_before_the_suite() {
    let folder = Folder::new();
    folder.write("other.conf", "b=2");
    let suite = "env { wasm_path: 'no.wasm' config_path: 'guest.conf' log_path: '/dev/stdout' }\n\
                 test { name: 'a' plugin_init { log { exact: 'configured with b=2' } } }";
    folder.write("a.textpb", suite);
    let flags = [
        "run",
        "a.textpb",
        "--plugin",
        "guest.wasm",
        "--config",
        "other.conf",
    ];
    // What a suite writes to standard output would be in the report's way.
    let output = host_test(&folder, &flags);
    assert_outcome(
        &output,
        0,
        "\n1 passed, 0 failed\n",
        "configured with b=2\n",
    );
    let level = [&flags[..], &["--loglevel", "CRITICAL"]].concat();
    let output = host_test(&folder, &level);
    assert_outcome(
        &output,
        1,
        "log: expected \"configured with b=2\", got none",
        "",
    );
    let output = host_test(&folder, &["run", "a.textpb"]);
    assert_outcome(&output, 2, "", "a.textpb: there is no module no.wasm");
}

#[test]
fn flags_of_suites_without_a_suite_are_a_bad_usage() {
    let folder = Folder::new();
    folder.write(
        "a.yaml",
        "name: a\nplugins: [{module: guest.wasm}]\nsteps: [{advance: 1s}]\n",
    );
    let output = host_test(&folder, &["run", "a.yaml", "--plugin", "guest.wasm"]);
    assert_outcome(&output, 2, "", "are for plugin-tester suites");
}

#[test]
fn check_reads_a_suite_without_its_plugin() {
    let folder = Folder::new();
    let output = host_test(&folder, &["check", "every_field.textpb"]);
    assert_outcome(&output, 0, "every_field.textpb is valid: 7 tests\n", "");
    folder.write("a.textpb", "test {\n  name = 'a'\n}");
    let output = host_test(&folder, &["check", "a.textpb"]);
    assert_outcome(
        &output,
        2,
        "",
        "a.textpb:2:8: `name` needs a `:` before its value\n 2 |",
    );
}

#[test]
fn a_ci_server_gets_one_suite_for_each_file() {
    let folder = Folder::new();
    let output = host_test(&folder, &["run", "--format", "junit", "every_field.yaml"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let document = roxmltree::Document::parse(&text).unwrap();
    let count = |tag| {
        document
            .descendants()
            .filter(|node| node.has_tag_name(tag))
            .count()
    };
    assert_eq!((count("testsuite"), count("testcase")), (1, 5));
}
