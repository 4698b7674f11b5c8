//! Every import with edge and random arguments, in every callback: the host answers a status, or
//! the guest traps, and the next request is served.

use std::time::Duration;

use host_test::host::{Answer, Host};
use host_test::plugin::Limits;

use crate::bytes::random;
use crate::guest::{host, plugin_of};

/// Imports that are no function of 32-bit numbers alone, or not from `env`.
const ODD: [(&str, &str, &str); 50] = [
    ("env", "proxy_increment_metric", "il"),
    ("env", "proxy_record_metric", "il"),
    ("env", "pthread_equal", "ii"),
    ("env", "proxy_done", ""),
    ("env", "proxy_call_foreign_function", "iiiiii"),
    ("wasi", "args_get", "ii"),
    ("wasi", "args_sizes_get", "ii"),
    ("wasi", "clock_res_get", "ii"),
    ("wasi", "clock_time_get", "ili"),
    ("wasi", "environ_get", "ii"),
    ("wasi", "environ_sizes_get", "ii"),
    ("wasi", "fd_advise", "illi"),
    ("wasi", "fd_allocate", "ill"),
    ("wasi", "fd_close", "i"),
    ("wasi", "fd_datasync", "i"),
    ("wasi", "fd_fdstat_get", "ii"),
    ("wasi", "fd_fdstat_set_flags", "ii"),
    ("wasi", "fd_fdstat_set_rights", "ill"),
    ("wasi", "fd_filestat_get", "ii"),
    ("wasi", "fd_filestat_set_size", "il"),
    ("wasi", "fd_filestat_set_times", "illi"),
    ("wasi", "fd_pread", "iiili"),
    ("wasi", "fd_prestat_dir_name", "iii"),
    ("wasi", "fd_prestat_get", "ii"),
    ("wasi", "fd_pwrite", "iiili"),
    ("wasi", "fd_read", "iiii"),
    ("wasi", "fd_readdir", "iiili"),
    ("wasi", "fd_renumber", "ii"),
    ("wasi", "fd_seek", "ilii"),
    ("wasi", "fd_sync", "i"),
    ("wasi", "fd_tell", "ii"),
    ("wasi", "fd_write", "iiii"),
    ("wasi", "path_create_directory", "iii"),
    ("wasi", "path_filestat_get", "iiiii"),
    ("wasi", "path_filestat_set_times", "iiiilli"),
    ("wasi", "path_link", "iiiiii"),
    ("wasi", "path_open", "iiiiillii"),
    ("wasi", "path_readlink", "iiiiii"),
    ("wasi", "path_remove_directory", "iii"),
    ("wasi", "path_rename", "iiiiii"),
    ("wasi", "path_symlink", "iiii"),
    ("wasi", "path_unlink_file", "iii"),
    ("wasi", "poll_oneoff", "iiii"),
    ("wasi", "random_get", "ii"),
    ("wasi", "sched_yield", ""),
    ("wasi", "sock_accept", "iii"),
    ("wasi", "sock_recv", "iiiiii"),
    ("wasi", "sock_send", "iiiii"),
    ("wasi", "sock_shutdown", "ii"),
    ("env", "proxy_get_log_level", "i"),
];

/// Imports of 32-bit numbers by their count.
const PLAIN: [(&str, usize); 36] = [
    ("proxy_log", 3),
    ("proxy_get_current_time_nanoseconds", 1),
    ("proxy_set_tick_period_milliseconds", 1),
    ("proxy_get_status", 3),
    ("proxy_get_property", 4),
    ("proxy_set_property", 4),
    ("proxy_get_buffer_bytes", 5),
    ("proxy_set_buffer_bytes", 5),
    ("proxy_get_buffer_status", 3),
    ("proxy_get_header_map_value", 5),
    ("proxy_add_header_map_value", 5),
    ("proxy_replace_header_map_value", 5),
    ("proxy_remove_header_map_value", 3),
    ("proxy_get_header_map_pairs", 3),
    ("proxy_set_header_map_pairs", 3),
    ("proxy_get_header_map_size", 2),
    ("proxy_send_local_response", 8),
    ("proxy_continue_stream", 1),
    ("proxy_close_stream", 1),
    ("proxy_http_call", 10),
    ("proxy_grpc_call", 12),
    ("proxy_grpc_stream", 9),
    ("proxy_grpc_send", 4),
    ("proxy_grpc_cancel", 1),
    ("proxy_grpc_close", 1),
    ("proxy_get_shared_data", 5),
    ("proxy_set_shared_data", 5),
    ("proxy_register_shared_queue", 3),
    ("proxy_resolve_shared_queue", 5),
    ("proxy_enqueue_shared_queue", 3),
    ("proxy_dequeue_shared_queue", 3),
    ("proxy_define_metric", 4),
    ("proxy_get_metric", 2),
    ("proxy_set_effective_context", 1),
    ("envoy_resolve_dns", 3),
    ("proxy_log", 3),
];

