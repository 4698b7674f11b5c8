//! HTTP callouts: what is called, what services see, and what the guest is told.

use crate::guest::{
    ASKS, CALL_STATUS, DUMP, HttpCall, REMEMBER, SAY_ANSWER, SAY_CONTEXT, STREAM, TOLD, add, ask,
    back, buffer, buffer_size, close, doing, dump, for_stream, get, map_size, module, on, pairs,
    remove, replace, reply, resume, say, set_buffer, status, told_to, when,
};
use crate::scene::Scene;

/// A guest that makes these calls in `on_request_headers` and then pauses.
fn pauses(calls: &[String], answered: &[String]) -> String {
    module(&[
        STREAM.to_owned(),
        DUMP.to_owned(),
        on("request_headers", &[REMEMBER.to_owned(), calls.concat()], 1),
        on("http_call_response", answered, 0),
    ])
}

/// The same that lets its request go on when the answer has come.
fn asks(call: &HttpCall<'_>, answered: &[String]) -> String {
    let mut answered = answered.to_vec();
    answered.extend([for_stream(), resume(0)]);
    pauses(&[call.call()], &answered)
}

fn asks_plainly(answered: &[String]) -> String {
    asks(&HttpCall::default(), answered)
}

const EFFECTIVE: [&str; 2] = ["effective 0", "continue 0 0"];

#[test]
fn a_service_sees_the_callout_and_the_guest_its_answer() {
    let told = [
        SAY_CONTEXT.to_owned(),
        SAY_ANSWER.to_owned(),
        CALL_STATUS.to_owned(),
        dump(6),
        buffer(4, 0, 100),
        buffer(4, 2, 2),
        buffer_size(4),
    ];
    Scene::new(&asks_plainly(&told))
        .service(
            "auth",
            "{status: 203, headers: {x-a: [1, 2], etag: [a, b], server: mine, date: now}, body: hello}",
        )
        .send(
            "GET /",
            "{status: 200, callouts: [{cluster: auth, method: GET, path: /ask, body: absent, \
             headers: {':authority': auth.example, x-envoy-internal: 'true', \
             x-envoy-expected-rq-timeout-ms: 1000, x-forwarded-for: absent, content-length: absent}}]}",
        )
        .says(&[
            "call auth 0 4",
            "context 1",
            "answer 4 8 5 0",
            "get status 0 0 []",
            "  :status=203",
            "  x-a=1",
            "  x-a=2",
            "  etag=a,b",
            "  server=mine",
            "  date=now",
            "  content-length=5",
            "buffer 4 0 100 0 [hello]",
            "buffer 4 2 2 0 [ll]",
            "buffer size 4 0 5",
            EFFECTIVE[0],
            EFFECTIVE[1],
        ])
        .check();
}

#[test]
fn a_callout_goes_out_as_it_was_made_but_for_what_envoy_knows_better() {
    let bodies = [
        ("POST", ""),
        ("POST", "question"),
        ("GET", "question"),
        ("PUT", ""),
    ];
    for (method, body) in bodies {
        let call = HttpCall {
            headers: &[
                (":method", method),
                ("x-b", "1"),
                (":path", "/ask?a=b"),
                ("X-Upper", "2"),
                (":authority", "auth.example"),
                ("x-b", "3"),
                ("host", "other"),
                (":scheme", "https"),
                ("te", "trailers"),
                ("accept", "a"),
                ("accept", "b"),
                ("user-agent", "me"),
                ("x-forwarded-for", "192.0.2.1"),
                ("content-length", "77"),
            ],
            body,
            timeout: 0,
            ..HttpCall::default()
        };
        // What is wrong with a length that nothing follows is the service's affair.
        let call = HttpCall {
            headers: &call.headers[..call.headers.len() - usize::from(body.is_empty())],
            ..call
        };
        Scene::new(&asks(&call, &[]))
            .service("auth", "200")
            .send(
                "GET /",
                &format!(
                    "{{status: 200, callouts: [{{cluster: auth, method: {method}, path: '/ask?a=b', \
                     headers: {{':authority': 'auth.example,other', x-b: [1, 3], x-upper: 2, \
                     accept: 'a,b', x-envoy-expected-rq-timeout-ms: absent}}}}]}}"
                ),
            )
            .check();
    }
}

