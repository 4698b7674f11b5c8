//! Contexts and the order of callbacks.

use crate::guest::{chatty, module, on, reply, say, say_size};
use crate::scene::Scene;

#[test]
fn a_stream_is_logged_then_done_then_deleted() {
    Scene::new(&module(&[chatty("", &[])]))
        .send("GET /", "200")
        .says(&[
            "request_headers 6 1",
            "response_headers 3 1",
            "log",
            "done",
            "delete",
        ])
        .upstream("200")
        .check();
}

#[test]
fn bodies_end_with_an_empty_piece() {
    Scene::new(&module(&[chatty("", &[])]))
        .upstream("{body: hello}")
        .send(
            "{method: POST, path: /, body: abc}",
            "{status: 200, body: hello}",
        )
        .says(&[
            "request_headers 7 0",
            "request_body 3 0",
            "request_body 0 1",
            "response_headers 3 0",
            "response_body 5 0",
            "response_body 0 1",
            "log",
            "done",
            "delete",
        ])
        .send("HEAD /", "200")
        .check();
}

#[test]
fn a_request_passes_plugins_in_order_and_its_response_in_reverse() {
    Scene::new(&module(&[chatty("a ", &[])]))
        .then("second", &module(&[chatty("b ", &[])]))
        .send("GET /", "200")
        .says(&[
            "a request_headers 6 1",
            "b request_headers 6 1",
            "b response_headers 3 1",
            "a response_headers 3 1",
            "a log",
            "b log",
            "a done",
            "a delete",
            "b done",
            "b delete",
        ])
        .check();
}

/// A chain of two talkative plugins, of which one answers by itself in a callback.
fn chain(answers: &str, callback: &str) -> Scene {
    let guest = |name: &str| {
        let tag = format!("{name} ");
        if name == answers {
            module(&[
                chatty(&tag, &[callback]),
                on(
                    callback,
                    &[say(&format!("{tag}{callback}")), reply(429, "no")],
                    0,
                ),
            ])
        } else {
            module(&[chatty(&tag, &[])])
        }
    };
    Scene::new(&guest("a")).then("second", &guest("b"))
}

#[test]
fn an_answer_of_the_first_plugin_to_a_request_never_meets_the_second() {
    // But for its on_log, before which its context is made.
    chain("a", "request_headers")
        .send("GET /", "{status: 429, upstream: none}")
        .says(&[
            "a request_headers",
            "reply 429 0",
            "a response_headers 3 0",
            "a response_body 2 1",
            "a log",
            "b log",
            "a done",
            "a delete",
            "b done",
            "b delete",
        ])
        .check();
}

#[test]
fn an_answer_of_the_second_plugin_to_a_request_passes_both() {
    chain("b", "request_headers")
        .send("GET /", "{status: 429, upstream: none}")
        .says(&[
            "a request_headers 6 1",
            "b request_headers",
            "reply 429 0",
            "b response_headers 3 0",
            "a response_headers 3 0",
            "b response_body 2 1",
            "a response_body 2 1",
            "a log",
            "b log",
            "a done",
            "a delete",
            "b done",
            "b delete",
        ])
        .check();
}

#[test]
fn an_answer_in_response_headers_ends_the_response_callbacks_of_all_plugins() {
    for (answers, before) in [("a", "b response_headers 3 0"), ("b", "b response_headers")] {
        chain(answers, "response_headers")
            .upstream("{body: hello}")
            .send("GET /", "{status: 429, body: 'no'}")
            .says(&[
                "a request_headers 6 1",
                "b request_headers 6 1",
                before,
                "reply 429 0",
                "a log",
                "b log",
                "a done",
                "a delete",
                "b done",
                "b delete",
            ])
            .check();
    }
}

#[test]
fn an_answer_in_a_request_body_passes_both_plugins() {
    for answers in ["a", "b"] {
        chain(answers, "request_body")
            .send("{method: POST, path: /, body: hello}", "429")
            .says(&[
                "reply 429 0",
                "b response_headers 3 0",
                "a response_headers 3 0",
                "b response_body 2 1",
                "a response_body 2 1",
                "a log",
            ])
            .check();
    }
}

