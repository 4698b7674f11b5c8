//! Bodies of 100 MB, and maps of 100,000 headers.

use bytes::Bytes;
use host_test::host::Answer;

use crate::guest::{host, plugin};

const LARGE: usize = 100 << 20;

/// A guest that returns this from the callback of a body.
fn returns(way: &str, code: i32) -> String {
    format!(
        r#"(func (export "proxy_on_{way}_body") (param i32 i32 i32) (result i32) (i32.const {code}))"#
    )
}

fn pieces(size: usize) -> Vec<Bytes> {
    let piece = Bytes::from(vec![b'a'; size]);
    vec![piece; LARGE / size]
}

#[test]
fn a_body_of_100_mb_streams_through() {
    let host = host(plugin(&returns("request", 0)))
        .upstream(|request| Answer::status(200, request.body.len().to_string()))
        .build()
        .expect("starts");
    for chunks in [pieces(LARGE), pieces(1 << 20)] {
        let reply = host.post("/").chunks(chunks).send();
        assert_eq!(reply.body(), LARGE.to_string().as_bytes());
    }
}

#[test]
fn a_request_body_of_100_mb_that_is_held_is_a_413() {
    let host = host(plugin(&returns("request", 1)))
        .build()
        .expect("starts");
    for chunks in [pieces(LARGE), pieces(16 << 10)] {
        let reply = host.post("/").chunks(chunks).send();
        assert_eq!(
            (reply.status(), reply.body()),
            (Some(413), &b"Payload Too Large"[..])
        );
        assert!(
            reply
                .upstream_request()
                .is_none_or(|upstream| upstream.body.is_empty())
        );
    }
}

#[test]
fn a_response_body_of_100_mb_that_is_held_breaks_the_response_off() {
    let host = host(plugin(&returns("response", 1)))
        .upstream(|_| Answer::Respond {
            headers: [(":status", "200")].into_iter().collect(),
            chunks: pieces(1 << 20),
            trailers: host_test::headers::Headers::new(),
        })
        .build()
        .expect("starts");
    let reply = host.get("/").send();
    assert!(reply.is_reset() && !reply.is_complete());
    assert!(reply.body().is_empty());
}

#[test]
fn a_hundred_thousand_headers_are_handed_over() {
    let guest = r#"(func (export "proxy_on_request_headers") (param $c i32) (param $n i32) (param i32) (result i32)
        (drop (memory.grow (i32.const 200)))
        (call $say_status (i32.lt_u (local.get $n) (i32.const 100000)))
        (call $say_status (call $pairs (i32.const 0) (i32.const 32) (i32.const 36)))
        (i32.const 0))"#;
    let host = host(plugin(guest)).build().expect("starts");
    let mut request = host.get("/");
    for n in 0..100_000 {
        request = request.header(&format!("x-{n}"), "v");
    }
    let reply = request.send();
    let said: Vec<&str> = reply
        .logs()
        .iter()
        .map(|line| line.message.as_str())
        .collect();
    assert_eq!(said, ["A", "A"]);
    let upstream = reply.upstream_request().expect("forwarded");
    assert_eq!(upstream.headers.len(), 100_004);
}
