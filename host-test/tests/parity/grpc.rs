//! gRPC callouts: calls and streams, what services see, and what the guest is told.

use crate::guest::{
    DUMP, GrpcCall, REMEMBER, STREAM, for_stream, grpc_cancel, grpc_close, grpc_send, hears_grpc,
    module, on, resume, say, status,
};
use crate::scene::Scene;

/// A guest that makes these calls in `on_request_headers` and lets its request go on with whatever
/// ends a callout.
fn asks(calls: &[String]) -> String {
    module(&[
        STREAM.to_owned(),
        DUMP.to_owned(),
        on("request_headers", &[REMEMBER.to_owned(), calls.concat()], 1),
        hears_grpc(&[for_stream(), resume(0)]),
    ])
}

const CALL: GrpcCall<'_> = GrpcCall {
    service: "limits",
    metadata: &[("x-a", "1"), ("x-a", "2"), ("x-b", "3")],
    message: "question",
    timeout: 1_000,
};

fn scene(guest: &str, reply: &str) -> Scene {
    Scene::new(guest).grpc_service("limits", reply)
}

#[test]
fn a_call_has_one_message_each_way() {
    scene(
        &asks(&[CALL.call()]),
        "{grpc: {messages: [answer]}, headers: {x-i: 1}, trailers: {x-t: 2}}",
    )
    .send(
        "GET /",
        "{status: 200, callouts: [{cluster: limits, method: POST, path: /pkg.Service/Method, \
         messages: [question], headers: {':authority': limits, te: trailers, grpc-timeout: 1000m, \
         content-type: application/grpc, x-a: [1, 2], x-envoy-internal: 'true'}}]}",
    )
    .says(&[
        "grpc call 0 5",
        "receive 1 5 6",
        "buffer 5 0 100 0 [answer]",
        "effective 0",
        "continue 0 0",
    ])
    .check();
}

#[test]
fn a_call_that_fails_is_closed_with_its_status() {
    for (reply, close, text) in [
        ("{grpc: {}}", 13, ""),
        (
            "{grpc: {status: 5, message: nope}}",
            5,
            "nope{via_upstream}",
        ),
        ("{grpc: {status: 7, messages: [x]}}", 7, "via_upstream"),
        ("503", 14, "via_upstream"),
        ("404", 12, "via_upstream"),
        (
            "{headers: {grpc-status: 9, grpc-message: hm}}",
            9,
            "hm{via_upstream}",
        ),
        (
            "{status: 403, headers: {grpc-status: 9}}",
            9,
            "via_upstream",
        ),
        ("{body: junk}", 13, "via_upstream"),
        (
            "{body: junk, then: reset}",
            13,
            "upstream_reset_after_response_started{remote_reset}",
        ),
        (
            "refused",
            14,
            "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure{upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}}",
        ),
        (
            "reset",
            14,
            "upstream connect error or disconnect/reset before headers. reset reason: connection termination{upstream_reset_before_response_started{connection_termination}}",
        ),
    ] {
        let (close, text) = (
            format!("close 1 5 {close}"),
            format!("get status 0 {close} [{text}]"),
        );
        scene(&asks(&[CALL.call()]), reply)
            .send("GET /", "200")
            .says(&["grpc call 0 5", &close, &text])
            .check();
    }
}

#[test]
fn of_several_messages_a_call_has_the_last() {
    scene(&asks(&[CALL.call()]), "{grpc: {messages: [one, two]}}")
        .send("GET /", "200")
        .says(&["receive 1 5 3", "buffer 5 0 100 0 [two]"])
        .check();
}

#[test]
fn a_call_that_is_not_answered_in_time_is_closed() {
    scene(&asks(&[CALL.call()]), "never")
        .start("a", "GET /")
        .advance("999ms")
        .says(&["grpc call 0 5"])
        .advance("1ms")
        .says(&[
            "close 1 5 14",
            "get status 0 14 [upstream request timeout{response_timeout}]",
        ])
        .awaits("a", "200")
        .check();
}

#[test]
fn a_call_without_a_time_out_waits() {
    scene(&asks(&[GrpcCall { timeout: 0, ..CALL }.call()]), "never")
        .start("a", "GET /")
        .advance("60s")
        .says(&["grpc call 0 5"])
        .answer("limits", "{grpc: {messages: [late]}}")
        .says(&["receive 1 5 4"])
        .awaits(
            "a",
            "{status: 200, callouts: [{cluster: limits, headers: {grpc-timeout: 0m}}]}",
        )
        .check();
}

#[test]
fn a_stream_hears_all_of_the_answer() {
    let ends = [
        vec![grpc_send(6, "one", false), grpc_send(6, "two", true)],
        vec![
            grpc_send(6, "one", false),
            grpc_send(6, "two", false),
            grpc_close(6),
        ],
    ];
    for end in ends {
        scene(
            &asks(&[CALL.stream(), end.concat()]),
            "{grpc: {messages: [a, b], status: 3, message: bye}, headers: {x-i: 1}, trailers: {x-t: 2}}",
        )
        .send(
            "GET /",
            "{status: 200, callouts: [{cluster: limits, messages: [one, two], headers: {grpc-timeout: absent}}]}",
        )
        .says(&[
            "grpc stream 0 6",
            "initial 1 6 4",
            "  :status=200",
            "  content-type=application/grpc",
            "  x-i=1",
            "receive 1 6 1",
            "buffer 5 0 100 0 [a]",
            "receive 1 6 1",
            "buffer 5 0 100 0 [b]",
            "trailing 1 6 3",
            "  grpc-status=3",
            "  grpc-message=bye",
            "  x-t=2",
            "close 1 6 3",
            "get status 0 3 [bye{via_upstream}]",
        ])
        .check();
    }
}

