//! What is refused at load, and in which words.

use std::path::Path;

use host_test::module::Module;

fn refusal(wat: &str) -> String {
    let bytes = wat::parse_str(wat).expect("valid WAT");
    Module::from_bytes(Path::new("m.wasm"), &bytes)
        .expect_err("refused")
        .to_string()
}

const GOOD: &str = r#"(memory (export "memory") 1) (func (export "malloc") (param i32) (result i32) (i32.const 8)) (func (export "proxy_abi_version_0_2_1"))"#;

#[test]
fn a_module_without_an_abi_version_is_refused_in_envoys_words() {
    let module = r#"(module (memory (export "memory") 1) (func (export "malloc") (param i32) (result i32) (i32.const 8)))"#;
    assert_eq!(
        refusal(module),
        "m.wasm: Missing or unknown Proxy-Wasm ABI version"
    );
}

#[test]
fn an_unknown_import_is_refused_by_name() {
    let module = format!(r#"(module (import "env" "proxy_fly" (func)) {GOOD})"#);
    assert!(refusal(&module).ends_with("missing import: env.proxy_fly"));
}

#[test]
fn a_wrong_import_signature_is_refused() {
    let module = format!(r#"(module (import "env" "proxy_log" (func (param i64))) {GOOD})"#);
    assert!(refusal(&module).contains("import type mismatch"));
}

#[test]
fn what_crashes_envoy_at_load_is_refused() {
    let start = format!(
        r#"(module (import "env" "proxy_done" (func $d (result i32))) (func $s (drop (call $d))) (start $s) {GOOD})"#
    );
    assert!(refusal(&start).contains("its start section calls env.proxy_done"));
    let bare = r#"(module (memory 1) (func (export "malloc") (param i32) (result i32) (i32.const 8)) (func (export "proxy_abi_version_0_2_1")))"#;
    assert!(refusal(bare).contains("exports no memory"));
}

#[test]
fn bytes_that_are_no_module_are_refused() {
    let error = Module::from_bytes(Path::new("m.wasm"), b"not wasm").expect_err("refused");
    assert!(
        error.to_string().contains("Failed to load Wasm code"),
        "{error}"
    );
}

#[test]
fn a_missing_file_is_named() {
    let error = Module::from_file(Path::new("/nowhere/m.wasm")).expect_err("missing");
    assert!(
        error
            .to_string()
            .starts_with("/nowhere/m.wasm: can't be read"),
        "{error}"
    );
}

#[test]
fn a_call_of_another_abi_version_does_not_resolve() {
    let new =
        format!(r#"(module (import "env" "proxy_continue_request" (func (result i32))) {GOOD})"#);
    assert!(refusal(&new).ends_with("missing import: env.proxy_continue_request"));
    let old = r#"(module (import "env" "proxy_continue_stream" (func (param i32) (result i32)))
        (memory (export "memory") 1) (func (export "malloc") (param i32) (result i32) (i32.const 8))
        (func (export "proxy_abi_version_0_1_0")))"#;
    assert!(refusal(old).ends_with("missing import: env.proxy_continue_stream"));
}

#[test]
fn every_wasi_function_of_envoy_resolves_in_both_module_names() {
    let imports: String = [
        ("fd_tell", "i32 i32"),
        ("fd_pread", "i32 i32 i32 i64 i32"),
        ("path_open", "i32 i32 i32 i32 i32 i64 i64 i32 i32"),
        ("path_rename", "i32 i32 i32 i32 i32 i32"),
        ("poll_oneoff", "i32 i32 i32 i32"),
        ("sock_accept", "i32 i32 i32"),
    ]
    .iter()
    .flat_map(|(name, params)| {
        ["wasi_snapshot_preview1", "wasi_unstable"].map(|module| {
            format!(r#"(import "{module}" "{name}" (func (param {params}) (result i32)))"#)
        })
    })
    .collect();
    let bytes = wat::parse_str(format!("(module {imports} {GOOD})")).expect("valid WAT");
    Module::from_bytes(Path::new("m.wasm"), &bytes).expect("loads");
}

#[test]
fn a_module_of_abi_0_1_0_runs_with_its_own_calls_and_signatures() {
    let module = r#"(module
        (import "env" "proxy_get_configuration" (func $configuration (param i32 i32) (result i32)))
        (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
        (import "env" "proxy_continue_request" (func $continue (result i32)))
        (import "env" "proxy_set_tick_period_milliseconds" (func $period (param i32) (result i32)))
        (import "env" "proxy_set_effective_context" (func $effective (param i32) (result i32)))
        (memory (export "memory") 1)
        (global $stream (mut i32) (i32.const 0))
        (func (export "malloc") (param i32) (result i32) (i32.const 64))
        (func (export "proxy_abi_version_0_1_0"))
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
          (drop (call $configuration (i32.const 8) (i32.const 12)))
          (drop (call $log (i32.const 2) (i32.load (i32.const 8)) (i32.load (i32.const 12))))
          (drop (call $period (i32.const 10)))
          (i32.const 1))
        (func (export "proxy_on_request_headers") (param $c i32) (param i32) (result i32)
          (global.set $stream (local.get $c)) (i32.const 1))
        (func (export "proxy_on_tick") (param i32)
          (drop (call $effective (global.get $stream))) (drop (call $continue))))"#;
    let bytes = wat::parse_str(module).expect("valid WAT");
    let module = Module::from_bytes(Path::new("old.wasm"), &bytes).expect("loads");
    let plugin = host_test::plugin::Plugin::new(std::sync::Arc::new(module)).config_json("hello");
    let host = host_test::host::Host::builder()
        .plugin(plugin)
        .build()
        .expect("starts");
    assert_eq!(host.take_logs()[0].message, "hello");
    assert!(host.get("/").send().is_paused());
}
