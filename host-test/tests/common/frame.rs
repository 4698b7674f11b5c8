//! The usual frame of a guest in WAT: imports, memory, an allocator that never frees, and functions
//! that log what a call answered.
//!
//! In a body, `str("text")` becomes pointer and size of a constant, and `say("text")` logs one.

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
(import "env" "proxy_get_header_map_size" (func $map_size (param i32 i32) (result i32)))
(import "env" "proxy_set_header_map_pairs" (func $set_pairs (param i32 i32 i32) (result i32)))
(import "env" "proxy_get_buffer_status" (func $buffer_status (param i32 i32 i32) (result i32)))
(import "env" "proxy_record_metric" (func $record (param i32 i64) (result i32)))
(import "env" "proxy_get_metric" (func $get_metric (param i32 i32) (result i32)))
(import "env" "proxy_get_log_level" (func $log_level (param i32) (result i32)))
(import "env" "proxy_done" (func $done (result i32)))
(import "env" "proxy_get_status" (func $get_status (param i32 i32 i32) (result i32)))
(import "env" "proxy_grpc_call" (func $grpc_call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_grpc_stream" (func $grpc_stream (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_grpc_send" (func $grpc_send (param i32 i32 i32 i32) (result i32)))
(import "env" "proxy_grpc_cancel" (func $grpc_cancel (param i32) (result i32)))
(import "env" "proxy_grpc_close" (func $grpc_close (param i32) (result i32)))
(import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
(import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes (param i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
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
;; A line that is being put together at 65536, and its size.
(global $line (mut i32) (i32.const 0))
(func $put (param $at i32) (param $size i32)
  (memory.copy (i32.add (i32.const 65536) (global.get $line)) (local.get $at) (local.get $size))
  (global.set $line (i32.add (global.get $line) (local.get $size))))
(func $put_byte (param i32)
  (i32.store8 (i32.add (i32.const 65536) (global.get $line)) (local.get 0))
  (global.set $line (i32.add (global.get $line) (i32.const 1))))
(func $put_number (param $n i64)
  (if (i64.ge_u (local.get $n) (i64.const 10))
    (then (call $put_number (i64.div_u (local.get $n) (i64.const 10)))))
  (call $put_byte (i32.add (i32.const 48) (i32.wrap_i64 (i64.rem_u (local.get $n) (i64.const 10))))))
(func $put_space (call $put_byte (i32.const 32)))
(func $end_line
  (call $say (i32.const 65536) (global.get $line)) (global.set $line (i32.const 0)))
;; Starts a line with a label and a status.
(func $start_line (param $at i32) (param $size i32) (param $status i32)
  (call $put (local.get $at) (local.get $size)) (call $put_space)
  (call $put_number (i64.extend_i32_u (local.get $status))))
;; Logs "label status".
(func $tell (param i32 i32 i32)
  (call $start_line (local.get 0) (local.get 1) (local.get 2)) (call $end_line))
;; Logs "label status [text]": what a call handed out, if it answered Ok.
(func $tell_text (param i32 i32 i32)
  (call $start_line (local.get 0) (local.get 1) (local.get 2))
  (if (i32.eqz (local.get 2)) (then
    (call $put_space) (call $put_byte (i32.const 91))
    (call $put (i32.load (i32.const 32)) (i32.load (i32.const 36)))
    (call $put_byte (i32.const 93))))
  (call $end_line))
;; Logs "label status size:number": bytes handed out as a little-endian number.
(func $tell_bytes (param i32 i32 i32)
  (local $at i32)
  (call $start_line (local.get 0) (local.get 1) (local.get 2))
  (if (i32.eqz (local.get 2)) (then
    (call $put_space) (call $put_number (i64.load32_u (i32.const 36))) (call $put_byte (i32.const 58))
    (local.set $at (i32.load (i32.const 32)))
    (if (i32.eq (i32.load (i32.const 36)) (i32.const 1))
      (then (call $put_number (i64.load8_u (local.get $at)))))
    (if (i32.eq (i32.load (i32.const 36)) (i32.const 8))
      (then (call $put_number (i64.load (local.get $at)))))))
  (call $end_line))
;; Logs "label status number" with the u32 that a call wrote to 32, if it answered Ok.
(func $tell_u32 (param i32 i32 i32)
  (call $start_line (local.get 0) (local.get 1) (local.get 2))
  (if (i32.eqz (local.get 2)) (then
    (call $put_space) (call $put_number (i64.load32_u (i32.const 32)))))
  (call $end_line))
;; Logs "label status number" with the u64 that a call wrote to 32, if it answered Ok.
(func $tell_u64 (param i32 i32 i32)
  (call $start_line (local.get 0) (local.get 1) (local.get 2))
  (if (i32.eqz (local.get 2)) (then
    (call $put_space) (call $put_number (i64.load (i32.const 32)))))
  (call $end_line))
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
