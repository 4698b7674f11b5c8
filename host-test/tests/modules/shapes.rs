//! The imports, exports and start functions of modules that other toolchains make, in WAT: what
//! their runtimes ask of the host before and while a filter runs.

use std::sync::Arc;

use host_test::host::Host;
use host_test::module::Module;
use host_test::plugin::Plugin;

use crate::scenario::assert_passes;

/// Text at 0, an iovec of it at 256, results from 512 on.
const FRAME: &str = r#"
(memory (export "memory") 2)
(data (i32.const 0) "hello from WASI\n")
(data (i32.const 256) "\00\00\00\00\10\00\00\00")
(func $print (param $fd i32) (drop (call $fd_write (local.get $fd) (i32.const 256) (i32.const 1) (i32.const 512))))
(func $say_number (param $n i32)
  (i32.store8 (i32.const 300) (i32.add (i32.const 48) (i32.div_u (local.get $n) (i32.const 10))))
  (i32.store8 (i32.const 301) (i32.add (i32.const 48) (i32.rem_u (local.get $n) (i32.const 10))))
  (drop (call $log (i32.const 2) (i32.const 300) (i32.const 2))))
(func $allocate (param i32) (result i32) (i32.const 4096))
(func (export "proxy_abi_version_0_2_1"))
"#;

const LOG: &str = r#"(import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))"#;

fn wasi(name: &str, params: &str) -> String {
    let result = if name == "proc_exit" {
        ""
    } else {
        "(result i32)"
    };
    format!(
        "(import \"wasi_snapshot_preview1\" \"{name}\" (func ${name} (param {params}) {result}))\n"
    )
}

/// What Go's runtime imports, used or not.
fn go_imports() -> String {
    [
        ("sched_yield", ""),
        ("proc_exit", "i32"),
        ("args_get", "i32 i32"),
        ("args_sizes_get", "i32 i32"),
        ("clock_time_get", "i32 i64 i32"),
        ("environ_get", "i32 i32"),
        ("environ_sizes_get", "i32 i32"),
        ("fd_write", "i32 i32 i32 i32"),
        ("random_get", "i32 i32"),
        ("poll_oneoff", "i32 i32 i32 i32"),
        ("fd_close", "i32"),
        ("fd_read", "i32 i32 i32 i32"),
        ("fd_filestat_get", "i32 i32"),
        ("path_filestat_get", "i32 i32 i32 i32 i32"),
        ("path_open", "i32 i32 i32 i32 i32 i64 i64 i32 i32"),
        ("fd_fdstat_get", "i32 i32"),
        ("fd_fdstat_set_flags", "i32 i32"),
        ("fd_prestat_get", "i32 i32"),
        ("fd_prestat_dir_name", "i32 i32 i32"),
    ]
    .iter()
    .map(|(name, params)| wasi(name, params))
    .collect()
}

/// A reactor as Go's linker makes it: `_initialize` looks around and prints.
fn go(callbacks: &str) -> String {
    let imports = go_imports();
    format!(
        r#"(module {LOG} {imports} {FRAME}
        (export "proxy_on_memory_allocate" (func $allocate))
        (func (export "_initialize")
          (call $say_number (call $args_sizes_get (i32.const 520) (i32.const 524)))
          (call $say_number (i32.load (i32.const 520)))
          (call $say_number (call $environ_sizes_get (i32.const 520) (i32.const 524)))
          (call $say_number (call $random_get (i32.const 528) (i32.const 8)))
          (call $say_number (call $random_get (i32.const 0x8000) (i32.const 65537)))
          (call $say_number (call $clock_time_get (i32.const 0) (i64.const 1) (i32.const 536)))
          (call $say_number (call $clock_time_get (i32.const 2) (i64.const 1) (i32.const 536)))
          (call $say_number (call $fd_prestat_get (i32.const 3) (i32.const 544)))
          (call $say_number (call $fd_fdstat_get (i32.const 1) (i32.const 552)))
          (call $say_number (call $fd_fdstat_set_flags (i32.const 1) (i32.const 4)))
          (call $say_number (call $fd_write (i32.const 3) (i32.const 256) (i32.const 1) (i32.const 512)))
          (call $say_number (call $path_filestat_get (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 544)))
          (call $say_number (call $poll_oneoff (i32.const 1024) (i32.const 2048) (i32.const 1) (i32.const 520)))
          (call $say_number (i32.load (i32.const 520)))
          (call $print (i32.const 1)))
        {callbacks})"#
    )
}

fn assert_wat_passes(wat: &str, rest: &str) {
    assert_passes(&wat::parse_str(wat).unwrap(), rest);
}

#[test]
fn a_reactor_of_go_finds_its_runtime() {
    let callbacks = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (call $say_number (call $fd_read (i32.const 0) (i32.const 256) (i32.const 1) (i32.const 512)))
        (call $say_number (call $path_open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 544)))
        (call $say_number (call $sched_yield))
        (call $print (i32.const 2)) (i32.const 0))"#;
    assert_wat_passes(
        &go(callbacks),
        r#"
plugins:
- { module: guest.wasm }
steps:
- request: { path: /, headers: { x-request-id: a } }
  expect: 200
- expect_logs:
  - { level: info, message: "00" }
  - "00"
  - "00"
  - "00"
  - "28"
  - "00"
  - "58"
  - "08"
  - "00"
  - "52"
  - "08"
  - "58"
  - "00"
  - "00"
  - { level: info, message: hello from WASI }
  - "52"
  - "44"
  - "00"
  - { level: error, message: hello from WASI }
"#,
    );
}

