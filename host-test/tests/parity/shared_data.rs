//! Shared data: scopes and the compare-and-set number.

use crate::guest::{module, on, status};
use crate::scene::Scene;

/// Logs status, value and number of a key.
fn read(key: &str) -> String {
    let call = format!("$get_shared str(\"{key}\") (i32.const 32) (i32.const 36) (i32.const 40)");
    format!(
        "(call $tell_text str(\"get {key}\") (call {call}))
         (call $put str(\"cas {key}\")) (call $put_space)
         (call $put_number (i64.load32_u (i32.const 40))) (call $end_line)"
    )
}

fn write(key: &str, value: &str, cas: i64) -> String {
    let call = format!("$set_shared str(\"{key}\") str(\"{value}\") (i32.const {cas})");
    status(&format!("set {key} {cas}"), &call)
}

#[test]
fn a_number_must_match_unless_the_key_is_missing_or_the_number_is_zero() {
    let calls = [
        read("a"),
        write("a", "1", 0),
        read("a"),
        write("a", "2", 0),
        read("a"),
        write("a", "3", 4_294_967_295),
        read("a"),
        write("a", "4", 99),
        read("a"),
        write("b", "1", 4_294_967_295),
        read("b"),
        write("b", "2", 7),
        read("b"),
        write("a", "", 0),
        read("a"),
        write("", "nameless", 0),
        read(""),
        write("c", "1", 0),
        read("c"),
        write("c", "2", 5),
        read("c"),
        write("c", "3", 6),
        read("c"),
        write("c", "4", 6),
        read("c"),
    ];
    Scene::new(&module(&[on("request_headers", &calls, 0)]))
        .send("GET /", "200")
        .says(&[
            "get a 1",
            "set a 0 0",
            "get a 0 [1]",
            "set a 0 0",
            "get a 0 [2]",
            "set a 4294967295 8",
            "get a 0 [2]",
            "set a 99 8",
            "get a 0 [2]",
            "cas a 2",
            "set b 4294967295 0",
            "get b 0 [1]",
            "cas b 3",
            "set b 7 8",
            "get b 0 [1]",
            "set a 0 0",
            "get a 0 []",
            "cas a 4",
            "set  0 0",
            "get  0 [nameless]",
            "cas  5",
            "set c 0 0",
            "get c 0 [1]",
            "cas c 6",
            "set c 5 8",
            "get c 0 [1]",
            "set c 6 0",
            "get c 0 [3]",
            "cas c 7",
            "set c 6 8",
            "get c 0 [3]",
        ])
        .check();
}

#[test]
fn the_scope_of_shared_data_is_the_vm_id() {
    let writes = module(&[on("request_headers", &[write("k", "from the first", 0)], 0)]);
    let reads = module(&[on("request_headers", &[read("k")], 0)]);
    Scene::new(&writes)
        .with("vm_id: one")
        .then("second", &reads)
        .with("vm_id: one")
        .then("third", &reads)
        .with("vm_id: two")
        .send("GET /", "200")
        .says(&["set k 0 0", "get k 0 [from the first]", "get k 1"])
        .check();
}