#[test]
fn trailers_of_an_answer_are_there_and_those_of_a_callout_are_not_sent() {
    for body in ["", "question"] {
        let call = HttpCall {
            headers: &[(":method", "POST"), (":path", "/ask"), (":authority", "a")],
            body,
            trailers: &[("x-t", "1"), ("x-t", "2")],
            ..HttpCall::default()
        };
        let told = [
            SAY_ANSWER.to_owned(),
            dump(7),
            get(7, "x-u"),
            map_size(7),
            map_size(6),
        ];
        Scene::new(&asks(&call, &told))
            .service("auth", "{body: hello, trailers: {x-u: [3, 4]}}")
            .send("GET /", "200")
            .says(&[
                "answer 4 3 5 2",
                "  x-u=3",
                "  x-u=4",
                "get 7 x-u 0 [3]",
                "map size 7 2",
            ])
            .check();
    }
}

#[test]
fn what_envoy_answers_for_a_service_is_an_answer_like_others() {
    let told = [
        SAY_ANSWER.to_owned(),
        CALL_STATUS.to_owned(),
        dump(6),
        buffer(4, 0, 200),
    ];
    for (reply, size, reason) in [
        ("reset", 95, "connection termination"),
        ("refused", 98, "remote connection failure"),
    ] {
        let answer = format!("answer 4 3 {size} 0");
        let body = format!(
            "buffer 4 0 200 0 [upstream connect error or disconnect/reset before headers. reset reason: {reason}]"
        );
        Scene::new(&asks_plainly(&told))
            .service("auth", reply)
            .send("GET /", "200")
            .says(&[
                &answer,
                "get status 0 0 []",
                "  :status=503",
                "  content-type=text/plain",
                &body,
            ])
            .check();
    }
}

#[test]
fn an_answer_that_breaks_off_is_no_answer() {
    let told = [
        SAY_ANSWER.to_owned(),
        CALL_STATUS.to_owned(),
        dump(6),
        pairs(6),
        get(6, ":status"),
        buffer(4, 0, 200),
        buffer_size(4),
    ];
    Scene::new(&asks_plainly(&told))
        .service("auth", "{body: part, then: reset}")
        .send("GET /", "200")
        .says(&[
            "answer 4 0 0 0",
            "get status 0 11 [reset]",
            "buffer 4 0 200 1",
            "buffer size 4 1",
        ])
        .check();
}

#[test]
fn a_call_that_cannot_be_made_is_refused_at_once() {
    let without = |name: &str| {
        ASKS.iter()
            .copied()
            .filter(|(n, _)| *n != name)
            .collect::<Vec<_>>()
    };
    let mut calls = Vec::new();
    for name in [":method", ":path", ":authority"] {
        let headers = without(name);
        calls.push(
            HttpCall {
                headers: &headers,
                ..HttpCall::default()
            }
            .call(),
        );
    }
    for (cluster, timeout) in [
        ("unknown", 1),
        ("", 1),
        ("auth", -1),
        ("auth", i32::MIN),
        ("empty", 1),
        ("auth", i32::MAX),
    ] {
        calls.push(
            HttpCall {
                cluster,
                timeout,
                ..HttpCall::default()
            }
            .call(),
        );
    }
    Scene::new(&pauses(
        &calls,
        &[SAY_ANSWER.to_owned(), for_stream(), resume(0)],
    ))
    .service("auth", "200")
    .service("empty", "no_host")
    .send("GET /", "{status: 200, callouts: [auth]}")
    .says(&[
        "call auth 2 0",
        "call auth 2 0",
        "call auth 2 0",
        "call unknown 2 0",
        "call  2 0",
        "call auth 2 0",
        "call auth 2 0",
        "call empty 10 0",
        "call auth 0 8",
        "answer 8 3 0 0",
    ])
    .check();
}

