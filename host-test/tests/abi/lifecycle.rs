//! VMs, contexts and the order of callbacks.

use std::time::Duration;

use host_test::host::{Answer, Host};

use crate::guest::{chatty, host, plugin, said};

#[test]
fn a_stream_is_logged_then_done_then_deleted() {
    let host = host(&chatty("")).build().expect("the guest starts");
    host.get("/").send();
    assert_eq!(
        said(&host),
        [
            "request_headers",
            "response_headers",
            "log",
            "done",
            "delete"
        ]
    );
}

#[test]
fn a_request_passes_plugins_in_order_and_its_response_in_reverse() {
    let host = Host::builder()
        .plugin(plugin("a", &chatty("a.")))
        .plugin(plugin("b", &chatty("b.")))
        .build()
        .expect("the guests start");
    host.get("/").send();
    let expected = [
        "a.request_headers",
        "b.request_headers",
        "b.response_headers",
        "a.response_headers",
        "a.log",
        "b.log",
        "a.done",
        "a.delete",
        "b.done",
        "b.delete",
    ];
    assert_eq!(said(&host), expected);
}

#[test]
fn a_body_in_http1_shape_ends_with_an_empty_piece() {
    let host = host(&chatty("")).build().expect("the guest starts");
    host.post("/").chunks(vec!["ab".into(), "c".into()]).send();
    let bodies = said(&host)
        .iter()
        .filter(|line| *line == "request_body")
        .count();
    assert_eq!(bodies, 3);
}

#[test]
fn trailers_end_a_message_without_an_empty_piece() {
    let host = host(&chatty(""))
        .upstream(|_| Answer::Respond {
            headers: [(":status", "200")].into_iter().collect(),
            chunks: vec!["x".into()],
            trailers: [("t", "1")].into_iter().collect(),
        })
        .build()
        .expect("the guest starts");
    let reply = host.post("/").body("abc").trailer("checksum", "1").send();
    assert_eq!(
        said(&host),
        [
            "request_headers",
            "request_body",
            "request_trailers",
            "response_headers",
            "response_body",
            "response_trailers",
            "log",
            "done",
            "delete"
        ]
    );
    assert_eq!(reply.trailers().first("t"), Some(&b"1"[..]));
    assert_eq!(
        reply.upstream_request().expect("forwarded").trailers.len(),
        1
    );
}

const TICKER: &str = r#"
(func (export "proxy_on_configure") (param i32 i32) (result i32)
  say("configure") (drop (call $tick_period (i32.const 100))) (i32.const 1))
(func (export "proxy_on_tick") (param i32) say("tick"))
"#;

#[test]
fn n_workers_make_n_plus_one_vms_and_a_canary() {
    let host = host(TICKER).workers(2).build().expect("the guest starts");
    assert_eq!(said(&host).len(), 4, "canary, two workers, main thread");
    host.advance(Duration::from_millis(100));
    assert_eq!(said(&host), ["tick"; 3], "the canary does not tick");
}

#[test]
fn ticks_come_once_a_period_and_not_before() {
    let host = host(TICKER).build().expect("the guest starts");
    said(&host);
    host.advance(Duration::from_millis(99));
    assert_eq!(said(&host), Vec::<String>::new());
    host.advance(Duration::from_millis(1));
    assert_eq!(said(&host).len(), 2);
    host.advance(Duration::from_secs(1));
    assert_eq!(said(&host).len(), 20);
}

#[test]
fn a_refused_configuration_is_an_error_that_names_the_plugin_and_shows_its_log() {
    let error = host(r#"(func (export "proxy_on_configure") (param i32 i32) (result i32) (drop (call $log (i32.const 4) str("no rules"))) (i32.const 0))"#)
        .build()
        .expect_err("refused");
    assert_eq!(
        error.to_string(),
        "plugin \"guest\": refused its configuration\n  [error] no rules"
    );
}

#[test]
fn equal_plugins_share_a_root_context() {
    let host = Host::builder()
        .plugin(plugin("same", TICKER))
        .plugin(plugin("same", TICKER))
        .build()
        .expect("the guests start");
    said(&host);
    host.advance(Duration::from_millis(100));
    assert_eq!(
        said(&host),
        ["tick"; 2],
        "one root on the worker, one on the main thread"
    );
}

#[test]
fn the_monotonic_clock_moves_only_with_virtual_time() {
    let host = host(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
             (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 32)))
             (drop (call $set_property str("now") (i32.const 32) (i32.const 8)))
             (i32.const 0))"#,
    )
    .build()
    .expect("the guest starts");
    let now = || {
        let reply = host.get("/").send();
        let bytes = reply.filter_state()["wasm.now"].clone();
        u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
    };
    let first = now();
    assert_eq!(now(), first);
    host.advance(Duration::from_secs(2));
    assert_eq!(now(), first + 2_000_000_000);
}

#[test]
fn the_same_seed_gives_the_same_random_bytes() {
    let random = |seed| {
        let host = host(
            r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                 (drop (call $random (i32.const 32) (i32.const 16)))
                 (drop (call $set_property str("r") (i32.const 32) (i32.const 16)))
                 (i32.const 0))"#,
        )
        .seed(seed)
        .build()
        .expect("the guest starts");
        host.get("/").send().filter_state()["wasm.r"].clone()
    };
    assert_eq!(random(1), random(1));
    assert_ne!(random(1), random(2));
}
