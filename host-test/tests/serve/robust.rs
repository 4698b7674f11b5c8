//! Clients that behave badly, and much of everything: the gateway stays up and its memory bounded.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use crate::client::Client;
use crate::gateway::Setup;
use crate::upstream::Upstream;

/// The most memory that this process has had, in KiB.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.expect("a number")
}

#[test]
fn a_large_upload_passes_in_constant_memory() {
    const PIECE: usize = 1 << 20;
    const PIECES: usize = 1024;
    let upstream = Upstream::new(|mut connection| {
        let head = connection.head().expect("a request");
        assert!(head.starts_with("POST "));
        let mut left = PIECE * PIECES;
        let mut piece = vec![0; 1 << 16];
        while left > 0 {
            let read = connection.stream.read(&mut piece).expect("it comes");
            assert!(read > 0, "{left} bytes are missing");
            left -= read;
        }
        connection.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    });
    let gateway = Setup::to(upstream.address).start();
    let mut stream = TcpStream::connect(gateway.address()).expect("it listens");
    let head = format!(
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n",
        PIECE * PIECES
    );
    stream.write_all(head.as_bytes()).expect("it reads");
    let before = peak_kib();
    let piece = vec![b'x'; PIECE];
    for _ in 0..PIECES {
        stream.write_all(&piece).expect("it reads");
    }
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("it answers");
    assert_eq!(&answer, b"HTTP/1.1 200");
    // Other tests run in this process too: what they take is far below the body's size.
    let grown = peak_kib() - before;
    assert!(grown < 96 * 1024, "{grown} KiB for a body of {PIECES} MiB");
}

#[test]
fn idle_connections_and_slow_ones_do_not_keep_others_from_being_served() {
    let gateway = Setup::routes("{match: {prefix: /}, direct_response: {status: 200}}").start();
    let idle: Vec<TcpStream> = (0..300)
        .map(|_| TcpStream::connect(gateway.address()).expect("it listens"))
        .collect();
    let slow: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut stream = TcpStream::connect(gateway.address()).expect("it listens");
            stream.write_all(b"GET / HTTP/1.1\r\nx-").expect("it reads");
            stream
        })
        .collect();
    let address = gateway.address();
    let active: Vec<_> = (0..20)
        .map(|_| {
            thread::spawn(move || {
                let mut client = Client::connect(address);
                (0..50)
                    .filter(|_| client.get("/", "").status == 200)
                    .count()
            })
        })
        .collect();
    for client in active {
        assert_eq!(client.join().expect("it is served"), 50);
    }
    // A head that has taken its time is answered all the same.
    let mut stream = slow.into_iter().next().expect("a hundred");
    stream
        .write_all(b"a: 1\r\nhost: a\r\n\r\n")
        .expect("it reads");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("it answers");
    assert_eq!(&answer, b"HTTP/1.1 200");
    drop(idle);
}

#[test]
fn headers_up_to_the_configured_size_are_taken() {
    let upstream = Upstream::echo();
    let gateway = Setup::to(upstream.address)
        .manager("max_request_headers_kb: 96")
        .start();
    let large = "a".repeat(64 << 10);
    let response = gateway.connect().get("/", &format!("x-large: {large}\r\n"));
    assert_eq!(response.status, 200);
    assert!(response.body.contains(&large));
}

#[test]
fn requests_that_are_sent_at_once_are_answered_in_their_order() {
    let upstream = Upstream::echo();
    let gateway = Setup::to(upstream.address).start();
    let mut client = gateway.connect();
    let requests: String = (0..20)
        .map(|number| {
            if number % 2 == 0 {
                format!("GET /{number} HTTP/1.1\r\nhost: a\r\n\r\n")
            } else {
                format!("POST /{number} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\n#\n\r\n0\r\n\r\n")
            }
        })
        .collect();
    client.send(&requests);
    for number in 0..20 {
        let response = client.response();
        assert_eq!(response.status, 200);
        assert!(
            response.body.contains(&format!(" /{number} HTTP/1.1\r\n")),
            "{}",
            response.body
        );
    }
}
