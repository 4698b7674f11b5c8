//! Sizes at which Envoy does something else: held bodies, maps that a guest hands over, replies.

use crate::guest::{back, module, on, pairs, replace, reply, say, set_pairs, status, when};
use crate::scene::Scene;

const END: &str = "(local.get $end)";

/// Envoy's default `per_connection_buffer_limit_bytes`.
const BUFFER: usize = 1 << 20;

/// A guest that holds a body until its end.
fn holds(callback: &str) -> String {
    on(callback, &[when(END, &[back(0)], &[])], 1)
}

fn post(body: usize) -> String {
    format!("{{method: POST, path: /, body: {}}}", "a".repeat(body))
}

#[test]
fn a_held_request_body_may_have_exactly_a_mebibyte() {
    Scene::new(&module(&[holds("request_body")]))
        .send(&post(BUFFER), "{status: 200}")
        .send(
            &post(BUFFER + 1),
            "{status: 413, body: Payload Too Large, upstream: none, details: request_payload_too_large}",
        )
        .check();
}

#[test]
fn a_held_response_body_over_a_mebibyte_is_a_500_while_its_headers_are_held_too() {
    let functions = [on("response_headers", &[], 1), holds("response_body")];
    for (size, seen) in [
        (BUFFER, "{status: 200}"),
        (
            BUFFER + 1,
            "{status: 500, body: Internal Server Error, details: response_payload_too_large}",
        ),
    ] {
        Scene::new(&module(&functions))
            .with("allow_on_headers_stop_iteration: true")
            .upstream(&format!("{{body: {}}}", "a".repeat(size)))
            .send("GET /", seen)
            .check();
    }
}

#[test]
fn a_held_response_body_over_a_mebibyte_breaks_the_response_off_once_its_headers_are_gone() {
    Scene::new(&module(&[holds("response_body")]))
        .upstream(&format!("{{body: {}}}", "a".repeat(BUFFER + 1)))
        .send("GET /", "{status: absent}")
        .check();
}

/// That many pairs, the status among them.
fn many(count: usize) -> Vec<(String, String)> {
    let status = (":status".to_owned(), "200".to_owned());
    let others = (1..count).map(|n| (format!("x-{n}"), "v".to_owned()));
    std::iter::once(status).chain(others).collect()
}

#[test]
fn the_1025th_pair_makes_a_map_empty() {
    for (count, seen) in [
        (1_024, "{status: 200, headers: {x-1023: v}}"),
        (1_025, "{status: 502, headers: {x-1: absent}}"),
    ] {
        let all = many(count);
        let all: Vec<(&str, &str)> = all
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        Scene::new(&module(&[on(
            "response_headers",
            &[set_pairs(2, &all), say("set")],
            0,
        )]))
        .send("GET /", seen)
        .check();
    }
}

/// A guest that sets the response's pairs to a status and a header, of that many bytes in all.
fn sets_bytes(size: usize) -> String {
    // Two pairs: count, four sizes, `:status` NUL `200` NUL `x` NUL value NUL.
    let value = size - 4 - 16 - 8 - 4 - 2 - 1;
    let at = 0x4_0000;
    let call = format!(
        "(drop (memory.grow (i32.const 20)))
         (memory.fill (i32.const {at}) (i32.const 97) (i32.const {size}))
         (i32.store (i32.const {at}) (i32.const 2))
         (i32.store (i32.const {}) (i32.const 7)) (i32.store (i32.const {}) (i32.const 3))
         (i32.store (i32.const {}) (i32.const 1)) (i32.store (i32.const {}) (i32.const {value}))
         (memory.copy (i32.const {}) str(\":status\\00200\\00x\\00\"))
         (i32.store8 (i32.const {}) (i32.const 0))",
        at + 4,
        at + 8,
        at + 12,
        at + 16,
        at + 20,
        at + size - 1,
    );
    let set = format!("$set_pairs (i32.const 2) (i32.const {at}) (i32.const {size})");
    module(&[on("response_headers", &[call, status("set", &set)], 0)])
}

#[test]
fn a_map_of_more_than_a_mebibyte_is_empty() {
    Scene::new(&sets_bytes(1 << 20))
        .send("GET /", "{status: 200}")
        .says(&["set 0"])
        .check();
    Scene::new(&sets_bytes((1 << 20) + 1))
        .send("GET /", "{status: 502}")
        .says(&["set 0"])
        .check();
}

#[test]
fn a_local_reply_of_ten_megabytes_is_sent() {
    let call = "(drop (memory.grow (i32.const 200)))
        (memory.fill (i32.const 262144) (i32.const 97) (i32.const 10000000))"
        .to_owned();
    let send = status(
        "reply",
        "$reply (i32.const 200) str(\"d\") (i32.const 262144) (i32.const 10000000) (i32.const 0) (i32.const 0) (i32.const -1)",
    );
    Scene::new(&module(&[on("request_headers", &[call, send], 0)]))
        .send(
            "GET /",
            "{status: 200, headers: {content-length: 10000000}}",
        )
        .says(&["reply 0"])
        .check();
}

#[test]
fn line_breaks_in_a_response_header_are_written_as_they_are() {
    let value = "1\\0d\\0ax-injected: 2";
    Scene::new(&module(&[on(
        "response_headers",
        &[replace(2, "x-a", value), say("set")],
        0,
    )]))
    .send("GET /", "{status: 200, headers: {x-a: 1, x-injected: 2}}")
    .says(&["set"])
    .check();
}

#[test]
fn a_request_that_lost_its_scheme_has_no_route() {
    let all = [(":path", "/"), (":method", "GET"), (":authority", "a")];
    let functions = [
        on("request_headers", &[set_pairs(0, &all), pairs(0)], 0),
        on("response_headers", &[say("response")], 0),
    ];
    Scene::new(&module(&functions))
        .send(
            "GET /",
            "{status: 404, upstream: none, details: route_not_found}",
        )
        .says(&["set pairs 0 0", "response"])
        .check();
    let with = [all.as_slice(), &[("x-forwarded-proto", "http")]].concat();
    Scene::new(&module(&[on("request_headers", &[set_pairs(0, &with)], 0)]))
        .send("GET /", "200")
        .check();
    // An answer of the guest's own needs no route.
    Scene::new(&module(&[on(
        "request_headers",
        &[set_pairs(0, &all), reply(418, "teapot")],
        0,
    )]))
    .send("GET /", "418")
    .check();
}
