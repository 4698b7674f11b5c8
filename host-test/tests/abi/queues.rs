//! Shared queues and their callback.

use host_test::host::Answer;

use crate::guest::{host, plugin, said};

/// Serialized pairs: `:method GET`, `:path /`, `:authority a`.
const PAIRS: &str = r#"str("\03\00\00\00\07\00\00\00\03\00\00\00\05\00\00\00\01\00\00\00\0a\00\00\00\01\00\00\00:method\00GET\00:path\00/\00:authority\00a\00")"#;

/// Logs token and item in its queue callback.
const LISTENS: &str = r#"
(func (export "proxy_on_queue_ready") (param $root i32) (param $token i32)
  (call $say_status (local.get $root))
  (call $say_status (local.get $token))
  (call $say_status (call $dequeue (local.get $token) (i32.const 32) (i32.const 36)))
  (call $say_given))
"#;

/// Registers the queue `q` when it is configured.
const REGISTERS: &str = r#"
(func (export "proxy_on_configure") (param i32 i32) (result i32)
  (drop (call $register str("q") (i32.const 32)))
  (i32.const 1))
"#;

/// Puts `item` into queue 1 with every request, and logs before it returns.
const ENQUEUES: &str = r#"
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (call $say_status (call $enqueue (i32.const 1) str("item")))
  say("returns")
  (i32.const 0))
(func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
  say("response")
  (i32.const 0))
"#;

#[test]
fn a_queue_callback_runs_after_the_guest_has_returned_and_before_the_response() {
    let host = host(&[LISTENS, REGISTERS, ENQUEUES].concat())
        .build()
        .expect("the guest starts");
    host.get("/").send();
    assert_eq!(
        said(&host),
        ["A", "returns", "B", "B", "A", "item", "response"],
        "root context 1, token 1"
    );
}

#[test]
fn the_worker_that_registered_last_is_told_whoever_enqueues() {
    // Of both VMs each worker has its own; the main thread configures its VMs first.
    let counts = r#"
(func (export "proxy_on_queue_ready") (param i32 i32)
  (global.set $told (i32.add (global.get $told) (i32.const 1)))
  (call $say_status (global.get $told)))
(global $told (mut i32) (i32.const 0))
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (drop (call $enqueue (i32.const 1) str("")))
  (i32.const 0))
"#;
    let host = host(&[counts, REGISTERS].concat())
        .workers(3)
        .build()
        .expect("the guest starts");
    for worker in [0, 1, 2, 0] {
        host.get("/").worker(worker).send();
    }
    assert_eq!(said(&host), ["B", "C", "D", "E"], "one VM counted all");
}

#[test]
fn a_queue_joins_plugins_with_different_vms() {
    let mut listener = plugin("listener", &[LISTENS, REGISTERS].concat());
    listener.vm_id = "one".to_owned();
    let mut sender = plugin("sender", ENQUEUES);
    sender.vm_id = "two".to_owned();
    let host = host_test::host::Host::builder()
        .plugin(listener)
        .plugin(sender)
        .build()
        .expect("the guests start");
    host.get("/").send();
    assert_eq!(said(&host)[2..6], ["B", "B", "A", "item"]);
}

#[test]
fn a_paused_stream_is_resumed_from_a_queue_callback() {
    let host = host(&format!(
        r#"{REGISTERS}
(global $stream (mut i32) (i32.const 0))
(func (export "proxy_on_request_headers") (param $c i32) (param i32 i32) (result i32)
  (global.set $stream (local.get $c))
  (drop (call $enqueue (i32.const 1) str("")))
  (i32.const 1))
(func (export "proxy_on_queue_ready") (param i32 i32)
  (drop (call $effective (global.get $stream)))
  (drop (call $set_header (i32.const 0) str("x-queue") str("yes")))
  (drop (call $continue (i32.const 0))))"#
    ))
    .build()
    .expect("the guest starts");
    let reply = host.get("/").send();
    let upstream = reply.upstream_request().expect("forwarded");
    assert_eq!(upstream.headers.first("x-queue"), Some(&b"yes"[..]));
    assert_eq!(reply.violations(), [""; 0]);
}

