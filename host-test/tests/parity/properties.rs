//! Properties: which are there in which callback, and in which form.

use crate::guest::{module, number, on, property, property_status, say, set_property};
use crate::scene::Scene;

const TEXTS: [&str; 23] = [
    r"request\00path",
    r"request\00url_path",
    r"request\00query",
    r"request\00host",
    r"request\00scheme",
    r"request\00method",
    r"request\00referer",
    r"request\00useragent",
    r"request\00protocol",
    r"request\00headers\00x-tag",
    r"request\00headers\00X-TAG",
    r"request\00headers\00absent",
    r"response\00code_details",
    r"response\00headers\00x-tag",
    r"requested_server_name",
    r"xds\00cluster_name",
    r"xds\00route_name",
    r"xds\00virtual_host_name",
    r"xds\00filter_chain_name",
    "plugin_name",
    "plugin_root_id",
    "plugin_vm_id",
    "absent",
];

const NUMBERS: [&str; 18] = [
    r"request\00time",
    r"request\00size",
    r"request\00duration",
    r"response\00code",
    r"response\00grpc_status",
    r"response\00size",
    r"response\00flags",
    r"connection\00mtls",
    r"xds\00listener_direction",
    r"upstream\00num_endpoints",
    r"upstream\00request_attempt_count",
    r"upstream\00port_absent",
    r"request\00absent",
    r"response\00absent",
    r"source\00absent",
    "node",
    "listener_direction",
    r"connection\00termination_details",
];

/// Those whose value is the machine's: only the status counts.
const STATUSES: [&str; 42] = [
    r"request\00id",
    r"request\00headers",
    r"request\00total_size",
    r"request\00headers_bytes",
    r"response\00headers",
    r"response\00trailers",
    r"response\00backend_latency",
    r"source\00address",
    r"source\00port",
    r"destination\00address",
    r"destination\00port",
    r"connection\00id",
    "connection_id",
    r"connection\00requested_server_name",
    r"connection\00tls_version",
    r"connection\00sha256_peer_certificate_digest",
    r"connection\00transport_failure_reason",
    r"upstream\00address",
    r"upstream\00port",
    r"response\00total_size",
    r"upstream\00transport_failure_reason",
    r"upstream\00locality",
    r"upstream\00cx_pool_ready_duration",
    r"upstream\00tls_version",
    "request",
    "response",
    "source",
    "destination",
    "connection",
    "upstream",
    "xds",
    "filter_state",
    "metadata",
    "",
    r"node\00id",
    "cluster_name",
    "route_name",
    "root_id",
    "vm_id",
    "plugin",
    r"xds\00node",
    r"metadata\00filter_metadata",
];

fn looks(callback: &str, result: i32) -> String {
    let mut calls = vec![say(callback)];
    calls.extend(TEXTS.iter().map(|path| property(path)));
    calls.extend(NUMBERS.iter().map(|path| number(path)));
    calls.extend(STATUSES.iter().map(|path| property_status(path)));
    on(callback, &calls, result)
}

/// Compares all properties in one callback.
#[track_caller]
fn compare_in(callback: &str) {
    Scene::new(&module(&[looks(callback, i32::from(callback == "done"))]))
        .with("root_id: r")
        .with("vm_id: v")
        .upstream("{status: 203, headers: {x-tag: [c, d]}, body: hello}")
        .send(
            "{method: POST, path: '/p/q?x=1&y', headers: {x-tag: [a, b], referer: r, user-agent: u, host: a.example}, body: abc}",
            "203",
        )
        .says(&[callback, "plugin_name 0 [guest]"])
        .check();
}

#[test]
fn properties_in_request_headers() {
    compare_in("request_headers");
}

#[test]
fn properties_in_request_body() {
    compare_in("request_body");
}

#[test]
fn properties_in_response_headers() {
    compare_in("response_headers");
}

#[test]
fn properties_in_response_body() {
    compare_in("response_body");
}

#[test]
fn properties_in_log() {
    compare_in("log");
}

#[test]
fn properties_in_done() {
    compare_in("done");
}

#[test]
fn root_contexts_know_only_of_themselves() {
    Scene::new(&module(&[looks("configure", 1)]))
        .with("root_id: r")
        .with("vm_id: v")
        .says(&[
            "configure",
            "request.path 1",
            "plugin_name 0 [guest]",
            "plugin_root_id 0 [r]",
            "plugin_vm_id 0 [v]",
        ])
        .check();
}

#[test]
fn a_property_that_is_set_becomes_filter_state_and_shadows_nothing() {
    let calls = [
        set_property(r"request\00path", "/other"),
        property(r"request\00path"),
        set_property("mine", "1"),
        property("mine"),
        property(r"filter_state\00wasm.mine"),
        property(r"filter_state\00mine"),
        property("wasm.mine"),
        set_property(r"a\00b", "2"),
        property(r"a\00b"),
        property(r"filter_state\00wasm.a\00b"),
        set_property("mine", "again"),
        property("mine"),
        set_property("empty", ""),
        property("empty"),
        set_property("", "x"),
        property(""),
        set_property("plugin_name", "x"),
        property("plugin_name"),
        property(r"mine\00deeper"),
    ];
    Scene::new(&module(&[
        on("request_headers", &calls, 0),
        on(
            "log",
            &[
                property("mine"),
                set_property("late", "1"),
                property("late"),
            ],
            0,
        ),
    ]))
    .then(
        "second",
        &module(&[on(
            "request_headers",
            &[
                property("mine"),
                property(r"filter_state\00wasm.mine"),
                set_property("mine", "second"),
                property("mine"),
            ],
            0,
        )]),
    )
    .send(
        "GET /p",
        "{status: 200, filter_state: {mine: second, empty: ''}}",
    )
    .says(&[
        "set request.path 0",
        "request.path 0 [/p]",
        "set mine 0",
        "mine 0 [1]",
    ])
    .check();
}