#[test]
fn a_silent_service_is_a_504_when_the_time_is_up() {
    let told = [
        SAY_ANSWER.to_owned(),
        CALL_STATUS.to_owned(),
        dump(6),
        buffer(4, 0, 100),
    ];
    Scene::new(&asks_plainly(&told))
        .service("auth", "never")
        .start("a", "GET /")
        .says(&["call auth 0 4"])
        .advance("999ms")
        .says(&[])
        .advance("1ms")
        .says(&[
            "answer 4 3 24 0",
            "get status 0 0 []",
            "  :status=504",
            "  content-length=24",
            "  content-type=text/plain",
            "buffer 4 0 100 0 [upstream request timeout]",
            EFFECTIVE[0],
            EFFECTIVE[1],
        ])
        .awaits("a", "{status: 200, callouts: [auth]}")
        .check();
}

#[test]
fn a_callout_without_a_time_out_waits_until_it_is_answered() {
    Scene::new(&asks(
        &HttpCall {
            timeout: 0,
            ..HttpCall::default()
        },
        &[SAY_ANSWER.to_owned()],
    ))
    .service("auth", "never")
    .start("a", "GET /")
    .advance("1h")
    .answer("auth", "{body: late}")
    .says(&["call auth 0 4", "answer 4 3 4 0"])
    .awaits("a", "200")
    .check();
}

#[test]
fn an_upstream_that_is_silent_is_given_up_after_the_time_of_the_route() {
    Scene::new(&module(&[on("response_headers", &[get(2, ":status")], 0)]))
        .upstream("never")
        .start("a", "GET /")
        .advance("14s")
        .says(&[])
        .advance("1s")
        .says(&["get 2 :status 0 [504]"])
        .awaits(
            "a",
            "{status: 504, body: upstream request timeout, details: response_timeout}",
        )
        .check();
}

#[test]
fn requests_in_flight_are_moved_on_by_their_own_answers() {
    // The last stream that asked is the one that goes on.
    let guest = asks(
        &HttpCall {
            timeout: 0,
            ..HttpCall::default()
        },
        &[SAY_ANSWER.to_owned()],
    );
    Scene::new(&guest)
        .service("auth", "never")
        .start("a", "GET /a")
        .start("b", "GET /b")
        .answer("auth", "200")
        .awaits("b", "{status: 200, upstream: {path: /b}}")
        .awaits("a", "{status: absent, upstream: none}")
        .called("[auth, auth]")
        .check();
}

#[test]
fn the_answer_may_change_the_request_that_waits() {
    let told = [
        get(0, ":path"),
        for_stream(),
        get(0, ":path"),
        get(6, ":status"),
        replace(0, "x-asked", "yes"),
        replace(6, "x", "y"),
        remove(6, ":status"),
        add(7, "x", "y"),
        set_buffer(4, 0, 0, "x"),
        resume(0),
        get(0, ":path"),
        buffer(4, 0, 9),
    ];
    Scene::new(&pauses(&[ask()], &told))
        .service("auth", "{body: fine}")
        .send(
            "GET /p",
            "{status: 200, upstream: {headers: {x-asked: 'yes'}}}",
        )
        .check();
}

#[test]
fn the_answer_may_answer_or_close_the_request_that_waits() {
    for (call, seen) in [
        (
            reply(403, "denied"),
            "{status: 403, body: denied, details: by_the_guest, upstream: none}",
        ),
        (close(0), "{status: absent, upstream: none}"),
    ] {
        Scene::new(&pauses(&[ask()], &[for_stream(), call]))
            .service("auth", "200")
            .send("GET /", seen)
            .check();
    }
}

