//! The files in `envoy/`: accepted by `host-test check` and by the real Envoy, and served alike by
//! both.

#[path = "common/client.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod client;
#[path = "common/process.rs"]
mod process;
#[path = "common/real_envoy.rs"]
mod real_envoy;
#[path = "common/upstream.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod upstream;

use std::path::{Path, PathBuf};
use std::process::Command;

use client::Client;
use process::{Gateway, Kind};
use real_envoy::real_envoy;
use upstream::Upstream;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn host_test() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_host-test"));
    command.current_dir(root());
    command
}

/// The real Envoy, or nothing where the tests run without it.
fn envoy() -> Option<Command> {
    let path = real_envoy()?;
    let mut command = Command::new(path);
    command.current_dir(root());
    Some(command)
}

fn files() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("envoy")).expect("the folder is there");
    let paths = entries.map(|entry| entry.expect("readable").path());
    let files: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect();
    assert!(files.len() >= 2, "{files:?}");
    files
}

#[test]
fn every_file_is_accepted_by_our_check() {
    for file in files() {
        let output = host_test().arg("check").arg(&file).output().expect("runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {errors}", file.display());
    }
}

#[test]
fn every_file_is_accepted_by_envoy() {
    for file in files() {
        let Some(mut envoy) = envoy() else { return };
        let output = envoy
            .arg("-c")
            .arg(&file)
            .args(["--mode", "validate"])
            .output()
            .expect("runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {errors}", file.display());
    }
}

/// A gateway that serves a copy of `envoy/rate-limit.yaml` on ports of its own.
fn start(kind: &Kind) -> Gateway {
    let text = std::fs::read_to_string(root().join("envoy/rate-limit.yaml")).expect("readable");
    let upstream = Upstream::echo().address.port();
    let text = text
        .replace("port_value: 10000", "port_value: 0")
        .replace("port_value: 9901", "port_value: 0")
        .replace("port_value: 8080", &format!("port_value: {upstream}"));
    Gateway::start(kind, &text)
}

/// The status and the headers that a filter decides about; the body tells what the upstream saw.
fn ask(gateway: &Gateway, request: &str) -> Vec<String> {
    let mut client = Client::connect(gateway.address("ingress"));
    client.send(&format!(
        "{request} HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"
    ));
    let response = client.response();
    let kept = ["ratelimit-policy", "retry-after"];
    let headers = response
        .headers
        .iter()
        .filter(|(name, _)| kept.contains(&name.as_str()));
    let headers = headers.map(|(name, value)| format!("{name}: {value}"));
    let seen = response.body.lines().next().map(str::to_owned);
    [response.status.to_string()]
        .into_iter()
        .chain(headers)
        .chain(seen)
        .collect()
}

#[test]
fn both_gateways_serve_the_rate_limit_file_alike() {
    let tour = |gateway: &Gateway| -> Vec<Vec<String>> {
        let logins = (0..6).map(|_| ask(gateway, "POST /login"));
        let others = (0..2).map(|_| ask(gateway, "GET /other"));
        logins.chain(others).collect()
    };
    let ours = tour(&start(&Kind::Ours));
    let statuses: Vec<_> = ours.iter().map(|answer| answer[0].as_str()).collect();
    assert_eq!(
        statuses,
        ["200", "200", "200", "200", "200", "429", "200", "200"]
    );
    assert!(
        ours[5].contains(&"retry-after: 12".to_owned()),
        "{:?}",
        ours[5]
    );
    if let Some(envoy) = real_envoy() {
        assert_eq!(tour(&start(&Kind::Envoy(envoy))), ours);
    }
}
