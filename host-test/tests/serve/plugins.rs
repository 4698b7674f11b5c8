//! Plugins between real clients and upstreams.

use std::fs;
use std::thread;

use crate::gateway::{Setup, scratch};
use crate::upstream::Upstream;

const DIRECT: &str =
    "{match: {prefix: /}, direct_response: {status: 200, body: {inline_string: hello}}}";

/// Answers 403 with a body and details, and leaves a note for the access log.
const DENYING: &str = r#"
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
      (drop (call $set_property str("decision") str("deny")))
      (drop (call $reply (i32.const 403) str("denied{by=test}") str("go away") (i32.const 0) (i32.const 0) (i32.const -1)))
      (i32.const 1))"#;

#[test]
fn a_plugin_answers_and_its_reasons_are_logged() {
    let path = scratch("denied.log");
    let gateway = Setup::routes(DIRECT)
        .guest("deny", DENYING, "")
        .manager(&format!(
            r#"access_log: [{{name: file, typed_config: {{"@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: "{}", log_format: {{text_format_source: {{inline_string: "%REQ(:PATH)% %RESPONSE_CODE% %RESPONSE_CODE_DETAILS% %FILTER_STATE(wasm.decision:PLAIN)%\n"}}}}}}}}]"#,
            path.display()
        ))
        .start();
    let response = gateway.get("/secret");
    assert_eq!((response.status, response.body.as_str()), (403, "go away"));
    assert_eq!(response.header("server"), Some("envoy"));
    gateway.stop();
    assert_eq!(
        fs::read_to_string(path).expect("the log is written"),
        "/secret 403 denied{by=test} deny\n"
    );
}

#[test]
fn a_route_is_chosen_again_once_plugins_have_changed_the_request() {
    let upstream = Upstream::echo();
    let gateway = Setup::routes(
        "{match: {prefix: /rewritten}, route: {cluster: up}}, \
         {match: {prefix: /}, direct_response: {status: 500}}",
    )
    .cluster("up", &[upstream.address])
    .guest(
        "rewrite",
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (drop (call $set_header (i32.const 0) str(":path") str("/rewritten")))
          (drop (call $add_header (i32.const 0) str("x-added") str("1")))
          (i32.const 0))"#,
        "",
    )
    .start();
    let response = gateway.get("/");
    assert!(
        response.body.starts_with("GET /rewritten HTTP/1.1\r\n"),
        "{}",
        response.body
    );
    assert!(response.body.contains("\r\nx-added: 1\r\n"));
}

#[test]
fn bodies_reach_plugins_in_http_1_shape() {
    let gateway = Setup::to(Upstream::echo().address)
        .guest("chatty", &crate::guest::chatty(""), "")
        .start();
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc");
    assert!(client.response().body.ends_with("\r\n\r\nabc"));
    let logs = gateway.logs();
    let count = |name: &str| logs.iter().filter(|log| *log == name).count();
    // The piece and, in a call of its own, the end.
    assert_eq!(count("request_body"), 2, "{logs:?}");
    assert_eq!(count("response_body"), 2, "{logs:?}");
    assert_eq!(logs.first().map(String::as_str), Some("request_headers"));
    let last: Vec<&str> = logs.iter().rev().take(3).map(String::as_str).collect();
    assert_eq!(last, ["delete", "done", "log"]);
}

#[test]
fn a_plugin_that_holds_a_request_back_lets_it_go_after_its_callout() {
    let upstream = Upstream::echo();
    let service = Upstream::answering("HTTP/1.1 202 Accepted\r\ncontent-length: 5\r\n\r\nready");
    let gateway = Setup::to(upstream.address)
        .cluster("service", &[service.address])
        .guest(
            "ask",
            r#"(global $stream (mut i32) (i32.const 0))
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
              (global.set $stream (local.get 0))
              ;; One pair of names and values after the other, as the ABI packs them.
              (i32.store (i32.const 256) (i32.const 3))
              (i32.store (i32.const 260) (i32.const 7)) (i32.store (i32.const 264) (i32.const 3))
              (i32.store (i32.const 268) (i32.const 5)) (i32.store (i32.const 272) (i32.const 4))
              (i32.store (i32.const 276) (i32.const 10)) (i32.store (i32.const 280) (i32.const 7))
              (memory.copy (i32.const 284) str(":method\00GET\00:path\00/ask\00:authority\00service\00"))
              (drop (call $http_call str("service") (i32.const 256) (i32.const 70) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 5000) (i32.const 64)))
              (i32.const 1))
            (func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32)
              (drop (call $get_header (i32.const 6) str(":status") (i32.const 32) (i32.const 36)))
              (call $say_given)
              (drop (call $effective (global.get $stream)))
              (drop (call $set_header (i32.const 0) str("x-answer") (i32.load (i32.const 32)) (i32.load (i32.const 36))))
              (drop (call $continue (i32.const 0))))"#,
            "",
        )
        .start();
    let response = gateway.get("/");
    assert_eq!(gateway.logs(), ["202"]);
    assert!(
        response.body.contains("\r\nx-answer: 202\r\n"),
        "{}",
        response.body
    );
    assert_eq!(service.connections(), 1);
}

