//! Bodies that stream, in both directions, and clients that leave in the middle.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use crate::gateway::Setup;
use crate::upstream::Upstream;

/// The receiving end of a channel that upstreams, which are shared, can hold.
fn shared<T>(receiver: mpsc::Receiver<T>) -> Arc<Mutex<mpsc::Receiver<T>>> {
    Arc::new(Mutex::new(receiver))
}

#[test]
fn a_request_body_streams_before_it_is_whole() {
    let (arrived, has_arrived) = mpsc::channel();
    let upstream = Upstream::new(move |mut connection| {
        let head = connection.head().expect("a request comes");
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        let mut body = String::new();
        while let Some(piece) = connection.chunk() {
            body.push_str(&piece);
            arrived.send(()).expect("the test waits");
        }
        let length = body.len();
        connection.send(&format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}"
        ));
    });
    let gateway = Setup::to(upstream.address).start();
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n");
    has_arrived.recv().expect("the first piece arrives alone");
    client.send("6\r\nsecond\r\n0\r\n\r\n");
    assert_eq!(client.response().body, "firstsecond");
}

#[test]
fn a_response_body_streams_before_it_is_whole() {
    let (read, has_read) = mpsc::channel();
    let has_read = shared(has_read);
    let upstream = Upstream::new(move |mut connection| {
        connection.head();
        connection.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n");
        has_read
            .lock()
            .unwrap()
            .recv()
            .expect("the client has read");
        connection.send("6\r\nsecond\r\n0\r\n\r\n");
    });
    let gateway = Setup::to(upstream.address).start();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.head().status, 200);
    assert_eq!(client.chunk().as_deref(), Some("first"));
    read.send(()).expect("the upstream waits");
    assert_eq!(client.chunk().as_deref(), Some("second"));
    assert_eq!(client.chunk(), None);
}

#[test]
fn a_response_can_begin_and_go_on_while_the_request_is_still_coming() {
    let upstream = Upstream::new(|mut connection| {
        while connection.head().is_some() {
            connection.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
            while let Some(piece) = connection.chunk() {
                connection.send(&format!("{:x}\r\n{piece}\r\n", piece.len()));
            }
            connection.send("0\r\n\r\n");
        }
    });
    let gateway = Setup::to(upstream.address).start();
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
    assert_eq!(client.head().status, 200);
    for piece in ["one", "two"] {
        client.send(&format!("3\r\n{piece}\r\n"));
        assert_eq!(client.chunk().as_deref(), Some(piece));
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.chunk(), None);
    client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n");
    assert_eq!(client.response().status, 200, "the connection goes on");
}

#[test]
fn large_bodies_pass_unchanged_in_both_directions() {
    let upstream = Upstream::new(|mut connection| {
        while let Some(head) = connection.head() {
            let body = connection.body(&head);
            connection.send(&format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            ));
        }
    });
    let gateway = Setup::to(upstream.address).start();
    let mut client = gateway.connect();
    let body: String = (0..600_000).map(|n| format!("{n:07}\n")).collect();
    for _ in 0..2 {
        client.send(&format!(
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n",
            body.len()
        ));
        client.send(&body);
        assert!(client.response().body == body, "4.8 MB came back changed");
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn a_response_without_a_length_ends_with_its_connection() {
    let upstream = Upstream::new(|mut connection| {
        connection.head();
        connection.send("HTTP/1.1 200 OK\r\n\r\nuntil close");
    });
    let gateway = Setup::to(upstream.address).start();
    let response = gateway.get("/");
    assert_eq!(response.header("transfer-encoding"), Some("chunked"));
    assert_eq!(response.body, "until close");
}

#[test]
fn interim_responses_are_passed_over() {
    let upstream = Upstream::answering(
        "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    );
    let gateway = Setup::to(upstream.address).start();
    let response = gateway.get("/");
    assert_eq!((response.status, response.body.as_str()), (200, "ok"));
}

#[test]
fn a_client_that_waits_for_100_continue_gets_it() {
    let upstream = Upstream::echo();
    let gateway = Setup::to(upstream.address).start();
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n");
    assert_eq!(client.head().status, 100);
    client.send("ok");
    let response = client.response();
    assert_eq!(response.status, 200);
    assert!(!response.body.contains("\r\nexpect: "), "{}", response.body);
    assert!(response.body.ends_with("\r\n\r\nok"));
}

#[test]
fn an_upstream_learns_that_the_client_left_in_the_middle_of_its_request() {
    let (arrived, has_arrived) = mpsc::channel();
    let (ended, has_ended) = mpsc::channel();
    let upstream = Upstream::new(move |mut connection| {
        connection.head();
        assert_eq!(connection.bytes(3), "abc");
        arrived.send(()).expect("the test waits");
        connection.drain();
        ended.send(()).expect("the test waits");
    });
    let gateway = Setup::to(upstream.address).start();
    let client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nabc");
    has_arrived.recv().expect("the beginning arrives");
    drop(client);
    has_ended.recv().expect("the connection is closed");
}

#[test]
fn an_upstream_learns_that_the_client_left_before_the_response() {
    let (asked, is_asked) = mpsc::channel();
    let (ended, has_ended) = mpsc::channel();
    let upstream = Upstream::new(move |mut connection| {
        connection.head();
        asked.send(()).expect("the test waits");
        connection.drain();
        ended.send(()).expect("the test waits");
    });
    let gateway = Setup::to(upstream.address).start();
    let client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    is_asked.recv().expect("the request arrives");
    drop(client);
    has_ended.recv().expect("the connection is closed");
}

#[test]
fn an_answer_to_an_unread_request_closes_the_connection_and_reaches_a_client_that_still_sends() {
    let gateway = Setup::routes(
        "{match: {prefix: /}, direct_response: {status: 403, body: {inline_string: denied}}}",
    )
    .start();
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3000000\r\n\r\n");
    client.send(&"x".repeat(100_000));
    let response = client.response();
    assert_eq!((response.status, response.body.as_str()), (403, "denied"));
    assert_eq!(response.header("connection"), Some("close"));
    assert_eq!(client.rest().expect("it isn't reset"), "");
}
