//! Mistakes in suites, with the place and the cause.

use host_test::scenario::{HostKind, Hosts, run_files};

use crate::Folder;

#[track_caller]
fn assert_refused(file: &str, text: &str, sentence: &str) {
    let folder = Folder::new();
    let path = folder.write(file, text);
    let hosts = Hosts::One(HostKind::Wasmtime);
    let errors = run_files(&[path], hosts).unwrap_err();
    let shown = errors[0]
        .to_string()
        .replace(&format!("{}/", folder.path.display()), "");
    assert!(shown.contains(sentence), "{text}\n{shown}");
}

#[test]
fn mistakes_in_text_are_pointed_at() {
    for (text, sentence) in [
        (
            "test {\n  nam: 'a'\n}",
            "a.textpb:2:3: Test has no field `nam`, did you mean `name`? Known: `name`, `benchmark`",
        ),
        (
            "test {\n  name: 'a'\n",
            "the file ends before the } of the message at 1:6",
        ),
        (
            "test { name: 'a' name: 'b' }",
            "1:18: `name` was already given at 1:8",
        ),
        (
            "test { num_chunks: 1 chunk_size: 2 }",
            "1:22: `chunk_size` can't be given beside `num_chunks` at 1:8",
        ),
        (
            "test { name 'a' }",
            "1:13: `name` needs a `:` before its value",
        ),
        (
            "test { name: a }",
            "1:14: found `a`, expected a text in quotes",
        ),
        (
            "test { name: 'a }",
            "1:14: this text is not closed with ' on its line",
        ),
        ("test { name: 'a\\q' }", "1:16: there is no such escape"),
        ("test { name: '\\377' }", "this text must be UTF-8"),
        (
            "test { name: ['a'] }",
            "`name` can be given only once, so it takes no list",
        ),
        (
            "test { benchmark: yes }",
            "found `yes`, expected true or false",
        ),
        (
            "test { num_chunks: 1.5 }",
            "found `1.5`, expected a whole number from -2147483648",
        ),
        (
            "test { num_chunks: -x }",
            "found `-x`, expected a whole number",
        ),
        (
            "test { num_chunks: 0 }",
            "1:8: `num_chunks` must be at least 1",
        ),
        (
            "env { log_level: INFOO }",
            "expected one of UNDEFINED, TRACE, DEBUG, INFO, WARN, ERROR, CRITICAL, did you mean INFO",
        ),
        (
            "env { time_secs: -1 }",
            "found `-1`, expected a whole number from 0",
        ),
        ("test: 3", "found `3`, expected `{` with the fields of Test"),
        ("test [{} {}]", "found `{`, expected `,` or `]`"),
        ("[a.b] { }", "1:1: a suite has no extensions and no Any"),
        ("}", "found `}`, expected the name of a field"),
        ("", "there is no `test`, so nothing is tested"),
        (
            "test { request_headers { result { has_header { value: 'a' } } } }",
            "1:46: the header has no `key`",
        ),
        (
            "test { plugin_init { log { invert: true } } }",
            "1:26: one of `exact`, `regex` and `file` is needed",
        ),
        (
            "test { plugin_init { log { regex: '(' } } }",
            "1:26: `regex` is not a regular expression: unclosed group",
        ),
        ("test { plugin_init { log { file: 'no' } } }", "1:26: "),
        (
            "test { request_body { input { file: 'no' } } }",
            "can't be read: No such file",
        ),
        (
            "test { request_headers { input { content: 'GET' } } }",
            "1:24: \"GET\" is no request line",
        ),
        (
            "test { num_chunks: 2 request_body { input { content: 'a' } } }",
            "1:35: a body of 1 bytes can't be cut into 2 pieces",
        ),
        (
            "test { num_chunks: 2 request_body { input { content: 'ab' } } request_body {} }",
            "there can be only one such body",
        ),
        (
            "test {}",
            "a.textpb: no module is named: give `--plugin MODULE`, or `wasm_path` in `env`",
        ),
        (
            "env { wasm_path: 'no.wasm' } test {}",
            "a.textpb: there is no module no.wasm",
        ),
        (
            "env { config_path: 'no.conf' } test {}",
            "a.textpb: the configuration no.conf can't be read: No such file",
        ),
    ] {
        assert_refused("a.textpb", text, sentence);
    }
}

#[test]
fn the_caret_stands_under_the_mistake() {
    assert_refused(
        "a.textproto",
        "test {\n\tbenchmark: maybe\n}",
        "a.textproto:2:13: found `maybe`, expected true or false\n 2 | \tbenchmark: maybe\n   | \t           ^",
    );
}

#[test]
fn mistakes_in_yaml_are_pointed_at() {
    for (text, sentence) in [
        (
            "tests: []\ntest: 1\n",
            "a.yaml:1:1: TestSuite has no field `tests`, did you mean `test`?",
        ),
        (
            "test: 1\n",
            "1:7: found an integer, expected the fields of Test",
        ),
        (
            "test:\n- name: [a]\n",
            "2:9: found a list, expected a value for `name`",
        ),
        (
            "test:\n- benchmark: maybe\n",
            "2:14: found `maybe`, expected true or false",
        ),
        (
            "test:\n- name: a\n  name: b\n",
            "`name` was already given on line 2",
        ),
        (
            "test:\n- num_chunks: 1\n  chunk_size: 1\n",
            "can't be given beside `num_chunks`",
        ),
        (
            "env: {log_level: LOUD}\ntest: {}\n",
            "found `LOUD`, expected one of UNDEFINED",
        ),
        ("test: [\n", "a.yaml:"),
    ] {
        assert_refused("a.yaml", text, sentence);
    }
}
