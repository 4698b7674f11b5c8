//! The command line: exit codes, last lines, and what is said about mistakes.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder with a passive guest and scenarios.
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn new(scenarios: &[(&str, &str)]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("host-test-cli-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        let guest = wat::parse_str(include_str!("guests/passive.wat")).unwrap();
        std::fs::write(path.join("guest.wasm"), guest).unwrap();
        for (file, rest) in scenarios {
            let text = format!("name: {file}\nplugins: [{{module: guest.wasm}}]\n{rest}");
            std::fs::write(path.join(file), text).unwrap();
        }
        Self { path }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

const PASSES: (&str, &str) = ("a.yaml", "steps: [{request: GET /, expect: 200}]\n");
const FAILS: (&str, &str) = ("b.yaml", "steps: [{request: GET /, expect: 404}]\n");

fn host_test(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_host-test"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("ENVOY_BIN")
        .env("PATH", "")
        .output()
        .unwrap()
}

#[track_caller]
fn assert_outcome(output: &Output, code: i32, stdout: &str, stderr: &str) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}{err}");
    assert!(out.contains(stdout), "{out}");
    assert!(err.contains(stderr), "{err}");
    assert!(
        !err.contains("panicked") && !err.contains("backtrace"),
        "{err}"
    );
}

#[test]
fn all_passed_is_exit_code_0_and_the_count_alone_in_the_last_line() {
    let folder = Folder::new(&[PASSES]);
    let output = host_test(&folder.path, &["run", "a.yaml"]);
    assert_outcome(&output, 0, "\n1 passed, 0 failed\n", "");
}

#[test]
fn some_failed_is_exit_code_1() {
    let folder = Folder::new(&[PASSES, FAILS]);
    let output = host_test(&folder.path, &["run", "."]);
    assert_outcome(&output, 1, "\n1 passed, 1 failed\n", "");
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(
        out.contains("FAIL  ./b.yaml on wasmtime: b.yaml\n  ./b.yaml:3:9: step 1: GET /\n    status: expected 404, got 200\n"),
        "{out}"
    );
}

#[test]
fn reports_for_programs_are_the_whole_output() {
    let folder = Folder::new(&[PASSES, FAILS]);
    let output = host_test(&folder.path, &["run", "--format", "json", "."]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&report["passed"], &report["failed"]),
        (&1.into(), &1.into())
    );

    let output = host_test(&folder.path, &["run", "--format", "junit", "."]);
    let text = String::from_utf8(output.stdout).unwrap();
    let document = roxmltree::Document::parse(&text).unwrap();
    assert_eq!(document.root_element().attribute("failures"), Some("1"));
}

#[test]
fn a_bad_file_or_usage_is_exit_code_2_and_a_sentence() {
    let folder = Folder::new(&[
        PASSES,
        ("odd.yaml", "steps: [{reqest: GET /}]\n"),
        ("lost.yaml", "steps: [{advance: 1s}]\nplugins: []\n"),
    ]);
    std::fs::write(
        folder.path.join("module.yaml"),
        "name: a\nplugins: [{module: '${WASM_DIR}/none.wasm'}]\nsteps: [{advance: 1s}]\n",
    )
    .unwrap();
    std::fs::create_dir(folder.path.join("empty")).unwrap();
    let table: &[(&[&str], &str)] = &[
        (
            &["run", "odd.yaml"],
            "odd.yaml:3:10: unknown field `reqest`, did you mean `request`? Known: ",
        ),
        (&["run", "lost.yaml"], "lost.yaml:4:1: "),
        (&["run", "module.yaml"], "`cargo xtask build` makes it"),
        (
            &["run", "nowhere.yaml"],
            "nowhere.yaml: there is no such file or folder",
        ),
        (
            &["run", "empty"],
            "empty: there are no .yaml files and no suites in this folder",
        ),
        (
            &["run", "--host", "envoy", "a.yaml"],
            "there is no Envoy: set ENVOY_BIN",
        ),
        (
            &["run", "--host", "nginx", "a.yaml"],
            "invalid value 'nginx' for '--host",
        ),
        (&["run"], "required arguments were not provided"),
        (&["rum"], "unrecognized subcommand 'rum'"),
    ];
    for (arguments, sentence) in table {
        let output = host_test(&folder.path, arguments);
        assert_outcome(&output, 2, "", sentence);
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn one_bad_file_keeps_all_from_running_and_each_is_named() {
    let odd = "steps: [{reqest: GET /}]\n";
    let folder = Folder::new(&[PASSES, ("c.yaml", odd), ("d.yaml", odd)]);
    let output = host_test(&folder.path, &["run", "."]);
    assert_outcome(&output, 2, "", "./c.yaml:3:10: ");
    assert_outcome(&output, 2, "", "./d.yaml:3:10: ");
}

#[test]
fn inspect_says_by_its_exit_code_whether_envoy_would_load_the_module() {
    let folder = Folder::new(&[]);
    let output = host_test(&folder.path, &["inspect", "guest.wasm"]);
    assert_outcome(&output, 0, "\nEnvoy 1.40 would load it.\n", "");

    let empty = wat::parse_str("(module)").unwrap();
    std::fs::write(folder.path.join("empty.wasm"), empty).unwrap();
    let output = host_test(&folder.path, &["inspect", "--format", "json", "empty.wasm"]);
    assert_outcome(&output, 1, "Missing or unknown Proxy-Wasm ABI version", "");

    std::fs::write(folder.path.join("text.wasm"), "text").unwrap();
    for (file, sentence) in [
        ("text.wasm", "text.wasm: not a WebAssembly module: "),
        ("none.wasm", "none.wasm can't be read: "),
    ] {
        let output = host_test(&folder.path, &["inspect", file]);
        assert_outcome(&output, 2, "", sentence);
    }
}