/// Callbacks in which the calls are made, with their types and results.
const CALLBACKS: [(&str, &str, &str); 16] = [
    ("context_create", "(param i32 i32)", ""),
    ("vm_start", "(param i32 i32) (result i32)", "(i32.const 1)"),
    ("configure", "(param i32 i32) (result i32)", "(i32.const 1)"),
    ("tick", "(param i32)", ""),
    ("queue_ready", "(param i32 i32)", ""),
    ("http_call_response", "(param i32 i32 i32 i32 i32)", ""),
    (
        "request_headers",
        "(param i32 i32 i32) (result i32)",
        "(call $verdict)",
    ),
    (
        "request_body",
        "(param i32 i32 i32) (result i32)",
        "(call $verdict)",
    ),
    (
        "request_trailers",
        "(param i32 i32) (result i32)",
        "(call $verdict)",
    ),
    (
        "response_headers",
        "(param i32 i32 i32) (result i32)",
        "(call $verdict)",
    ),
    (
        "response_body",
        "(param i32 i32 i32) (result i32)",
        "(call $verdict)",
    ),
    (
        "response_trailers",
        "(param i32 i32) (result i32)",
        "(call $verdict)",
    ),
    ("log", "(param i32)", ""),
    ("done", "(param i32) (result i32)", "(call $verdict)"),
    ("delete", "(param i32)", ""),
    ("foreign_function", "(param i32 i32 i32)", ""),
];

/// Bytes of one step of the guest's program: the number of a call, and its arguments.
const STEP: usize = 56;

/// Where the program lies in the guest's memory.
const PROGRAM: usize = 0x1_0000;

/// Calls that one callback makes.
const CALLS: usize = 4;

/// A guest that carries out a program, some calls in each callback. At 0 lie texts that arguments
/// may point to.
fn guest(program: &[u8], malloc: &str) -> String {
    let calls = calls();
    let imports: String = calls
        .iter()
        .enumerate()
        .map(|(n, (module, name, types))| {
            let module = if *module == "wasi" {
                "wasi_snapshot_preview1"
            } else {
                module
            };
            let types: Vec<&str> = types
                .chars()
                .map(|kind| if kind == 'l' { "i64" } else { "i32" })
                .collect();
            let types = types.join(" ");
            format!("(import \"{module}\" \"{name}\" (func $c{n} (param {types}) (result i32)))\n")
        })
        .collect();
    let dispatch: String = calls
        .iter()
        .enumerate()
        .map(|(n, (_, _, types))| {
            let arguments: String = types
                .chars()
                .enumerate()
                .map(|(at, kind)| {
                    let load = if kind == 'l' { "i64.load" } else { "i32.load" };
                    format!("({load} offset={} (local.get $at))", 4 + at * 4)
                })
                .collect();
            format!(
                "(if (i32.eq (i32.load (local.get $at)) (i32.const {n})) (then (drop (call $c{n} {arguments}))))\n"
            )
        })
        .collect();
    let callbacks: String = CALLBACKS
        .iter()
        .map(|(name, types, result)| {
            format!("(func (export \"proxy_on_{name}\") {types} (call $run) {result})\n")
        })
        .collect();
    let bytes: String = program.iter().map(|byte| format!("\\{byte:02x}")).collect();
    format!(
        r#"(module {imports}
        (memory (export "memory") 4)
        (data (i32.const 0) ":path\00x-a\00compress\00plugin_name\00request\00size\00verify_signature\00\01\00\00\00\01\00\00\00\01\00\00\00a\00b\00")
        (data (i32.const {PROGRAM}) "{bytes}")
        (global $at (mut i32) (i32.const {PROGRAM}))
        (global $verdicts (mut i32) (i32.const 0))
        (func $verdict (result i32)
          (global.set $verdicts (i32.add (global.get $verdicts) (i32.const 7)))
          (i32.rem_u (global.get $verdicts) (i32.const 5)))
        (func (export "malloc") (param $size i32) (result i32) {malloc})
        (func (export "proxy_abi_version_0_2_1"))
        (func $step (param $at i32) {dispatch})
        (func $run (local $left i32)
          (local.set $left (i32.const {CALLS}))
          (loop $again
            (if (i32.ge_u (global.get $at) (i32.const {end})) (then (global.set $at (i32.const {PROGRAM}))))
            (call $step (global.get $at))
            (global.set $at (i32.add (global.get $at) (i32.const {STEP})))
            (local.set $left (i32.sub (local.get $left) (i32.const 1)))
            (br_if $again (local.get $left))))
        {callbacks})"#,
        end = PROGRAM + program.len(),
    )
}

