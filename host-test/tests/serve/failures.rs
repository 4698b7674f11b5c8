//! What clients see when something goes wrong, in Envoy's words.

use std::net::TcpListener;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use host_test::serve::GatewayError;

use crate::gateway::Setup;
use crate::ports::unused_address;
use crate::upstream::Upstream;

const RESET: &str = "upstream connect error or disconnect/reset before headers. reset reason: ";

#[test]
fn no_route_is_an_empty_404() {
    let gateway = Setup::routes("{match: {path: /a}, direct_response: {status: 200}}").start();
    let response = gateway.get("/b");
    assert_eq!((response.status, response.body.as_str()), (404, ""));
    assert_eq!(response.header("content-length"), Some("0"));
}

#[test]
fn a_refused_connection_is_a_503() {
    let gateway = Setup::to(unused_address()).start();
    let response = gateway.get("/");
    assert_eq!(response.status, 503);
    assert_eq!(response.body, format!("{RESET}remote connection failure"));
    assert_eq!(response.header("content-type"), Some("text/plain"));
}

#[test]
fn a_cluster_without_endpoints_is_a_503() {
    let gateway = Setup::routes("{match: {prefix: /}, route: {cluster: up}}")
        .cluster("up", &[])
        .start();
    let response = gateway.get("/");
    assert_eq!(
        (response.status, response.body.as_str()),
        (503, "no healthy upstream")
    );
}

#[test]
fn an_upstream_that_hangs_up_is_a_503_and_the_next_request_is_served() {
    let first = Arc::new(Mutex::new(true));
    let upstream = Upstream::new(move |mut connection| {
        connection.head();
        if !std::mem::take(&mut *first.lock().unwrap()) {
            connection.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    });
    let gateway = Setup::to(upstream.address).start();
    let mut client = gateway.connect();
    let response = client.get("/", "");
    assert_eq!(response.status, 503);
    assert_eq!(response.body, format!("{RESET}connection termination"));
    assert_eq!(client.get("/", "").body, "ok");
}

#[test]
fn an_upstream_that_closes_between_requests_is_not_noticed() {
    let (closed, is_closed) = mpsc::channel();
    let upstream = Upstream::new(move |mut connection| {
        connection.head();
        connection.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        drop(connection);
        closed.send(()).expect("the test waits");
    });
    let gateway = Setup::to(upstream.address).start();
    let mut client = gateway.connect();
    for _ in 0..20 {
        assert_eq!(client.get("/", "").status, 200);
        is_closed.recv().expect("it closes");
    }
}

#[test]
fn what_is_not_http_is_a_502() {
    let upstream = Upstream::answering("blah blah\r\n\r\n");
    let gateway = Setup::to(upstream.address).start();
    let response = gateway.get("/");
    assert_eq!(response.status, 502);
    assert_eq!(response.body, format!("{RESET}protocol error"));
}

#[test]
fn a_response_that_breaks_off_reaches_the_client_broken_off() {
    let upstream = Upstream::new(|mut connection| {
        connection.head();
        connection.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc");
    });
    let gateway = Setup::to(upstream.address).start();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.head().header("content-length"), Some("100"));
    assert_eq!(client.rest().unwrap_or_else(|_| "abc".into()), "abc");
}

#[test]
fn a_slow_upstream_is_a_504() {
    let upstream = Upstream::new(|mut connection| {
        connection.head();
        connection.drain();
    });
    let gateway = Setup::routes("{match: {prefix: /}, route: {cluster: up, timeout: 0.05s}}")
        .cluster("up", &[upstream.address])
        .start();
    let response = gateway.get("/");
    assert_eq!(
        (response.status, response.body.as_str()),
        (504, "upstream request timeout")
    );
}

#[test]
fn a_response_that_takes_too_long_is_broken_off() {
    let (ended, has_ended) = mpsc::channel();
    let upstream = Upstream::new(move |mut connection| {
        connection.head();
        connection.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc");
        connection.drain();
        ended.send(()).expect("the test waits");
    });
    let gateway = Setup::routes("{match: {prefix: /}, route: {cluster: up, timeout: 0.05s}}")
        .cluster("up", &[upstream.address])
        .start();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.head().status, 200);
    assert_eq!(client.rest().unwrap_or_else(|_| "abc".into()), "abc");
    has_ended
        .recv()
        .expect("the upstream's connection is closed");
}

#[test]
fn requests_that_envoy_refuses_are_refused() {
    let gateway = Setup::routes("{match: {prefix: /}, direct_response: {status: 200}}").start();
    for (request, status, body) in [
        ("GET / HTTP/1.1\r\n\r\n", 400, ""),
        ("GET / HTTP/1.0\r\nhost: a\r\n\r\n", 426, "Upgrade Required"),
        ("FOO / HTTP/1.1\r\nhost: a\r\n\r\n", 400, "Bad Request"),
        (
            "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
            403,
            "",
        ),
    ] {
        let mut client = gateway.connect();
        client.send(request);
        let response = client.response();
        assert_eq!(
            (response.status, response.body.as_str()),
            (status, body),
            "{request}"
        );
        assert_eq!(response.header("connection"), Some("close"), "{request}");
    }
}

#[test]
fn a_head_beyond_60_kib_or_100_headers_is_a_431() {
    let gateway = Setup::routes("{match: {prefix: /}, direct_response: {status: 200}}").start();
    let long = format!("x: {}\r\n", "a".repeat(62_000));
    assert_eq!(gateway.connect().get("/", &long).status, 431);
    let many: String = (0..101).map(|n| format!("x{n}: a\r\n")).collect();
    assert_eq!(gateway.connect().get("/", &many).status, 431);
    let fits = format!("x: {}\r\n", "a".repeat(58_000));
    assert_eq!(gateway.connect().get("/", &fits).status, 200);
}

#[test]
fn an_address_in_use_is_told_with_its_listener() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it is bound");
    let admin = format!(
        "admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {}}}}}}}",
        address.port()
    );
    let error = Setup::routes("{match: {prefix: /}, direct_response: {status: 200}}")
        .top(&admin)
        .try_start()
        .map(|_| ())
        .expect_err("the port is taken");
    assert!(matches!(error, GatewayError::Bind { .. }));
    assert_eq!(
        error.to_string(),
        format!("error: listener admin can't listen on {address}: the address is in use\n")
    );
}

#[test]
fn a_request_on_its_way_is_answered_while_the_gateway_stops() {
    let (asked, is_asked) = mpsc::channel();
    let (answer, may_answer) = mpsc::channel::<()>();
    let may_answer = Arc::new(Mutex::new(may_answer));
    let upstream = Upstream::new(move |mut connection| {
        connection.head();
        asked.send(()).expect("the test waits");
        may_answer.lock().unwrap().recv().expect("the test goes on");
        connection.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    });
    let gateway = Setup::to(upstream.address).start();
    let mut client = gateway.connect();
    let address = gateway.address();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    is_asked.recv().expect("the request arrives");
    let stopping = std::thread::spawn(move || gateway.stop());
    // The listener is closed before the connections are told.
    while std::net::TcpStream::connect(address).is_ok() {}
    answer.send(()).expect("the upstream waits");
    let response = client.response();
    assert_eq!(response.body, "ok");
    assert_eq!(response.header("connection"), Some("close"));
    stopping.join().expect("it stops");
}