#[test]
fn a_queue_callback_of_another_worker_may_make_callouts() {
    let host = host(&format!(
        r#"{REGISTERS}
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (drop (call $enqueue (i32.const 1) str("")))
  (i32.const 0))
(func (export "proxy_on_queue_ready") (param i32 i32)
  (drop (call $http_call str("auth") {PAIRS} (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 32))))
(func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32) say("answered"))"#
    ))
    .workers(2)
    .callouts(|_| Answer::status(200, ""))
    .build()
    .expect("the guest starts");
    host.get("/").worker(0).send();
    assert_eq!(said(&host), ["answered"]);
}

#[test]
fn items_put_in_when_time_passes_are_told_too() {
    let host = host(&format!(
        r#"{LISTENS}
(func (export "proxy_on_configure") (param i32 i32) (result i32)
  (drop (call $register str("q") (i32.const 32)))
  (drop (call $tick_period (i32.const 1000)))
  (i32.const 1))
(func (export "proxy_on_tick") (param i32)
  (drop (call $enqueue (i32.const 1) str("tick"))))"#
    ))
    .build()
    .expect("the guest starts");
    host.advance(std::time::Duration::from_secs(1));
    let told = ["B", "B", "A", "tick"];
    assert_eq!(said(&host), [told, told].concat(), "worker and main thread");
}

#[test]
fn a_queue_that_feeds_itself_is_stopped_and_reported() {
    let host = host(&format!(
        r#"{REGISTERS}
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (drop (call $enqueue (i32.const 1) str("")))
  (i32.const 0))
(func (export "proxy_on_queue_ready") (param i32) (param $token i32)
  (drop (call $enqueue (local.get $token) str(""))))"#
    ))
    .build()
    .expect("the guest starts");
    assert_eq!(host.get("/").send().status(), Some(200));
    assert!(host.violations()[0].contains("without end"));
}

#[test]
fn a_trap_in_a_queue_callback_fails_the_vm() {
    let host = host(&format!(
        r#"{REGISTERS}{ENQUEUES}
(func (export "proxy_on_queue_ready") (param i32 i32) unreachable)"#
    ))
    .build()
    .expect("the guest starts");
    host.get("/").send();
    let logs = said(&host).join("\n");
    assert!(
        logs.contains("Function: proxy_on_queue_ready failed"),
        "{logs}"
    );
    assert_eq!(host.get("/").send().status(), Some(503));
}

#[test]
fn threads_of_workers_are_woken_by_their_number() {
    use std::sync::{Arc, Mutex};

    use host_test::clock::Clock;
    use host_test::shared::Shared;
    use host_test::worker::{Environment, StreamInfo, Worker};

    let shared = Arc::new(Shared::default());
    let woken = Arc::new(Mutex::new(Vec::new()));
    let lines = Arc::new(Mutex::new(Vec::new()));
    let (wake, log) = (woken.clone(), lines.clone());
    shared.wake_with(move |worker| wake.lock().expect("not poisoned").push(worker));
    let environment = Environment {
        shared,
        clock: Clock::virtual_clock(),
        log: Arc::new(move |line| log.lock().expect("not poisoned").push(line.message)),
        log_level: log::LevelFilter::Info,
        seed: 0,
        observe: Default::default(),
    };
    let plugins = [Arc::new(plugin(
        "guest",
        &[LISTENS, REGISTERS, ENQUEUES].concat(),
    ))];
    let mut one = Worker::start(environment.clone(), &plugins, 1).expect("starts");
    let mut two = Worker::start(environment, &plugins, 2).expect("starts");

    let stream = one.open(&[0], StreamInfo::default());
    let headers = [(":method", "GET"), (":path", "/")];
    one.request_headers(stream, headers.into_iter().collect(), true);
    assert_eq!(*woken.lock().expect("not poisoned"), [2]);
    one.run_queue_callbacks();
    assert_eq!(
        lines.lock().expect("not poisoned").len(),
        2,
        "not for this one"
    );
    two.run_queue_callbacks();
    assert_eq!(lines.lock().expect("not poisoned")[4..], ["A", "item"]);
}
