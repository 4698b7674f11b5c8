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
    let start = format!("(module (func $s) (start $s) {GOOD})");
    assert!(refusal(&start).contains("start section"));
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
