//! Suites that pass, and one in which all kinds of expectations fail.

use host_test::plugin_tester::{LogLevel, Overrides};
use host_test::scenario::report::Summary;
use host_test::scenario::{HostKind, Hosts, run_files};

use crate::{Folder, run};

/// `failing.textpb`'s report. Columns and lines are those of the suite.
const FAILURES: &str = include_str!("failing.txt");

/// A suite that names no level and logs with each.
const LEVELS: &str = "test { name: 'levels' request_headers { result {\n";

#[test]
fn every_field_of_the_text_format_has_its_meaning() {
    let folder = Folder::new();
    let report = folder.report("every_field.textpb", &Overrides::default());
    assert!(report.ends_with("\n7 passed, 0 failed\n"), "{report}");
    assert!(report.starts_with("ok    every_field.textpb on wasmtime: headers are changed\n"));
}

#[test]
fn every_field_of_yaml_has_its_meaning() {
    let folder = Folder::new();
    let report = folder.report("every_field.yaml", &Overrides::default());
    assert!(report.ends_with("\n5 passed, 0 failed\n"), "{report}");
}

#[test]
fn failures_say_where_and_what_was_expected_and_what_came() {
    let folder = Folder::new();
    let report = folder.report("failing.textpb", &Overrides::default());
    if std::env::var_os("PENSTOCK_UPDATE").is_some() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/plugin_tester/failing.txt"
        );
        std::fs::write(path, &report).unwrap();
    }
    assert_eq!(report, FAILURES);
}

#[test]
fn the_level_decides_which_lines_count() {
    let folder = Folder::new();
    for (level, seen, unseen) in [
        (None, "at error", "at debug"),
        (Some(LogLevel::Trace), "at trace", "none"),
        (Some(LogLevel::Debug), "at debug", "at trace"),
        (Some(LogLevel::Error), "at error", "clock.*"),
        (Some(LogLevel::Critical), "at critical", "at error"),
    ] {
        let expectations =
            format!("log {{ exact: '{seen}' }} log {{ regex: '{unseen}' invert: true }}");
        let suite = folder.write("levels.textpb", &format!("{LEVELS}{expectations} }} }} }}"));
        let overrides = Overrides {
            plugin: Some(folder.file("guest.wasm")),
            log_level: level,
            ..Overrides::default()
        };
        assert_eq!(Summary::of(&run(&suite, &overrides)).passed, 1, "{level:?}");
    }
}

#[test]
fn the_clocks_stand_at_a_millisecond_if_no_time_is_given() {
    let folder = Folder::new();
    for time in ["", "time_secs: 0"] {
        let text = format!(
            "env {{ wasm_path: 'guest.wasm' {time} }}\n{LEVELS} log {{ exact: 'clock 0 1000000' }} }} }} }}"
        );
        let suite = folder.write("time.textpb", &text);
        assert_eq!(
            Summary::of(&run(&suite, &Overrides::default())).passed,
            1,
            "{time}"
        );
    }
}

#[test]
fn log_lines_are_appended_to_the_file_asked_for() {
    let folder = Folder::new();
    let lines = folder.file("lines.txt");
    let overrides = Overrides {
        log_file: Some(lines.clone()),
        ..Overrides::default()
    };
    let suite = folder.write(
        "lines.textpb",
        "env { wasm_path: 'guest.wasm' log_level: ERROR } test { name: 'one' request_headers {} }",
    );
    let expected =
        "--- Starting test: one ---\nat error\nat critical\n--- Finished test: one ---\n";
    for times in 1..3 {
        run(&suite, &overrides);
        assert_eq!(
            std::fs::read_to_string(&lines).unwrap(),
            expected.repeat(times)
        );
    }
}

#[test]
fn suites_and_scenarios_run_together_and_envoy_skips_suites() {
    let folder = Folder::new();
    let scenario = folder.write(
        "scenario.yaml",
        "name: a scenario\nplugins: [{module: guest.wasm}]\nsteps: [{request: GET /, expect: 200}]\n",
    );
    let paths = [
        folder.file("every_field.yaml"),
        scenario,
        folder.file("every_field.textpb"),
    ];
    let runs = run_files(&paths, Hosts::One(HostKind::Wasmtime)).unwrap();
    let names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
    assert_eq!(names.len(), 13);
    assert_eq!(names[5], "a scenario");
    assert_eq!(Summary::of(&runs).passed, 13);
    let runs = run_files(&paths[..1], Hosts::One(HostKind::Envoy));
    assert_eq!(Summary::of(&runs.unwrap()).skipped, 5);
}

