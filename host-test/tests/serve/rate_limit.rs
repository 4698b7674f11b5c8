//! The real rate-limit module over sockets.

use std::path::PathBuf;

use crate::gateway::Setup;

/// The built module. A missing one fails the test: it is never skipped.
fn module() -> PathBuf {
    let directory = std::env::var_os("PENSTOCK_WASM_DIR").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/wasm")),
        PathBuf::from,
    );
    let path = directory.join("rate_limit.wasm");
    assert!(
        path.exists(),
        "{} is missing; `cargo xtask build` makes it",
        path.display()
    );
    path
}

fn config(value: &str) -> String {
    format!(
        ", configuration: {{\"@type\": type.googleapis.com/google.protobuf.Struct, value: {value}}}"
    )
}

#[test]
fn a_key_is_limited_over_both_workers_and_others_are_not() {
    let rules =
        "{rules: [{name: user, key: [{header: x-user}], limits: [{requests: 3, per: 1h}]}]}";
    let gateway = Setup::routes("{match: {prefix: /}, direct_response: {status: 200}}")
        .filter("rate_limit", &module(), &config(rules))
        .start();
    // A new connection each: the workers take turns.
    let get = |user: &str| gateway.connect().get("/", &format!("x-user: {user}\r\n"));
    let statuses: Vec<u16> = (0..6).map(|_| get("ana").status).collect();
    assert_eq!(statuses, [200, 200, 200, 429, 429, 429]);
    assert_eq!(get("bea").status, 200);
    assert!(get("ana").header("retry-after").is_some());
}

#[test]
fn a_refused_configuration_is_told_with_its_place_and_the_plugins_own_words() {
    let setup = Setup::routes("{match: {prefix: /}, direct_response: {status: 200}}").filter(
        "rate_limit",
        &module(),
        &config("{rules: [{name: user, key: [{header: x-user}], limts: []}]}"),
    );
    let error = setup.try_start().map(|_| ()).expect_err("it is refused");
    let error = error.to_string();
    assert!(
        error.contains(": plugin rate_limit refused its configuration\n"),
        "{error}"
    );
    assert!(error.starts_with("test.yaml:"), "{error}");
}
