//! Endless loops, unbounded recursion, memory and tables that grow, floods of hostcalls.

use std::time::Duration;

use host_test::host::{Answer, Host};
use host_test::plugin::Limits;

use crate::guest::{host, plugin, traps};

const LOOP: &str = "(loop $again (br $again))";

/// Callbacks of a stream or of a root that runs, with their types.
const CALLBACKS: [(&str, &str); 12] = [
    ("request_headers", "(param i32 i32 i32) (result i32)"),
    ("request_body", "(param i32 i32 i32) (result i32)"),
    ("request_trailers", "(param i32 i32) (result i32)"),
    ("response_headers", "(param i32 i32 i32) (result i32)"),
    ("response_body", "(param i32 i32 i32) (result i32)"),
    ("response_trailers", "(param i32 i32) (result i32)"),
    ("log", "(param i32)"),
    ("done", "(param i32) (result i32)"),
    ("delete", "(param i32)"),
    ("tick", "(param i32)"),
    ("http_call_response", "(param i32 i32 i32 i32 i32)"),
    ("queue_ready", "(param i32 i32)"),
];

/// Ticks, calls out and queues something, so that every callback comes; the bodies of callbacks
/// are given by name.
fn busy(callback: &str, body: &str) -> String {
    let pairs = r#"str("\03\00\00\00\07\00\00\00\03\00\00\00\05\00\00\00\01\00\00\00\0a\00\00\00\01\00\00\00:method\00GET\00:path\00/\00:authority\00a\00")"#;
    let mut functions = format!(
        r#"(func (export "proxy_on_configure") (param i32 i32) (result i32)
             (drop (call $tick_period (i32.const 1000)))
             (drop (call $register str("q") (i32.const 32)))
             (drop (call $enqueue (i32.load (i32.const 32)) str("item")))
             (drop (call $http_call str("a") {pairs} (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 32)))
             (i32.const 1))"#
    );
    for (name, types) in CALLBACKS {
        if name == callback {
            let result = if types.contains("result") {
                "(i32.const 0)"
            } else {
                ""
            };
            functions += &format!("(func (export \"proxy_on_{name}\") {types} {body} {result})\n");
        }
    }
    functions
}

/// Sends a request with everything there is, and lets time pass.
fn drive(host: &Host) {
    let request = host.post("/").body("abc").trailer("x-t", "1");
    request.send();
    host.advance(Duration::from_secs(1));
}

fn answered(_: &host_test::host::Received) -> Answer {
    Answer::Respond {
        headers: [(":status", "200")].into_iter().collect(),
        chunks: vec!["hello".into()],
        trailers: [("x-t", "1")].into_iter().collect(),
    }
}

/// Each callback in turn does that; the others do nothing. The trap must name it and say why.
#[track_caller]
fn assert_traps(functions: &str, body: &str, why: &str) {
    for (name, _) in CALLBACKS {
        let guest = format!("{functions} {}", busy(name, body));
        let host = host(plugin(&guest))
            .upstream(answered)
            .callouts(answered)
            .build()
            .expect("the guest starts");
        drive(&host);
        let traps = traps(&host);
        let expected = format!("Function: proxy_on_{name} failed: {why}");
        assert!(traps.contains(&expected), "{name}: {traps:?}");
    }
}

#[test]
fn an_endless_loop_is_stopped_in_every_callback_and_named() {
    assert_traps("", LOOP, "ran for more than 50ms");
}

