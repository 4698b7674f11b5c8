//! What a plugin's VM is given beside its module: its configuration and its environment variables,
//! and which of them let plugins share a VM.

use crate::guest::{buffer, buffer_size, logged, module, on, say, status};
use crate::scene::Scene;

/// Logs how many environment variables there are and how many bytes they take.
fn environ_sizes() -> String {
    let sizes = logged(
        "tell_u32",
        "variables",
        "$environ_sizes (i32.const 32) (i32.const 40)",
    );
    format!(
        "{sizes} (i32.store (i32.const 32) (i32.load (i32.const 40)))
         (call $tell_u32 str(\"bytes\") (i32.const 0))"
    )
}

/// Logs the first environment variable, whose pointer goes to 98304.
fn first_variable() -> String {
    let read = status("environ", "$environ (i32.const 98304) (i32.const 100352)");
    format!(
        "{read} (call $put (i32.load (i32.const 98304))
           (i32.sub (i32.load (i32.const 40)) (i32.const 1))) (call $end_line)"
    )
}

/// A guest that counts its configurations, and logs the count and what `calls` log on a request.
fn counts(calls: &[String]) -> String {
    let count = "(global.set $configured (i32.add (global.get $configured) (i32.const 1)))";
    let tell = "(i32.store (i32.const 32) (global.get $configured))
                (call $tell_u32 str(\"configured\") (i32.const 0))";
    module(&[
        "(global $configured (mut i32) (i32.const 0))".to_owned(),
        on("configure", &[count.to_owned()], 1),
        on("request_headers", &[tell.to_owned(), calls.concat()], 0),
    ])
}

/// The canary, the main thread and the worker.
fn three_times<'a>(lines: &[&'a str]) -> Vec<&'a str> {
    lines.repeat(3)
}

#[test]
fn the_vms_configuration_is_there_in_every_callback_and_the_plugins_in_configure_alone() {
    let sizes = [buffer_size(6), buffer(6, 0, 99), buffer_size(7)].concat();
    let guest = module(&[
        on(
            "vm_start",
            &[say("vm_start"), sizes.clone(), buffer(6, 1, 3)],
            1,
        ),
        on(
            "configure",
            &[say("configure"), sizes.clone(), buffer(7, 0, 99)],
            1,
        ),
        on("request_headers", &[sizes], 0),
    ]);
    let table = [
        ("hello", "hello", "ell"),
        ("{a: 1}", "{\"a\":1}", "\"a\""),
        ("[1, true]", "[1,true]", "1,t"),
    ];
    for (given, text, part) in table {
        let of_vm = [
            format!("buffer size 6 0 {}", text.len()),
            format!("buffer 6 0 99 0 [{text}]"),
        ];
        Scene::new(&guest)
            .with("config: own")
            .with(&format!("vm_config: {given}"))
            .says(&three_times(&[
                "vm_start",
                &of_vm[0],
                &of_vm[1],
                "buffer size 7 1",
                &format!("buffer 6 1 3 0 [{part}]"),
                "configure",
                &of_vm[0],
                &of_vm[1],
                "buffer size 7 0 3",
                "buffer 7 0 99 0 [own]",
            ]))
            .send("GET /", "200")
            .says(&[&of_vm[0], &of_vm[1], "buffer size 7 1"])
            .check();
    }
}

#[test]
fn vm_start_is_told_the_size_of_the_vms_configuration_and_configure_of_the_plugins() {
    let size = "(i32.store (i32.const 32) (local.get $n))
                (call $tell_u32 str(\"size\") (i32.const 0))";
    Scene::new(&module(&[
        on("vm_start", &[size.to_owned()], 1),
        on("configure", &[size.to_owned()], 1),
    ]))
    .with("config: own")
    .with("vm_config: hello")
    .says(&three_times(&["size 0 5", "size 0 3"]))
    .check();
}

#[test]
fn bytes_are_handed_over_as_they_are() {
    let read =
        "$get_buffer (i32.const 7) (i32.const 0) (i32.const 8) (i32.const 32) (i32.const 36)";
    let first_byte =
        "$get_buffer (i32.const 7) (i32.const 0) (i32.const 1) (i32.const 32) (i32.const 36)";
    let calls = [
        logged("tell_bytes", "eight", read),
        logged("tell_bytes", "first", first_byte),
        buffer_size(7),
    ];
    // The bytes 255, 0, 1, which are no text.
    Scene::new(&module(&[on("configure", &calls, 1)]))
        .with("config: /wAB")
        .with("config_form: bytes")
        .says(&three_times(&[
            "eight 0 3:",
            "first 0 1:255",
            "buffer size 7 0 3",
        ]))
        .check();
}

#[test]
fn environment_variables_are_read_through_wasi() {
    let none = module(&[on("request_headers", &[environ_sizes()], 0)]);
    Scene::new(&none)
        .send("GET /", "200")
        .says(&["variables 0 0", "bytes 0 0"])
        .check();
    Scene::new(&none)
        .with("environment: {A: b, LONG: '', C: 'x=y'}")
        .send("GET /", "200")
        .says(&["variables 0 3", "bytes 0 16"])
        .check();
    let calls = [environ_sizes(), first_variable()];
    for (value, bytes, text) in [
        ("b c", 9, "NAME=b c"),
        ("", 6, "NAME="),
        ("x=y", 9, "NAME=x=y"),
    ] {
        Scene::new(&module(&[
            on("vm_start", &calls, 1),
            on("request_headers", &calls, 0),
        ]))
        .with(&format!("environment: {{NAME: '{value}'}}"))
        .send("GET /", "200")
        .says(
            &[
                "variables 0 1",
                &format!("bytes 0 {bytes}"),
                "environ 0",
                text,
            ]
            .repeat(4),
        )
        .check();
    }
}

#[test]
fn plugins_of_one_vm_id_share_a_vm_unless_its_configurations_differ() {
    let guest = counts(&[]);
    for (first, second, configured) in [("a", "a", "configured 0 2"), ("a", "b", "configured 0 1")]
    {
        Scene::new(&guest)
            .with("vm_id: shared")
            .with(&format!("vm_config: {first}"))
            .then("other", &guest)
            .with("vm_id: shared")
            .with(&format!("vm_config: {second}"))
            .send("GET /", "200")
            .says(&[configured, configured])
            .check();
    }
}

#[test]
fn plugins_of_one_vm_id_have_vms_of_their_own_if_their_environments_differ() {
    let guest = counts(&[environ_sizes(), first_variable()]);
    Scene::new(&guest)
        .with("vm_id: shared")
        .with("environment: {NAME: one}")
        .then("other", &guest)
        .with("vm_id: shared")
        .with("environment: {NAME: two}")
        .send("GET /", "200")
        .says(&["configured 0 1", "NAME=one", "configured 0 1", "NAME=two"])
        .check();
}
