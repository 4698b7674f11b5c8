//! Requests that can't be parsed, answered and logged as Envoy 1.40 does.

use std::fs;

use crate::gateway::{Setup, scratch};

/// A request, and what Envoy answered and logged for it.
const CASES: [(&str, &str, &str, &str); 14] = [
    (
        "blah blah\r\n\r\n",
        "400 Bad Request",
        "Bad Request",
        "- - 400 http1.codec_error DPE",
    ),
    (
        "FOO /d HTTP/1.1\r\nhost: a\r\n\r\n",
        "400 Bad Request",
        "Bad Request",
        "- - 400 http1.codec_error DPE",
    ),
    (
        "GET d HTTP/1.1\r\nhost: a\r\n\r\n",
        "400 Bad Request",
        "Bad Request",
        "- - 400 http1.codec_error DPE",
    ),
    (
        "POST /d HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "400 Bad Request",
        "Bad Request",
        "- - 400 http1.content_length_and_chunked_not_allowed DPE",
    ),
    (
        "POST /d HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n",
        "400 Bad Request",
        "Bad Request",
        "- - 400 http1.content_length_and_chunked_not_allowed DPE",
    ),
    (
        "POST /d HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "501 Not Implemented",
        "Not Implemented",
        "- - 501 http1.invalid_transfer_encoding DPE",
    ),
    (
        "POST /d HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n",
        "400 Bad Request",
        "Bad Request",
        "- - 400 http1.codec_error DPE",
    ),
    (
        "GET /d HTTP/1.1\r\nhost: a\r\nx-a\r\n\r\n",
        "400 Bad Request",
        "Bad Request",
        "- - 400 http1.codec_error DPE",
    ),
    (
        "GET /d HTTP/1.1\r\nhost: a\r\nx-a: a\0b\r\n\r\n",
        "400 Bad Request",
        "Bad Request",
        "- - 400 http1.invalid_characters DPE",
    ),
    (
        "GET /d HTTP/1.0\r\nhost: a\r\n\r\n",
        "426 Upgrade Required",
        "Upgrade Required",
        "- - 426 low_version DPE",
    ),
    (
        "GET /d\r\n\r\n",
        "426 Upgrade Required",
        "Upgrade Required",
        "- - 426 low_version DPE",
    ),
    (
        "GET /d HTTP/3.7\r\nhost: a\r\n\r\n",
        "426 Upgrade Required",
        "Upgrade Required",
        "- - 426 low_version DPE",
    ),
    (
        "GET /d#x HTTP/1.1\r\nhost: a\r\n\r\n",
        "400 Bad Request",
        "",
        "- - 400 path_normalization_failed -",
    ),
    (
        "GET /d HTTP/1.1\r\n\r\n",
        "400 Bad Request",
        "",
        "- - 400 missing_host_header -",
    ),
];

#[test]
fn heads_that_are_wrong_are_answered_and_logged_in_envoys_words() {
    let path = scratch("refused.log");
    let gateway = Setup::routes("{match: {prefix: /d}, direct_response: {status: 200}}")
        .manager(&format!(
            r#"access_log: [{{name: file, typed_config: {{"@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: "{}", log_format: {{text_format_source: {{inline_string: "%REQ(:METHOD)% %REQ(:PATH)% %RESPONSE_CODE% %RESPONSE_CODE_DETAILS% %RESPONSE_FLAGS%\n"}}}}}}}}]"#,
            path.display()
        ))
        .start();
    let mut logged = String::new();
    for (request, status, body, line) in CASES {
        let client = gateway.connect();
        client.send(request);
        let answer = client.rest().expect("it is not reset");
        // The library answers HTTP/1.0 in its own version, Envoy in HTTP/1.1.
        let first = answer.lines().next().unwrap_or_default();
        assert!(
            first.ends_with(&format!(" {status}")),
            "{request:?}: {answer}"
        );
        assert!(
            answer.ends_with(&format!("\r\n\r\n{body}")),
            "{request:?}: {answer}"
        );
        for header in ["server: envoy", "connection: close"] {
            assert!(
                answer.contains(&format!("{header}\r\n")),
                "{request:?}: {answer}"
            );
        }
        logged += line;
        logged.push('\n');
    }
    gateway.stop();
    let lines = fs::read_to_string(path).expect("the log is written");
    assert_eq!(lines, logged);
}

#[test]
fn heads_that_are_too_large_are_a_431() {
    let gateway = Setup::routes("{match: {prefix: /}, direct_response: {status: 200}}").start();
    let many: String = (0..120)
        .map(|number| format!("x-{number}: 1\r\n"))
        .collect();
    let large = format!("x-a: {}\r\n", "a".repeat(70_000));
    for headers in [many, large] {
        let client = gateway.connect();
        client.send(&format!("GET / HTTP/1.1\r\nhost: a\r\n{headers}\r\n"));
        let answer = client.rest().expect("it is not reset");
        let status = "HTTP/1.1 431 Request Header Fields Too Large\r\n";
        assert!(answer.starts_with(status), "{answer}");
        assert!(
            answer.ends_with("\r\n\r\nRequest Header Fields Too Large"),
            "{answer}"
        );
    }
}

#[test]
fn a_body_that_is_no_body_is_a_400() {
    let upstream = crate::upstream::Upstream::echo();
    let gateway = Setup::to(upstream.address).start();
    let client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n");
    let answer = client.rest().expect("it is not reset");
    assert!(
        answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
        "{answer}"
    );
}

#[test]
fn a_head_that_does_not_come_is_a_408() {
    let gateway = Setup::routes("{match: {prefix: /}, direct_response: {status: 200}}")
        .manager("request_headers_timeout: 0.05s")
        .start();
    let client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nho");
    let answer = client.rest().expect("it is not reset");
    assert!(
        answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"),
        "{answer}"
    );
}
