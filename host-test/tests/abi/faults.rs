//! Traps and what each failure policy makes of them.

use std::time::Duration;

use host_test::host::Host;
use host_test::plugin::FailurePolicy;

use crate::guest::{plugin, said};

/// Traps when asked for `/trap`.
const TRAPS: &str = r#"
(func (export "proxy_on_configure") (param i32 i32) (result i32) say("configure") (i32.const 1))
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (drop (call $get_header (i32.const 0) str(":path") (i32.const 32) (i32.const 36)))
  (if (i32.eq (i32.load (i32.const 36)) (i32.const 5)) (then unreachable))
  (i32.const 0))
"#;

fn host(policy: FailurePolicy) -> Host {
    Host::builder()
        .plugin(plugin("trapper", TRAPS).failure_policy(policy))
        .build()
        .expect("the guest starts")
}

#[test]
fn a_trap_is_answered_503_and_logged_with_the_callback() {
    let host = host(FailurePolicy::FailClosed);
    said(&host);
    let reply = host.get("/trap").send();
    assert_eq!((reply.status(), reply.body()), (Some(503), &b""[..]));
    assert_eq!(reply.details(), "wasm_fail_stream");
    let log = said(&host);
    assert!(
        log[0].starts_with("Function: proxy_on_request_headers failed: "),
        "{log:?}"
    );
}

#[test]
fn fail_closed_answers_503_for_ever() {
    let host = host(FailurePolicy::FailClosed);
    host.get("/trap").send();
    host.advance(Duration::from_secs(3_600));
    assert_eq!(host.get("/").send().status(), Some(503));
}

#[test]
fn fail_open_answers_the_trapping_request_503_and_lets_later_ones_pass() {
    let host = host(FailurePolicy::FailOpen);
    assert_eq!(host.get("/trap").send().status(), Some(503));
    assert_eq!(host.get("/").send().status(), Some(200));
}

#[test]
fn fail_reload_waits_for_the_back_off_and_starts_anew() {
    let host = host(FailurePolicy::FailReload {
        backoff: Duration::from_secs(1),
    });
    said(&host);
    assert_eq!(host.get("/trap").send().status(), Some(503));
    assert_eq!(
        host.get("/").send().status(),
        Some(503),
        "loaded less than a second ago"
    );
    host.advance(Duration::from_secs(1));
    said(&host);
    assert_eq!(host.get("/").send().status(), Some(200));
    assert_eq!(said(&host), ["configure"]);
}

#[test]
fn an_endless_loop_is_stopped_and_named() {
    let host = Host::builder()
        .plugin(plugin("looper", r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (loop $l (br $l)) (unreachable))"#))
        .build()
        .expect("the guest starts");
    let reply = host.get("/").send();
    assert_eq!(reply.status(), Some(503));
    assert!(
        reply.logs()[0]
            .message
            .contains("proxy_on_request_headers failed: ran for more than"),
        "{:?}",
        reply.logs()
    );
}

#[test]
fn unbounded_recursion_is_an_ordinary_trap() {
    let host = Host::builder()
        .plugin(plugin("diver", r#"(func $f (param i32) (result i32) (i32.add (i32.const 1) (call $f (local.get 0)))) (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (call $f (i32.const 0)))"#))
        .build()
        .expect("the guest starts");
    assert_eq!(host.get("/").send().status(), Some(503));
}

#[test]
fn memory_stops_growing_at_envoys_ceiling() {
    let host = Host::builder()
        .plugin(plugin("eater", r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (call $say_status (i32.ne (memory.grow (i32.const 16384)) (i32.const -1))) (i32.const 0))"#))
        .build()
        .expect("the guest starts");
    host.get("/").send();
    assert_eq!(said(&host), ["A"], "refused");
}