#[test]
fn ticks_run_on_the_main_thread_and_on_each_worker() {
    let gateway = Setup::routes(DIRECT)
        .guest(
            "tick",
            r#"(func (export "proxy_on_configure") (param i32 i32) (result i32)
              (drop (call $tick_period (i32.const 1)))
              (i32.const 1))
            (func (export "proxy_on_tick") (param i32)
              ;; Once for each VM.
              (drop (call $tick_period (i32.const 0)))
              say("tick"))"#,
            "",
        )
        .start();
    while gateway.logs().len() < 3 {
        thread::yield_now();
    }
    assert_eq!(gateway.logs(), ["tick"; 3]);
}

#[test]
fn routes_switch_plugins_off_and_on() {
    const CONFIG: &str = "\"@type\": type.googleapis.com/envoy.config.route.v3.FilterConfig";
    let gateway = Setup::routes(&format!(
        "{{match: {{prefix: /open}}, direct_response: {{status: 200}}, \
          typed_per_filter_config: {{deny: {{{CONFIG}, disabled: true}}}}}}, {DIRECT}"
    ))
    .guest("deny", DENYING, "")
    .start();
    assert_eq!(gateway.get("/open").status, 200);
    assert_eq!(gateway.get("/shut").status, 403);
}

#[test]
fn what_only_a_plugin_can_spoil_is_answered_as_envoy_does() {
    let upstream = Upstream::echo();
    for (change, status, body) in [
        (
            r#"$remove_header (i32.const 0) str(":method")"#,
            503,
            "missing required header: :method",
        ),
        (r#"$remove_header (i32.const 0) str(":path")"#, 404, ""),
        (
            r#"$set_header (i32.const 0) str("x-a") str("b\0d\0ax-c: d")"#,
            503,
            "invalid header value for: x-a",
        ),
        (
            r#"$set_header (i32.const 0) str("x a") str("b")"#,
            503,
            "invalid header name: x a",
        ),
    ] {
        let guest = format!(
            r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
              (drop (call {change})) (i32.const 0))"#
        );
        let gateway = Setup::to(upstream.address)
            .guest("spoil", &guest, "")
            .start();
        let response = gateway.get("/");
        assert_eq!(
            (response.status, response.body.as_str()),
            (status, body),
            "{change}"
        );
    }
    let guest = r#"(func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
      (drop (call $remove_header (i32.const 2) str(":status"))) (i32.const 0))"#;
    let gateway = Setup::to(upstream.address)
        .guest("spoil", guest, "")
        .start();
    let response = gateway.get("/");
    assert_eq!(response.status, 502);
    assert_eq!(response.body, "missing required header: :status");
}

#[test]
fn a_plugin_gets_its_configuration_as_envoy_hands_it_over() {
    let guest = r#"(func (export "proxy_on_configure") (param i32 i32) (result i32)
      (drop (call $get_buffer (i32.const 7) (i32.const 0) (i32.const 1000) (i32.const 32) (i32.const 36)))
      (call $say_given) (i32.const 1))"#;
    for (configuration, expected) in [
        ("StringValue, value: '{\"a\": 1}'", "{\"a\": 1}"),
        // A member: its key, then a value whose text is the number.
        (
            "Struct, value: {a: 0.5}",
            "\n\n\n\u{1}a\u{12}\u{5}\u{1a}\u{3}0.5",
        ),
    ] {
        let config = format!(
            ", configuration: {{\"@type\": type.googleapis.com/google.protobuf.{configuration}}}"
        );
        let gateway = Setup::routes(DIRECT)
            .guest("config", guest, &config)
            .start();
        // The trial, the main thread and two workers.
        assert_eq!(gateway.logs(), [expected; 4]);
    }
}

