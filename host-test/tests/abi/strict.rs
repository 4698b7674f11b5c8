//! What works here and hurts in production: each is reported, and nothing else is.

use host_test::host::{Answer, Host, HostBuilder};
use host_test::shared::GrowthLimit;

use crate::guest::host;

/// A guest whose callback of that name does something and returns 0.
fn doing(callback: &str, what: &str) -> HostBuilder {
    let parameters = match callback {
        "log" => "(param i32)",
        "tick" => "(param i32)",
        _ => "(param i32 i32 i32) (result i32)",
    };
    let result = match callback {
        "log" | "tick" => "",
        _ => "(i32.const 0)",
    };
    host(&format!(
        "(func (export \"proxy_on_{callback}\") {parameters} {what} {result})"
    ))
}

fn built(builder: HostBuilder) -> Host {
    builder.build().expect("the guest starts")
}

#[track_caller]
fn assert_reported(builder: HostBuilder, text: &str) {
    let host = built(builder);
    let reply = host.post("/").body("hello").send();
    let found = reply.violations();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains(text), "{found:?}");
}

#[track_caller]
fn assert_silent(builder: HostBuilder) {
    let host = built(builder);
    let reply = host.post("/").body("hello").send();
    assert!(reply.violations().is_empty(), "{:?}", reply.violations());
}

#[test]
fn a_header_value_with_a_line_break() {
    for call in [
        r#"(drop (call $add_header (i32.const 0) str("a") str("b\0d\0ac: d")))"#,
        r#"(drop (call $set_header (i32.const 0) str("a") str("b\0a")))"#,
    ] {
        assert_reported(
            doing("request_headers", call),
            "header a gets CR, LF or NUL in its value",
        );
    }
    // One pair: `a: b\n`.
    let pairs = r#"(drop (call $set_pairs (i32.const 2) str("\01\00\00\00\07\00\00\00\03\00\00\00:status\00200\00")))
                   (drop (call $set_pairs (i32.const 2) str("\02\00\00\00\07\00\00\00\03\00\00\00\01\00\00\00\02\00\00\00:status\00200\00a\00b\0a\00")))"#;
    assert_reported(
        doing("response_headers", pairs),
        "header a gets CR, LF or NUL",
    );
    let reply = r#"(drop (call $reply (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
        str("\01\00\00\00\01\00\00\00\02\00\00\00a\00b\0a\00") (i32.const -1)))"#;
    assert_reported(doing("request_headers", reply), "header a gets CR, LF");
}

#[test]
fn a_header_name_that_http_does_not_allow() {
    assert_reported(
        doing(
            "request_headers",
            r#"(drop (call $add_header (i32.const 0) str("a b") str("c")))"#,
        ),
        "header name \"a b\" is none that HTTP allows",
    );
}

#[test]
fn a_map_that_is_read_after_its_message_has_passed() {
    let read = r#"(drop (call $pairs (i32.const 0) (i32.const 32) (i32.const 36)))"#;
    let value =
        r#"(drop (call $get_header (i32.const 0) str(":path") (i32.const 32) (i32.const 36)))"#;
    let size = r#"(drop (call $map_size (i32.const 0) (i32.const 32)))"#;
    let passing = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 0))"#;
    for (call, text) in [
        (read, "RequestHeaders was read after the message had passed"),
        (
            value,
            "RequestHeaders was accessed while it is not available",
        ),
        (
            size,
            "RequestHeaders was accessed while it is not available",
        ),
    ] {
        let late = format!(
            "{passing} (func (export \"proxy_on_response_headers\") (param i32 i32 i32) (result i32) {call} (i32.const 0))"
        );
        assert_reported(host(&late), text);
        assert_silent(doing("request_headers", call));
        let logging = format!("{passing} (func (export \"proxy_on_log\") (param i32) {call})");
        if call != size {
            assert_silent(host(&logging));
        }
    }
}

