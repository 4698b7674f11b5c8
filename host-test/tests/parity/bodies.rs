//! Bodies as buffers, and what callbacks' return values do to them.

use crate::guest::{
    TOLD, add, back, buffer, buffer_size, get, map_size, module, on, remove, replace, reply, say,
    say_size, set_buffer, told_to, when,
};
use crate::scene::Scene;

const END: &str = "(local.get $end)";
const SIZED: &str = "(local.get $n)";

#[test]
fn a_buffer_is_read_in_parts_and_clipped() {
    let calls = [
        buffer_size(0),
        buffer(0, 0, 100),
        buffer(0, 2, 2),
        buffer(0, 5, 1),
        buffer(0, 6, 1),
        buffer(0, 9, 9),
        buffer(0, 0, 0),
        buffer(0, 1, -1),
        buffer(0, -1, 1),
        buffer(0, -1, 2),
        buffer(1, 0, 9),
        buffer(2, 0, 9),
        buffer(3, 0, 9),
        buffer(4, 0, 9),
        buffer(5, 0, 9),
        buffer(6, 0, 9),
        buffer(7, 0, 9),
        buffer(8, 0, 9),
        buffer(9, 0, 9),
        buffer_size(1),
        buffer_size(2),
        buffer_size(4),
        buffer_size(5),
        buffer_size(6),
        buffer_size(7),
        buffer_size(8),
        buffer_size(9),
    ];
    Scene::new(&module(&[on(
        "request_body",
        &[say_size("body"), calls.concat()],
        0,
    )]))
    .with("config: abc")
    .send("{method: POST, path: /, body: hello}", "200")
    .says(&[
        "body 5 0",
        "buffer size 0 0 5",
        "buffer 0 0 100 0 [hello]",
        "buffer 0 2 2 0 [ll]",
        "buffer 0 5 1 0 []",
        "buffer 0 6 1 0 []",
        "buffer 0 9 9 0 []",
        "buffer 0 0 0 0 []",
        // Neither a start nor a length wraps.
        "buffer 0 1 -1 0 [ello]",
        "buffer 0 -1 1 0 []",
        "buffer 0 -1 2 0 []",
        "buffer 1 0 9 0 []",
        "buffer 2 0 9 0 []",
        "buffer 3 0 9 0 []",
        "buffer 4 0 9 1",
        "buffer 5 0 9 0 []",
        "buffer 6 0 9 0 []",
        "buffer 7 0 9 1",
        "buffer 8 0 9 0 []",
        "buffer 9 0 9 2",
        "buffer size 1 0 0",
        "buffer size 2 0 0",
        "buffer size 4 1",
        "buffer size 5 0 0",
        "buffer size 6 0 0",
        "buffer size 7 1",
        "buffer size 8 0 0",
        "buffer size 9 2",
        "body 0 1",
    ])
    .check();
}

#[test]
fn buffers_outside_body_callbacks_are_empty() {
    let calls = [
        buffer_size(0),
        buffer(0, 0, 9),
        buffer_size(1),
        buffer(1, 0, 9),
        buffer(7, 0, 9),
        set_buffer(0, 0, 0, "x"),
        set_buffer(1, 0, 0, "x"),
        set_buffer(6, 0, 0, "x"),
        set_buffer(7, 0, 0, "x"),
        set_buffer(9, 0, 0, "x"),
    ]
    .concat();
    let seen = |own_configuration: bool| {
        let (configuration, write) = if own_configuration {
            ("0 [abc]", 2)
        } else {
            ("1", 1)
        };
        [
            "buffer size 0 0 0".to_owned(),
            "buffer 0 0 9 0 []".to_owned(),
            "buffer size 1 0 0".to_owned(),
            "buffer 1 0 9 0 []".to_owned(),
            format!("buffer 7 0 9 {configuration}"),
            "set buffer 0 0 0 2".to_owned(),
            "set buffer 1 0 0 2".to_owned(),
            "set buffer 6 0 0 2".to_owned(),
            format!("set buffer 7 0 0 {write}"),
            "set buffer 9 0 0 2".to_owned(),
        ]
    };
    // Canary, main thread and worker; then the three callbacks of the stream.
    let lines: Vec<String> = [true, true, true, false, false, false]
        .into_iter()
        .flat_map(seen)
        .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    Scene::new(&module(&[
        on("configure", std::slice::from_ref(&calls), 1),
        on("request_headers", std::slice::from_ref(&calls), 0),
        on("response_headers", std::slice::from_ref(&calls), 0),
        on("log", std::slice::from_ref(&calls), 0),
    ]))
    .with("config: abc")
    .send("{method: POST, path: /, body: hello}", "200")
    .says(&lines)
    .check();
}

