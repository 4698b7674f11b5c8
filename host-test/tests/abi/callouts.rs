//! HTTP callouts: tokens, answers, time-outs, refusals.

use host_test::host::Answer;

use crate::guest::{host, said};

/// Serialized pairs: `:method GET`, `:path /`, `:authority a`.
const PAIRS: &str = r#"str("\03\00\00\00\07\00\00\00\03\00\00\00\05\00\00\00\01\00\00\00\0a\00\00\00\01\00\00\00:method\00GET\00:path\00/\00:authority\00a\00")"#;

fn asks_then_continues() -> String {
    format!(
        r#"(global $stream (mut i32) (i32.const 0))
           (func (export "proxy_on_request_headers") (param $c i32) (param i32 i32) (result i32)
             (global.set $stream (local.get $c))
             (call $say_status (call $http_call str("auth") {PAIRS} (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 32)))
             (call $say_status (i32.load (i32.const 32)))
             (i32.const 1))
           (func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32)
             (drop (call $get_header (i32.const 6) str(":status") (i32.const 32) (i32.const 36)))
             (call $say_given)
             (drop (call $get_buffer (i32.const 4) (i32.const 0) (i32.const 100) (i32.const 32) (i32.const 36)))
             (call $say_given)
             (drop (call $effective (global.get $stream)))
             (drop (call $set_header (i32.const 0) str("x-asked") str("yes")))
             (drop (call $continue (i32.const 0))))"#
    )
}

#[test]
fn a_paused_request_goes_on_after_its_callout_and_can_still_be_changed() {
    let host = host(&asks_then_continues())
        .callouts(|_| Answer::status(200, "fine"))
        .build()
        .expect("the guest starts");
    let reply = host.get("/").send();
    assert_eq!(said(&host), ["A", "E", "200", "fine"], "ok, token 4");
    assert_eq!(reply.status(), Some(200));
    assert_eq!(reply.callouts()[0].cluster, "auth");
    let upstream = reply.upstream_request().expect("forwarded");
    assert_eq!(upstream.headers.first("x-asked"), Some(&b"yes"[..]));
}

#[test]
fn a_silent_callout_is_answered_504_after_its_time_out() {
    let host = host(&asks_then_continues())
        .callouts(|_| Answer::Never)
        .build()
        .expect("starts");
    host.get("/").send();
    assert_eq!(said(&host)[2..], ["504", "upstream request timeout"]);
}

#[test]
fn a_refused_callout_is_a_503_answer() {
    let host = host(&asks_then_continues())
        .callouts(|_| Answer::Reset)
        .build()
        .expect("starts");
    host.get("/").send();
    assert_eq!(said(&host)[2], "503");
}

#[test]
fn a_callout_without_pseudo_headers_is_a_bad_argument() {
    let host = host(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
             (call $say_status (call $http_call str("auth") (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 32)))
             (i32.const 0))"#,
    )
    .build()
    .expect("the guest starts");
    host.get("/").send();
    assert_eq!(said(&host), ["C"]);
}
