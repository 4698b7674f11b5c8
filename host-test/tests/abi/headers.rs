//! Header maps: operations, and when which map is available.

use crate::guest::{host, said};

#[test]
fn added_headers_reach_the_upstream_beside_what_was_there() {
    let host = host(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
             (drop (call $add_header (i32.const 0) str("x-tag") str("two")))
             (drop (call $set_header (i32.const 0) str("x-new") str("n")))
             (drop (call $remove_header (i32.const 0) str("X-Gone")))
             (i32.const 0))"#,
    )
    .build()
    .expect("the guest starts");
    let reply = host
        .get("/")
        .header("x-tag", "one")
        .header("x-gone", "1")
        .send();
    let headers = &reply.upstream_request().expect("forwarded").headers;
    assert_eq!(headers.all("x-tag").collect::<Vec<_>>(), [b"one", b"two"]);
    assert_eq!(headers.first("x-new"), Some(&b"n"[..]));
    assert_eq!(headers.first("x-gone"), None);
}

#[test]
fn adding_to_an_inline_header_joins_with_a_comma() {
    let host = host(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
             (drop (call $add_header (i32.const 0) str("content-type") str("b")))
             (i32.const 0))"#,
    )
    .build()
    .expect("the guest starts");
    let reply = host.get("/").header("content-type", "a").send();
    let headers = &reply.upstream_request().expect("forwarded").headers;
    assert_eq!(headers.all("content-type").collect::<Vec<_>>(), [b"a,b"]);
}

#[test]
fn a_header_lookup_gives_the_first_value_and_ignores_case() {
    let host = host(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
             (call $say_status (call $get_header (i32.const 0) str("X-Tag") (i32.const 32) (i32.const 36)))
             (call $say_given)
             (call $say_status (call $get_header (i32.const 0) str("absent") (i32.const 32) (i32.const 36)))
             (call $say_status (call $get_header (i32.const 9) str("x-tag") (i32.const 32) (i32.const 36)))
             (i32.const 0))"#,
    )
    .build()
    .expect("the guest starts");
    host.get("/")
        .header("x-tag", "one")
        .header("x-tag", "two")
        .send();
    assert_eq!(said(&host), ["A", "one", "B", "C"]);
}

const READS_REQUEST_IN_RESPONSE: &str = r#"
(func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
  (call $say_status (call $get_header (i32.const 0) str(":path") (i32.const 32) (i32.const 36)))
  (i32.const 0))
(func (export "proxy_on_log") (param i32)
  (call $say_status (call $get_header (i32.const 0) str(":path") (i32.const 32) (i32.const 36)))
  (call $say_status (call $set_header (i32.const 0) str("x") str("y"))))
"#;

#[test]
fn request_headers_are_gone_after_continue_and_readable_again_in_on_log() {
    let host = host(&format!(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 0))
           {READS_REQUEST_IN_RESPONSE}"#
    ))
    .build()
    .expect("the guest starts");
    let reply = host.get("/").send();
    assert_eq!(
        said(&host),
        ["C", "A", "C"],
        "BadArgument, Ok, BadArgument for a write in on_log"
    );
    assert!(
        reply.violations()[0].contains("RequestHeaders was accessed"),
        "{:?}",
        reply.violations()
    );
}

#[test]
fn all_pairs_of_an_unavailable_map_are_an_empty_answer() {
    let host = host(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
             (call $say_status (call $pairs (i32.const 2) (i32.const 32) (i32.const 36)))
             (call $say_status (i32.load (i32.const 36)))
             (i32.const 0))"#,
    )
    .build()
    .expect("the guest starts");
    host.get("/").send();
    assert_eq!(said(&host), ["A", "A"]);
}

#[test]
fn a_pointer_outside_memory_is_a_status_and_not_a_trap() {
    let host = host(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
             (call $say_status (call $get_header (i32.const 0) (i32.const -1) (i32.const 9) (i32.const 32) (i32.const 36)))
             (i32.const 0))"#,
    )
    .build()
    .expect("the guest starts");
    assert_eq!(host.get("/").send().status(), Some(200));
    assert_eq!(said(&host), ["G"]);
}
