;; Logs eight random letters with every request.
(module
  (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (local $at i32)
    (drop (call $random (i32.const 16) (i32.const 8)))
    (local.set $at (i32.const 16))
    (loop $next
      (i32.store8 (local.get $at)
        (i32.add (i32.const 97) (i32.and (i32.load8_u (local.get $at)) (i32.const 15))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 24))))
    (drop (call $log (i32.const 2) (i32.const 16) (i32.const 8)))
    (i32.const 0)))
