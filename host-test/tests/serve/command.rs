//! The commands as a user types them.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::client::Client;
use crate::gateway::{Setup, scratch};

fn host_test() -> Command {
    Command::new(env!("CARGO_BIN_EXE_host-test"))
}

fn written(yaml: &str) -> PathBuf {
    let path = scratch("envoy.yaml");
    fs::write(&path, yaml).expect("the file can be written");
    path
}

fn run(command: &str, path: &Path, flags: &[&str]) -> (Option<i32>, String, String) {
    let output = host_test().arg(command).arg(path).args(flags).output();
    let Output {
        status,
        stdout,
        stderr,
    } = output.expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

fn direct() -> Setup {
    Setup::routes("{match: {prefix: /}, direct_response: {status: 200, body: {inline_string: hi}}}")
}

#[test]
fn serve_says_where_it_listens_serves_and_ends_with_0_when_it_is_told_to() {
    let path = written(&direct().yaml());
    let mut child = host_test()
        .arg("serve")
        .arg(&path)
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut line = String::new();
    lines.read_line(&mut line).expect("a line comes");
    let address = line
        .strip_prefix("listening on ")
        .and_then(|rest| rest.strip_suffix(" (main)\n"))
        .expect("address and listener");
    let address: SocketAddr = address.parse().expect("an address");
    assert_eq!(Client::connect(address).get("/", "").body, "hi");
    // The shell's own `kill`: the program of that name is not on every machine.
    let kill = format!("kill {}", child.id());
    let told = Command::new("sh").args(["-c", &kill]).status();
    assert!(told.expect("sh is there").success());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    let mut rest = String::new();
    lines.read_to_string(&mut rest).expect("it has ended");
    assert_eq!(rest, "");
}

#[test]
fn a_mistake_is_shown_with_its_line_and_a_hint() {
    let yaml = direct().yaml().replace("stat_prefix", "stat_prefxi");
    let path = written(&yaml);
    for command in ["serve", "check"] {
        let (code, _, errors) = run(command, &path, &[]);
        assert_eq!(code, Some(1));
        let line = yaml
            .lines()
            .position(|line| line.contains("stat_prefxi"))
            .expect("it is there");
        let place = format!("{}:{}:11: ", path.display(), line + 1);
        assert!(
            errors.contains(&format!(
                "{place}http_connection_manager has no field `stat_prefxi`; \
                 did you mean `stat_prefix`? Supported: "
            )),
            "{errors}"
        );
        assert!(
            errors.contains("\n   |           ^^^^^^^^^^^\n"),
            "{errors}"
        );
    }
}

#[test]
fn an_unsupported_field_is_a_warning_if_lenient() {
    let path = written(&direct().manager("normalize_path: true").yaml());
    let (code, _, errors) = run("check", &path, &[]);
    assert_eq!(code, Some(1));
    let sentence = "`normalize_path` of http_connection_manager is not supported by this gateway";
    assert!(errors.contains(sentence), "{errors}");
    let (code, output, errors) = run("check", &path, &["--lenient"]);
    assert_eq!(code, Some(0), "{errors}");
    assert!(errors.contains(sentence), "{errors}");
    assert!(
        output.ends_with(" is valid: 1 listener, 0 clusters, 0 plugins\n"),
        "{output}"
    );
}

#[test]
fn check_tells_all_that_is_wrong_with_plugins_at_once() {
    let yaml = direct()
        .filter("lost", Path::new("/nowhere/lost.wasm"), "")
        .guest(
            "picky",
            r#"(func (export "proxy_on_configure") (param i32 i32) (result i32)
              (drop (call $log (i32.const 4) str("I want a name")))
              (i32.const 0))"#,
            "",
        )
        .yaml();
    let path = written(&yaml);
    let (code, _, errors) = run("check", &path, &[]);
    assert_eq!(code, Some(1));
    for part in [
        "the module /nowhere/lost.wasm of plugin lost can't be loaded: can't be read: ",
        "[error] picky: I want a name\n",
        ": plugin picky refused its configuration\n",
    ] {
        assert!(errors.contains(part), "{part}\nin\n{errors}");
    }
}

#[test]
fn a_file_that_is_not_there_is_told_in_a_sentence() {
    let path = Path::new("/nowhere/envoy.yaml");
    let (code, _, errors) = run("check", path, &[]);
    assert_eq!(code, Some(2));
    assert!(
        errors.starts_with("/nowhere/envoy.yaml can't be read: "),
        "{errors}"
    );
    assert_eq!(errors.lines().count(), 1);
    assert_eq!(run("serve", path, &[]).0, Some(1));
}