#[test]
fn each_vm_is_started_and_configured_once_per_plugin() {
    let functions = [
        on("context_create", &[say("create")], 0),
        on("vm_start", &[say("vm_start")], 1),
        on("configure", &[say("configure")], 1),
        on("request_headers", &[say("request_headers")], 0),
    ];
    let canary_main_and_worker = ["create", "vm_start", "configure"].repeat(3);
    Scene::new(&module(&functions))
        .says(&canary_main_and_worker)
        .send("GET /", "200")
        .says(&["create", "request_headers"])
        .check();
}

#[test]
fn contexts_of_a_vm_have_numbers_of_one_counter() {
    let functions = [
        on("context_create", &[crate::guest::status("create", "$both (local.get $c) (local.get $root)")], 0),
        "(func $both (param i32 i32) (result i32) (i32.add (i32.mul (i32.const 100) (local.get 0)) (local.get 1)))".to_owned(),
        on("request_headers", &[say_size("headers")], 0),
    ];
    Scene::new(&module(&functions))
        .with("name: a")
        .with("root_id: a")
        .with("vm_id: one")
        .then("guest", &module(&functions))
        .with("name: b")
        .with("root_id: b")
        .with("vm_id: one")
        .send("GET /", "200")
        .send("GET /", "200")
        .says(&[
            "create 301",
            "headers 6 1",
            "create 402",
            "headers 6 1",
            "create 501",
            "headers 6 1",
            "create 602",
            "headers 6 1",
        ])
        .check();
}

#[test]
fn a_guest_that_returns_false_in_done_is_deleted_nevertheless() {
    Scene::new(&module(&[
        chatty("", &["done"]),
        on(
            "done",
            &[say("done"), crate::guest::status("proxy_done", "$done")],
            0,
        ),
    ]))
    .send("GET /", "200")
    .says(&["log", "done", "proxy_done 1", "delete"])
    .check();
}

#[test]
fn calls_that_no_stream_is_there_for_answer_all_the_same() {
    use crate::guest::{close, property, resume, set_property, status};
    let calls = [
        resume(0),
        resume(1),
        resume(2),
        resume(3),
        resume(4),
        close(0),
        close(1),
        close(2),
        close(3),
        close(4),
        set_property("mine", "1"),
        property("mine"),
        property("plugin_name"),
        property("plugin_root_id"),
        property("plugin_vm_id"),
        status("effective 0", "$effective (i32.const 0)"),
        status("effective 99", "$effective (i32.const 99)"),
        status("done", "$done"),
        status("log 6", "$log (i32.const 6) str(\"x\")"),
        status("log -1", "$log (i32.const -1) str(\"x\")"),
        reply(418, "x"),
        status(
            "get_status",
            "$get_status (i32.const 32) (i32.const 36) (i32.const 40)",
        ),
    ];
    Scene::new(&module(&[on("configure", &calls, 1)]))
        .with("root_id: r")
        .with("vm_id: v")
        .says(&[
            "continue 0 0",
            "continue 1 0",
            "continue 2 0",
            "continue 3 12",
            "continue 4 2",
            "close 0 0",
            "close 1 0",
            "close 2 0",
            "close 3 0",
            "close 4 2",
            "set mine 1",
            "mine 1",
            "plugin_name 0 [guest]",
            "plugin_root_id 0 [r]",
            "plugin_vm_id 0 [v]",
            "effective 0 0",
            "effective 99 2",
            "done 1",
            "log 6 2",
            "log -1 2",
            "reply 418 0",
            "get_status 0",
        ])
        .send("GET /", "200")
        .check();
}

#[test]
fn an_upstream_that_breaks_off_is_a_local_reply_that_plugins_see() {
    Scene::new(&module(&[chatty("", &[])]))
        .upstream("reset")
        .send("GET /", "503")
        .says(&[
            "request_headers 6 1",
            "response_headers 3 0",
            "response_body 95 1",
            "log",
            "done",
            "delete",
        ])
        .check();
}
