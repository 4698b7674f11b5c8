//! Bodies: pausing, buffering, replacing, limits.

use bytes::Bytes;
use host_test::host::Answer;

use crate::guest::{host, said};

#[test]
fn a_pause_in_headers_holds_the_body_callbacks_back_too() {
    let host = host(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 1))
           (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) say("body") (i32.const 0))"#,
    )
    .build()
    .expect("the guest starts");
    let reply = host.post("/").body("abc").send();
    assert!(reply.is_paused());
    assert_eq!(reply.status(), None);
    assert_eq!(said(&host), Vec::<String>::new());
}

#[test]
fn with_allow_on_headers_stop_iteration_the_body_is_seen_while_headers_wait() {
    let guest = r#"
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 1))
        (func (export "proxy_on_request_body") (param $c i32) (param $size i32) (param $end i32) (result i32)
          (if (i32.eqz (local.get $end)) (then (return (i32.const 1))))
          (drop (call $set_header (i32.const 0) str("x-seen") str("yes")))
          (i32.const 0))"#;
    let mut plugin = crate::guest::plugin("guest", guest);
    plugin.allow_on_headers_stop_iteration = true;
    let host = host_test::host::Host::builder()
        .plugin(plugin)
        .build()
        .expect("the guest starts");
    let reply = host.post("/").chunks(vec!["ab".into(), "cd".into()]).send();
    let upstream = reply.upstream_request().expect("forwarded");
    assert_eq!(upstream.headers.first("x-seen"), Some(&b"yes"[..]));
    assert_eq!(upstream.body, "abcd");
}

const COLLECTS: &str = r#"
(func (export "proxy_on_request_body") (param $c i32) (param $size i32) (param $end i32) (result i32)
  (drop (call $get_buffer (i32.const 0) (i32.const 0) (i32.const 100) (i32.const 32) (i32.const 36)))
  (call $say_given)
  (if (local.get $end) (then (return (i32.const 0))))
  (i32.const 1))
"#;

#[test]
fn a_body_pause_accumulates_and_shows_the_whole() {
    let host = host(COLLECTS).build().expect("the guest starts");
    let reply = host.post("/").chunks(vec!["ab".into(), "cd".into()]).send();
    assert_eq!(said(&host), ["ab", "abcd", "abcd"]);
    assert_eq!(reply.upstream_request().expect("forwarded").body, "abcd");
}

#[test]
fn a_request_body_over_the_buffer_limit_is_answered_413() {
    let host = host(
        r#"(func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) (i32.const 1))"#,
    )
    .build()
    .expect("the guest starts");
    let chunk = Bytes::from(vec![b'x'; 600_000]);
    let reply = host.post("/").chunks(vec![chunk.clone(), chunk]).send();
    assert_eq!(reply.status(), Some(413));
    assert!(reply.upstream_request().is_none());
}

#[test]
fn a_response_over_the_limit_with_headers_out_is_broken_off() {
    let host = host(
        r#"(func (export "proxy_on_response_body") (param i32 i32 i32) (result i32) (i32.const 1))"#,
    )
    .upstream(|_| Answer::status(200, vec![b'x'; 1_100_000]))
    .build()
    .expect("the guest starts");
    let reply = host.get("/").send();
    assert_eq!(reply.status(), Some(200));
    assert!(reply.is_reset());
}

#[test]
fn a_streamed_body_has_no_limit() {
    let host = host(
        r#"(func (export "proxy_on_response_body") (param i32 i32 i32) (result i32) (i32.const 0))"#,
    )
    .upstream(|_| Answer::status(200, vec![b'x'; 3_000_000]))
    .build()
    .expect("the guest starts");
    assert_eq!(host.get("/").send().body().len(), 3_000_000);
}

#[test]
fn the_head_of_a_body_is_replaced_and_its_tail_kept() {
    let host = host(
        r#"(func (export "proxy_on_response_body") (param $c i32) (param $size i32) (param $end i32) (result i32)
             (if (local.get $size) (then
               (drop (call $set_buffer (i32.const 1) (i32.const 0) (i32.const 5) str("Adieu")))))
             (i32.const 0))"#,
    )
    .upstream(|_| Answer::status(200, "Hello world"))
    .build()
    .expect("the guest starts");
    assert_eq!(host.get("/").send().body(), b"Adieu world");
}

#[test]
fn returning_three_from_a_body_callback_drops_the_piece() {
    let host = host(
        r#"(func (export "proxy_on_request_body") (param $c i32) (param $size i32) (param $end i32) (result i32)
             (select (i32.const 0) (i32.const 3) (local.get $end)))"#,
    )
    .build()
    .expect("the guest starts");
    let reply = host.post("/").body("gone").send();
    assert_eq!(reply.upstream_request().expect("forwarded").body, "");
}
