//! Another configuration while the gateway serves, and its end.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use host_test::bootstrap::{self, Loaded};

use crate::client::Client;
use crate::gateway::Setup;
use crate::upstream::Upstream;

fn loaded(setup: &Setup) -> Loaded {
    bootstrap::parse(Path::new("test.yaml"), &setup.yaml(), false)
        .unwrap_or_else(|report| panic!("{report}"))
}

fn direct(body: &str) -> Setup {
    Setup::routes(&format!(
        "{{match: {{prefix: /}}, direct_response: {{status: 200, body: {{inline_string: {body}}}}}}}"
    ))
}

/// Counts its requests in shared data and says the count in a header.
const COUNTING: &str = r#"
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
      (i32.store (i32.const 36) (i32.const 0))
      (drop (call $get_shared str("n") (i32.const 32) (i32.const 36) (i32.const 40)))
      (i32.store8 (i32.const 48) (i32.const 48))
      (if (i32.load (i32.const 36)) (then
        (i32.store8 (i32.const 48) (i32.load8_u (i32.load (i32.const 32))))))
      (i32.store8 (i32.const 48) (i32.add (i32.load8_u (i32.const 48)) (i32.const 1)))
      (drop (call $set_shared str("n") (i32.const 48) (i32.const 1) (i32.const 0)))
      (drop (call $add_header (i32.const 0) str("x-count") (i32.const 48) (i32.const 1)))
      (i32.const 0))"#;

/// Adds a header to each request.
const MARKING: &str = r#"
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
      (drop (call $add_header (i32.const 0) str("x-mark") str("1")))
      (i32.const 0))"#;

#[test]
fn a_connection_that_is_open_is_served_by_the_new_configuration() {
    let gateway = direct("old").start();
    let mut client = gateway.connect();
    assert_eq!(client.get("/", "").body, "old");
    gateway.reload(loaded(&direct("new"))).expect("it is right");
    assert_eq!(client.get("/", "").body, "new");
    assert_eq!(gateway.get("/").body, "new");
}

#[test]
fn shared_data_stays_over_a_reload() {
    let upstream = Upstream::echo();
    let setup = || Setup::to(upstream.address).guest("count", COUNTING, "");
    let gateway = setup().start();
    let mut client = gateway.connect();
    assert!(client.get("/", "").body.contains("x-count: 1\r\n"));
    gateway.reload(loaded(&setup())).expect("it is right");
    let body = client.get("/", "").body;
    assert!(body.contains("x-count: 2\r\n"), "{body}");
}

#[test]
fn what_is_wrong_changes_nothing() {
    let gateway = direct("old").start();
    let refusing = direct("new").guest(
        "picky",
        r#"(func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.const 0))"#,
        "",
    );
    let error = gateway
        .reload(loaded(&refusing))
        .expect_err("it is refused");
    let error = error.to_string();
    assert!(
        error.contains("plugin picky refused its configuration"),
        "{error}"
    );
    assert_eq!(gateway.get("/").body, "old");
}

#[test]
fn no_request_fails_while_the_configuration_changes() {
    let upstream = Upstream::echo();
    let setup = || Setup::to(upstream.address).guest("mark", MARKING, "");
    let gateway = setup().start();
    let over = Arc::new(AtomicBool::new(false));
    let address = gateway.address();
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let over = Arc::clone(&over);
            thread::spawn(move || {
                let mut client = Client::connect(address);
                let mut served = 0;
                while !over.load(Ordering::Relaxed) || served < 10 {
                    assert_eq!(client.get("/", "").status, 200);
                    served += 1;
                }
                served
            })
        })
        .collect();
    for round in 0..10 {
        let changed = if round % 2 == 0 {
            setup().manager("server_name: other")
        } else {
            setup()
        };
        gateway.reload(loaded(&changed)).expect("it is right");
    }
    over.store(true, Ordering::Relaxed);
    for client in clients {
        assert!(client.join().expect("no request has failed") >= 10);
    }
}

#[test]
fn what_is_under_way_is_answered_before_the_end() {
    let (asked, is_asked) = std::sync::mpsc::channel();
    let (go, may_go) = std::sync::mpsc::channel::<()>();
    let may_go = std::sync::Mutex::new(may_go);
    let upstream = Upstream::new(move |mut connection| {
        connection.head();
        asked.send(()).expect("the test waits");
        may_go
            .lock()
            .expect("one at a time")
            .recv()
            .expect("the test says so");
        connection.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    });
    let gateway = Setup::to(upstream.address).start();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    is_asked.recv().expect("the upstream is asked");
    let ending = thread::spawn(move || gateway.stop());
    go.send(()).expect("the upstream waits");
    let response = client.response();
    assert_eq!((response.status, response.body.as_str()), (200, "ok"));
    ending.join().expect("it ends");
}

#[test]
fn under_load_every_request_is_answered_until_the_connection_is_closed_in_words() {
    let upstream = Upstream::echo();
    let gateway = Setup::to(upstream.address).start();
    let address = gateway.address();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let ready = ready.clone();
            thread::spawn(move || {
                let mut client = Client::connect(address);
                let mut served = 0;
                loop {
                    let response = client.get("/", "");
                    assert_eq!(response.status, 200);
                    served += 1;
                    if served == 20 {
                        ready.send(()).expect("the test waits");
                    }
                    // Whoever is told so sends no more.
                    if response.header("connection") == Some("close") {
                        return served;
                    }
                }
            })
        })
        .collect();
    for _ in &clients {
        is_ready.recv().expect("it is served");
    }
    gateway.stop();
    for client in clients {
        assert!(client.join().expect("no request was lost") > 20);
    }
}
