//! Allocators that lie, trap, or call the host.

use crate::guest::{host, plugin_of, traps};

/// A guest that asks for its path and logs the status as a letter, with this allocator.
fn with(malloc: &str) -> String {
    format!(
        r#"(module
        (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
        (import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_get_header_map_pairs" (func $pairs (param i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) ":path")
        (global $calls (mut i32) (i32.const 0))
        (func (export "malloc") (param $size i32) (result i32) {malloc})
        (func $ask (result i32) (call $get (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 32) (i32.const 36)))
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (i32.store8 (i32.const 48) (i32.add (i32.const 65) (call $ask)))
          (drop (call $log (i32.const 2) (i32.const 48) (i32.const 1)))
          (i32.const 0)))"#
    )
}

#[test]
fn a_pointer_that_lies_outside_is_an_invalid_memory_access() {
    for pointer in ["0", "-1", "65536", "65535", "0x7fffffff", "0x80000000"] {
        let host = host(plugin_of(&with(&format!("(i32.const {pointer})"))))
            .build()
            .expect("starts");
        let reply = host.get("/12").send();
        assert_eq!(reply.status(), Some(200), "{pointer}");
        // Status 6.
        assert_eq!(reply.logs()[0].message, "G", "{pointer}");
    }
}

#[test]
fn a_pointer_that_just_fits_is_taken() {
    let host = host(plugin_of(&with("(i32.const 65533)")))
        .build()
        .expect("starts");
    assert_eq!(host.get("/12").send().logs()[0].message, "A");
}

#[test]
fn an_allocator_that_traps_fails_the_vm_by_its_own_name() {
    let host = host(plugin_of(&with("unreachable")))
        .build()
        .expect("starts");
    assert_eq!(host.get("/").send().status(), Some(503));
    let said = traps(&host);
    assert!(said[0].starts_with("Function: malloc failed: "), "{said:?}");
}

#[test]
fn an_allocator_that_loops_is_stopped() {
    let host = host(plugin_of(&with("(loop $l (br $l)) (unreachable)")))
        .build()
        .expect("starts");
    assert_eq!(host.get("/").send().status(), Some(503));
    let said = traps(&host);
    assert!(
        said[0].starts_with("Function: malloc failed: ran for more than"),
        "{said:?}"
    );
}

#[test]
fn an_allocator_that_calls_the_host_without_end_is_a_trap() {
    let host = host(plugin_of(&with("(call $ask)")))
        .build()
        .expect("starts");
    assert_eq!(host.get("/").send().status(), Some(503));
    assert!(traps(&host)[0].starts_with("Function: malloc failed: "));
}