#[test]
fn more_pairs_than_envoy_reads() {
    // A count of 1025 is enough: what follows isn't looked at.
    let many = r#"str("\01\04\00\00")"#;
    let text = "more than 1024 pairs";
    let set = format!("(drop (call $set_pairs (i32.const 0) {many}))");
    assert_reported(doing("request_headers", &set), text);
    let call = format!(
        r#"(drop (call $http_call str("c") {many} (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 9) (i32.const 32)))"#
    );
    assert_reported(doing("request_headers", &call), text);
}

#[test]
fn a_stream_that_is_left_paused() {
    let pause = |callback: &str| {
        host(&format!(
            "(func (export \"proxy_on_{callback}\") (param i32 i32 i32) (result i32) (i32.const 1))"
        ))
    };
    assert_reported(
        pause("request_headers"),
        "\"guest\" paused the request and left it so",
    );
    assert_reported(
        pause("response_headers"),
        "\"guest\" paused the response and left it so",
    );
    // A tick may still resume it.
    assert_silent(host(
        r#"(func (export "proxy_on_configure") (param i32 i32) (result i32)
             (drop (call $tick_period (i32.const 10))) (i32.const 1))
           (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 1))"#,
    ));
    // And so may a callout that waits for its answer.
    let asks = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (drop (call $http_call str("c") str("\03\00\00\00\07\00\00\00\03\00\00\00\05\00\00\00\01\00\00\00\0a\00\00\00\01\00\00\00:method\00GET\00:path\00/\00:authority\00c\00")
          (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 32)))
        (i32.const 1))"#;
    assert_silent(host(asks).callouts(|_| Answer::Never));
}

#[test]
fn a_content_length_that_is_wrong_after_the_body_was_changed() {
    let edit = |way: i32| {
        format!(
            r#"(drop (call $set_buffer (i32.const {way}) (i32.const 0) (i32.const 0) str("more")))"#
        )
    };
    let sized = |builder: HostBuilder| {
        let host = built(builder.upstream(|_| Answer::status(200, "answer")));
        host.post("/")
            .header("content-length", "5")
            .body("hello")
            .send()
            .violations()
            .to_vec()
    };
    let found = sized(doing("request_body", &edit(0)));
    assert_eq!(found.len(), 1, "{found:?}");
    // The guest adds to the body and again to the empty piece that ends it.
    assert!(
        found[0].starts_with("content-length of the request says 5, but a body of 13 bytes"),
        "{found:?}"
    );
    let found = sized(doing("response_body", &edit(1)));
    assert!(
        found[0].starts_with("content-length of the response says 6, but a body of 14 bytes"),
        "{found:?}"
    );
    let removes = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (drop (call $remove_header (i32.const 0) str("content-length"))) (i32.const 0))"#;
    let found = sized(host(&format!(
        "{removes} (func (export \"proxy_on_request_body\") (param i32 i32 i32) (result i32) {} (i32.const 0))",
        edit(0)
    )));
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn shared_data_that_grows_without_bound() {
    // A key per request, of one byte more each time.
    let grows = r#"
        (global $size (mut i32) (i32.const 1))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (drop (call $set_shared (i32.const 1024) (global.get $size) str("v") (i32.const 0)))
          (global.set $size (i32.add (global.get $size) (i32.const 1)))
          (i32.const 0))"#;
    let limited = |keys, bytes| {
        let host = built(host(grows).shared_data_limit(GrowthLimit { keys, bytes }));
        let violations = (0..5).map(|_| host.get("/").send().violations().to_vec());
        violations.collect::<Vec<_>>()
    };
    let found = limited(3, 1_000);
    assert!(found[..3].iter().all(Vec::is_empty), "{found:?}");
    assert!(
        found[3][0].contains("has grown to 4 keys and 14 bytes"),
        "{found:?}"
    );
    assert!(found[4].is_empty(), "once is enough");
    let found = limited(1_000, 8);
    assert!(found[2][0].contains("3 keys and 9 bytes"), "{found:?}");
    let found = limited(1_000, 1_000);
    assert!(found.iter().all(Vec::is_empty), "{found:?}");
}

#[test]
fn a_metric_that_is_defined_by_each_request() {
    let define = r#"(drop (call $define_metric (i32.const 0) str("late") (i32.const 32)))"#;
    assert_reported(
        doing("request_headers", define),
        "define it in on_configure",
    );
}
