//! Properties and filter state.

use crate::guest::{host, said};

fn reads(path: &str) -> String {
    format!(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
             (i32.store (i32.const 36) (i32.const 0))
             (call $say_status (call $get_property str("{path}") (i32.const 32) (i32.const 36)))
             (call $say_given)
             (i32.const 0))"#
    )
}

fn read(path: &str) -> Vec<String> {
    let host = host(&reads(path)).build().expect("the guest starts");
    host.get("/p?q=1")
        .header("x-a", "1")
        .header("x-a", "2")
        .source_address("192.0.2.1:55")
        .send();
    said(&host)
}

#[test]
fn request_properties_come_from_the_headers() {
    assert_eq!(read(r"request\00path"), ["A", "/p?q=1"]);
    assert_eq!(read(r"request\00url_path"), ["A", "/p"]);
    assert_eq!(read(r"request\00query"), ["A", "q=1"]);
    assert_eq!(read(r"request\00headers\00x-a"), ["A", "1,2"]);
    assert_eq!(read(r"source\00address"), ["A", "192.0.2.1:55"]);
    assert_eq!(read("plugin_name"), ["A", "guest"]);
}

#[test]
fn an_unknown_property_is_not_found_and_a_whole_map_has_no_bytes() {
    assert_eq!(read("nothing")[0], "B");
    assert_eq!(read("request")[0], "D");
}

#[test]
fn a_property_that_is_set_becomes_filter_state_and_shadows_nothing() {
    let host = host(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
             (call $say_status (call $set_property str("request\00path") str("/other")))
             (drop (call $get_property str("request\00path") (i32.const 32) (i32.const 36)))
             (call $say_given)
             (drop (call $set_property str("mine") str("1")))
             (drop (call $get_property str("filter_state\00wasm.mine") (i32.const 32) (i32.const 36)))
             (call $say_given)
             (i32.const 0))"#,
    )
    .build()
    .expect("the guest starts");
    let reply = host.get("/p").send();
    assert_eq!(said(&host), ["A", "/p", "1"]);
    assert_eq!(reply.filter_state()["wasm.mine"], b"1");
}