#[test]
fn a_stream_that_fails_hears_its_end() {
    for reply in [
        "{grpc: {}}",
        "{grpc: {status: 7, messages: [x]}}",
        "503",
        "{status: 404, body: junk}",
        "{headers: {grpc-status: 9, grpc-message: hm}}",
        "{status: 403, headers: {grpc-status: 9}}",
        "{body: junk}",
        "{body: junk, then: reset}",
        "refused",
        "reset",
    ] {
        scene(&asks(&[CALL.stream(), grpc_send(6, "one", true)]), reply)
            .send("GET /", "200")
            .check();
    }
}

#[test]
fn an_open_stream_is_answered_while_it_lasts() {
    let guest = module(&[
        STREAM.to_owned(),
        DUMP.to_owned(),
        on(
            "request_headers",
            &[
                REMEMBER.to_owned(),
                CALL.stream(),
                grpc_send(6, "one", false),
            ],
            1,
        ),
        on("tick", &[grpc_send(6, "tick", false)], 0),
        on(
            "configure",
            &[status("tick", "$tick_period (i32.const 1000)")],
            1,
        ),
        hears_grpc(&[]),
    ]);
    scene(
        &guest,
        "{grpc: {messages: [hello], status: open}, headers: {x-i: 1}}",
    )
    .start("a", "GET /")
    .says(&["initial 1 6 3", "buffer 5 0 100 0 [hello]"])
    .answer("limits", "{grpc: {messages: [a, b], status: open}}")
    .says(&["buffer 5 0 100 0 [a]", "buffer 5 0 100 0 [b]"])
    .advance("1s")
    .answer("limits", "{grpc: {messages: [c], status: 3, message: bye}}")
    .says(&["buffer 5 0 100 0 [c]", "trailing 1 6 2", "close 1 6 3"])
    .awaits("a", "{status: absent}")
    .called("[{cluster: limits, messages: [one, tick]}]")
    .check();
}

#[test]
fn what_is_cancelled_is_not_heard_of_again() {
    let call = GrpcCall {
        timeout: 5_000,
        ..CALL
    };
    let asks = [call.call(), call.stream(), grpc_send(6, "one", false)].concat();
    let cancels = [
        grpc_cancel(5),
        grpc_cancel(5),
        grpc_close(5),
        grpc_cancel(6),
        grpc_cancel(6),
        grpc_close(6),
        grpc_send(6, "x", false),
        grpc_send(5, "x", false),
        grpc_send(4, "x", false),
        grpc_send(10, "x", false),
        grpc_cancel(4),
        grpc_close(7),
        grpc_cancel(0),
    ];
    let guest = module(&[
        DUMP.to_owned(),
        on(
            "configure",
            &[status("tick", "$tick_period (i32.const 1000)")],
            1,
        ),
        on("request_headers", &[asks], 0),
        on("tick", &[say("tick"), cancels.concat()], 0),
        hears_grpc(&[]),
    ]);
    scene(&guest, "never")
        .send("GET /", "200")
        .advance("1s")
        .called("[limits, {cluster: limits, messages: [one]}]")
        .check();
}

#[test]
fn calls_count_from_five_and_streams_from_six() {
    let calls = [CALL.call(), CALL.stream(), CALL.call(), CALL.stream()];
    let guest = module(&[
        on("request_headers", &[calls.concat()], 0),
        on("grpc_receive", &[], 0),
    ]);
    scene(&guest, "never")
        .send("GET /", "200")
        .says(&[
            "grpc call 0 5",
            "grpc stream 0 6",
            "grpc call 0 9",
            "grpc stream 0 10",
        ])
        .check();
}

#[test]
fn a_service_is_a_cluster_or_a_serialized_message() {
    for (service, told) in [
        ("unknown", ["grpc call 4 7777", "grpc stream 4 7777"]),
        (
            "\\0a\\08\\0a\\06limits",
            ["grpc call 0 5", "grpc stream 0 6"],
        ),
        (
            "\\0a\\0e\\0a\\06limits\\12\\04auth",
            ["grpc call 0 5", "grpc stream 0 6"],
        ),
        (
            "\\0a\\09\\0a\\07unknown",
            ["grpc call 10 7777", "grpc stream 10 7777"],
        ),
        (
            "\\0a\\02\\0a\\00",
            ["grpc call 10 7777", "grpc stream 10 7777"],
        ),
    ] {
        let call = GrpcCall { service, ..CALL };
        let guest = module(&[
            on(
                "request_headers",
                &[call.call(), call.stream(), CALL.call()],
                0,
            ),
            // What is told besides would be written where Envoy writes a token.
            on("grpc_receive", &[say("receive")], 0),
            on("grpc_receive_trailing_metadata", &[say("trailing")], 0),
            on("grpc_close", &[say("close")], 0),
        ]);
        scene(&guest, "{grpc: {messages: [x]}}")
            .send("GET /", "200")
            .check();
        let guest = module(&[on("request_headers", &[call.call(), call.stream()], 0)]);
        scene(&guest, "{grpc: {messages: [x]}}")
            .send("GET /", "200")
            .says(&told)
            .check();
    }
}

#[test]
fn a_call_to_a_cluster_without_hosts_fails_at_once_and_is_closed_later() {
    let call = GrpcCall {
        service: "no-one",
        ..CALL
    };
    Scene::new(&asks(&[call.call(), CALL.call()]))
        .grpc_service("no-one", "no_host")
        .grpc_service("limits", "never")
        .send("GET /", "200")
        .says(&[
            "grpc call 10 7777",
            "grpc call 0 9",
            "close 1 5 14",
            "get status 0 14 [no healthy upstream{no_healthy_upstream}]",
        ])
        .check();
}