#[test]
fn a_plugin_that_traps_is_a_503_and_comes_back_by_its_policy() {
    let guest = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
      (unreachable))"#;
    for (policy, first, second) in [
        ("FAIL_CLOSED", 503, 503),
        ("FAIL_OPEN", 503, 200),
        (
            "FAIL_RELOAD, reload_config: {backoff: {base_interval: 1000s}}",
            503,
            503,
        ),
    ] {
        let config = format!(", failure_policy: {policy}");
        let gateway = Setup::routes(DIRECT).guest("trap", guest, &config).start();
        let mut client = gateway.connect();
        let statuses = [client.get("/", "").status, client.get("/", "").status];
        assert_eq!(statuses, [first, second], "{policy}");
    }
}

#[test]
fn a_response_that_a_plugin_lengthens_is_sent_whole() {
    let gateway =
        Setup::to(Upstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").address)
            .guest(
                "append",
                r#"(func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
          (drop (call $remove_header (i32.const 2) str("content-length"))) (i32.const 0))
        (func (export "proxy_on_response_body") (param i32 i32 i32) (result i32)
          (if (local.get 2) (then
            (drop (call $set_buffer (i32.const 1) (i32.const 9999) (i32.const 0) str(", world")))))
          (i32.const 0))"#,
                "",
            )
            .start();
    assert_eq!(gateway.get("/").body, "hello, world");
}

#[test]
fn a_plugin_that_waits_for_a_whole_request_gets_1_mib_and_then_the_client_a_413() {
    let upstream = Upstream::echo();
    let gateway = Setup::to(upstream.address)
        .guest(
            "buffer",
            r#"(func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
              (i32.eqz (local.get 2)))"#,
            "",
        )
        .start();
    let send = |size: usize| {
        let mut client = gateway.connect();
        client.send(&format!(
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {size}\r\n\r\n"
        ));
        client.send(&"x".repeat(size));
        client.response()
    };
    assert_eq!(send(1_000_000).status, 200);
    let large = send(1_200_000);
    assert_eq!(
        (large.status, large.body.as_str()),
        (413, "Payload Too Large")
    );
}

#[test]
fn an_item_in_a_queue_wakes_the_plugin_that_listens() {
    let gateway = Setup::routes(DIRECT)
        .guest(
            "queue",
            r#"(func (export "proxy_on_configure") (param i32 i32) (result i32)
              (drop (call $register str("q") (i32.const 32)))
              (i32.const 1))
            (func (export "proxy_on_queue_ready") (param $root i32) (param $token i32)
              (drop (call $dequeue (local.get $token) (i32.const 32) (i32.const 36)))
              (call $say_given))
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
              (drop (call $enqueue (i32.const 1) str("item")))
              (i32.const 0))"#,
            "",
        )
        .start();
    for _ in 0..4 {
        gateway.get("/");
    }
    let told = || gateway.logs().iter().filter(|line| *line == "item").count();
    // The plugin is told on a thread of its own; requests go by meanwhile.
    for _ in 0..1000 {
        if told() >= 4 {
            return;
        }
        thread::yield_now();
        gateway.get("/");
    }
    panic!("{:?}", gateway.logs());
}

#[test]
fn a_callout_to_a_cluster_without_hosts_is_refused_at_once() {
    // `:method GET`, `:path /`, `:authority a`.
    let pairs = r#"str("\03\00\00\00\07\00\00\00\03\00\00\00\05\00\00\00\01\00\00\00\0a\00\00\00\01\00\00\00:method\00GET\00:path\00/\00:authority\00a\00")"#;
    let gateway = Setup::routes(DIRECT)
        .cluster("empty", &[])
        .guest(
            "calls",
            &format!(
                r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
              (call $say_status (call $http_call str("empty") {pairs} (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 32)))
              (i32.const 0))"#
            ),
            "",
        )
        .start();
    assert_eq!(gateway.get("/").status, 200);
    // The tenth letter after A.
    assert_eq!(gateway.logs(), ["K"]);
}