#[test]
fn maps_and_buffers_of_a_callout_are_there_in_its_callback_alone() {
    let looks = [
        get(6, ":status"),
        pairs(6),
        pairs(7),
        buffer(4, 0, 9),
        buffer_size(4),
        CALL_STATUS.to_owned(),
    ];
    let guest = module(&[
        STREAM.to_owned(),
        on(
            "request_headers",
            &[REMEMBER.to_owned(), looks.concat(), ask()],
            1,
        ),
        on("http_call_response", &[for_stream(), resume(0)], 0),
        on("response_headers", &looks, 0),
        on("log", &looks, 0),
    ]);
    Scene::new(&guest)
        .service("auth", "{body: fine, then: reset}")
        .send("GET /", "200")
        .check();
}

#[test]
fn a_callout_outlives_its_stream_and_belongs_to_the_root() {
    let guest = module(&[
        STREAM.to_owned(),
        on(
            "request_headers",
            &[
                REMEMBER.to_owned(),
                HttpCall {
                    timeout: 0,
                    ..HttpCall::default()
                }
                .call(),
            ],
            0,
        ),
        on(
            "http_call_response",
            &[
                SAY_CONTEXT.to_owned(),
                SAY_ANSWER.to_owned(),
                for_stream(),
                get(0, ":path"),
                resume(0),
                reply(418, ""),
            ],
            0,
        ),
        on("delete", &[say("delete")], 0),
    ]);
    Scene::new(&guest)
        .service("auth", "never")
        .send("GET /", "200")
        .answer("auth", "200")
        .says(&[
            "call auth 0 4",
            "delete",
            "context 1",
            "answer 4 3 0 0",
            "effective 2",
        ])
        .check();
}

#[test]
fn callouts_may_be_made_in_every_callback() {
    let callbacks = [
        "request_headers",
        "request_body",
        "response_headers",
        "response_body",
        "log",
        "done",
        "delete",
    ];
    let calls: String = callbacks
        .iter()
        .map(|name| on(name, &[say(name), ask()], i32::from(*name == "done")))
        .collect();
    let guest = module(&[calls, on("http_call_response", &[SAY_ANSWER.to_owned()], 0)]);
    Scene::new(&guest)
        .upstream("{body: hello}")
        .service("auth", "200")
        .send("{method: POST, path: /, body: abc}", "200")
        .check();
}

#[test]
fn callouts_of_configure_and_tick_are_made_by_workers_and_the_main_thread() {
    let guest = module(&[
        on(
            "configure",
            &[status("tick", "$tick_period (i32.const 1000)"), ask()],
            1,
        ),
        on("tick", &[say("tick"), ask()], 0),
        on(
            "http_call_response",
            &[SAY_CONTEXT.to_owned(), SAY_ANSWER.to_owned()],
            0,
        ),
    ]);
    Scene::new(&guest)
        .service("auth", "{body: fine}")
        .called("[auth, auth]")
        .advance("1s")
        .called("[auth, auth]")
        .check();
}

#[test]
fn a_tick_may_move_on_what_waits() {
    for (call, seen) in [
        (resume(0), "{status: 200, upstream: {headers: {x-tick: 1}}}"),
        (reply(418, "ticked"), "{status: 418, body: ticked}"),
    ] {
        let guest = module(&[
            STREAM.to_owned(),
            on(
                "configure",
                &[status("tick", "$tick_period (i32.const 1000)")],
                1,
            ),
            on("request_headers", &[REMEMBER.to_owned()], 1),
            on(
                "tick",
                &[format!(
                    "(if (global.get $stream) (then {}))",
                    [for_stream(), get(0, ":path"), add(0, "x-tick", "1"), call].concat()
                )],
                0,
            ),
        ]);
        Scene::new(&guest)
            .start("a", "GET /p")
            .advance("999ms")
            .says(&[])
            .advance("1ms")
            .says(&["effective 0", "get 0 :path 0 [/p]"])
            .awaits("a", seen)
            .check();
    }
}

