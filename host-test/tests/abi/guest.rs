//! Guests in WAT with the usual frame: imports, memory, an allocator that never frees.
//!
//! In a body, `str("text")` becomes pointer and size of a constant, and `say("text")` logs one.

use std::path::Path;
use std::sync::Arc;

use host_test::host::{Host, HostBuilder};
use host_test::module::{Module, ModuleError};
use host_test::plugin::Plugin;

const FRAME: &str = r#"
(import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
(import "env" "proxy_set_tick_period_milliseconds" (func $tick_period (param i32) (result i32)))
(import "env" "proxy_get_header_map_value" (func $get_header (param i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_add_header_map_value" (func $add_header (param i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_replace_header_map_value" (func $set_header (param i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_remove_header_map_value" (func $remove_header (param i32 i32 i32) (result i32)))
(import "env" "proxy_get_header_map_pairs" (func $pairs (param i32 i32 i32) (result i32)))
(import "env" "proxy_get_buffer_bytes" (func $get_buffer (param i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_set_buffer_bytes" (func $set_buffer (param i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_get_property" (func $get_property (param i32 i32 i32 i32) (result i32)))
(import "env" "proxy_set_property" (func $set_property (param i32 i32 i32 i32) (result i32)))
(import "env" "proxy_send_local_response" (func $reply (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_continue_stream" (func $continue (param i32) (result i32)))
(import "env" "proxy_close_stream" (func $close (param i32) (result i32)))
(import "env" "proxy_http_call" (func $http_call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_get_shared_data" (func $get_shared (param i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_set_shared_data" (func $set_shared (param i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_register_shared_queue" (func $register (param i32 i32 i32) (result i32)))
(import "env" "proxy_enqueue_shared_queue" (func $enqueue (param i32 i32 i32) (result i32)))
(import "env" "proxy_dequeue_shared_queue" (func $dequeue (param i32 i32 i32) (result i32)))
(import "env" "proxy_call_foreign_function" (func $foreign (param i32 i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_define_metric" (func $define_metric (param i32 i32 i32 i32) (result i32)))
(import "env" "proxy_increment_metric" (func $increment (param i32 i64) (result i32)))
(import "env" "proxy_set_effective_context" (func $effective (param i32) (result i32)))
(import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
(import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
(memory (export "memory") 4)
(global $heap (mut i32) (i32.const 131072))
(func (export "malloc") (param $size i32) (result i32)
  (local $at i32)
  (local.set $at (global.get $heap))
  (global.set $heap (i32.add (global.get $heap) (i32.and (i32.add (local.get $size) (i32.const 7)) (i32.const -8))))
  (local.get $at))
(func (export "proxy_abi_version_0_2_1"))
(func $say (param i32 i32) (drop (call $log (i32.const 2) (local.get 0) (local.get 1))))
;; Logs what a call handed out at 32 (pointer) and 36 (size).
(func $say_given (call $say (i32.load (i32.const 32)) (i32.load (i32.const 36))))
;; Logs a status as one letter, A for 0.
(func $say_status (param i32)
  (i32.store8 (i32.const 48) (i32.add (i32.const 65) (local.get 0)))
  (call $say (i32.const 48) (i32.const 1)))
"#;

/// The frame around a guest's own functions.
pub(crate) fn wat(body: &str) -> String {
    let mut data = String::new();
    let mut next = 1_024;
    let mut rest = format!("{FRAME}{body}");
    let mut out = String::new();
    while let Some((at, is_say)) = next_marker(&rest) {
        let start = at + rest[at..].find('"').expect("a marker opens a string") + 1;
        let end = start + rest[start..].find('"').expect("a marker closes its string");
        let text = &rest[start..end];
        let size = wat_len(text);
        let constant = format!("(i32.const {next}) (i32.const {size})");
        out.push_str(&rest[..at]);
        out.push_str(&if is_say {
            format!("(call $say {constant})")
        } else {
            constant
        });
        data.push_str(&format!("(data (i32.const {next}) \"{text}\")\n"));
        next += size + 1;
        rest = rest[end + 2..].to_owned();
    }
    format!("(module\n{out}{rest}\n{data})")
}

/// The next `str("` or `say("`.
fn next_marker(text: &str) -> Option<(usize, bool)> {
    let (string, say) = (text.find("str(\""), text.find("say(\""));
    match (string, say) {
        (Some(a), Some(b)) if a < b => Some((a, false)),
        (_, Some(b)) => Some((b, true)),
        (Some(a), None) => Some((a, false)),
        (None, None) => None,
    }
}

/// The bytes of a WAT string: `\xx` is one.
fn wat_len(text: &str) -> usize {
    text.len() - text.matches('\\').count() * 2
}

/// Compiles a guest.
pub(crate) fn module(name: &str, body: &str) -> Result<Module, ModuleError> {
    let bytes = wat::parse_str(wat(body)).expect("the guest is valid WAT");
    Module::from_bytes(Path::new(name), &bytes)
}

/// A plugin of a guest.
pub(crate) fn plugin(name: &str, body: &str) -> Plugin {
    Plugin::new(Arc::new(module(name, body).expect("the guest loads")))
}

/// A host that runs one guest, ready to be built.
pub(crate) fn host(body: &str) -> HostBuilder {
    Host::builder().plugin(plugin("guest", body))
}

/// The messages that guests logged since the last call.
pub(crate) fn said(host: &Host) -> Vec<String> {
    host.take_logs()
        .into_iter()
        .map(|line| line.message)
        .collect()
}

/// Callbacks that log their names, for order tests; `tag` goes in front.
pub(crate) fn chatty(tag: &str) -> String {
    let three = [
        ("request_headers", 3),
        ("request_body", 3),
        ("request_trailers", 2),
    ];
    let back = [
        ("response_headers", 3),
        ("response_body", 3),
        ("response_trailers", 2),
    ];
    let mut body = String::new();
    for (name, params) in three.into_iter().chain(back) {
        let params = "i32 ".repeat(params);
        body.push_str(&format!(
            "(func (export \"proxy_on_{name}\") (param {params}) (result i32) say(\"{tag}{name}\") (i32.const 0))\n"
        ));
    }
    for name in ["log", "delete"] {
        body.push_str(&format!(
            "(func (export \"proxy_on_{name}\") (param i32) say(\"{tag}{name}\"))\n"
        ));
    }
    body.push_str(&format!(
        "(func (export \"proxy_on_done\") (param i32) (result i32) say(\"{tag}done\") (i32.const 1))\n"
    ));
    body
}
