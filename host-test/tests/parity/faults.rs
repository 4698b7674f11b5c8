//! Traps by the callback they happen in, under the three failure policies.

use crate::guest::{TOLD, doing, get, module, on, say, told_to};
use crate::scene::Scene;

/// A guest that traps in the callback that the request's `x-do` names by a letter: request headers
/// and body, response headers and body, log, done, delete.
fn traps() -> String {
    let trap = |letter| doing(letter, &["unreachable".to_owned()]);
    module(&[
        TOLD.to_owned(),
        on("configure", &[say("configure")], 1),
        on(
            "request_headers",
            &[say("request_headers"), told_to('-', &[]), trap('q')],
            0,
        ),
        on("request_body", &[say("request_body"), trap('b')], 0),
        on("response_headers", &[say("response_headers"), trap('r')], 0),
        on("response_body", &[say("response_body"), trap('s')], 0),
        on("log", &[say("log"), trap('l')], 0),
        on("done", &[say("done"), trap('d')], 1),
        on("delete", &[say("delete"), trap('x')], 0),
    ])
}

/// What the client sees of a request that traps there.
const SEEN: [(char, &str); 7] = [
    (
        'q',
        "{status: 503, body: absent, details: wasm_fail_stream, upstream: none}",
    ),
    (
        'b',
        "{status: 503, body: absent, details: wasm_fail_stream}",
    ),
    (
        'r',
        "{status: 503, body: absent, details: wasm_fail_stream}",
    ),
    ('s', "{status: absent}"),
    ('l', "200"),
    ('d', "200"),
    ('x', "200"),
];

fn request(letter: char) -> String {
    format!("{{method: POST, path: /, headers: {{x-do: {letter}}}, body: abc}}")
}

fn scene(policy: &str) -> Scene {
    Scene::new(&traps())
        .with(&format!("failure_policy: {policy}"))
        .upstream("{body: hello}")
}

#[test]
fn a_trap_with_fail_closed_leaves_503s_for_ever() {
    for (letter, seen) in SEEN {
        scene("fail_closed")
            .send(&request(letter), seen)
            .advance("1h")
            .send(
                "GET /",
                "{status: 503, body: absent, details: wasm_fail_stream}",
            )
            .check();
    }
}

#[test]
fn a_trap_with_fail_open_is_a_503_and_later_requests_bypass_the_plugin() {
    for (letter, seen) in SEEN {
        scene("fail_open")
            .send(&request(letter), seen)
            .send("GET /", "{status: 200, body: hello}")
            .check();
    }
}

#[test]
fn a_trap_with_fail_reload_is_over_with_the_first_request_after_the_back_off() {
    let mut scene = scene("fail_reload").advance("2s");
    for (letter, seen) in SEEN {
        scene = scene
            .send(&request(letter), seen)
            .send("GET /", "200")
            .send(&request(letter), seen)
            .send("GET /", "503")
            .advance("2s")
            .send("GET /", "200")
            .advance("2s");
    }
    scene.check();
}

#[test]
fn the_other_plugins_of_a_request_go_on() {
    Scene::new(&traps())
        .then(
            "second",
            &module(&[
                on("request_headers", &[get(0, ":path")], 0),
                on("response_headers", &[get(2, ":status")], 0),
                on("log", &[say("second log")], 0),
            ]),
        )
        .send(&request('b'), "503")
        .says(&["second log"])
        .check();
}

#[test]
fn what_runs_too_deep_or_reads_out_of_bounds_is_an_ordinary_trap() {
    for code in [
        "(drop (call $deep (i32.const 0)))",
        "(drop (i32.load (i32.const -4)))",
        "(drop (i32.div_u (i32.const 1) (i32.const 0)))",
    ] {
        Scene::new(&module(&[
            "(func $deep (param i32) (result i32) (i32.add (i32.const 1) (call $deep (local.get 0))))".to_owned(),
            on("request_headers", &[code.to_owned()], 0),
        ]))
            .send("GET /", "{status: 503, details: wasm_fail_stream}")
            .check();
    }
}
