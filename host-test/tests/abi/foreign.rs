//! What host-test says of foreign functions that it can't carry out as Envoy does.

use crate::guest::{host, said};

fn calls(function: &str, arguments: &str) -> String {
    format!(
        r#"(call $say_status (call $foreign str("{function}") str("{arguments}") (i32.const 32) (i32.const 36)))"#
    )
}

fn on_request(body: &str) -> String {
    format!(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) {body} (i32.const 0))"#
    )
}

#[test]
fn expressions_are_not_supported_and_say_so() {
    let host = host(&on_request(&calls("expr_create", "true")))
        .build()
        .expect("the guest starts");
    let reply = host.get("/").send();
    assert_eq!(said(&host), ["M"], "Unimplemented");
    assert!(reply.violations()[0].contains("expr_create is not supported"));
}

#[test]
fn a_declaration_outside_a_root_context_is_reported() {
    // Name "p".
    let host = host(&on_request(&calls("declare_property", "\\0a\\01p")))
        .build()
        .expect("the guest starts");
    let reply = host.get("/").send();
    assert_eq!(said(&host), ["A"]);
    assert!(reply.violations()[0].contains("outside a root context"));
}

#[test]
fn a_property_with_the_span_of_a_connection_is_reported() {
    // Name "p", span 2.
    let declares = calls("declare_property", "\\0a\\01p\\28\\02");
    let host = host(&format!(
        r#"(func (export "proxy_on_configure") (param i32 i32) (result i32) {declares} (i32.const 1))"#
    ))
    .build()
    .expect("the guest starts");
    assert!(host.violations()[0].contains("span of a connection"));
}
