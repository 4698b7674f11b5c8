//! `host-test bench`: what it counts is the same each time, and what it can't measure it says.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

/// A folder with a scenario of a guest that logs every request.
struct Folder(PathBuf);

/// Counts down from its number of headers, so that requests with more of them cost more, and logs.
const GUEST: &str = r#"(module
    (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "hello")
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "malloc") (param i32) (result i32) (i32.const 1024))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (loop $next
            (local.set 1 (i32.sub (local.get 1) (i32.const 1)))
            (br_if $next (local.get 1)))
        (drop (call $log (i32.const 2) (i32.const 0) (i32.const 5)))
        (i32.const 0)))"#;

impl Folder {
    fn new(steps: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("host-test-bench-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("guest.wasm"), wat::parse_str(GUEST).unwrap()).unwrap();
        let text = format!("name: it costs\nplugins: [{{module: guest.wasm}}]\nsteps:\n{steps}");
        std::fs::write(path.join("costs.yaml"), text).unwrap();
        Self(path)
    }

    fn bench(&self, arguments: &[&str]) -> Output {
        run(&self.0, arguments)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_host-test"))
        .args(["bench", "--seconds", "1", "costs.yaml"])
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

const STEPS: &str = "
- request: {path: /one, headers: {a: b}}
  expect: 200
- repeat:
    times: 3
    steps:
    - request: {path: /three}
      expect: 200
";

#[test]
fn counts_are_exact_and_the_same_in_every_run() {
    let folder = Folder::new(STEPS);
    let counts = || -> Vec<Value> {
        let output = folder.bench(&["--json"]);
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        let requests = document["requests"].as_array().unwrap();
        let row = |row: &Value| {
            assert!(row["nanoseconds"]["median"].as_u64() > Some(0), "{row}");
            let [instructions, calls] = ["instructions", "hostcalls"].map(|name| row[name].clone());
            serde_json::json!([
                row["request"],
                row["line"],
                row["times"],
                calls,
                instructions
            ])
        };
        requests.iter().map(row).collect()
    };
    let first = counts();
    assert_eq!(first, counts());
    let exactly = |n: u64| serde_json::json!({"low": n, "median": n, "high": n});
    assert_eq!(first[0][0], "GET /one");
    assert_eq!(first[1][0], "GET /three");
    assert_eq!([&first[0][1], &first[1][1]], [5, 10]);
    assert_eq!([&first[0][2], &first[1][2]], [1, 3]);
    assert_eq!(first[0][3], exactly(1));
    // Six instructions for each header, and one header more.
    let median = |row: &Value| row[4]["median"].as_u64().unwrap();
    assert_eq!(median(&first[0]) - median(&first[1]), 6);
    assert_eq!(first[1][4], exactly(median(&first[1])));
}

#[test]
fn the_table_has_a_row_for_each_request_of_the_file() {
    let folder = Folder::new(STEPS);
    let text = String::from_utf8(folder.bench(&[]).stdout).unwrap();
    let row = |line: &str| text.lines().find(|row| row.trim_start().starts_with(line));
    assert!(row("5  GET /one").is_some(), "{text}");
    assert!(row("10  GET /three").is_some(), "{text}");
}

#[test]
fn a_scenario_that_fails_is_not_measured() {
    let folder = Folder::new("- request: {path: /}\n  expect: 404\n");
    let output = folder.bench(&[]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        errors,
        "host-test: costs.yaml fails, so its times would mean nothing; \
         `host-test run costs.yaml` says why\n"
    );
}

#[test]
fn a_scenario_without_requests_has_nothing_to_measure() {
    let folder = Folder::new("- advance: 1s\n");
    let output = folder.bench(&[]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        errors,
        "host-test: costs.yaml: there is no request to measure\n"
    );
}
