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
    /// With what is on its error log.
    Loads(String),
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
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Some(match output.status.code() {
        Some(0) => Verdict::Loads(text),
        Some(1) => Verdict::Refused(text),
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
        }, "configuration": {
            "@type": "type.googleapis.com/google.protobuf.StringValue", "value": "abc",
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
    let host = Host::builder()
        .plugin(Plugin::new(module.into()).config_json("abc"))
        .build();
    match host {
        Ok(host) => {
            assert_eq!(host.get("/").send().status(), Some(200));
            Verdict::Loads(String::new())
        }
        Err(failed) => Verdict::Refused(failed.to_string()),
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
    assert!(matches!(here, Verdict::Loads(_)), "{here:?}: {wat}");
    if let Some(there) = envoy_says(&wasm) {
        assert!(matches!(there, Verdict::Loads(_)), "{there:?}: {wat}");
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

/// WASI's functions with their parameters, `i` of 32 bits and `l` of 64, that start functions may
/// call; the last of them also the allocator.
const AT_START: [(&str, &str); 37] = [
    ("args_get", "ii"),
    ("args_sizes_get", "ii"),
    ("clock_res_get", "ii"),
    ("environ_get", "ii"),
    ("environ_sizes_get", "ii"),
    ("fd_advise", "illi"),
    ("fd_allocate", "ill"),
    ("fd_datasync", "i"),
    ("fd_fdstat_get", "ii"),
    ("fd_fdstat_set_flags", "ii"),
    ("fd_fdstat_set_rights", "ill"),
    ("fd_filestat_get", "ii"),
    ("fd_filestat_set_size", "il"),
    ("fd_filestat_set_times", "illi"),
    ("fd_pread", "iiili"),
    ("fd_prestat_dir_name", "iii"),
    ("fd_prestat_get", "ii"),
    ("fd_pwrite", "iiili"),
    ("fd_readdir", "iiili"),
    ("fd_renumber", "ii"),
    ("fd_sync", "i"),
    ("fd_tell", "ii"),
    ("path_create_directory", "iii"),
    ("path_filestat_get", "iiiii"),
    ("path_filestat_set_times", "iiiilli"),
    // Envoy's own types of these two.
    ("path_link", "iiiiii"),
    ("path_symlink", "iiii"),
    ("path_readlink", "iiiiii"),
    ("path_rename", "iiiiii"),
    ("path_unlink_file", "iii"),
    ("random_get", "ii"),
    ("sock_accept", "iii"),
    ("sock_recv", "iiiiii"),
    ("sock_send", "iiiii"),
    ("clock_time_get", "ili"),
    ("fd_write", "iiii"),
    ("poll_oneoff", "iiii"),
];

/// What the allocator may call of them.
const IN_MALLOC: usize = 3;

/// What may be called in callbacks alone.
const IN_CALLBACKS: [(&str, &str); 6] = [
    ("fd_close", "i"),
    ("fd_read", "iiii"),
    ("fd_seek", "ilii"),
    ("path_open", "iiiiillii"),
    ("proc_exit", "i"),
    ("sched_yield", ""),
];

/// Imports of WASI's functions, and calls of them that do nothing.
fn wasi(functions: &[(&str, &str)]) -> (String, String) {
    let import = |(name, types): &(&str, &str)| {
        let params: String = types
            .chars()
            .map(|kind| if kind == 'l' { " i64" } else { " i32" })
            .collect();
        let result = if *name == "proc_exit" {
            ""
        } else {
            "(result i32)"
        };
        format!(
            "(import \"wasi_snapshot_preview1\" \"{name}\" (func ${name} (param{params}) {result}))\n"
        )
    };
    let call = |(name, types): &(&str, &str)| {
        let zeros: String = types
            .chars()
            .map(|kind| {
                if kind == 'l' {
                    " (i64.const 0)"
                } else {
                    " (i32.const 0)"
                }
            })
            .collect();
        match *name {
            "proc_exit" => format!("(call $proc_exit{zeros})"),
            _ => format!("(drop (call ${name}{zeros}))"),
        }
    };
    let imports = functions.iter().map(import).collect();
    (imports, functions.iter().map(call).collect())
}

/// Asks for its configuration, so that the host calls the allocator.
fn with_malloc(imports: &str, calls: &str) -> String {
    format!(
        r#"(module {imports}
        (import "env" "proxy_get_buffer_bytes" (func $get (param i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
        {MEMORY} {ABI}
        (func (export "malloc") (param i32) (result i32) {calls}
          (drop (call $log (i32.const 2) (i32.const 0) (i32.const 0))) (i32.const 1024))
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
          (drop (call $get (i32.const 7) (i32.const 0) (i32.const 9) (i32.const 32) (i32.const 36)))
          (i32.const 1)))"#
    )
}

#[test]
fn start_functions_and_the_allocator_may_call_little_of_the_host() {
    let (imports, calls) = wasi(&AT_START);
    let log = r#"(import "env" "emscripten_notify_memory_growth" (func $grown (param i32)))"#;
    assert_loads(&module(&format!(
        r#"{imports} {log} (func (export "_initialize") {calls} (call $grown (i32.const 0)))"#
    )));
    for function in IN_CALLBACKS {
        let (imports, calls) = wasi(&[function]);
        let guest = module(&format!(
            r#"{imports} (func (export "_initialize") {calls})"#
        ));
        assert_refused(&compiled(&guest), "restricted_callback");
    }
    let split = AT_START.len() - IN_MALLOC;
    let (imports, calls) = wasi(&AT_START[split..]);
    assert_loads(&with_malloc(&imports, &calls));
    for function in AT_START[..split]
        .iter()
        .step_by(12)
        .chain(&IN_CALLBACKS[4..])
    {
        let (imports, calls) = wasi(&[*function]);
        let guest = compiled(&with_malloc(&imports, &calls));
        let refused = "restricted_callback";
        let here = ours(&guest);
        assert!(
            matches!(&here, Verdict::Refused(cause) if cause.contains(refused)),
            "{here:?}"
        );
        // Envoy accepts the configuration of a VM that has failed, and answers 503 from then on.
        if let Some(there) = envoy_says(&guest) {
            assert!(
                matches!(&there, Verdict::Loads(text) if text.contains(refused)),
                "{there:?}"
            );
        }
    }
}

#[test]
fn the_frame_of_the_other_tests_loads() {
    assert_loads(&frame::wat(""));
}
