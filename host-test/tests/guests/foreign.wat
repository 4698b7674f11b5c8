;; Calls the foreign function that the request names in `x-call`, with the hexadecimal argument in
;; `x-with`, and logs status and hexadecimal result. `x-then` names one that gets the result.
;; What the vm configuration holds is passed to `declare_property` when it is configured.
(module
  (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
  (import "env" "proxy_get_header_map_value" (func $header (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_buffer_bytes" (func $buffer (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_property" (func $get (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_property" (func $set (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_call_foreign_function"
    (func $foreign (param i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 64)
  (global $heap (mut i32) (i32.const 131072))
  (data (i32.const 100) "x-callx-withx-then")
  (data (i32.const 140) "declare_property")
  (data (i32.const 160) "0123456789abcdef")
  (data (i32.const 180) "x-setx-get")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $heap))
    (global.set $heap (i32.add (global.get $heap)
      (i32.and (i32.add (local.get $size) (i32.const 15)) (i32.const -8))))
    (local.get $at))
  (func (export "proxy_on_context_create") (param i32 i32))
  (func $digit (param $letter i32) (result i32)
    (select
      (i32.sub (local.get $letter) (i32.const 48))
      (i32.sub (local.get $letter) (i32.const 87))
      (i32.lt_u (local.get $letter) (i32.const 58))))
  ;; Decodes hexadecimal text in place; the size is halved.
  (func $unhex (param $at i32) (param $size i32) (result i32)
    (local $i i32)
    (block $end
      (loop $next
        (br_if $end (i32.ge_u (local.get $i) (i32.shr_u (local.get $size) (i32.const 1))))
        (i32.store8 (i32.add (local.get $at) (local.get $i))
          (i32.or
            (i32.shl
              (call $digit (i32.load8_u
                (i32.add (local.get $at) (i32.shl (local.get $i) (i32.const 1)))))
              (i32.const 4))
            (call $digit (i32.load8_u offset=1
              (i32.add (local.get $at) (i32.shl (local.get $i) (i32.const 1)))))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (i32.shr_u (local.get $size) (i32.const 1)))
  ;; Logs "A:" for status 0 and so on, and the bytes.
  (func $say (param $status i32) (param $at i32) (param $size i32)
    (local $i i32)
    (i32.store8 (i32.const 65536) (i32.add (i32.const 65) (local.get $status)))
    (i32.store8 (i32.const 65537) (i32.const 58))
    (block $end
      (loop $next
        (br_if $end (i32.ge_u (local.get $i) (local.get $size)))
        (i32.store8 offset=65538 (i32.shl (local.get $i) (i32.const 1))
          (i32.load8_u offset=160 (i32.shr_u
            (i32.load8_u (i32.add (local.get $at) (local.get $i))) (i32.const 4))))
        (i32.store8 offset=65539 (i32.shl (local.get $i) (i32.const 1))
          (i32.load8_u offset=160 (i32.and
            (i32.load8_u (i32.add (local.get $at) (local.get $i))) (i32.const 15))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (drop (call $log (i32.const 2) (i32.const 65536)
      (i32.add (i32.const 2) (i32.shl (local.get $size) (i32.const 1))))))
  ;; Puts a request header at 32 (pointer) and 36 (size); an absent one is empty.
  (func $ask (param $name i32) (param $size i32)
    (i32.store (i32.const 32) (i32.const 0))
    (i32.store (i32.const 36) (i32.const 0))
    (drop (call $header (i32.const 0) (local.get $name) (local.get $size)
      (i32.const 32) (i32.const 36))))
  (func (export "proxy_on_configure") (param $root i32) (param $size i32) (result i32)
    (local $status i32)
    (if (local.get $size) (then
      (drop (call $buffer (i32.const 7) (i32.const 0) (local.get $size)
        (i32.const 32) (i32.const 36)))
      (local.set $size (call $unhex (i32.load (i32.const 32)) (i32.load (i32.const 36))))
      (call $say
        (call $foreign (i32.const 140) (i32.const 16) (i32.load (i32.const 32)) (local.get $size)
          (i32.const 40) (i32.const 44))
        (i32.const 0) (i32.const 0))
      (call $say
        (call $foreign (i32.const 140) (i32.const 16) (i32.load (i32.const 32)) (local.get $size)
          (i32.const 40) (i32.const 44))
        (i32.const 0) (i32.const 0))))
    (i32.const 1))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (local $name i32) (local $name_size i32) (local $status i32)
    (call $ask (i32.const 180) (i32.const 5))
    (if (i32.load (i32.const 36)) (then
      (call $say
        (call $set (i32.load (i32.const 32)) (i32.load (i32.const 36)) (i32.const 160) (i32.const 4))
        (i32.const 0) (i32.const 0))))
    (call $ask (i32.const 100) (i32.const 6))
    (local.set $name (i32.load (i32.const 32)))
    (local.set $name_size (i32.load (i32.const 36)))
    (call $ask (i32.const 106) (i32.const 6))
    (i32.store (i32.const 40) (i32.const -1))
    (i32.store (i32.const 44) (i32.const 0))
    (local.set $status
      (call $foreign (local.get $name) (local.get $name_size) (i32.load (i32.const 32))
        (call $unhex (i32.load (i32.const 32)) (i32.load (i32.const 36)))
        (i32.const 40) (i32.const 44)))
    (call $ask (i32.const 112) (i32.const 6))
    (if (i32.load (i32.const 36)) (then
      (local.set $status
        (call $foreign (i32.load (i32.const 32)) (i32.load (i32.const 36))
          (i32.load (i32.const 40)) (i32.load (i32.const 44)) (i32.const 40) (i32.const 44)))))
    (call $say (local.get $status) (i32.load (i32.const 40)) (i32.load (i32.const 44)))
    (call $ask (i32.const 185) (i32.const 5))
    (if (i32.load (i32.const 36)) (then
      (i32.store (i32.const 40) (i32.const 0))
      (i32.store (i32.const 44) (i32.const 0))
      (local.set $status
        (call $get (i32.load (i32.const 32)) (i32.load (i32.const 36)) (i32.const 40) (i32.const 44)))
      (call $say (local.get $status) (i32.load (i32.const 40)) (i32.load (i32.const 44)))))
    (i32.const 0)))
