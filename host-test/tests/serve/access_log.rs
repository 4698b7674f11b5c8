//! Access logs, as Envoy writes them.

use std::fs;
use std::sync::mpsc;

use crate::gateway::{Setup, scratch};
use crate::ports::unused_address;
use crate::upstream::Upstream;

const FILE: &str = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog";

/// A connection manager's `access_log` of a file.
fn to_file(path: &std::path::Path, format: &str) -> String {
    format!(
        r#"access_log: [{{name: file, typed_config: {{"@type": {FILE}, path: "{}", log_format: {format}}}}}]"#,
        path.display()
    )
}

#[test]
fn each_stream_has_its_line() {
    let path = scratch("access.log");
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-a: 1\r\n\r\nok");
    let refused = unused_address();
    let format = "{text_format_source: {inline_string: \"%REQ(:METHOD)% \
        %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL% %RESPONSE_CODE% %RESPONSE_FLAGS% \
        %RESPONSE_CODE_DETAILS% rx=%BYTES_RECEIVED% tx=%BYTES_SENT% up=%UPSTREAM_HOST% \
        cl=%UPSTREAM_CLUSTER% route=%ROUTE_NAME% %RESP(X-A)% %REQ(USER-AGENT)%\\n\"}}";
    let gateway = Setup::routes(
        "{name: direct, match: {path: /direct}, direct_response: {status: 204}}, \
         {match: {prefix: /refused}, route: {cluster: refused}}, \
         {match: {prefix: /up}, route: {cluster: up, prefix_rewrite: /x}}",
    )
    .cluster("up", &[upstream.address])
    .cluster("refused", &[refused])
    .manager(&to_file(&path, format))
    .start();
    let mut client = gateway.connect();
    client.get("/direct", "user-agent: me\r\n");
    client.get("/nowhere", "");
    client.get("/refused", "");
    client.send("POST /up?q HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc");
    client.response();
    gateway.stop();
    let up = upstream.address;
    let expected = format!(
        "GET /direct HTTP/1.1 204 - direct_response rx=0 tx=0 up=- cl=- route=direct - me\n\
         GET /nowhere HTTP/1.1 404 NR route_not_found rx=0 tx=0 up=- cl=- route=- - -\n\
         GET /refused HTTP/1.1 503 UF upstream_reset_before_response_started\
         {{remote_connection_failure|delayed_connect_error:_Connection_refused}} rx=0 tx=98 \
         up={refused} cl=refused route=- - -\n\
         POST /up?q HTTP/1.1 200 - via_upstream rx=3 tx=2 up={up} cl=up route=- 1 -\n"
    );
    assert_eq!(
        fs::read_to_string(path).expect("the log is written"),
        expected
    );
}

#[test]
fn json_lines_keep_types_and_sort_their_members() {
    let path = scratch("access.json");
    let format = "{json_format: {status: \"%RESPONSE_CODE%\", path: \"%REQ(:PATH)%\", \
        none: \"%REQ(none)%\", text: \"s %RESPONSE_CODE%\", deep: {list: [\"%PROTOCOL%\"]}, n: 3}}";
    let gateway = Setup::routes("{match: {prefix: /}, direct_response: {status: 200}}")
        .manager(&to_file(&path, format))
        .start();
    gateway.get("/\u{22}a\u{22}");
    gateway.stop();
    assert_eq!(
        fs::read_to_string(path).expect("the log is written"),
        "{\"deep\":{\"list\":[\"HTTP/1.1\"]},\"n\":3,\"none\":null,\"path\":\"/\\\"a\\\"\",\
         \"status\":200,\"text\":\"s 200\"}\n"
    );
}

#[test]
fn a_client_that_leaves_is_logged_as_such() {
    let path = scratch("gone.log");
    let (asked, is_asked) = mpsc::channel();
    let (ended, has_ended) = mpsc::channel();
    let upstream = Upstream::new(move |mut connection| {
        connection.head();
        asked.send(()).expect("the test waits");
        connection.drain();
        ended.send(()).expect("the test waits");
    });
    let format = "{text_format_source: {inline_string: \
        \"%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\\n\"}}";
    let gateway = Setup::to(upstream.address)
        .manager(&to_file(&path, format))
        .start();
    let client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    is_asked.recv().expect("the request arrives");
    drop(client);
    has_ended.recv().expect("the connection is closed");
    gateway.stop();
    assert_eq!(
        fs::read_to_string(path).expect("the log is written"),
        "0 DC downstream_remote_disconnect\n"
    );
}

#[test]
fn lines_of_all_workers_are_whole() {
    let path = scratch("many.log");
    let format = "{text_format_source: {inline_string: \"%REQ(:PATH)%.\\n\"}}";
    let gateway = Setup::routes("{match: {prefix: /}, direct_response: {status: 200}}")
        .manager(&to_file(&path, format))
        .start();
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let gateway = &gateway;
            scope.spawn(move || {
                let mut client = gateway.connect();
                for n in 0..500 {
                    client.get(&format!("/{worker}/{n}"), "");
                }
            });
        }
    });
    gateway.stop();
    let log = fs::read_to_string(path).expect("the log is written");
    let mut lines: Vec<&str> = log.lines().collect();
    lines.sort_unstable();
    let mut expected: Vec<String> = (0..4)
        .flat_map(|worker| (0..500).map(move |n| format!("/{worker}/{n}.")))
        .collect();
    expected.sort_unstable();
    assert!(lines == expected, "{} lines", lines.len());
}
