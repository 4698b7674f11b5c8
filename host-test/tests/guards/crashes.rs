//! What ends Envoy's process: each is named here, the host goes on, and the next request is served.

use host_test::host::Answer;

use crate::guest::{host, plugin};

const STREAM: &str = "(param $c i32) (param i32) (param i32) (result i32)";

/// A local reply, a close and a resume as WAT.
const REPLY: &str = r#"(drop (call $reply (i32.const 418) str("d") str("b") (i32.const 0) (i32.const 0) (i32.const -1)))"#;
const CLOSE_REQUEST: &str = "(drop (call $close (i32.const 0)))";
const CLOSE_RESPONSE: &str = "(drop (call $close (i32.const 1)))";
const RESUME_RESPONSE: &str = "(drop (call $continue (i32.const 1)))";

/// Does something in a callback of the first request, and nothing later.
fn once(callback: &str, does: &str) -> String {
    let (types, result) = match callback {
        "log" | "delete" => ("(param $c i32)", ""),
        "done" => ("(param $c i32) (result i32)", "(i32.const 1)"),
        _ => (STREAM, "(i32.const 0)"),
    };
    format!(
        r#"(global $done (mut i32) (i32.const 0))
           (func (export "proxy_on_{callback}") {types}
             (if (i32.eqz (global.get $done)) (then (global.set $done (i32.const 1)) {does}))
             {result})"#
    )
}

/// Asserts that the first request has this violation alone, and that the second one is served.
#[track_caller]
fn assert_named(callback: &str, does: &str, violation: &str) {
    let host = host(plugin(&once(callback, does)))
        .upstream(|_| Answer::status(200, "hello"))
        .build()
        .expect("the guest starts");
    let reply = host.get("/").send();
    assert_eq!(reply.violations(), [violation], "{callback}: {does}");
    let next = host.get("/").send();
    assert_eq!((next.status(), next.body()), (Some(200), &b"hello"[..]));
    assert_eq!(next.violations(), [""; 0]);
}

#[test]
fn a_local_reply_at_the_end_of_a_stream() {
    for callback in ["log", "done", "delete"] {
        let named = "send_local_response in on_log, on_done or on_delete: Envoy 1.40 crashes on it";
        assert_named(callback, REPLY, named);
    }
}

#[test]
fn a_close_at_the_end_of_a_stream() {
    for callback in ["log", "done", "delete"] {
        let named = "close_stream in on_log, on_done or on_delete: Envoy 1.40 crashes on it";
        assert_named(callback, CLOSE_REQUEST, named);
        assert_named(callback, CLOSE_RESPONSE, named);
    }
}

#[test]
fn a_resume_of_a_response_that_is_not_there() {
    let named = "continue_stream(response) in a request callback: Envoy 1.40 crashes on it";
    assert_named("request_headers", RESUME_RESPONSE, named);
}

#[test]
fn two_local_replies_in_one_response_callback() {
    let named = "send_local_response twice in on_response_headers: Envoy 1.40 crashes on it";
    assert_named("response_headers", &REPLY.repeat(2), named);
}

#[test]
fn a_resume_of_a_response_in_its_own_callback() {
    let named = "continue_stream(response) inside a response callback: Envoy 1.40 sends the headers twice or hangs";
    assert_named("response_headers", RESUME_RESPONSE, named);
}

#[test]
fn a_resume_of_a_response_from_a_tick_while_the_request_is_paused() {
    let guest = format!(
        r#"(global $stream (mut i32) (i32.const 0))
           (func (export "proxy_on_configure") (param i32 i32) (result i32)
             (drop (call $tick_period (i32.const 1000))) (i32.const 1))
           (func (export "proxy_on_request_headers") {STREAM}
             (if (i32.eqz (global.get $stream))
               (then (global.set $stream (local.get $c)) (return (i32.const 1))))
             (i32.const 0))
           (func (export "proxy_on_tick") (param i32)
             (drop (call $effective (global.get $stream))) {RESUME_RESPONSE})"#
    );
    let host = host(plugin(&guest)).build().expect("the guest starts");
    let paused = host.get("/").start();
    host.advance(std::time::Duration::from_secs(1));
    let named = "continue_stream(response) before there is a response: Envoy 1.40 crashes on it";
    assert_eq!(paused.finish().violations(), [named]);
    assert_eq!(host.get("/").send().status(), Some(200));
}

#[test]
fn what_is_harmless_there_is_not_reported() {
    for callback in ["log", "done", "delete"] {
        let host = host(plugin(&once(
            callback,
            "(drop (call $continue (i32.const 0)))",
        )))
        .build()
        .expect("the guest starts");
        assert_eq!(host.get("/").send().violations(), [""; 0]);
    }
    for does in [
        format!("{REPLY} (drop (call $continue (i32.const 0)))"),
        format!("(drop (call $continue (i32.const 0))) {REPLY}"),
        REPLY.repeat(2),
    ] {
        let host = host(plugin(&once("request_headers", &does)))
            .build()
            .expect("starts");
        assert_eq!(host.get("/").send().violations(), [""; 0]);
    }
}
