//! Plugins that are restricted to some callbacks and imports.

use crate::guest::{get, logged, module, on, say, status};
use crate::scene::Scene;

fn guest() -> String {
    module(&[
        on(
            "request_headers",
            &[
                say("request_headers"),
                get(0, ":path"),
                status("continue", "$continue (i32.const 0)"),
                logged(
                    "tell",
                    "clock",
                    "$clock (i32.const 0) (i64.const 0) (i32.const 64)",
                ),
                logged("tell", "random", "$random (i32.const 64) (i32.const 4)"),
            ],
            0,
        ),
        on("response_headers", &[say("response_headers")], 0),
        on("log", &[say("log")], 0),
    ])
}

#[test]
fn what_is_not_allowed_is_not_called_or_answers_an_error() {
    Scene::new(&guest())
        .with("allowed_capabilities: [proxy_log, proxy_on_request_headers, proxy_on_log, proxy_on_context_create, random_get]")
        .send("GET /", "200")
        .says(&[
            "request_headers",
            "Attempted call to restricted proxy-wasm capability: proxy_get_header_map_value",
            "get 0 :path 10",
            "Attempted call to restricted proxy-wasm capability: proxy_continue_stream",
            "continue 10",
            "Attempted call to restricted WASI capability: clock_time_get",
            "clock 76",
            "random 0",
            "log",
        ])
        .check();
}

#[test]
fn without_names_nothing_is_restricted() {
    Scene::new(&guest())
        .with("allowed_capabilities: []")
        .send("GET /", "200")
        .says(&[
            "request_headers",
            "get 0 :path 0 [/]",
            "response_headers",
            "log",
        ])
        .check();
}

#[test]
fn a_name_that_nothing_has_restricts_all() {
    Scene::new(&guest())
        .with("allowed_capabilities: [nothing]")
        .send("GET /", "200")
        .says(&[])
        .check();
}
