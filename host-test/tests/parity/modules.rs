//! What loads and what is refused: our host against `envoy --mode validate`, which loads a module,
//! starts it and configures it as a running Envoy would.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use host_test::host::Host;
use host_test::module::Module;
use host_test::plugin::Plugin;

use crate::frame;
use crate::real_envoy::real_envoy;

const ABI: &str = r#"(func (export "proxy_abi_version_0_2_1"))"#;
const MALLOC: &str = r#"(func (export "malloc") (param i32) (result i32) (i32.const 1024))"#;
const MEMORY: &str = r#"(memory (export "memory") 1)"#;

/// How a host takes a module.
#[derive(Debug)]
enum Verdict {
    Loads,
    Refused(String),
    Crashes,
}

fn envoy_says(wasm: &[u8]) -> Option<Verdict> {
    let envoy = real_envoy()?;
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("host-test-module-{}-{count}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let module = folder.join("guest.wasm");
    std::fs::write(&module, wasm).unwrap();
    let config = folder.join("envoy.json");
    std::fs::write(&config, bootstrap(&module)).unwrap();
    let output = Command::new(envoy)
        .args([
            "--mode",
            "validate",
            "--disable-hot-restart",
            "--log-level",
            "error",
        ])
        .arg("--config-path")
        .arg(&config)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    Some(match output.status.code() {
        Some(0) => Verdict::Loads,
        Some(1) => Verdict::Refused(String::from_utf8_lossy(&output.stderr).into_owned()),
        None => Verdict::Crashes,
        Some(code) => panic!("Envoy ended with {code}"),
    })
}

fn bootstrap(module: &Path) -> String {
    let address = serde_json::json!({"socket_address": {"address": "127.0.0.1", "port_value": 0}});
    let wasm = serde_json::json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
        "config": {"name": "guest", "vm_config": {
            "runtime": "envoy.wasm.runtime.v8",
            "code": {"local": {"filename": module}},
        }},
    });
    let router = serde_json::json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
    });
    let manager = serde_json::json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.\
                  http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "a",
        "route_config": {},
        "http_filters": [
            {"name": "wasm", "typed_config": wasm},
            {"name": "router", "typed_config": router},
        ],
    });
    let filters = serde_json::json!([{"name": "http", "typed_config": manager}]);
    let listener = serde_json::json!({
        "name": "a", "address": address, "filter_chains": [{"filters": filters}],
    });
    serde_json::json!({"static_resources": {"listeners": [listener]}}).to_string()
}

fn ours(wasm: &[u8]) -> Verdict {
    let module = match Module::from_bytes(Path::new("guest.wasm"), wasm) {
        Ok(module) => module,
        Err(error) if error.cause.contains("Envoy 1.40 crashes") => return Verdict::Crashes,
        Err(error) => return Verdict::Refused(error.cause),
    };
    let host = Host::builder().plugin(Plugin::new(module.into())).build();
    match host {
        Ok(host) => {
            assert_eq!(host.get("/").send().status(), Some(200));
            Verdict::Loads
        }
        Err(failed) => Verdict::Refused(failed.error.cause),
    }
}

fn compiled(wat: &str) -> Vec<u8> {
    wat::parse_str(wat).unwrap_or_else(|error| panic!("{error}"))
}

/// Asserts that a module loads in both hosts.
#[track_caller]
fn assert_loads(wat: &str) {
    let wasm = compiled(wat);
    let here = ours(&wasm);
    assert!(matches!(here, Verdict::Loads), "{here:?}: {wat}");
    if let Some(there) = envoy_says(&wasm) {
        assert!(matches!(there, Verdict::Loads), "{there:?}: {wat}");
    }
}

/// Asserts that both hosts refuse a module in these words.
#[track_caller]
fn assert_refused(wasm: &[u8], words: &str) {
    match ours(wasm) {
        Verdict::Refused(cause) if cause.contains(words) => {}
        other => panic!("not {words:?}: {other:?}"),
    }
    match envoy_says(wasm) {
        None => {}
        Some(Verdict::Refused(text)) if text.contains(words) => {}
        Some(other) => panic!("not {words:?}: {other:?}"),
    }
}

fn module(more: &str) -> String {
    format!("(module {more} {ABI} {MALLOC} {MEMORY})")
}

