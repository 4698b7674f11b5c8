//! HTTP/2 without TLS, to clients and to upstreams, with trailers; gRPC callouts over it.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::gateway::Setup;
use crate::upstream::Upstream;

const OPTIONS: &str = r#"typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {"@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: {http2_protocol_options: {}}}}"#;

/// A cluster that is spoken to in HTTP/2.
fn http2_cluster(address: std::net::SocketAddr) -> String {
    format!(
        "{{name: up, {OPTIONS}, load_assignment: {{cluster_name: up, endpoints: [{{lb_endpoints: \
         [{{endpoint: {{address: {{socket_address: {{address: {}, port_value: {}}}}}}}}}]}}]}}}}",
        address.ip(),
        address.port()
    )
}

#[test]
fn a_gateway_speaks_http2_to_another_and_http1_to_its_client() {
    let upstream = Upstream::echo();
    let inner = Setup::to(upstream.address).start();
    let outer = Setup::routes("{match: {prefix: /}, route: {cluster: up}}")
        .raw_cluster(&http2_cluster(inner.address()))
        .start();
    let mut client = outer.connect();
    for _ in 0..3 {
        client.send("POST /p?q HTTP/1.1\r\nhost: a.example\r\ncookie: a=b\r\ncontent-length: 5\r\n\r\nhello");
        let response = client.response();
        assert_eq!(response.status, 200);
        let body = response.body;
        assert!(
            body.starts_with("POST /p?q HTTP/1.1\r\nhost: a.example\r\n"),
            "{body}"
        );
        assert!(body.contains("cookie: a=b\r\n"), "{body}");
        assert!(body.ends_with("hello"), "{body}");
    }
    // One connection carries all of them.
    let direct = Setup::routes("{match: {prefix: /}, direct_response: {status: 204}}")
        .manager("codec_type: HTTP2")
        .start();
    let outer = Setup::routes("{match: {prefix: /}, route: {cluster: up}}")
        .raw_cluster(&http2_cluster(direct.address()))
        .start();
    assert_eq!(outer.get("/").status, 204);
}

#[test]
fn a_client_that_speaks_http1_to_an_http2_listener_is_hung_up_on() {
    let gateway = Setup::routes("{match: {prefix: /}, direct_response: {status: 200}}")
        .manager("codec_type: HTTP2")
        .start();
    let mut stream = TcpStream::connect(gateway.address()).expect("it listens");
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .expect("it reads");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/1.1"), "no HTTP/1 is spoken");
}

/// Makes a gRPC call when it is configured, and logs status and message of its end.
const CALLING: &str = r#"
    (func (export "proxy_on_configure") (param i32 i32) (result i32)
      (call $say_status (call $grpc_call
        str("\0a\04\0a\02up") str("s") str("m") (i32.const 0) (i32.const 0) str("hi") (i32.const 5000) (i32.const 32)))
      (i32.const 1))
    (func (export "proxy_on_grpc_receive") (param i32 i32 i32)
      say("a message"))
    (func (export "proxy_on_grpc_close") (param i32 i32 i32)
      (drop (call $get_status (i32.const 28) (i32.const 32) (i32.const 36)))
      (call $say_given))"#;

#[test]
fn a_grpc_callout_goes_over_http2_and_its_status_comes_back() {
    let service = Setup::routes(
        "{match: {prefix: /s/m}, direct_response: {status: 200}, \
          response_headers_to_add: [{header: {key: grpc-status, value: \"5\"}}, \
          {header: {key: grpc-message, value: lost}}, \
          {header: {key: content-type, value: application/grpc}}]}",
    )
    .manager("codec_type: HTTP2")
    .start();
    let gateway = Setup::routes("{match: {prefix: /}, direct_response: {status: 200}}")
        .raw_cluster(&http2_cluster(service.address()))
        .guest("calling", CALLING, "")
        .start();
    // Each of the VMs calls: the main thread's, the workers', and the one that was tried, whose call
    // is never sent.
    let answered = || {
        let logs = gateway.logs();
        logs.iter().filter(|line| line.starts_with("lost")).count()
    };
    for _ in 0..2000 {
        if answered() >= 3 {
            break;
        }
        gateway.get("/");
    }
    assert_eq!(answered(), 3, "{:?}", gateway.logs());
}
