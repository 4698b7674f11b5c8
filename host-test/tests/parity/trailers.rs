//! Trailers and what stands for them: what their callbacks return, the answer of a gRPC service
//! that is trailers only, and a `content-length` that an edited body has outgrown.

use std::io::{Read, Write};

use host_test::headers::Headers;
use host_test::host::{Answer, Host, HostBuilder};
use host_test::module::Module;
use host_test::plugin::Plugin;

use crate::guest::{chatty, get, module, on, say, say_size, set_buffer, when};
use crate::wire::{
    ANSWER_WITH_TRAILERS, Envoy, Protocol, WITH_TRAILERS, assert_callbacks, in_envoy_until,
    respond, said, upstream,
};

fn ours(guest: &str) -> HostBuilder {
    let module = Module::from_bytes("guest".as_ref(), &wat::parse_str(guest).unwrap()).unwrap();
    Host::builder().plugin(Plugin::new(module.into()))
}

/// A guest that logs each callback and returns a number from one for trailers.
fn returns(callback: &str, result: i32) -> String {
    module(&[
        chatty("", &[callback]),
        on(callback, &[say(callback)], result),
    ])
}

/// The request's callbacks, the response's, and those of the end.
const WHOLE: [&str; 9] = [
    "request_headers 0",
    "request_body 3 0",
    "request_trailers",
    "response_headers 0",
    "response_body 5 0",
    "response_trailers",
    "log",
    "done",
    "delete",
];

#[track_caller]
fn assert_goes_as(callback: &str, result: i32, held: bool, expected: &[&str]) {
    let guest = returns(callback, result);
    let host = ours(&guest).upstream(|_| respond(true)).build().unwrap();
    // What is held goes on when the client leaves.
    drop(host.post("/").body("abc").trailer("x-sum", "1").start());
    let upstream = upstream(b"x-sum: 1\r\n\r\n", ANSWER_WITH_TRAILERS, false);
    let wasm = wat::parse_str(&guest).unwrap();
    let envoys = Envoy::start(&wasm, upstream, true)
        .map(|envoy| in_envoy_until(envoy, WITH_TRAILERS, held.then_some(callback)));
    assert_callbacks(&said(&host), envoys, expected);
}

#[test]
fn trailers_pass_if_their_callback_returns_0_and_hold_the_message_if_it_returns_anything_else() {
    for callback in ["request_trailers", "response_trailers"] {
        assert_goes_as(callback, 0, false, &WHOLE);
    }
    for result in [1, 2, 9, -1] {
        let of_request = [&WHOLE[..3], &WHOLE[6..]].concat();
        assert_goes_as("request_trailers", result, true, &of_request);
        assert_goes_as("response_trailers", result, true, &WHOLE);
    }
}

/// Settings without a value, and the headers that end stream 1: `:status 200`, `content-type
/// application/grpc` and `grpc-status 5`.
const TRAILERS_ONLY: &[u8] = b"\0\0\0\x04\0\0\0\0\0\
    \0\0\x23\x01\x05\0\0\0\x01\
    \x88\x0f\x10\x10application/grpc\x00\x0bgrpc-status\x015";

#[test]
fn a_grpc_answer_of_trailers_only_is_headers_that_end_the_response() {
    let guest = module(&[
        chatty("", &["response_headers"]),
        on(
            "response_headers",
            &[
                say_size("response_headers"),
                get(2, "grpc-status"),
                get(3, "grpc-status"),
            ],
            0,
        ),
    ]);
    let host = ours(&guest).upstream(|_| Answer::Respond {
        headers: [
            (":status", "200"),
            ("content-type", "application/grpc"),
            ("grpc-status", "5"),
        ]
        .into_iter()
        .collect(),
        chunks: Vec::new(),
        trailers: Headers::new(),
    });
    let host = host.build().unwrap();
    host.get("/").send();
    // Envoy's headers of stream 1, which end it.
    let upstream = upstream(b"\x01\x05\0\0\0\x01", TRAILERS_ONLY, false);
    let wasm = wat::parse_str(&guest).unwrap();
    let envoys = Envoy::start_before(&wasm, upstream, true, Protocol::Http2)
        .map(|envoy| in_envoy_until(envoy, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", None));
    assert_callbacks(
        &said(&host),
        envoys,
        &[
            "request_headers 1",
            "response_headers 1",
            "get 2 grpc-status 0 [5]",
            "get 3 grpc-status 2",
            "log",
            "done",
            "delete",
        ],
    );
}

/// The wire has what the guest left: Envoy neither corrects the length nor cuts the body.
#[test]
fn a_stale_content_length_goes_out_beside_the_edited_body() {
    for (length, data, body) in [
        (0, "abc", "abchello"),
        (99, "abc", "abc"),
        (99, "abcde", "abcde"),
    ] {
        let edit = when("(local.get $n)", &[set_buffer(1, 0, length, data)], &[]);
        let guest = module(&[on("response_body", &[edit], 0)]);
        let host = ours(&guest).upstream(|_| Answer::Respond {
            headers: [(":status", "200"), ("content-length", "5")]
                .into_iter()
                .collect(),
            chunks: vec!["hello".into()],
            trailers: Headers::new(),
        });
        let host = host.build().unwrap();
        let reply = host.get("/").send();
        assert_eq!(
            reply.header("content-length").as_deref(),
            Some("5"),
            "{body}"
        );
        assert_eq!(reply.body(), body.as_bytes());
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
        let upstream = upstream(b"\r\n\r\n", answer, false);
        let wasm = wat::parse_str(&guest).unwrap();
        let Some(envoy) = Envoy::start(&wasm, upstream, false) else {
            continue;
        };
        let mut client = envoy.try_connect().unwrap();
        let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        client.write_all(request).unwrap();
        let mut wire = Vec::new();
        client.read_to_end(&mut wire).unwrap();
        let wire = String::from_utf8(wire).unwrap();
        let (head, sent) = wire.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("content-length: 5"), "{head}");
        assert_eq!(sent, body);
    }
}
