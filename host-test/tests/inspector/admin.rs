//! What the admin listener gives, and to whom.

use std::process::Command;

use crate::client::Client;
use crate::gateway::{Setup, scratch};
use crate::scene::{Inspected, TOKEN, busy, filters, quick};
use crate::upstream::Upstream;

const REPLAY: &str = "/inspect/api/requests/1/replay";

#[test]
fn a_request_is_told_with_all_that_filters_did() {
    let inspected = Inspected::serve(&busy(), &[]);
    let mut client = Client::connect(inspected.gateway);
    client.send("POST /a HTTP/1.1\r\nhost: shop\r\nx-unwanted: 1\r\ncontent-length: 3\r\n\r\nabc");
    assert_eq!(client.response().status, 200);
    let told = inspected.last(1);
    assert_eq!(told["method"], "POST");
    assert_eq!(told["by"], "upstream");
    assert_eq!(told["status"], 200);
    assert_eq!(told["request"]["body"]["text"], "abc");
    let names: Vec<&str> = told["callbacks"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|callback| callback["name"].as_str().expect("a name"))
        .collect();
    assert!(names.contains(&"on_http_call_response"), "{names:?}");
    let first = &told["callbacks"][0];
    let first = if first["name"] == "on_request_headers" {
        first
    } else {
        &told["callbacks"][1]
    };
    assert_eq!(first["filter"], "busy");
    assert!(first["took"].as_u64().is_some_and(|took| took > 0));
    assert_eq!(first["logs"][0][1], "/a");
    assert_eq!(first["metrics"][0][0], "seen_total");
    let set = first["calls"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|call| call["name"] == "replace_header_map_value")
        .expect("the header was set");
    assert_eq!(set["status"], "ok");
    // `x-busy` and `yes`.
    assert_eq!(set["bytes"], 9);
    let call = &told["callouts"][0];
    assert_eq!(call["cluster"], "service");
    assert_eq!(call["response"]["body"]["text"], "ready");
    assert!(call["took"].as_u64().is_some_and(|took| took > 0));
    // Before the filter, and after it.
    let request = told["passages"]["request"].as_array().expect("a list");
    let has = |place: usize, name: &str| {
        let headers = request[place]["headers"].as_array().expect("headers");
        headers.iter().any(|header| header[0] == name)
    };
    assert!(has(0, "x-unwanted") && !has(1, "x-unwanted"));
    assert!(!has(0, "x-busy") && has(1, "x-busy"));
    let response = told["passages"]["response"].as_array().expect("a list");
    let text = |place: usize| response[place]["body"]["text"].as_str().expect("text");
    assert_eq!(format!("before: {}", text(0)), text(1));
}

#[test]
fn instructions_are_counted_on_request() {
    let inspected = Inspected::serve(&quick(), &["--inspect-instructions"]);
    Client::connect(inspected.gateway).get("/", "");
    let told = inspected.last(1);
    assert_eq!(told["counted"], true);
    assert!(
        told["costs"][0]["instructions"]
            .as_u64()
            .is_some_and(|n| n > 0),
        "{told}"
    );
}

#[test]
fn credentials_are_masked_unless_they_are_asked_for() {
    let headers = format!("authorization: Bearer {TOKEN}\r\ncookie: a=secret-cookie\r\n");
    for (flags, shown) in [(&[][..], false), (&["--inspect-secrets"][..], true)] {
        let inspected = Inspected::serve(&filters(), flags);
        let answer = Client::connect(inspected.gateway).get("/orders?api_key=secret-key", &headers);
        assert_eq!(answer.status, 200);
        let told = inspected.last(1).to_string();
        for secret in [TOKEN, &TOKEN[..60], "secret-cookie", "secret-key"] {
            assert_eq!(told.contains(secret), shown, "{secret} in {told}");
        }
        let scenario = inspected.ask("GET", "/inspect/api/requests/1/scenario", "localhost", "");
        assert_eq!(scenario.status, 200, "{}", scenario.body);
        assert_eq!(scenario.body.contains(TOKEN), shown);
        assert_eq!(scenario.body.contains("--inspect-secrets"), !shown);
    }
}

#[test]
fn a_masked_request_is_sent_again_with_its_credentials() {
    let inspected = Inspected::serve(&filters(), &[]);
    let headers = format!("authorization: Bearer {TOKEN}\r\n");
    let mut client = Client::connect(inspected.gateway);
    assert_eq!(client.get("/orders", &headers).status, 200);
    inspected.last(1);
    let answer = inspected.ask("POST", REPLAY, "localhost", "");
    assert_eq!(answer.status, 200, "{}", answer.body);
    let answer: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(answer["status"], 200);
    let again = inspected.last(2);
    assert_eq!(again["client"], answer["client"]);
    assert_eq!(
        (&again["path"], &again["status"]),
        (&"/orders".into(), &200.into())
    );
}