/// A guest whose first stream waits, and whose second calls this on the first and returns 0. A tick
/// resumes the second if it waits, too.
fn moves_on_the_first(call: &str) -> String {
    let on_the_first = [
        for_stream(),
        call.to_owned(),
        "(global.set $second (local.get $c))".to_owned(),
        back(0),
    ];
    let on_the_second = [
        status("effective", "$effective (global.get $second)"),
        resume(0),
        "(global.set $second (i32.const 0))".to_owned(),
    ];
    module(&[
        STREAM.to_owned(),
        "(global $second (mut i32) (i32.const 0))".to_owned(),
        on(
            "configure",
            &[status("tick", "$tick_period (i32.const 1000)")],
            1,
        ),
        on(
            "request_headers",
            &[
                when("(global.get $stream)", &on_the_first, &[]),
                REMEMBER.to_owned(),
            ],
            1,
        ),
        on("response_headers", &[say("response")], 0),
        on(
            "tick",
            &[when("(global.get $second)", &on_the_second, &[])],
            0,
        ),
    ])
}

#[test]
fn a_stream_whose_callback_resumes_another_goes_on() {
    Scene::new(&moves_on_the_first(&resume(0)))
        .start("first", "GET /first")
        .start("second", "GET /second")
        .awaits("first", "200")
        .awaits("second", "200")
        .says(&["effective 0", "continue 0 0", "response", "response"])
        .check();
}

#[test]
fn a_stream_whose_callback_answers_another_waits_until_it_is_resumed() {
    Scene::new(&moves_on_the_first(&reply(418, "moved")))
        .start("first", "GET /first")
        .start("second", "GET /second")
        .awaits("first", "{status: 418, body: moved}")
        .says(&["effective 0", "reply 418 0", "response"])
        .advance("1s")
        .says(&["effective 0", "continue 0 0", "response"])
        .awaits("second", "200")
        .check();
}

#[test]
fn a_trap_in_the_answer_leaves_what_waits_hanging() {
    for policy in ["fail_closed", "fail_open", "fail_reload"] {
        Scene::new(&pauses(&[ask()], &["unreachable".to_owned()]))
            .with(&format!("failure_policy: {policy}"))
            .service("auth", "200")
            .send("GET /", "{status: absent, upstream: none}")
            .check();
    }
}

#[test]
fn a_trap_in_a_tick_leaves_what_waits_hanging() {
    let guest = module(&[
        STREAM.to_owned(),
        on(
            "configure",
            &[status("tick", "$tick_period (i32.const 1000)")],
            1,
        ),
        on("request_headers", &[REMEMBER.to_owned()], 1),
        on(
            "tick",
            &["(if (global.get $stream) (then unreachable))".to_owned()],
            0,
        ),
    ]);
    Scene::new(&guest)
        .start("a", "GET /")
        .advance("1s")
        .awaits("a", "{status: absent, upstream: none}")
        .send("GET /", "503")
        .check();
}

#[test]
fn tokens_count_up_by_four() {
    let calls = [
        ask(),
        ask(),
        HttpCall {
            cluster: "empty",
            ..HttpCall::default()
        }
        .call(),
        ask(),
    ];
    let guest = module(&[
        TOLD.to_owned(),
        on(
            "request_headers",
            &[told_to('-', &[]), calls.concat(), doing('x', &[say("x")])],
            0,
        ),
        on("http_call_response", &[SAY_ANSWER.to_owned()], 0),
    ]);
    Scene::new(&guest)
        .service("auth", "200")
        .service("empty", "no_host")
        .send("GET /", "{status: 200, callouts: [auth, auth, auth]}")
        .says(&[
            "call auth 0 4",
            "call auth 0 8",
            "call empty 10 0",
            "call auth 0 16",
        ])
        .check();
}