/// A guest that changes the response's body by one call.
fn changes(start: i32, length: i32, data: &str) -> String {
    let calls = [when(
        SIZED,
        &[
            set_buffer(1, start, length, data),
            buffer_size(1),
            buffer(1, 0, 99),
        ],
        &[],
    )];
    module(&[
        on("response_headers", &[remove(2, "content-length")], 0),
        on("response_body", &calls, 0),
    ])
}

#[test]
fn a_buffer_is_prepended_to_appended_to_and_replaced_in_part() {
    for (start, length, data, body, lines) in [
        (0, 0, "abc", "abchello", ["set buffer 1 0 0 0"]),
        (0, 2, "abc", "abcllo", ["set buffer 1 0 2 0"]),
        (0, 99, "abc", "abc", ["set buffer 1 0 99 0"]),
        (0, 99, "", "absent", ["set buffer 1 0 99 0"]),
        (5, 0, "abc", "helloabc", ["set buffer 1 5 0 0"]),
        (5, 3, "abc", "helloabc", ["set buffer 1 5 3 0"]),
        (99, 0, "abc", "helloabc", ["set buffer 1 99 0 0"]),
        (1, 0, "abc", "hello", ["set buffer 1 1 0 2"]),
        (2, 3, "abc", "hello", ["set buffer 1 2 3 2"]),
        (-1, 0, "abc", "helloabc", ["set buffer 1 -1 0 0"]),
    ] {
        Scene::new(&changes(start, length, data))
            .upstream("{body: hello}")
            .send("GET /", &format!("{{status: 200, body: {body}}}"))
            .says(&lines)
            .check();
    }
}

/// A guest whose body callbacks return, until the end, the digit in the request's `x-do` header.
fn returns(way: &str) -> String {
    let kind = i32::from(way == "response");
    let calls = [
        say_size("body"),
        buffer(kind, 0, 99),
        when(END, &[back(0)], &[]),
        RETURN_DIGIT.to_owned(),
    ];
    module(&[
        TOLD.to_owned(),
        on(
            "request_headers",
            &[told_to('-', &[]), remove(0, "content-length")],
            0,
        ),
        on("response_headers", &[remove(2, "content-length")], 0),
        on(&format!("{way}_body"), &calls, 0),
        on("log", &[say("log")], 0),
    ])
}

const RETURN_DIGIT: &str = "(return (i32.sub (global.get $do) (i32.const 48)))";

#[test]
fn what_a_request_body_callback_returns_holds_accumulates_or_drops() {
    let mut scene = Scene::new(&returns("request"));
    for (digit, body, seen, at_end) in [
        (0, "hello", "[]", "0"),
        (1, "hello", "[hello]", "5"),
        (2, "hello", "[]", "0"),
        (3, "absent", "[]", "0"),
        (4, "absent", "[]", "0"),
        (9, "absent", "[]", "0"),
    ] {
        scene = scene
            .send(
                &format!("{{method: POST, path: /, headers: {{x-do: {digit}}}, body: hello}}"),
                &format!("{{status: 200, upstream: {{body: {body}}}}}"),
            )
            .says(&[
                "body 5 0",
                "buffer 0 0 99 0 [hello]",
                &format!("body {at_end} 1"),
                &format!("buffer 0 0 99 0 {seen}"),
                "log",
            ]);
    }
    scene.check();
}

#[test]
fn what_a_response_body_callback_returns_holds_accumulates_or_drops() {
    let mut scene = Scene::new(&returns("response")).upstream("{body: hello}");
    for (digit, body, seen, at_end) in [
        (0, "hello", "[]", "0"),
        (1, "hello", "[hello]", "5"),
        (2, "hello", "[]", "0"),
        (3, "absent", "[]", "0"),
        (4, "absent", "[]", "0"),
        (9, "absent", "[]", "0"),
    ] {
        scene = scene
            .send(
                &format!("{{path: /, headers: {{x-do: {digit}}}}}"),
                &format!("{{status: 200, body: {body}}}"),
            )
            .says(&[
                "body 5 0",
                "buffer 1 0 99 0 [hello]",
                &format!("body {at_end} 1"),
                &format!("buffer 1 0 99 0 {seen}"),
                "log",
            ]);
    }
    scene.check();
}

