//! Local replies by where they are asked for, and what Envoy makes of them.

use crate::guest::{
    LocalReply, TOLD, back, close, doing, module, on, reply, resume, say, say_size, told_to, when,
};
use crate::scene::Scene;

/// A guest that answers in `request_headers` by the first letter of the request's `x-do`.
fn answers(replies: &[(char, LocalReply<'_>)]) -> String {
    let calls: Vec<String> = replies
        .iter()
        .map(|(letter, reply)| doing(*letter, &[reply.call()]))
        .collect();
    module(&[
        TOLD.to_owned(),
        on("request_headers", &[told_to('-', &[]), calls.concat()], 0),
        on("response_headers", &[say_size("response_headers")], 0),
        on("response_body", &[say_size("response_body")], 0),
    ])
}

#[test]
fn a_local_reply_has_a_length_and_a_content_type_only_with_a_body() {
    let guest = answers(&[
        (
            'a',
            LocalReply {
                body: "no",
                ..LocalReply::default()
            },
        ),
        ('b', LocalReply::default()),
        (
            'c',
            LocalReply {
                body: "{}",
                headers: &[
                    ("content-type", "application/json"),
                    ("x-a", "1"),
                    ("x-a", "2"),
                ],
                ..LocalReply::default()
            },
        ),
        (
            'd',
            LocalReply {
                headers: &[
                    ("content-type", "application/json"),
                    ("content-length", "9"),
                ],
                ..LocalReply::default()
            },
        ),
        (
            'e',
            LocalReply {
                body: "no",
                headers: &[
                    ("content-length", "99"),
                    ("content-type", "a/b"),
                    ("content-type", "c/d"),
                    (":status", "200"),
                    ("server", "mine"),
                    ("set-cookie", "a"),
                    ("set-cookie", "b"),
                    ("location", "x"),
                    ("cache-control", "a"),
                    ("cache-control", "b"),
                ],
                ..LocalReply::default()
            },
        ),
        (
            'f',
            LocalReply {
                details: "with some spaces",
                ..LocalReply::default()
            },
        ),
        (
            'g',
            LocalReply {
                details: "",
                ..LocalReply::default()
            },
        ),
        (
            'h',
            LocalReply {
                details: "a\\09b\\20c{d}",
                ..LocalReply::default()
            },
        ),
    ]);
    Scene::new(&guest)
        .send("{path: /, headers: {x-do: a}}", "{status: 418, body: 'no', headers: {content-length: 2, content-type: text/plain}, details: by_the_guest, upstream: none}")
        .says(&["reply 418 0", "response_headers 3 0", "response_body 2 1"])
        .send("{path: /, headers: {x-do: b}}", "{status: 418, body: absent, headers: {content-type: absent}}")
        .says(&["reply 418 0", "response_headers 1 1"])
        .send("{path: /, headers: {x-do: c}}", "{status: 418, headers: {content-type: application/json, x-a: [1, 2]}}")
        .says(&["response_headers 5 0"])
        .send("{path: /, headers: {x-do: d}}", "{status: 418}")
        .send("{path: /, headers: {x-do: e}}", "{status: 418, body: 'no', headers: {content-length: 2}}")
        .send("{path: /, headers: {x-do: f}}", "{status: 418, details: with_some_spaces}")
        .send("{path: /, headers: {x-do: g}}", "{status: 418}")
        .send("{path: /, headers: {x-do: h}}", "{status: 418}")
        .check();
}

#[test]
fn a_local_reply_that_may_have_no_body_has_none() {
    let guest = answers(&[
        (
            'a',
            LocalReply {
                status: 204,
                body: "no",
                ..LocalReply::default()
            },
        ),
        (
            'b',
            LocalReply {
                status: 304,
                body: "no",
                ..LocalReply::default()
            },
        ),
        (
            'c',
            LocalReply {
                status: 200,
                body: "no",
                ..LocalReply::default()
            },
        ),
        (
            'd',
            LocalReply {
                status: 204,
                ..LocalReply::default()
            },
        ),
    ]);
    Scene::new(&guest)
        .send(
            "{path: /, headers: {x-do: a}}",
            "{status: 204, body: absent}",
        )
        .send(
            "{path: /, headers: {x-do: b}}",
            "{status: 304, body: absent}",
        )
        .send(
            "{method: HEAD, path: /, headers: {x-do: c}}",
            "{status: 200, body: absent}",
        )
        .send(
            "{path: /, headers: {x-do: d}}",
            "{status: 204, body: absent}",
        )
        .check();
}

#[test]
fn a_local_reply_to_a_grpc_request_is_trailers_only() {
    let guest = answers(&[
        (
            'a',
            LocalReply {
                status: 403,
                body: "not you",
                ..LocalReply::default()
            },
        ),
        (
            'b',
            LocalReply {
                status: 403,
                body: "not you",
                grpc: 16,
                ..LocalReply::default()
            },
        ),
        (
            'c',
            LocalReply {
                status: 429,
                headers: &[("x-a", "1"), ("retry-after", "3")],
                ..LocalReply::default()
            },
        ),
        (
            'd',
            LocalReply {
                status: 400,
                body: "a b%c\\c3\\a4",
                ..LocalReply::default()
            },
        ),
        (
            'e',
            LocalReply {
                status: 401,
                ..LocalReply::default()
            },
        ),
        (
            'f',
            LocalReply {
                status: 404,
                ..LocalReply::default()
            },
        ),
        (
            'g',
            LocalReply {
                status: 503,
                ..LocalReply::default()
            },
        ),
        (
            'h',
            LocalReply {
                status: 500,
                ..LocalReply::default()
            },
        ),
        (
            'i',
            LocalReply {
                status: 200,
                grpc: 0,
                ..LocalReply::default()
            },
        ),
        (
            'j',
            LocalReply {
                status: 403,
                grpc: 7,
                body: "x",
                ..LocalReply::default()
            },
        ),
    ]);
    let mut scene = Scene::new(&guest);
    for (letter, grpc_status) in [
        ('a', "7"),
        ('b', "16"),
        ('c', "14"),
        ('d', "13"),
        ('e', "16"),
        ('f', "12"),
        ('g', "14"),
        ('h', "2"),
        ('i', "0"),
    ] {
        scene = scene.send(
            &format!("{{method: POST, path: /s/m, headers: {{content-type: application/grpc, x-do: {letter}}}}}"),
            &format!("{{status: 200, headers: {{grpc-status: {grpc_status}, content-type: application/grpc}}, body: absent}}"),
        );
    }
    scene
        .send(
            "{method: POST, path: /s/m, headers: {content-type: application/grpc+proto, x-do: a}}",
            "200",
        )
        .send(
            "{method: POST, path: /s/m, headers: {content-type: application/grpc-web, x-do: a}}",
            "403",
        )
        .send("{path: /, headers: {x-do: j}}", "403")
        .check();
}

#[test]
fn what_the_callback_returns_after_a_local_reply_is_ignored() {
    for result in [0, 1, 2] {
        Scene::new(&module(&[
            on("request_headers", &[reply(418, "no")], result),
            on("response_headers", &[say_size("response_headers")], 0),
        ]))
        .send("GET /", "418")
        .says(&["reply 418 0", "response_headers 3 0"])
        .check();
    }
}

#[test]
fn the_first_of_two_replies_to_a_request_wins_and_a_resume_changes_nothing() {
    for calls in [
        [reply(418, "first"), reply(419, "second")],
        [reply(418, "first"), resume(0)],
        [resume(0), reply(418, "first")],
    ] {
        Scene::new(&module(&[on("request_headers", &calls, 0)]))
            .send("GET /", "{status: 418, body: first}")
            .check();
    }
}

#[test]
fn a_reply_in_the_request_body_comes_even_after_the_request_went_on() {
    for end in [0, 1] {
        let answer = when(
            &format!("(i32.eq (local.get $end) (i32.const {end}))"),
            &[reply(418, "no")],
            &[],
        );
        Scene::new(&module(&[
            on("request_body", &[say_size("request_body"), answer], 0),
            on("response_headers", &[say_size("response_headers")], 0),
            on("response_body", &[say_size("response_body")], 0),
            on("log", &[say("log")], 0),
        ]))
        .send(
            "{method: POST, path: /, body: abc}",
            "{status: 418, body: 'no'}",
        )
        .says(&[
            "request_body 3 0",
            "reply 418 0",
            "response_headers 3 0",
            "response_body 2 1",
            "log",
        ])
        .check();
    }
}

#[test]
fn a_reply_after_the_headers_went_out_breaks_the_response_off() {
    for end in [0, 1] {
        let answer = when(
            &format!("(i32.eq (local.get $end) (i32.const {end}))"),
            &[reply(418, "no")],
            &[],
        );
        Scene::new(&module(&[
            on("response_body", &[say_size("response_body"), answer], 0),
            on("log", &[say("log")], 0),
        ]))
        .upstream("{body: hello}")
        .send("GET /", "{}")
        .says(&["response_body 5 0", "reply 418 0", "log"])
        .check();
    }
}

#[test]
fn closing_a_stream_ends_it_without_an_answer() {
    for (callback, kind) in [
        ("request_headers", 0),
        ("request_headers", 1),
        ("response_headers", 0),
        ("response_headers", 1),
    ] {
        Scene::new(&module(&[
            on(callback, &[say(callback), close(kind)], 0),
            on("log", &[say("log")], 0),
            on("done", &[say("done")], 1),
            on("delete", &[say("delete")], 0),
        ]))
        .send("GET /", "{status: absent}")
        .says(&[
            callback,
            &format!("close {kind} 0"),
            "log",
            "done",
            "delete",
        ])
        .check();
    }
}

/// A guest that resumes the request in its headers callback, and returns a number from there.
fn resumes(result: i32) -> String {
    module(&[
        on("request_headers", &[resume(0), resume(0)], result),
        on("request_body", &[say_size("body")], 0),
        on("log", &[say("log")], 0),
    ])
}

#[test]
fn a_resume_in_the_callback_itself_lets_the_request_pass() {
    Scene::new(&resumes(0))
        .send("GET /", "200")
        .says(&["continue 0 0", "continue 0 0", "log"])
        .send(
            "{method: POST, path: /, body: abc}",
            "{status: 200, upstream: {body: abc}}",
        )
        .says(&[
            "continue 0 0",
            "continue 0 0",
            "body 3 0",
            "body 0 1",
            "log",
        ])
        .check();
}

#[test]
fn a_pause_after_a_resume_in_the_same_callback_holds_the_body_for_ever() {
    Scene::new(&resumes(1))
        .send("GET /", "200")
        .says(&["continue 0 0", "continue 0 0", "log"])
        .send(
            "{method: POST, path: /, body: abc}",
            "{status: absent, upstream: none}",
        )
        .says(&["continue 0 0", "continue 0 0", "log"])
        .check();
}

#[test]
fn an_answer_of_the_upstream_is_replaced_in_response_headers() {
    Scene::new(&module(&[
        on(
            "response_headers",
            &[when(
                "(local.get $end)",
                &[reply(200, "stale"), back(1)],
                &[],
            )],
            0,
        ),
        on("response_body", &[say("body")], 0),
    ]))
    .upstream("{status: 304, headers: {etag: x}}")
    .send(
        "GET /",
        "{status: 200, body: stale, headers: {etag: absent}}",
    )
    .check();
}
