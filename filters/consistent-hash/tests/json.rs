//! Values in JSON bodies, wherever they are cut.

use consistent_hash::key::json::{Progress, Scanner, Target};

fn scan(pointer: &str, first_bytes: usize, pieces: &[&[u8]]) -> Progress {
    let mut scanner = Scanner::new(Target::new(pointer, first_bytes).unwrap());
    for piece in pieces {
        scanner.read(piece);
    }
    scanner.end().clone()
}

fn found(text: &str) -> Progress {
    Progress::Found(text.as_bytes().to_vec())
}

#[test]
fn finds_a_value_wherever_the_body_is_cut() {
    let body = r#" {"a\"b": [1, {"model": "x"}], "mod": 1, "model" : "gpt \u00e9\ud83d\ude00\n" , "z": 1}"#;
    for first in 0..body.len() {
        for second in first..body.len() {
            let (rest, last) = body.as_bytes().split_at(second);
            let (start, middle) = rest.split_at(first);
            let seen = scan("/model", 100, &[start, middle, last]);
            assert_eq!(
                seen,
                found("gpt \u{e9}\u{1f600}\n"),
                "cut at {first} and {second}"
            );
        }
    }
}

#[test]
fn follows_names_and_numbers() {
    let body = br#"{"messages": [{"role": "system", "content": "be kind"}, {"content": [1, true, "a b"]}], "n": 42, "a/b": {"~": -1.5e3}}"#;
    let rows = [
        ("/messages/0/content", found("be kind")),
        ("/messages/1/content/2", found("a b")),
        ("/messages/1/content", found("[1,true,\"a b\"]")),
        (
            "/messages/0",
            found(r#"{"role":"system","content":"be kind"}"#),
        ),
        ("/n", found("42")),
        ("/a~1b/~0", found("-1.5e3")),
        ("/messages/2", Progress::Absent),
        ("/messages/00", Progress::Absent),
        ("/messages/role", Progress::Absent),
        ("/n/0", Progress::Absent),
        ("/role", Progress::Absent),
        ("/content", Progress::Absent),
    ];
    for (pointer, expected) in rows {
        assert_eq!(scan(pointer, 1000, &[body]), expected, "{pointer}");
    }
}

#[test]
fn ends_as_soon_as_enough_of_the_value_is_known() {
    let mut scanner = Scanner::new(Target::new("/prompt", 5).unwrap());
    assert_eq!(scanner.read(b"{\"prompt\": \"once"), &Progress::More);
    assert_eq!(scanner.read(b" upon a time"), &found("once "));
    assert_eq!(scanner.read(b"\" nonsense"), &found("once "));
}

#[test]
fn what_is_no_value_is_absent() {
    let rows: [&[u8]; 14] = [
        b"",
        b"nonsense",
        b"{",
        b"{\"a\"",
        b"{\"a\":",
        b"{\"a\": \"cut",
        b"{\"a\": \"\"}",
        b"{\"a\": null}",
        b"{\"a\" 1}",
        b"{\"a\": 12",
        b"[\"a\", 1]",
        b"{\"a\": \"\\x\"}",
        b"{\"a\": \"\\u12g4\"}",
        b"\x1f\x8b\x08",
    ];
    for body in rows {
        assert_eq!(scan("/a", 100, &[body]), Progress::Absent, "{body:?}");
    }
}

#[test]
fn the_first_of_two_members_of_a_name_counts() {
    assert_eq!(scan("/a", 9, &[br#"{"a": "x", "a": "y"}"#]), found("x"));
    assert_eq!(
        scan("/a/b", 9, &[br#"{"a": 1, "a": {"b": 2}}"#]),
        Progress::Absent
    );
    assert_eq!(
        scan("/a/b", 9, &[br#"{"a": {}, "a": {"b": 2}}"#]),
        Progress::Absent
    );
}

#[test]
fn the_whole_body_can_be_the_value() {
    assert_eq!(scan("", 9, &[b" 4", b"2"]), found("42"));
    assert_eq!(scan("", 9, &[b"\"hi\""]), found("hi"));
    assert_eq!(scan("", 99, &[b"{ \"a\" : [ ] }"]), found("{\"a\":[]}"));
}

#[test]
fn half_characters_read_as_one_that_can_not_be_told() {
    assert_eq!(
        scan("/a", 99, &[br#"{"a": "\ud800x\udc00"}"#]),
        found("\u{fffd}x\u{fffd}")
    );
}

#[test]
fn nesting_ends_somewhere() {
    let deep = "[".repeat(100);
    assert_eq!(scan("/0", 99, &[deep.as_bytes()]), Progress::Absent);
}

#[test]
fn a_pointer_is_read_as_rfc_6901_says() {
    assert_eq!(Target::new("a", 1), None);
    assert_eq!(Target::new("/~2", 1), None);
    assert_eq!(Target::new("/a~01/", 1).unwrap().tokens, ["a~1", ""]);
}
