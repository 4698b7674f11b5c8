//! Shared data and metrics over several workers.

use crate::guest::{host, said};

const COUNTS: &str = r#"
(global $metric (mut i32) (i32.const 0))
(func (export "proxy_on_configure") (param i32 i32) (result i32)
  (drop (call $define_metric (i32.const 0) str("requests_total") (i32.const 32)))
  (global.set $metric (i32.load (i32.const 32)))
  (i32.const 1))
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (drop (call $increment (global.get $metric) (i64.const 2)))
  (i32.const 0))
"#;

#[test]
fn a_counter_is_one_number_over_all_workers() {
    let host = host(COUNTS).workers(3).build().expect("the guest starts");
    for _ in 0..5 {
        host.get("/").send();
    }
    assert_eq!(host.metrics()["requests_total"], 10);
}

#[test]
fn shared_data_written_on_one_worker_is_read_on_another() {
    let host = host(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
             (call $say_status (call $get_shared str("k") (i32.const 32) (i32.const 36) (i32.const 40)))
             (call $say_status (call $set_shared str("k") str("v") (i32.const -1)))
             (i32.const 0))"#,
    )
    .workers(2)
    .build()
    .expect("the guest starts");
    host.get("/").worker(0).send();
    host.get("/").worker(1).send();
    assert_eq!(
        said(&host),
        ["B", "A", "A", "I"],
        "absent, inserted, present, CAS mismatch"
    );
    assert_eq!(host.shared_data("")["k"], b"v");
}

#[test]
fn a_metric_defined_in_a_request_is_reported() {
    let host = host(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
             (drop (call $define_metric (i32.const 0) str("late") (i32.const 32))) (i32.const 0))"#,
    )
    .build()
    .expect("the guest starts");
    assert!(host.get("/").send().violations()[0].contains("define it in on_configure"));
}

#[test]
fn hostcalls_are_counted_by_name() {
    let host = host(COUNTS).build().expect("the guest starts");
    let reply = host.get("/").send();
    assert_eq!(
        reply.hostcalls().iter().collect::<Vec<_>>(),
        [(&"proxy_increment_metric", &1)]
    );
}
