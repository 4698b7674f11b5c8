//! `proxy_send_local_response` and `proxy_close_stream`, by where they are called.

use crate::guest::{chatty, host, said};

/// 429 "slow down" with the details "over limit".
const REPLY: &str = r#"(drop (call $reply (i32.const 429) str("over limit") str("slow down") (i32.const 0) (i32.const 0) (i32.const -1)))"#;

#[test]
fn a_reply_from_request_headers_runs_the_filters_own_response_callbacks() {
    let guest = format!(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) {REPLY} (i32.const 0))
           (func (export "proxy_on_response_headers") (param $c i32) (param $n i32) (param i32) (result i32)
             (call $say_status (local.get $n)) (i32.const 0))
           (func (export "proxy_on_response_body") (param i32 i32 i32) (result i32) say("body") (i32.const 0))"#
    );
    let host = host(&guest).build().expect("the guest starts");
    let reply = host.get("/").send();
    assert_eq!(reply.status(), Some(429));
    assert_eq!(reply.body(), b"slow down");
    assert_eq!(reply.header("content-length").as_deref(), Some("9"));
    assert_eq!(reply.header("content-type").as_deref(), Some("text/plain"));
    assert_eq!(reply.details(), "over_limit");
    assert!(reply.upstream_request().is_none());
    assert_eq!(said(&host), ["D", "body"], "three headers");
}

#[test]
fn a_reply_from_response_headers_replaces_the_response_and_skips_later_callbacks() {
    let guest = format!(
        r#"(func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) {REPLY} say("headers") (i32.const 0))
           (func (export "proxy_on_response_body") (param i32 i32 i32) (result i32) say("body") (i32.const 0))"#
    );
    let host = host(&guest).build().expect("the guest starts");
    let reply = host.get("/").send();
    assert_eq!(
        (reply.status(), reply.body()),
        (Some(429), &b"slow down"[..])
    );
    assert_eq!(said(&host), ["headers"]);
}

#[test]
fn a_reply_after_the_headers_went_out_breaks_the_response_off() {
    let guest = format!(
        r#"(func (export "proxy_on_response_body") (param i32 i32 i32) (result i32) {REPLY} (i32.const 0))"#
    );
    let host = host(&guest)
        .upstream(|_| host_test::host::Answer::status(200, "body"))
        .build()
        .expect("the guest starts");
    let reply = host.get("/").send();
    assert_eq!(reply.status(), Some(200));
    assert!(reply.is_reset());
}

#[test]
fn the_first_of_two_replies_in_the_request_wins() {
    let guest = format!(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
             {REPLY}
             (drop (call $reply (i32.const 500) str("") str("") (i32.const 0) (i32.const 0) (i32.const -1)))
             (i32.const 0))"#
    );
    let host = host(&guest).build().expect("the guest starts");
    assert_eq!(host.get("/").send().status(), Some(429));
}

#[test]
fn a_reply_in_on_log_would_crash_envoy_and_is_reported() {
    let guest = format!(r#"(func (export "proxy_on_log") (param i32) {REPLY})"#);
    let host = host(&guest).build().expect("the guest starts");
    let reply = host.get("/").send();
    assert_eq!(reply.status(), Some(200));
    assert!(
        reply.violations()[0].contains("crashes"),
        "{:?}",
        reply.violations()
    );
}

#[test]
fn a_grpc_request_is_answered_with_trailers_only() {
    let guest = format!(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) {REPLY} (i32.const 0))"#
    );
    let host = host(&guest).build().expect("the guest starts");
    let reply = host
        .post("/s/m")
        .header("content-type", "application/grpc")
        .send();
    assert_eq!(reply.status(), Some(200));
    assert_eq!(reply.header("grpc-status").as_deref(), Some("14"));
    assert_eq!(reply.header("grpc-message").as_deref(), Some("slow down"));
    assert_eq!(reply.body(), b"");
}

#[test]
fn a_reply_to_head_has_a_length_and_no_body() {
    let guest = format!(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) {REPLY} (i32.const 0))"#
    );
    let host = host(&guest).build().expect("the guest starts");
    let reply = host.request("HEAD", "/").send();
    assert_eq!(reply.header("content-length").as_deref(), Some("9"));
    assert_eq!(reply.body(), b"");
}

#[test]
fn close_stream_resets_without_an_answer() {
    let guest = format!(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
             (drop (call $close (i32.const 0))) (i32.const 0))
           {}"#,
        chatty("")
            .lines()
            .filter(|line| !line.contains("request_headers"))
            .collect::<Vec<_>>()
            .join("\n")
    );
    let host = host(&guest).build().expect("the guest starts");
    let reply = host.get("/").send();
    assert!(reply.is_reset());
    assert_eq!(reply.status(), None);
    assert_eq!(said(&host), ["log", "done", "delete"]);
}