#[test]
fn each_test_has_a_vm_of_its_own() {
    let folder = Folder::new();
    let counting = r#"
(global $calls (mut i64) (i64.const 0))
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (global.set $calls (i64.add (global.get $calls) (i64.const 1)))
  (call $put str("call ")) (call $put_number (global.get $calls)) (call $end_line)
  (i32.const 0))
"#;
    let module = wat::parse_str(crate::frame::wat(counting)).unwrap();
    std::fs::write(folder.file("counting.wasm"), module).unwrap();
    let test = "test { request_headers { result { log { exact: 'call 1' } } } }\n";
    let suite = folder.write(
        "counting.textpb",
        &format!("env {{ wasm_path: 'counting.wasm' }}\n{}", test.repeat(3)),
    );
    let runs = run(&suite, &Overrides::default());
    assert_eq!(Summary::of(&runs).passed, 3);
    assert_eq!(runs[1].name, "test at 3:6");
}

#[test]
fn a_plugin_that_does_not_start_fails_each_test_with_what_it_logged() {
    let folder = Folder::new();
    let refusing = r#"
(func (export "proxy_on_configure") (param i32 i32) (result i32) say("never") (i32.const 0))
"#;
    let module = wat::parse_str(crate::frame::wat(refusing)).unwrap();
    std::fs::write(folder.file("refusing.wasm"), module).unwrap();
    std::fs::write(folder.file("odd.wasm"), "no module").unwrap();
    let report = |module: &str| {
        folder.write(
            "starts.textpb",
            &format!(
                "env {{ wasm_path: '{module}' }} test {{ name: 'one' }} test {{ name: 'two' }}"
            ),
        );
        folder.report("starts.textpb", &Overrides::default())
    };
    assert_eq!(
        report("refusing.wasm"),
        "FAIL  starts.textpb on wasmtime: one\n  plugin_init\n    refused its configuration\n      \
         | log info: never\nFAIL  starts.textpb on wasmtime: two\n  plugin_init\n    refused its \
         configuration\n      | log info: never\n0 passed, 2 failed\n"
    );
    let odd = report("odd.wasm");
    assert!(odd.contains("odd.wasm: Failed to load Wasm code"), "{odd}");
    assert!(odd.ends_with("\n0 passed, 2 failed\n"), "{odd}");
}

#[test]
fn a_vm_that_fails_at_the_end_fails_the_test() {
    let folder = Folder::new();
    for (callback, phase) in [
        ("proxy_on_log", "stream_destroy"),
        ("proxy_on_delete", "stream_destroy"),
    ] {
        let guest = format!("(func (export \"{callback}\") (param i32) unreachable)");
        let module = wat::parse_str(crate::frame::wat(&guest)).unwrap();
        std::fs::write(folder.file("fails.wasm"), module).unwrap();
        folder.write(
            "fails.textpb",
            "env { wasm_path: 'fails.wasm' } test { name: 'one' }",
        );
        let report = folder.report("fails.textpb", &Overrides::default());
        assert!(
            report.contains(&format!("fails.textpb:1:38: {phase}\n")),
            "{report}"
        );
        assert!(
            report.contains(&format!("Function: {callback} failed: ")),
            "{report}"
        );
    }
    let roots = r#"(func (export "proxy_on_done") (param $id i32) (result i32)
      (if (i32.eq (local.get $id) (i32.const 1)) (then unreachable)) (i32.const 1))"#;
    let module = wat::parse_str(crate::frame::wat(roots)).unwrap();
    std::fs::write(folder.file("fails.wasm"), module).unwrap();
    let report = folder.report("fails.textpb", &Overrides::default());
    assert!(
        report.contains("fails.textpb:1:38: plugin_destroy\n"),
        "{report}"
    );
}
