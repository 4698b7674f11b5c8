//! Which VMs there are, what is called in them, and what refuses a configuration.

use crate::fixture::{Fixture, assert_passes};
use crate::guest::{get, module, on, resume, say, status};
use crate::scene::Scene;

/// Logs at a level, by the ABI's number.
fn log_at(level: i32, text: &str) -> String {
    status(
        &format!("log {level}"),
        &format!("$log (i32.const {level}) str(\"{text}\")"),
    )
}

#[test]
fn every_worker_and_the_main_thread_have_a_vm_that_ticks() {
    let functions = [
        on(
            "configure",
            &[
                say("configure"),
                "(drop (call $tick_period (i32.const 1000)))".to_owned(),
            ],
            1,
        ),
        on("tick", &[say("tick")], 0),
        on("request_headers", &[get(0, ":path")], 0),
    ];
    Scene::new(&module(&functions))
        .workers(2)
        // The canary is configured, too.
        .says(&["configure", "configure", "configure", "configure"])
        .advance("1s")
        .says(&["tick", "tick", "tick"])
        .advance("1s")
        .says(&["tick", "tick", "tick"])
        .check();
}

#[test]
fn start_functions_run_once_more_for_the_vm_that_others_are_made_from() {
    let guest = module(&[
        r#"(func (export "_initialize") say("initialize"))"#.to_owned(),
        on("configure", &[say("configure")], 1),
    ]);
    Scene::new(&guest)
        // The base, the canary, the main thread, the worker.
        .says(&[
            "initialize",
            "initialize",
            "configure",
            "initialize",
            "configure",
        ])
        .check();
}

#[test]
fn a_tick_that_is_turned_off_comes_no_more() {
    let functions = [
        on(
            "configure",
            &["(drop (call $tick_period (i32.const 1000)))".to_owned()],
            1,
        ),
        on(
            "tick",
            &[
                say("tick"),
                "(drop (call $tick_period (i32.const 0)))".to_owned(),
            ],
            0,
        ),
    ];
    Scene::new(&module(&functions))
        .advance("1s")
        .says(&["tick", "tick"])
        .advance("5s")
        .check();
}

#[test]
fn a_plugin_that_refuses_its_configuration_refuses_it_under_every_policy() {
    let refusals = [
        on("vm_start", &[log_at(4, "no")], 0),
        on("configure", &[log_at(4, "no")], 0),
        on("configure", &[log_at(4, "no"), "unreachable".to_owned()], 1),
    ];
    for refusal in refusals {
        let fixture = Fixture::new(&module(&[refusal]));
        for policy in ["fail_closed", "fail_open", "fail_reload"] {
            let rest = format!("  failure_policy: {policy}\nexpect_config_error: ['no']\n");
            assert_passes(&fixture, &rest);
        }
    }
}

#[test]
fn a_struct_is_handed_over_as_a_message_and_a_text_as_it_is() {
    let read =
        "$get_buffer (i32.const 7) (i32.const 0) (i32.const 100) (i32.const 32) (i32.const 36)";
    let guest = module(&[on(
        "configure",
        &[crate::guest::logged("tell_bytes", "config", read)],
        1,
    )]);
    Scene::new(&guest)
        .with("config: {a: 1}")
        .says(&["config 0 7:", "config 0 7:", "config 0 7:"])
        .check();
    Scene::new(&guest)
        .with("config: {a: 1}")
        .with("config_form: struct")
        .says(&["config 0 16:", "config 0 16:", "config 0 16:"])
        .check();
}

#[test]
fn lines_below_the_hosts_level_are_dropped_and_critical_ones_are_errors() {
    let mut calls: Vec<String> = (0..=6).map(|level| log_at(level, "line")).collect();
    calls.push(status("level", "$log_level (i32.const 32)"));
    calls.push("(call $tell_u32 str(\"level is\") (i32.const 0))".to_owned());
    Scene::new(&module(&[on("request_headers", &calls, 0)]))
        .send("GET /", "200")
        .says(&[
            "log 0 0",
            "log 1 0",
            "line",
            "log 2 0",
            "line",
            "log 3 0",
            "line",
            "log 4 0",
            "line",
            "log 5 0",
            "log 6 2",
            "level 0",
            "level is 0 2",
        ])
        .check();
}

#[test]
fn an_allocator_that_traps_fails_the_vm_after_the_callback() {
    let guest = module(&[
        on("request_headers", &[get(0, ":path"), say("goes on")], 0),
        on("response_headers", &[resume(2)], 0),
    ]);
    let guest = guest.replace("(local $at i32)", "(local $at i32) (unreachable)");
    Scene::new(&guest)
        .send(
            "GET /",
            "{status: 503, details: wasm_fail_stream, upstream: none}",
        )
        .says(&["get 0 :path 6", "goes on"])
        .send("GET /", "503")
        .check();
}
