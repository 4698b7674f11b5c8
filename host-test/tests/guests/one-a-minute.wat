;; Lets one request pass, and another one each minute.
(module
  (import "env" "proxy_send_local_response"
    (func $reply (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_tick_period_milliseconds" (func $tick (param i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "too many")
  (global $left (mut i32) (i32.const 1))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    (drop (call $tick (i32.const 60000)))
    (i32.const 1))
  (func (export "proxy_on_tick") (param i32)
    (global.set $left (i32.const 1)))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (if (global.get $left)
      (then
        (global.set $left (i32.const 0))
        (return (i32.const 0))))
    (drop (call $reply (i32.const 429) (i32.const 0) (i32.const 8)
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1)))
    (i32.const 1)))
