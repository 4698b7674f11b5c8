//! HTTP callouts: tokens, answers, time-outs, refusals, and requests that wait for them.

use std::time::Duration;

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
    let flight = host.get("/").start();
    host.advance(Duration::from_millis(999));
    assert!(flight.is_paused());
    host.advance(Duration::from_millis(1));
    assert_eq!(said(&host)[2..], ["504", "upstream request timeout"]);
    assert_eq!(flight.finish().status(), Some(200));
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

#[test]
fn requests_in_flight_are_answered_in_any_order() {
    let host = host(&format!(
        r#"(func (export "proxy_on_request_headers") (param $c i32) (param i32 i32) (result i32)
             (drop (call $http_call str("auth") {PAIRS} (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 32)))
             ;; The stream that a token was given to, by the token's number.
             (i32.store (i32.add (i32.const 64) (i32.load (i32.const 32))) (local.get $c))
             (i32.const 1))
           (func (export "proxy_on_http_call_response") (param i32) (param $token i32) (param i32 i32 i32)
             (drop (call $effective (i32.load (i32.add (i32.const 64) (local.get $token)))))
             (drop (call $get_buffer (i32.const 4) (i32.const 0) (i32.const 100) (i32.const 32) (i32.const 36)))
             (drop (call $set_header (i32.const 0) str("x-answer") (i32.load (i32.const 32)) (i32.load (i32.const 36))))
             (drop (call $continue (i32.const 0))))"#
    ))
    .callouts(|_| Answer::Never)
    .build()
    .expect("starts");
    let (first, second) = (host.get("/1").start(), host.get("/2").start());
    let waiting = host.waiting_callouts();
    assert_eq!(waiting.len(), 2);
    host.answer(&waiting[1], Answer::status(200, "two"))
        .expect("waits");
    assert!(first.is_paused() && !first.is_over());
    assert!(!second.is_paused() && second.is_over());
    host.answer(&waiting[0], Answer::status(200, "one"))
        .expect("waits");
    for (flight, path, answer) in [(first, "/1", "one"), (second, "/2", "two")] {
        let reply = flight.finish();
        let upstream = reply.upstream_request().expect("forwarded");
        assert_eq!(upstream.headers.text(":path").as_deref(), Some(path));
        assert_eq!(upstream.headers.text("x-answer").as_deref(), Some(answer));
        assert_eq!(reply.callouts().len(), 1, "its own alone");
    }
    let again = host.answer(&waiting[0], Answer::status(200, ""));
    assert!(again.unwrap_err().to_string().contains("\"auth\""));
}

#[test]
fn a_request_that_nothing_moves_on_is_given_up_and_says_so() {
    let host = host(&asks_then_continues())
        .callouts(|_| Answer::Never)
        .build()
        .expect("starts");
    let reply = host.get("/").send();
    assert!(reply.is_paused() && !reply.is_complete());
    assert_eq!(reply.status(), None);
    let waiting = host.waiting_callouts();
    host.answer(&waiting[0], Answer::status(200, "late"))
        .expect("the root context still waits");
    assert_eq!(said(&host)[2..], ["200", "late"]);
}

#[test]
fn a_client_that_goes_away_ends_its_request() {
    let host =
        host(&(asks_then_continues() + &crate::guest::chatty("").replace("request_headers", "x")))
            .callouts(|_| Answer::Never)
            .build()
            .expect("starts");
    drop(host.get("/").start());
    assert_eq!(said(&host)[2..], ["log", "done", "delete"]);
}

#[test]
fn a_cluster_that_is_not_named_is_refused_and_one_without_hosts_fails_at_once() {
    let asks = |cluster: &str| {
        format!(
            r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                 (call $say_status (call $http_call str("{cluster}") {PAIRS} (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 32)))
                 (i32.const 0))
               (func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32) say("answered"))"#
        )
    };
    for (cluster, told) in [
        ("known", &["A", "answered"][..]),
        ("empty", &["K"]),
        ("unknown", &["C"]),
    ] {
        let host = host(&asks(cluster))
            .cluster("known")
            .cluster_without_hosts("empty")
            .build()
            .expect("starts");
        host.get("/").send();
        assert_eq!(said(&host), told, "{cluster}");
    }
}

#[test]
fn callouts_without_end_are_stopped_and_reported() {
    let host = host(&format!(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
             (call $ask) (i32.const 0))
           (func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32) (call $ask))
           (func $ask
             (drop (call $http_call str("auth") {PAIRS} (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 32))))"#
    ))
    .build()
    .expect("starts");
    assert_eq!(host.get("/").send().status(), Some(200));
    assert!(host.violations()[0].contains("without end"));
}