#[test]
fn an_endless_loop_at_the_start_refuses_the_plugin() {
    let table = [
        ("_initialize", r#"(func (export "_initialize") LOOP)"#),
        ("_start", r#"(func (export "_start") LOOP)"#),
        (
            "main",
            r#"(func (export "_initialize")) (func (export "main") (param i32 i32) (result i32) LOOP (i32.const 0))"#,
        ),
        (
            "proxy_on_context_create",
            r#"(func (export "proxy_on_context_create") (param i32 i32) LOOP)"#,
        ),
        (
            "proxy_on_vm_start",
            r#"(func (export "proxy_on_vm_start") (param i32 i32) (result i32) LOOP (i32.const 1))"#,
        ),
        (
            "proxy_on_configure",
            r#"(func (export "proxy_on_configure") (param i32 i32) (result i32) LOOP (i32.const 1))"#,
        ),
    ];
    for (name, function) in table {
        let error = host(plugin(&function.replace("LOOP", LOOP)))
            .build()
            .unwrap_err();
        let expected =
            format!(r#"plugin "guest": Function: {name} failed: ran for more than 50ms"#);
        assert_eq!(error.error.to_string(), expected);
    }
}

#[test]
fn unbounded_recursion_is_a_trap_in_every_callback() {
    let deep =
        "(func $deep (param i32) (result i32) (i32.add (i32.const 1) (call $deep (local.get 0))))";
    assert_traps(
        deep,
        "(drop (call $deep (i32.const 0)))",
        "call stack exhausted",
    );
}

#[test]
fn a_request_after_a_stopped_one_is_served() {
    let guest = format!(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
             (drop (call $get_header (i32.const 0) str(":path") (i32.const 32) (i32.const 36)))
             (if (i32.gt_u (i32.load (i32.const 36)) (i32.const 1)) (then {LOOP}))
             (i32.const 0))"#
    );
    let host = host(plugin(&guest)).build().expect("the guest starts");
    assert_eq!(host.get("/loop").send().status(), Some(503));
    assert_eq!(host.get("/").send().status(), Some(200));
}

#[test]
fn memory_grows_to_the_limit_and_no_further() {
    // 4 pages are there. Logs A if 12 more can be had, then A if not even one can.
    let guest = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (call $say_status (i32.ne (memory.grow (i32.const 12)) (i32.const 4)))
        (call $say_status (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))
        (i32.const 0))"#;
    let limits = Limits {
        memory: Some(16 << 16),
        ..Limits::default()
    };
    let host = host(plugin(guest).limits(limits)).build().expect("starts");
    let reply = host.get("/").send();
    let said: Vec<&str> = reply
        .logs()
        .iter()
        .map(|line| line.message.as_str())
        .collect();
    assert_eq!(said, ["A", "A"]);
}

#[test]
fn a_module_that_wants_more_memory_than_the_limit_is_refused() {
    let limits = Limits {
        memory: Some(3 << 16),
        ..Limits::default()
    };
    let error = host(plugin("").limits(limits)).build().unwrap_err();
    let text = error.error.to_string();
    assert!(
        text.contains("Failed to create new Wasm instance"),
        "{text}"
    );
}

#[test]
fn a_table_grows_to_v8s_limit_and_no_further() {
    let guest = r#"(table $t 1 funcref)
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (call $say_status (i32.ne (table.grow $t (ref.null func) (i32.const 10000000)) (i32.const -1)))
          (i32.const 0))"#;
    let host = host(plugin(guest)).build().expect("starts");
    assert_eq!(host.get("/").send().logs()[0].message, "A");
}

#[test]
fn a_flood_of_hostcalls_is_stopped() {
    let guest = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (loop $again (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 32))) (br $again)) (i32.const 0))"#;
    let limits = Limits {
        hostcalls: Some(1_000),
        ..Limits::default()
    };
    let host = host(plugin(guest).limits(limits)).build().expect("starts");
    assert_eq!(host.get("/").send().status(), Some(503));
    let expected = "Function: proxy_on_request_headers failed: made more than 1000 hostcalls";
    assert_eq!(traps(&host), [expected]);
}

#[test]
fn a_flood_of_bytes_is_stopped() {
    // Shared data of 64 KiB each; the 17th doesn't fit into 1 MiB. Keys count, too.
    let guest = r#"(global $n (mut i32) (i32.const 0))
      (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (loop $again
          (i32.store (i32.const 64) (global.get $n))
          (global.set $n (i32.add (global.get $n) (i32.const 1)))
          (br_if $again (i32.eqz (call $set_shared (i32.const 64) (i32.const 4) (i32.const 65536) (i32.const 65536) (i32.const 0)))))
        (i32.const 0))"#;
    let limits = Limits {
        bytes: Some(1 << 20),
        ..Limits::default()
    };
    let host = host(plugin(guest).limits(limits)).build().expect("starts");
    assert_eq!(host.get("/").send().status(), Some(200));
    assert_eq!(host.shared_data("").len(), 15);
}