#[test]
fn both_refuse_a_module_in_the_same_words() {
    let table = [
        (format!("(module {MALLOC} {MEMORY})"), "Missing or unknown Proxy-Wasm ABI version"),
        (
            format!(r#"(module (func (export "proxy_abi_version_0_3_0")) {MALLOC} {MEMORY})"#),
            "Missing or unknown Proxy-Wasm ABI version",
        ),
        (
            format!(r#"(module (global (export "proxy_abi_version_0_2_1") i32 (i32.const 0)) {MALLOC} {MEMORY})"#),
            "Missing or unknown Proxy-Wasm ABI version",
        ),
        (format!("(module {ABI} {MEMORY})"), "Wasm module is missing malloc function."),
        (
            format!(r#"(module (func (export "malloc") (param i64) (result i32) (i32.const 8)) {ABI} {MEMORY})"#),
            "Bad function signature for: malloc, want: i32 -> i32, but the module exports: i64 -> i32",
        ),
        (
            module(r#"(import "env" "proxy_fly" (func))"#),
            "Failed to load Wasm module due to a missing import: env.proxy_fly",
        ),
        (
            module(r#"(import "wasi_snapshot_preview1" "fd_fly" (func))"#),
            "Failed to load Wasm module due to a missing import: wasi_snapshot_preview1.fd_fly",
        ),
        (
            module(r#"(import "env" "proxy_get_configuration" (func (param i32 i32) (result i32)))"#),
            "Failed to load Wasm module due to a missing import: env.proxy_get_configuration",
        ),
        (
            module(r#"(import "env" "number" (global i32))"#),
            "Failed to load Wasm module due to a missing import: env.number",
        ),
        (
            module(r#"(import "env" "proxy_log" (func (param i64)))"#),
            "Failed to load Wasm module due to an import type mismatch: env.proxy_log, want: i64 -> void, but host exports: i32 i32 i32 -> i32",
        ),
        (
            module(r#"(import "wasi_snapshot_preview1" "random_get" (func (param i64)))"#),
            "Failed to load Wasm module due to an import type mismatch: ",
        ),
        (
            module(r#"(func (export "proxy_on_request_headers") (param i32) (result i32) (i32.const 0))"#),
            "Bad function signature for: proxy_on_request_headers, want: i32 i32 i32 -> i32, but the module exports: i32 -> i32",
        ),
        (
            module(r#"(func (export "proxy_on_grpc_close") (param i64))"#),
            "Bad function signature for: proxy_on_grpc_close, want: i32 i32 i32 -> void, but the module exports: i64 -> void",
        ),
        (
            module(r#"(func (export "_initialize") (param i32))"#),
            "Bad function signature for: _initialize, want: void -> void, but the module exports: i32 -> void",
        ),
        (
            module(r#"(func (export "_initialize")) (func (export "main") (param i64))"#),
            "Bad function signature for: main, want: i32 i32 -> i32, but the module exports: i64 -> void",
        ),
        (
            r#"(module (memory (export "memory") 16385) (func (export "malloc") (param i32) (result i32) (i32.const 8)) (func (export "proxy_abi_version_0_2_1")))"#.to_owned(),
            "Failed to create new Wasm instance",
        ),
        (
            module("(func $start unreachable) (start $start)"),
            "Failed to create new Wasm instance",
        ),
        (
            module(r#"(func (export "_initialize") unreachable)"#),
            "Function: _initialize failed: ",
        ),
        (
            module(r#"(import "env" "proxy_done" (func $done (result i32))) (func (export "_start") (drop (call $done)))"#),
            "restricted_callback",
        ),
    ];
    for (wat, words) in table {
        assert_refused(&compiled(&wat), words);
    }
}

#[test]
fn bytes_that_are_no_module_are_refused() {
    let good = compiled(&module(""));
    for wasm in [&b"not wasm"[..], &good[..good.len() - 3]] {
        assert_refused(wasm, "Failed to load Wasm code");
    }
}

#[test]
fn what_compilers_make_loads() {
    let table = [
        module(""),
        // AssemblyScript initializes its globals there.
        module(
            "(global $g (mut i32) (i32.const 0)) (func $start (global.set $g (i32.const 1))) (start $start)",
        ),
        module(
            r#"(import "env" "pthread_equal" (func $equal (param i32 i32) (result i32))) (func $start (drop (call $equal (i32.const 1) (i32.const 2)))) (start $start)"#,
        ),
        format!(
            r#"(module (import "env" "memory" (memory 1)) {ABI} {MALLOC} (export "memory" (memory 0)))"#
        ),
        format!(r#"(module (import "anything" "mem" (memory 1)) {ABI} {MALLOC})"#),
        format!(
            r#"(module (import "env" "__indirect_function_table" (table 1 funcref)) {ABI} {MALLOC} {MEMORY})"#
        ),
        format!(r#"(module (memory (export "mem") 1) {ABI} {MALLOC})"#),
        format!(r#"(module (memory (export "memory") 1 2 shared) {ABI} {MALLOC})"#),
        format!(r#"(module (memory (export "memory") i64 1) {ABI} {MALLOC})"#),
        format!(r#"(module (memory (export "memory") 16384) {ABI} {MALLOC})"#),
        module("(memory 1)"),
        module("(func (result v128) (v128.const i32x4 0 0 0 0))"),
        module("(func $f (return_call $f))"),
        module(r#"(func (export "proxy_abi_version_0_1_0"))"#),
        module(
            r#"(func (export "proxy_on_memory_allocate") (param i32) (result i32) unreachable)"#,
        ),
        // Not a callback of Envoy's, whatever its type is.
        module(r#"(func (export "proxy_on_nothing") (param i64))"#),
    ];
    for wat in table {
        assert_loads(&wat);
    }
}

#[test]
fn a_start_section_that_calls_the_host_is_an_error_here_and_crashes_envoy() {
    let table = [
        (
            r#"(import "env" "proxy_log" (func $call (param i32 i32 i32) (result i32)))"#,
            "(drop (call $call (i32.const 2) (i32.const 0) (i32.const 1)))",
            "env.proxy_log",
        ),
        (
            r#"(import "wasi_snapshot_preview1" "proc_exit" (func $call (param i32)))"#,
            "(call $call (i32.const 0))",
            "wasi_snapshot_preview1.proc_exit",
        ),
        (
            r#"(import "wasi_unstable" "random_get" (func $call (param i32 i32) (result i32)))"#,
            "(drop (call $call (i32.const 0) (i32.const 1)))",
            "wasi_unstable.random_get",
        ),
    ];
    for (import, call, name) in table {
        let wasm = compiled(&module(&format!(
            "{import} (func $start {call}) (start $start)"
        )));
        let error = Module::from_bytes(Path::new("guest.wasm"), &wasm).unwrap_err();
        assert_eq!(
            error.cause,
            format!("its start section calls {name}: Envoy 1.40 crashes on it")
        );
        if let Some(there) = envoy_says(&wasm) {
            assert!(matches!(there, Verdict::Crashes), "{there:?}: {name}");
        }
    }
}

#[test]
fn the_frame_of_the_other_tests_loads() {
    assert_loads(&frame::wat(""));
}
