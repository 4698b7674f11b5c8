//! Faults that are forced: statuses, lost races, traps, memory that runs out, clocks that jump.

use std::time::Duration;

use host_test::abi::Status;
use host_test::fault::Fault;
use host_test::host::Host;
use host_test::plugin::{FailurePolicy, Limits};

use crate::guest::{host, plugin, said};

/// Logs the statuses of reading and of writing with what was read.
const SHARES: &str = r#"
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (call $say_status (call $get_shared str("k") (i32.const 32) (i32.const 36) (i32.const 40)))
  (call $say_status (call $set_shared str("k") str("v") (i32.load (i32.const 40))))
  (i32.const 0))
"#;

/// What `say_status` logs of statuses.
const OK: &str = "A";
const NOT_FOUND: &str = "B";
const CAS_MISMATCH: &str = "I";
const INTERNAL_FAILURE: &str = "K";
const UNIMPLEMENTED: &str = "M";

#[test]
fn a_hostcall_answers_what_the_fault_says_and_does_nothing() {
    let host = host(SHARES).build().expect("the guest starts");
    let fault = Fault::answer("set_shared_data", Status::InternalFailure).expect("a hostcall");
    host.fault(fault.nth(2));
    let mut statuses = Vec::new();
    for _ in 0..3 {
        host.get("/").send();
        statuses.push(said(&host).pop().expect("a line"));
    }
    assert_eq!(statuses, [OK, INTERNAL_FAILURE, OK]);
}

#[test]
fn a_host_without_shared_data_answers_unimplemented_from_the_start() {
    let unimplemented =
        |name| Fault::answer(name, Status::Unimplemented).expect("the name of a hostcall");
    let host = host(SHARES)
        .fault(unimplemented("proxy_get_shared_data"))
        .fault(unimplemented("proxy_set_shared_data"))
        .trace(true)
        .build()
        .expect("the guest starts");
    let reply = host.get("/").send();
    assert_eq!(said(&host), [UNIMPLEMENTED, UNIMPLEMENTED]);
    assert!(host.shared_data("").is_empty());
    assert!(
        reply
            .trace()
            .to_string()
            .contains("get_shared_data(key=\"k\") unimplemented (fault)"),
        "{}",
        reply.trace()
    );
    host.clear_faults();
    host.get("/").send();
    assert_eq!(host.shared_data("").len(), 1);
}

#[test]
fn a_race_is_lost_as_often_as_asked_and_the_number_is_another_one_afterwards() {
    let host = host(SHARES).trace(true).build().expect("the guest starts");
    host.get("/").send();
    said(&host);
    host.fault(Fault::lose_cas().times(2));
    let mut numbers = Vec::new();
    for _ in 0..3 {
        let reply = host.get("/").send();
        let text = reply.trace().to_string();
        let (_, after) = text.split_once("cas=").expect("it was read");
        let digits = after.split('\n').next().expect("a line").to_owned();
        numbers.push(digits);
    }
    assert_eq!(said(&host), [OK, CAS_MISMATCH, OK, CAS_MISMATCH, OK, OK]);
    numbers.dedup();
    assert_eq!(numbers.len(), 3, "{numbers:?}");
}

#[test]
fn inserting_an_absent_key_can_not_lose() {
    let host = host(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
             (call $say_status (call $set_shared str("k") str("v") (i32.const -1))) (i32.const 0))"#,
    )
    .fault(Fault::lose_cas().times(1))
    .build()
    .expect("the guest starts");
    host.get("/").send();
    assert_eq!(said(&host), [OK]);
}

#[test]
fn a_trap_is_forced_in_a_callback_of_a_plugin() {
    const PASSES: &str = r#"(func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (i32.const 0))"#;
    let host = Host::builder()
        .plugin(plugin("one", PASSES).failure_policy(FailurePolicy::FailOpen))
        .plugin(
            plugin("two", PASSES)
                .failure_policy(FailurePolicy::FailOpen)
                .vm_id("two"),
        )
        .build()
        .expect("the guests start");
    let fault = Fault::trap_in("on_response_headers").expect("a callback");
    host.fault(fault.plugin("two").nth(2));
    let statuses: Vec<_> = (0..3).map(|_| host.get("/").send().status()).collect();
    assert_eq!(statuses, [Some(200), Some(503), Some(200)]);
    let log = host.take_logs();
    assert_eq!(log.len(), 1);
    assert_eq!(log[0].plugin, "two");
    assert_eq!(
        log[0].message,
        "Function: proxy_on_response_headers failed: a fault made it trap"
    );
}

#[test]
fn a_trap_is_forced_in_the_middle_of_a_callback() {
    let host = host(SHARES).build().expect("the guest starts");
    host.fault(Fault::trap_at("set_shared_data").expect("a hostcall"));
    let reply = host.get("/").send();
    assert_eq!(reply.status(), Some(503));
    let lines = said(&host);
    assert_eq!(lines[0], NOT_FOUND, "it had got so far");
    assert!(
        lines[1].starts_with(
            "Function: proxy_on_request_headers failed: a fault made proxy_set_shared_data trap"
        ),
        "{lines:?}"
    );
}

#[test]
fn memory_stops_growing_at_the_plugins_limit() {
    let guest = plugin(
        "eater",
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (call $say_status (i32.ne (memory.grow (i32.const 1)) (i32.const -1))) (i32.const 0))"#,
    );
    // The guest has 4 pages.
    let limits = Limits {
        memory: Some(5 * 65_536),
        ..Limits::default()
    };
    let host = Host::builder()
        .plugin(guest.limits(limits))
        .build()
        .expect("the guest starts");
    for grown in ["B", "A", "A"] {
        host.get("/").send();
        assert_eq!(said(&host), [grown]);
    }
}

#[test]
fn a_callback_has_the_time_that_its_plugin_is_given() {
    let guest = plugin(
        "looper",
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (loop $l (br $l)) (unreachable))"#,
    );
    let limits = Limits {
        callback: Some(Duration::from_millis(30)),
        ..Limits::default()
    };
    let host = Host::builder()
        .plugin(guest.limits(limits))
        .build()
        .expect("the guest starts");
    host.get("/").send();
    let lines = said(&host);
    assert!(
        lines[0].starts_with("Function: proxy_on_request_headers failed: ran for more than 30ms"),
        "{lines:?}"
    );
}

#[test]
fn the_wall_clock_jumps_and_timers_take_no_notice() {
    let host = host(
        r#"(func (export "proxy_on_configure") (param i32 i32) (result i32)
             (drop (call $tick_period (i32.const 1000))) (i32.const 1))
           (func (export "proxy_on_tick") (param i32) say("tick"))
           (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
             (drop (call $clock (i32.const 0) (i64.const 0) (i32.const 32)))
             (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 40)))
             (i32.const 0))"#,
    )
    .trace(true)
    .build()
    .expect("the guest starts");
    let times = || {
        let reply = host.get("/").send();
        let value = |call: &host_test::trace::Hostcall| call.results[0].value.clone();
        reply.trace().calls().map(value).collect::<Vec<_>>()
    };
    let before = times();
    host.jump_clock(-3_600_000_000_000);
    let after = times();
    assert_ne!(before[0], after[0]);
    assert_eq!(before[1], after[1], "the monotonic clock stays");
    assert!(said(&host).is_empty(), "no tick fell due");
    host.jump_clock(3_600_000_000_000);
    assert_eq!(times(), before);
}