#[test]
fn what_a_headers_callback_returns_lets_pass_or_holds_all() {
    let functions = [
        TOLD.to_owned(),
        on(
            "request_headers",
            &[told_to('-', &[]), RETURN_DIGIT.to_owned()],
            0,
        ),
        on("request_body", &[say_size("body")], 0),
        on("log", &[say("log")], 0),
    ];
    Scene::new(&module(&functions))
        .send(
            "{method: POST, path: /, headers: {x-do: 2}, body: hello}",
            "200",
        )
        .says(&["body 5 0", "body 0 1", "log"])
        .check();
}

#[test]
fn with_allow_on_headers_stop_iteration_a_body_callback_can_still_change_the_headers() {
    let functions = [
        on("request_headers", &[say("request_headers")], 1),
        on(
            "request_body",
            &[
                say_size("body"),
                replace(0, "x-seen", "yes"),
                get(0, ":path"),
                when(END, &[back(0)], &[]),
            ],
            1,
        ),
        on("response_headers", &[say("response_headers")], 1),
        on(
            "response_body",
            &[
                say_size("body"),
                replace(2, "x-seen", "yes"),
                when(END, &[back(0)], &[]),
            ],
            1,
        ),
    ];
    Scene::new(&module(&functions))
        .with("allow_on_headers_stop_iteration: true")
        .upstream("{body: hello}")
        .send("{method: POST, path: /, body: abc}", "{status: 200, headers: {x-seen: yes}, body: hello, upstream: {headers: {x-seen: yes}, body: abc}}")
        .says(&["request_headers", "body 3 0", "replace 0 x-seen 0", "get 0 :path 0 [/]", "body 3 1", "replace 0 x-seen 0", "get 0 :path 0 [/]",
            "response_headers", "body 5 0", "replace 2 x-seen 0", "body 5 1", "replace 2 x-seen 0"])
        .check();
}

#[test]
fn a_local_reply_at_the_end_of_a_held_response_body_replaces_all_of_it() {
    let functions = [
        on("response_headers", &[say("response_headers")], 1),
        on(
            "response_body",
            &[
                say_size("body"),
                when(END, &[reply(418, "teapot"), back(0)], &[]),
            ],
            1,
        ),
        on("log", &[say("log")], 0),
    ];
    Scene::new(&module(&functions))
        .with("allow_on_headers_stop_iteration: true")
        .upstream("{body: hello, headers: {x-from: upstream}}")
        .send(
            "GET /",
            "{status: 418, headers: {x-from: absent}, body: teapot}",
        )
        .says(&[
            "response_headers",
            "body 5 0",
            "body 5 1",
            "reply 418 0",
            "log",
        ])
        .check();
}

#[test]
fn trailers_made_at_the_end_of_a_body_do_not_show_in_http1() {
    let functions = [
        on(
            "request_body",
            &[when(
                END,
                &[add(1, "x-checksum", "1"), get(1, "x-checksum"), map_size(1)],
                &[],
            )],
            0,
        ),
        on(
            "response_body",
            &[when(
                END,
                &[add(3, "x-checksum", "1"), get(3, "x-checksum"), map_size(3)],
                &[],
            )],
            0,
        ),
        on("request_trailers", &[say("request_trailers")], 0),
        on("response_trailers", &[say("response_trailers")], 0),
    ];
    Scene::new(&module(&functions))
        .upstream("{body: hello}")
        .send(
            "{method: POST, path: /, body: abc}",
            "{status: 200, body: hello, upstream: {body: abc}}",
        )
        .says(&[
            "add 1 x-checksum 0",
            "get 1 x-checksum 0 [1]",
            "map size 1 0 11",
            "add 3 x-checksum 0",
            "get 3 x-checksum 0 [1]",
            "map size 3 0 11",
        ])
        .check();
}
