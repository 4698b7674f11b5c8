//! `run --html`: the same page as a file.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::browser::browse;
use crate::frame;
use crate::gateway::scratch;

/// Denies whoever says no name, and else adds a header.
const GUEST: &str = r#"
    (func (export "proxy_on_configure") (param i32 i32) (result i32)
      (drop (call $define_metric (i32.const 0) str("asked_total") (i32.const 0)))
      (i32.const 1))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
      (drop (call $increment (i32.const 4) (i64.const 1)))
      (drop (call $set_shared str("key") str("value") (i32.const 0)))
      (if (call $get_header (i32.const 0) str("x-name") (i32.const 32) (i32.const 36)) (then
        (drop (call $reply (i32.const 403) str("nameless") str("who?") (i32.const 0) (i32.const 0) (i32.const -1)))
        (return (i32.const 1))))
      (drop (call $set_header (i32.const 0) str("x-greeted") str("yes")))
      (i32.const 0))"#;

/// Writes a scenario, and the report of its run.
fn report(scenario: &str, flags: &[&str]) -> (PathBuf, Output) {
    let module = scratch("guest.wasm");
    let bytes = wat::parse_str(frame::wat(GUEST)).expect("valid WAT");
    std::fs::write(&module, bytes).expect("written");
    let file = scratch("greets.yaml");
    let text = scenario.replace("MODULE", &module.to_string_lossy());
    std::fs::write(&file, text).expect("written");
    let html = scratch("report.html");
    let output = Command::new(env!("CARGO_BIN_EXE_host-test"))
        .args(["run", "--html"])
        .arg(&html)
        .args(flags)
        .arg(&file)
        .output()
        .expect("it runs");
    (html, output)
}

const SCENARIO: &str = r#"
name: Greets those who say their name
plugins: [{module: MODULE, name: greet}]
upstreams: [{reply: {status: 200, body: "<b>hello</b></script>"}}]
steps:
- request: {path: /named, headers: {x-name: ana, cookie: "a=secret-cookie"}}
  expect: 200
- advance: 60s
- request: {path: /nameless, method: POST, body: "abc"}
  expect: {status: 403, upstream: none}
"#;

#[test]
fn a_report_works_from_a_file() {
    let (html, output) = report(SCENARIO, &[]);
    assert!(output.status.success(), "{output:?}");
    let url = format!("file://{}", html.display());
    browse("report.mjs", "aReportWorksFromAFile", &[("REPORT", &url)]);
}

#[test]
fn a_report_needs_nothing_from_elsewhere_and_holds_no_credentials() {
    let read = |path: &Path| std::fs::read_to_string(path).expect("it was written");
    let (html, _) = report(SCENARIO, &[]);
    let text = read(&html);
    for elsewhere in ["src=\"", "https://", "href=\"/"] {
        assert!(!text.contains(elsewhere), "{elsewhere}");
    }
    // The scenario's own text is in it, as its author wrote it.
    let requests = text
        .split("\"requests\":")
        .nth(1)
        .expect("there are requests");
    let requests = requests.split("\"shared\":").next().expect("they end");
    assert!(!requests.contains("secret-cookie"));
    let (html, _) = report(SCENARIO, &["--html-secrets"]);
    let text = read(&html);
    let requests = text
        .split("\"requests\":")
        .nth(1)
        .expect("there are requests");
    assert!(requests.contains("secret-cookie"));
}

#[test]
fn a_failed_run_has_a_report_too() {
    let (html, output) = report(&SCENARIO.replace("status: 403", "status: 404"), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(html.exists());
}