#[test]
fn a_guest_that_sleeps_in_a_callback_wakes_on_virtual_time() {
    // Waits as Go does: polls for a clock until the clock says that it is time.
    let callbacks = r#"
      (func $now (result i64) (drop (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 536))) (i64.load (i32.const 536)))
      (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (local $until i64)
        (local.set $until (i64.add (call $now) (i64.const 10000000)))
        (loop $again
          (if (i64.lt_u (call $now) (local.get $until)) (then
            (i32.store8 (i32.const 1032) (i32.const 0))
            (i32.store (i32.const 1040) (i32.const 1))
            (i64.store (i32.const 1048) (i64.const 10000000))
            (drop (call $poll_oneoff (i32.const 1024) (i32.const 2048) (i32.const 1) (i32.const 520)))
            (br $again))))
        (i32.const 0))"#;
    let bytes = wat::parse_str(go(callbacks)).unwrap();
    let module = Module::from_bytes("go.wasm".as_ref(), &bytes).unwrap();
    let host = Host::builder()
        .plugin(Plugin::new(Arc::new(module)))
        .build()
        .unwrap();
    assert_eq!(host.get("/").send().status(), Some(200));
}

#[test]
fn a_guest_of_emscripten_tells_of_its_memory_and_runs_main() {
    let imports = wasi("fd_write", "i32 i32 i32 i32") + &wasi("proc_exit", "i32");
    let guest = format!(
        r#"(module {LOG} {imports}
        (import "env" "emscripten_notify_memory_growth" (func $grown (param i32)))
        (import "env" "pthread_equal" (func $equal (param i32 i32) (result i32)))
        {FRAME}
        (export "malloc" (func $allocate))
        (global $ran (mut i32) (i32.const 0))
        (func (export "_initialize")
          (drop (memory.grow (i32.const 1))) (call $grown (i32.const 0))
          (global.set $ran (i32.const 1)))
        (func (export "main") (param i32 i32) (result i32)
          (global.set $ran (i32.add (global.get $ran) (i32.const 10)))
          (call $print (i32.const 1))
          (i32.const 3))
        (func (export "_start") unreachable)
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (call $say_number (i32.add (global.get $ran) (call $equal (i32.const 7) (i32.const 7)))) (i32.const 0)))"#
    );
    assert_wat_passes(
        &guest,
        r#"
plugins:
- { module: guest.wasm }
steps:
- request: { path: /, headers: { x-request-id: a } }
  expect: 200
- expect_logs: [hello from WASI, "12"]
"#,
    );
}

#[test]
fn a_command_is_started_and_an_exit_in_a_callback_returns() {
    let imports = wasi("fd_write", "i32 i32 i32 i32") + &wasi("proc_exit", "i32");
    let guest = format!(
        r#"(module {LOG} {imports} {FRAME}
        (export "malloc" (func $allocate))
        (func (export "_start") (call $print (i32.const 1)) (call $print (i32.const 2)))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (call $proc_exit (i32.const 1)) (call $say_number (i32.const 42)) (i32.const 0)))"#
    );
    assert_wat_passes(
        &guest,
        r#"
plugins:
- { module: guest.wasm }
steps:
- request: { path: /, headers: { x-request-id: a } }
  expect: 200
- expect_logs:
  - { level: info, message: hello from WASI }
  - { level: error, message: hello from WASI }
  - "42"
"#,
    );
}

#[test]
fn a_module_of_c_that_imports_its_memory_and_table_works() {
    let guest = format!(
        r#"(module {LOG}
        (import "env" "memory" (memory 1))
        (import "env" "__indirect_function_table" (table 1 funcref))
        (data (i32.const 0) "imported")
        (func (export "malloc") (param i32) (result i32) (i32.const 4096))
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (drop (call $log (i32.const 2) (i32.const 0) (i32.const 8))) (i32.const 0)))"#
    );
    assert_wat_passes(
        &guest,
        r#"
plugins:
- { module: guest.wasm }
steps:
- request: { path: /, headers: { x-request-id: a } }
  expect: 200
- expect_logs: [imported]
"#,
    );
}

#[test]
fn hostcalls_work_on_the_last_of_several_memories_whatever_it_is_called() {
    let guest = format!(
        r#"(module {LOG}
        (memory (export "memory") 1)
        (memory (export "another") 1)
        (data (memory 0) (i32.const 0) "first")
        (data (memory 1) (i32.const 0) "other")
        (func (export "malloc") (param i32) (result i32) (i32.const 4096))
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (drop (call $log (i32.const 2) (i32.const 0) (i32.const 5))) (i32.const 0)))"#
    );
    let scenario = |said: &str| {
        format!(
            r#"
plugins:
- {{ module: guest.wasm }}
steps:
- request: {{ path: /, headers: {{ x-request-id: a }} }}
  expect: 200
- expect_logs: [{said}]
"#
        )
    };
    assert_wat_passes(&guest, &scenario("other"));
    let large = guest.replace(
        r#"(memory (export "another") 1)"#,
        r#"(memory (export "another") i64 1)"#,
    );
    let large = large.replace(
        "(data (memory 1) (i32.const 0)",
        "(data (memory 1) (i64.const 0)",
    );
    assert_wat_passes(&large, &scenario("other"));
    let shared = guest.replace(
        r#"(memory (export "another") 1)"#,
        r#"(memory (export "another") 1 1 shared)"#,
    );
    assert_wat_passes(&shared, &scenario("other"));
}