fn calls() -> Vec<(&'static str, &'static str, String)> {
    let plain = PLAIN
        .iter()
        .map(|(name, params)| ("env", *name, "i".repeat(*params)));
    let odd = ODD
        .iter()
        .map(|(module, name, types)| (*module, *name, (*types).to_owned()));
    plain.chain(odd).collect()
}

/// A number that is likely to be at some edge.
fn argument(seed: &mut u64) -> u32 {
    const EDGES: [u32; 22] = [
        0,
        1,
        2,
        3,
        4,
        5,
        6,
        7,
        8,
        9,
        12,
        64,
        100,
        1_024,
        65_536,
        0x3_ffff,
        0x4_0000,
        0x4_0001,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_fffe,
        u32::MAX,
    ];
    let number = random(seed);
    match number % 8 {
        0 => (number >> 32) as u32,
        1 | 2 => ((number >> 32) % 100) as u32,
        _ => EDGES[(number >> 32) as usize % EDGES.len()],
    }
}

fn program(seed: &mut u64, steps: usize) -> Vec<u8> {
    let calls = u64::try_from(calls().len()).unwrap();
    (0..steps)
        .flat_map(|_| {
            let call = (random(seed) % calls) as u32;
            let arguments: Vec<u32> = (1..STEP / 4).map(|_| argument(seed)).collect();
            std::iter::once(call)
                .chain(arguments)
                .flat_map(u32::to_le_bytes)
        })
        .collect()
}

/// Drives a guest through all its callbacks, twice.
fn drive(host: &Host) {
    for _ in 0..2 {
        let request = host.post("/").header("x-a", "b");
        request
            .chunks(vec!["abc".into(), "def".into()])
            .trailer("x-t", "1")
            .send();
        host.get("/").send();
        host.advance(Duration::from_millis(20));
    }
}

#[test]
fn any_call_with_any_arguments_is_answered() {
    // Memory of its own, all of one place, nothing, and the end of memory.
    let allocators = [
        "(i32.const 0x20000)",
        "(i32.const 8)",
        "(i32.const 0)",
        "(i32.const 0x3fffc)",
    ];
    let limits = Limits {
        hostcalls: Some(10_000),
        bytes: Some(16 << 20),
        ..Limits::default()
    };
    let (mut seed, mut driven) = (7, 0);
    for round in 0..60 {
        let program = program(&mut seed, 200);
        let plugin = plugin_of(&guest(&program, allocators[round % allocators.len()]));
        let built = host(plugin.limits(limits))
            .upstream(|_| Answer::Respond {
                headers: [(":status", "200")].into_iter().collect(),
                chunks: vec!["hello".into(), "world".into()],
                trailers: [("x-t", "1")].into_iter().collect(),
            })
            .callouts(|_| Answer::status(200, "fine"))
            .build();
        // A call in a start callback may have refused the plugin.
        if let Ok(host) = built {
            drive(&host);
            driven += 1;
        }
    }
    assert!(driven > 30, "only {driven} guests started");
}
