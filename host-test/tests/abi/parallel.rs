//! Requests at the same time on several workers, ticks on demand, and bodies in other pieces.

use bytes::Bytes;
use host_test::host::{Answer, Host};
use host_test::rechunk::{Shape, Split, rechunk};
use host_test::trace::Thread;

use crate::guest::{host, said};

/// Counts in shared data without trying again: reads a number of one byte, adds one, and writes it
/// with the CAS number read. Logs the status of the write.
const COUNTS: &str = r#"
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (i32.store8 (i32.const 48) (i32.const 48))
  (i32.store (i32.const 40) (i32.const -1))
  (if (i32.eqz (call $get_shared str("n") (i32.const 32) (i32.const 36) (i32.const 40)))
    (then (i32.store8 (i32.const 48) (i32.load8_u (i32.load (i32.const 32))))))
  (i32.store8 (i32.const 48) (i32.add (i32.load8_u (i32.const 48)) (i32.const 1)))
  (call $say_status (call $set_shared str("n") (i32.const 48) (i32.const 1) (i32.load (i32.const 40))))
  (i32.const 0))
"#;

fn counted(workers: usize, seed: u64) -> (Vec<String>, u8, Host) {
    let host = host(COUNTS)
        .workers(workers)
        .trace(true)
        .build()
        .expect("the guest starts");
    let requests = (0..8).map(|_| host.get("/"));
    let replies = host.parallel(seed, requests);
    assert!(replies.iter().all(|reply| reply.status() == Some(200)));
    let count = host.shared_data("")["n"][0] - b'0';
    (said(&host), count, host)
}

#[test]
fn races_for_a_key_are_lost_on_several_workers_and_never_on_one() {
    let lost = |workers, seed| {
        let (statuses, count, _) = counted(workers, seed);
        let lost = statuses.iter().filter(|status| *status == "I").count();
        assert_eq!(
            usize::from(count),
            8 - lost,
            "what was not lost was counted: {statuses:?}"
        );
        lost
    };
    assert!((0..20).all(|seed| lost(1, seed) == 0));
    let with_losses = (0..20).filter(|&seed| lost(3, seed) > 0).count();
    assert!(with_losses > 10, "{with_losses} of 20 seeds");
}

#[test]
fn the_same_seed_gives_the_same_order() {
    let order = |seed| {
        let host = host(COUNTS)
            .workers(3)
            .trace(true)
            .build()
            .expect("the guest starts");
        let replies = host.parallel(seed, (0..8).map(|_| host.get("/")));
        let text = |reply: &host_test::reply::Reply| reply.trace().json_lines();
        replies.iter().map(text).collect::<String>()
    };
    assert_eq!(order(1), order(1));
    let distinct: std::collections::BTreeSet<_> = (0..10).map(order).collect();
    assert!(distinct.len() > 5, "{}", distinct.len());
}

#[test]
fn replies_are_in_the_order_of_the_requests() {
    let host = host("")
        .workers(2)
        .upstream(|request| {
            let path = request
                .headers
                .text(":path")
                .unwrap_or_default()
                .into_owned();
            Answer::status(200, path)
        })
        .build()
        .expect("the guest starts");
    let requests = (0..6).map(|n| host.post(&format!("/{n}")).body("body"));
    for (n, reply) in host.parallel(3, requests).iter().enumerate() {
        assert_eq!(reply.body(), format!("/{n}").as_bytes());
        assert!(reply.is_complete());
    }
}

#[test]
fn a_tick_runs_when_asked_for_on_the_thread_that_is_named() {
    let host = host(
        r#"(func (export "proxy_on_configure") (param i32 i32) (result i32)
             (drop (call $tick_period (i32.const 1000))) (i32.const 1))
           (func (export "proxy_on_tick") (param i32) say("tick"))"#,
    )
    .workers(2)
    .trace(true)
    .build()
    .expect("the guest starts");
    host.take_trace();
    let ticked = |thread| {
        let ran = host.tick(thread);
        let trace = host.take_trace();
        assert_eq!(trace.callbacks().len(), ran);
        let threads = trace.callbacks().iter().map(|callback| callback.thread);
        threads.collect::<Vec<_>>()
    };
    assert_eq!(ticked(Some(Thread::Worker(1))), [Thread::Worker(1)]);
    assert_eq!(ticked(Some(Thread::Main)), [Thread::Main]);
    assert_eq!(
        ticked(None),
        [Thread::Worker(0), Thread::Worker(1), Thread::Main]
    );
    assert_eq!(ticked(Some(Thread::Worker(9))), []);
    // The next tick is a whole period away.
    host.advance(std::time::Duration::from_millis(999));
    assert!(host.take_trace().is_empty());
    let without = crate::guest::host("").build().expect("the guest starts");
    assert_eq!(without.tick(None), 0, "no period was set");
}

/// Adds a byte to whatever piece of the body it sees.
const ADDS: &str = r#"
(func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
  (drop (call $set_buffer (i32.const 0) (i32.const 9999) (i32.const 0) str("!"))) (i32.const 0))
"#;

#[test]
fn a_body_comes_in_the_shape_that_is_asked_for() {
    let pieces = |shape, pieces: &[&'static str]| {
        let host = host(
            r#"(func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
                 (call $say_status (local.get 1)) (call $say_status (local.get 2)) (i32.const 0))"#,
        )
        .build()
        .expect("the guest starts");
        let pieces = pieces.iter().map(|piece| Bytes::from(*piece)).collect();
        host.post("/").split(Split { pieces, shape }).send();
        said(&host).concat()
    };
    // A letter for the size and one for the end.
    assert_eq!(pieces(Shape::Http1, &["ab", "c"]), "CABAAB");
    assert_eq!(pieces(Shape::Http2, &["ab", "c"]), "CABB");
    assert_eq!(pieces(Shape::Http2, &["", "abc", ""]), "AADAAB");
}

#[test]
fn what_depends_on_the_pieces_is_found() {
    let body = Bytes::from("hello");
    let round = |guest: &str| {
        rechunk(20, 0, |splitter| {
            let host = host(guest).build().expect("the guest starts");
            let reply = host.post("/").split(splitter.split(&body)).send();
            reply.upstream_request().map(|request| request.body.clone())
        })
    };
    assert!(round("").is_ok());
    let difference = round(ADDS).expect_err("a byte per piece");
    assert_eq!(difference.whole.as_deref(), Some(&b"hello!!"[..]));
}

#[test]
fn answers_come_in_the_shape_that_is_asked_for() {
    for (shape, pieces) in [(Shape::Http1, "BABAAB"), (Shape::Http2, "BABB")] {
        let host = host(
            r#"(func (export "proxy_on_response_body") (param i32 i32 i32) (result i32)
                 (call $say_status (local.get 1)) (call $say_status (local.get 2)) (i32.const 0))"#,
        )
        .response_shape(shape)
        .upstream(|_| Answer::Respond {
            headers: [(":status", "200")].into_iter().collect(),
            chunks: vec!["a".into(), "b".into()],
            trailers: Default::default(),
        })
        .build()
        .expect("the guest starts");
        host.get("/").send();
        assert_eq!(said(&host).concat(), pieces);
    }
}
