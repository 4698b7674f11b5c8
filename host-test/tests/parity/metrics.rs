//! Metrics: ids, statuses, and what the numbers become.

use crate::guest::{logged, module, on, status};
use crate::scene::Scene;

fn define(kind: i32, name: &str) -> String {
    logged(
        "tell_u32",
        &format!("define {kind} {name}"),
        &format!("$define_metric (i32.const {kind}) str(\"{name}\") (i32.const 32)"),
    )
}

fn increment(id: i32, by: i64) -> String {
    status(
        &format!("increment {id} {by}"),
        &format!("$increment (i32.const {id}) (i64.const {by})"),
    )
}

fn record(id: i32, value: i64) -> String {
    status(
        &format!("record {id} {value}"),
        &format!("$record (i32.const {id}) (i64.const {value})"),
    )
}

fn read(id: i32) -> String {
    logged(
        "tell_u64",
        &format!("get {id}"),
        &format!("$get_metric (i32.const {id}) (i32.const 32)"),
    )
}

#[test]
fn metrics_have_numbers_by_kind_and_rules_by_kind() {
    let calls = [
        define(0, "counter"),
        define(1, "gauge"),
        define(2, "histogram"),
        define(3, "other"),
        define(-1, "other"),
        define(0, "counter"),
        define(1, "gauge"),
        define(0, "second"),
        increment(4, 3),
        increment(4, 0),
        increment(4, -1),
        read(4),
        record(4, 5),
        read(4),
        read(8),
        increment(5, 3),
        increment(5, 0),
        increment(5, -5),
        read(5),
        record(5, 7),
        read(5),
        read(9),
        increment(9, -1),
        increment(6, 1),
        record(6, 5),
        read(6),
        increment(400, 1),
        record(400, 1),
        read(400),
        increment(401, 1),
        increment(402, 1),
        increment(403, 1),
        record(403, 1),
        read(403),
        read(0),
        read(1),
        read(3),
        read(402),
    ];
    Scene::new(&module(&[on("request_headers", &calls, 0)]))
        .send("GET /", "200")
        .says(&[
            "define 0 counter 0 4",
            "define 1 gauge 0 5",
            "define 2 histogram 0 6",
            "define 3 other 2",
            "define -1 other 2",
            "define 0 counter 0 8",
            "define 1 gauge 0 9",
            "define 0 second 0 12",
            "increment 4 3 0",
            "increment 4 0 2",
            "increment 4 -1 2",
            "get 4 0 3",
            "record 4 5 0",
            "get 4 0 8",
            "get 8 0 8",
            "increment 5 3 0",
            "increment 5 0 0",
            "increment 5 -5 0",
            "get 5 0 18446744073709551614",
            "record 5 7 0",
            "get 5 0 7",
            "get 9 0 7",
            "increment 9 -1 0",
            "increment 6 1 2",
            "record 6 5 0",
            "get 6 2",
            "increment 400 1 1",
            "record 400 1 1",
            "get 400 1",
            "increment 401 1 1",
            "increment 402 1 2",
            "increment 403 1 2",
            "record 403 1 1",
            "get 403 2",
            "get 0 1",
            "get 1 1",
            "get 3 2",
            "get 402 2",
        ])
        .metrics("{counter: 8, gauge: 6, second: 0}")
        .check();
}

#[test]
fn a_metric_is_one_number_over_all_plugins_and_vms() {
    let counts = on(
        "request_headers",
        &[define(0, "shared"), increment(4, 1), read(4)],
        0,
    );
    Scene::new(&module(std::slice::from_ref(&counts)))
        .then("second", &module(&[counts]))
        .send("GET /", "200")
        .says(&[
            "define 0 shared 0 4",
            "increment 4 1 0",
            "get 4 0 1",
            "define 0 shared 0 4",
            "increment 4 1 0",
            "get 4 0 2",
        ])
        .metrics("{shared: 2}")
        .check();
}