#[test]
fn pages_of_others_get_nothing() {
    let inspected = Inspected::serve(&quick(), &[]);
    Client::connect(inspected.gateway).get("/", "");
    inspected.last(1);
    let own = inspected.admin.to_string();
    let table = [
        (own.as_str(), String::new(), 200),
        (own.as_str(), format!("origin: http://{own}\r\n"), 200),
        ("evil.example", String::new(), 403),
        (
            own.as_str(),
            "origin: http://evil.example\r\n".to_owned(),
            403,
        ),
        (own.as_str(), "origin: null\r\n".to_owned(), 403),
        (
            own.as_str(),
            "sec-fetch-site: cross-site\r\n".to_owned(),
            403,
        ),
    ];
    for (host, headers, expected) in table {
        for (method, path) in [("POST", REPLAY), ("GET", "/inspect/api/requests/1")] {
            let answer = inspected.ask(method, path, host, &headers);
            assert_eq!(answer.status, expected, "{method} {path} {host} {headers}");
        }
    }
    // What was refused wasn't sent again: two were.
    inspected.last(3);
    let missing = inspected.ask("GET", "/inspect/api/requests/4", &own, "");
    assert_eq!(missing.status, 404);
    // Nothing is changed by a link or an image.
    assert_eq!(inspected.ask("GET", REPLAY, &own, "").status, 404);
}

#[test]
fn the_page_comes_with_a_strict_policy() {
    let inspected = Inspected::serve(&quick(), &[]);
    for path in ["/inspect", "/inspect/app.js", "/inspect/app.css"] {
        let answer = inspected.ask("GET", path, "localhost", "");
        assert_eq!(answer.status, 200);
        let policy = answer.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
}

#[test]
fn the_last_requests_are_kept() {
    let inspected = Inspected::serve(&quick(), &["--inspect-requests", "3"]);
    let mut client = Client::connect(inspected.gateway);
    for n in 1..=5 {
        client.get(&format!("/{n}"), "");
    }
    assert_eq!(inspected.last(5)["path"], "/5");
    let gone = inspected.ask("GET", "/inspect/api/requests/2", "localhost", "");
    assert_eq!(gone.status, 404);
    let list = inspected
        .ask("GET", "/inspect/api/requests", "localhost", "")
        .body;
    let list: Vec<serde_json::Value> = serde_json::from_str(&list).expect("JSON");
    let paths: Vec<_> = list.iter().map(|one| one["path"].as_str()).collect();
    assert_eq!(paths, [Some("/3"), Some("/4"), Some("/5")]);
}

#[test]
fn requests_that_differ_from_the_usual_are_kept_too() {
    let inspected = Inspected::serve(&busy(), &[]);
    // A body too long to be sent again, bytes that are no text, and a trap.
    let long = "x".repeat(100_000);
    let mut client = Client::connect(inspected.gateway);
    client.send(&format!(
        "POST /long HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{long}",
        long.len()
    ));
    client.response();
    let told = inspected.last(1);
    assert_eq!(told["replayable"], false);
    assert_eq!(told["request"]["body"]["size"], 100_000);
    let answer = inspected.ask("POST", REPLAY, "localhost", "");
    assert_eq!(answer.status, 422, "{}", answer.body);
    assert_eq!(
        Client::connect(inspected.gateway)
            .get("/", "x-a: \u{ff}\r\n")
            .status,
        200
    );
    assert_eq!(inspected.last(2)["status"], 200);
    assert_eq!(
        Client::connect(inspected.gateway).get("/trap", "").status,
        503
    );
    let told = inspected.last(3);
    assert_eq!(
        (&told["by"], &told["wrong"]),
        (&"busy".into(), &true.into())
    );
}

#[test]
fn what_a_single_request_takes_is_bounded() {
    let chatty = r#"
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (local $n i32)
          (loop $again
            (drop (call $set_header (i32.const 0) str("x-a") str("b")))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get $n) (i32.const 5000))))
          (i32.const 0))
        (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) (i32.const 0))"#;
    let setup =
        Setup::to(Upstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").address)
            .guest("chatty", chatty, "")
            .top(crate::scene::ADMIN);
    let inspected = Inspected::serve(&setup, &[]);
    let mut client = Client::connect(inspected.gateway);
    client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
    for _ in 0..2_000 {
        client.send(&format!("1000\r\n{}\r\n", "x".repeat(4096)));
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.response().status, 200);
    let told = inspected.last(1);
    let callbacks = told["callbacks"].as_array().expect("a list");
    assert!(callbacks.len() <= 256);
    let named = |name: &str| callbacks.iter().find(|callback| callback["name"] == name);
    let headers = named("on_request_headers").expect("it was called");
    assert_eq!(headers["calls"].as_array().map(Vec::len), Some(1_000));
    assert_eq!(headers["more_calls"], 4_000);
    assert_eq!(told["request"]["body"]["size"], 2_000 * 4096);
    assert!(
        told.to_string().len() < 1_000_000,
        "{}",
        told.to_string().len()
    );
}

#[test]
fn without_the_flag_there_is_no_inspector_and_with_it_there_has_to_be_an_admin_listener() {
    let gateway = quick().start();
    assert_eq!(gateway.admin("/inspect").status, 404);
    let open = quick()
        .yaml()
        .replace("address: 127.0.0.1", "address: 0.0.0.0");
    let without = quick().yaml().replace(crate::scene::ADMIN, "");
    for (yaml, sentence) in [(open, "loopback"), (without, "needs the admin listener")] {
        let path = scratch("refused.yaml");
        std::fs::write(&path, yaml).expect("written");
        let output = Command::new(env!("CARGO_BIN_EXE_host-test"))
            .args(["serve", "--inspect"])
            .arg(path)
            .output()
            .expect("it runs");
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(sentence), "{said}");
    }
}
