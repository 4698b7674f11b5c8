//! Origins whose answers are broken: what they send is never an answer from the store.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::gateway::Envoy;
use crate::upstream::Upstream;

/// Answers that begin well and must not be stored, by what is wrong with them.
fn broken() -> BTreeMap<String, String> {
    let ok = |headers: &str| format!("HTTP/1.1 200 OK\r\n{headers}content-length: 5\r\n\r\nhello");
    let fresh = "cache-control: max-age=600\r\n";
    let names: Vec<_> = (0..100).map(|number| format!("x-field-{number}")).collect();
    let many: String = (0..1000)
        .map(|number| format!("x-{number}: 1\r\n"))
        .collect();
    let answers = [
        (
            "shorter-than-its-length",
            format!("HTTP/1.1 200 OK\r\n{fresh}content-length: 99\r\n\r\nhello"),
        ),
        (
            "cut-between-chunks",
            format!("HTTP/1.1 200 OK\r\n{fresh}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"),
        ),
        (
            "cut-in-its-head",
            format!("HTTP/1.1 200 OK\r\n{fresh}content-le"),
        ),
        (
            "two-lengths",
            format!(
                "HTTP/1.1 200 OK\r\n{fresh}content-length: 5\r\ncontent-length: 7\r\n\r\nhello"
            ),
        ),
        (
            "a-length-that-is-none",
            format!("HTTP/1.1 200 OK\r\n{fresh}content-length: five\r\n\r\nhello"),
        ),
        ("a-thousand-headers", ok(&format!("{fresh}{many}"))),
        (
            "a-vary-of-1-kb",
            ok(&format!("{fresh}vary: {}\r\n", names.join(","))),
        ),
        (
            "an-age-of-2-to-the-70",
            ok(&format!("{fresh}age: 1180591620717411303424\r\n")),
        ),
        (
            "a-max-age-that-is-none",
            ok("cache-control: max-age=ten\r\n"),
        ),
        (
            "a-private-without-its-comma",
            ok("cache-control: max-age=600 private\r\n"),
        ),
        (
            "an-open-string",
            ok("cache-control: max-age=600, x=\"no-store\r\n"),
        ),
    ];
    answers
        .into_iter()
        .map(|(name, answer)| (format!("/{name}"), answer))
        .collect()
}

#[test]
fn what_a_broken_origin_sends_is_never_an_answer_from_the_store() {
    let counts = Arc::new(Mutex::new(BTreeMap::<String, u32>::new()));
    let (seen, answers) = (Arc::clone(&counts), broken());
    let origin = Upstream::new(move |mut connection| {
        while let Some(head) = connection.head() {
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let count = {
                let mut seen = seen.lock().expect("no panic");
                let count = seen.entry(path.clone()).or_default();
                *count += 1;
                *count
            };
            match answers.get(&path) {
                // Its connection ends with it.
                Some(answer) => return connection.send(answer),
                None => connection.send(&format!(
                    "HTTP/1.1 200 OK\r\ncache-control: max-age=600\r\ncontent-length: 1\r\n\r\n{count}"
                )),
            }
        }
    });
    let Some(envoy) = Envoy::start(&json!({}), origin.address, None) else {
        return;
    };
    for path in broken().into_keys() {
        let mut said = Vec::new();
        for _ in 0..3 {
            let client = envoy.connect();
            client.send(&format!(
                "GET {path} HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n"
            ));
            // A reset is one of the answers.
            said.push(client.rest().unwrap_or_default());
        }
        let asked = counts.lock().expect("no panic")[&path];
        assert_eq!(asked, 3, "{path}: {said:?}");
        assert!(
            !said.iter().any(|said| said.contains("; hit")),
            "{path}: {said:?}"
        );
    }
    // And the cache is as good as before.
    for _ in 0..3 {
        assert_eq!(envoy.connect().get("/good", "").body, "1");
    }
}
