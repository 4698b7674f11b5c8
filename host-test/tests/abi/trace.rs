//! Traces: what guests were asked and what they asked for.

use std::time::Duration;

use host_test::host::{Host, HostBuilder};
use host_test::trace::{Outcome, Thread};

use crate::guest::{host, plugin};

/// Reads a header, counts in shared data, and answers `/no` by itself; logs with each tick.
const GUEST: &str = r#"
(func (export "proxy_on_configure") (param i32 i32) (result i32)
  (drop (call $tick_period (i32.const 1000))) (i32.const 1))
(func (export "proxy_on_tick") (param i32) say("tick"))
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (drop (call $get_header (i32.const 0) str("x-user") (i32.const 32) (i32.const 36)))
  (drop (call $get_shared str("seen") (i32.const 32) (i32.const 36) (i32.const 40)))
  (drop (call $set_shared str("seen") str("1") (i32.const 0)))
  (drop (call $get_property (i32.const 96) (i32.const 12) (i32.const 32) (i32.const 36)))
  (i32.const 0))
(func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
  (drop (call $add_header (i32.const 2) str("a") str("b")))
  (i32.const 0))
(data (i32.const 96) "request\00path")
"#;

fn traced() -> HostBuilder {
    host(GUEST).trace(true)
}

#[test]
fn a_request_is_shown_with_its_callbacks_arguments_and_answers() {
    let host = traced().build().expect("the guest starts");
    host.get("/").send();
    let reply = host.get("/a?b").header("x-user", "ana").send();
    assert_eq!(
        reply.trace().to_string(),
        r#"worker 0, guest, context 3: on_request_headers(headers=5, end=true)
  get_header_map_value(map=request_headers, name="x-user") ok value="ana"
  get_shared_data(key="seen") ok value="1", cas=1
  set_shared_data(key="seen", value="1", cas=0) ok
  get_property(path="request.path") ok value="/a?b"
  = continue
worker 0, guest, context 3: on_response_headers(headers=2, end=true)
  add_header_map_value(map=response_headers, name="a", value="b") ok
  = continue
"#
    );
}

#[test]
fn what_belongs_to_no_request_is_in_the_hosts_trace() {
    let host = traced().build().expect("the guest starts");
    host.advance(Duration::from_secs(1));
    host.get("/").send();
    let trace = host.take_trace();
    let seen: Vec<_> = trace
        .callbacks()
        .iter()
        .map(|callback| (callback.at.as_secs(), callback.thread, callback.name))
        .collect();
    let worker = Thread::Worker(0);
    assert_eq!(
        seen,
        [
            (0, Thread::Main, "proxy_on_configure"),
            (0, worker, "proxy_on_configure"),
            (1, worker, "proxy_on_tick"),
            (1, Thread::Main, "proxy_on_tick"),
        ]
    );
    assert!(host.take_trace().is_empty(), "it was taken");
}

#[test]
fn json_has_a_line_per_callback_with_time_and_instructions() {
    let host = traced()
        .count_instructions(true)
        .build()
        .expect("the guest starts");
    host.advance(Duration::from_millis(1_500));
    let reply = host.get("/").send();
    let lines: Vec<serde_json::Value> = reply
        .trace()
        .json_lines()
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 2);
    let first = &lines[0];
    assert_eq!(first["nanoseconds"], 1_500_000_000_u64);
    assert_eq!(first["callback"], "proxy_on_request_headers");
    assert_eq!(first["calls"][0]["status"], "not_found");
    assert_eq!(first["calls"][3]["results"]["value"], "/");
    let each: u64 = lines
        .iter()
        .filter_map(|line| line["instructions"].as_u64())
        .sum();
    assert_eq!(reply.instructions(), Some(each));
    let timed = reply.trace().timed();
    assert!(timed.starts_with("1.500s worker 0, guest"), "{timed}");
    assert!(timed.contains(" instructions\n"), "{timed}");
}

#[test]
fn equal_input_gives_equal_traces_byte_for_byte() {
    let run = |seed| {
        let host = traced()
            .workers(3)
            .seed(seed)
            .count_instructions(true)
            .build()
            .expect("the guest starts");
        let mut all = String::new();
        for n in 0..6 {
            let reply = host.get("/").header("x-user", n.to_string()).send();
            all += &reply.trace().json_lines();
            host.advance(Duration::from_millis(700));
        }
        all + &host.take_trace().json_lines()
    };
    for seed in [0, 7] {
        assert_eq!(run(seed), run(seed));
    }
    assert!(run(0).contains("worker 2"));
}

#[test]
fn callbacks_of_several_plugins_are_in_their_order() {
    let host = Host::builder()
        .plugin(plugin("one", GUEST))
        .plugin(plugin("two", GUEST))
        .trace(true)
        .build()
        .expect("the guests start");
    let reply = host.get("/").send();
    let order: Vec<_> = reply
        .trace()
        .callbacks()
        .iter()
        .map(|callback| callback.plugin.as_str())
        .collect();
    assert_eq!(order, ["one", "two", "two", "one"]);
}

#[test]
fn a_trap_is_the_outcome_of_its_callback() {
    let host = host(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
             say("before") unreachable)"#,
    )
    .trace(true)
    .build()
    .expect("the guest starts");
    let reply = host.get("/").send();
    let callback = &reply.trace().callbacks()[0];
    assert_eq!(callback.calls.len(), 1);
    assert!(
        matches!(&callback.outcome, Outcome::Trapped(cause) if cause.contains("unreachable")),
        "{callback:?}"
    );
}

#[test]
fn nothing_is_recorded_unless_asked_for() {
    let host = host(GUEST).build().expect("the guest starts");
    assert!(host.get("/").send().trace().is_empty());
    assert!(host.take_trace().is_empty());
}
