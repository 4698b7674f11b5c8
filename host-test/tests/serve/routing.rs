//! Where requests go, and what they look like there.

use std::collections::BTreeMap;

use crate::gateway::Setup;
use crate::upstream::{Upstream, header};

#[test]
fn requests_are_answered_one_after_the_other_on_one_connection() {
    let upstream = Upstream::echo();
    let gateway = Setup::to(upstream.address).start();
    let mut client = gateway.connect();
    for path in ["/a", "/b", "/c"] {
        let response = client.get(path, "");
        assert_eq!(response.status, 200);
        assert!(
            response
                .body
                .starts_with(&format!("GET {path} HTTP/1.1\r\n"))
        );
    }
    assert_eq!(
        upstream.connections(),
        1,
        "the upstream's connection is kept"
    );
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let upstream = Upstream::echo();
    let gateway = Setup::to(upstream.address).start();
    let mut client = gateway.connect();
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
    client.send(&(get("/first") + &get("/second")));
    assert!(client.response().body.starts_with("GET /first "));
    assert!(client.response().body.starts_with("GET /second "));
}

#[test]
fn a_request_goes_upstream_as_envoy_would_send_it() {
    let upstream = Upstream::echo();
    let gateway = Setup::to(upstream.address).start();
    let response = gateway.connect().get(
        "/p?q=1",
        "X-Case: Value\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n\
         TE: trailers\r\nX-Envoy-Max-Retries: 3\r\n",
    );
    let mut head = response.body.lines();
    assert_eq!(head.next(), Some("GET /p?q=1 HTTP/1.1"));
    let mut headers: BTreeMap<&str, &str> = head.filter_map(|line| line.split_once(": ")).collect();
    let id = headers.remove("x-request-id").expect("an id is made");
    assert_eq!(id.len(), 36, "{id}");
    let expected = BTreeMap::from([
        ("host", "a.example"),
        ("te", "trailers"),
        ("x-case", "Value"),
        ("x-envoy-expected-rq-timeout-ms", "15000"),
        ("x-forwarded-proto", "http"),
    ]);
    assert_eq!(headers, expected);
}

#[test]
fn a_response_comes_back_as_envoy_would_send_it() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nServer: mine\r\nKeep-Alive: timeout=5\r\n\
         Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\nok",
    );
    let gateway = Setup::to(upstream.address).start();
    let response = gateway.get("/");
    let mut headers: Vec<(&str, &str)> = response
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    headers.sort_unstable();
    let service_time = headers.pop().expect("there are headers");
    assert_eq!(service_time.0, "x-envoy-upstream-service-time");
    assert!(service_time.1.parse::<u64>().is_ok());
    assert_eq!(
        headers,
        [
            ("content-length", "2"),
            ("date", "Thu, 01 Jan 1970 00:00:00 GMT"),
            ("server", "envoy"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
        ]
    );
}

#[test]
fn the_first_matching_route_answers() {
    let gateway = Setup::routes(
        "{match: {path: /exact}, direct_response: {status: 200, body: {inline_string: exact}}}, \
         {match: {prefix: /q, query_parameters: [{name: a}]}, \
          direct_response: {status: 200, body: {inline_string: query}}}, \
         {match: {prefix: /h, headers: [{name: x-h, string_match: {exact: b}}]}, \
          direct_response: {status: 201}}, \
         {match: {prefix: /r}, redirect: {path_redirect: /new, response_code: FOUND}}, \
         {match: {prefix: /none}, direct_response: {status: 204}}",
    )
    .start();
    for (path, status, body) in [
        ("/exact?x", 200, "exact"),
        ("/exactly", 404, ""),
        ("/q?a", 200, "query"),
        ("/q?b", 404, ""),
        ("/h", 404, ""),
        ("/r?x=1", 302, ""),
        ("/none", 204, ""),
    ] {
        let response = gateway.get(path);
        assert_eq!(
            (response.status, response.body.as_str()),
            (status, body),
            "{path}"
        );
    }
    assert_eq!(gateway.connect().get("/h", "x-h: b\r\n").status, 201);
    let redirect = gateway.get("/r?x=1");
    assert_eq!(
        redirect.header("location"),
        Some("http://a.example/new?x=1")
    );
}

#[test]
fn direct_responses_have_a_type_and_a_length_if_they_have_a_body() {
    let gateway = Setup::routes(
        "{match: {path: /body}, direct_response: {status: 200, body: {inline_string: hello}}}, \
         {match: {path: /bare}, direct_response: {status: 404}}",
    )
    .start();
    let body = gateway.get("/body");
    assert_eq!(body.header("content-type"), Some("text/plain"));
    assert_eq!(body.header("content-length"), Some("5"));
    let bare = gateway.get("/bare");
    assert_eq!(bare.header("content-type"), None);
    assert_eq!(bare.header("content-length"), Some("0"));
}

#[test]
fn a_head_request_gets_the_headers_alone() {
    let gateway = Setup::routes(
        "{match: {prefix: /}, direct_response: {status: 200, body: {inline_string: hello}}}",
    )
    .start();
    let mut client = gateway.connect();
    client.send("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.head().header("content-length"), Some("5"));
    assert_eq!(
        client.get("/", "").body,
        "hello",
        "the connection is in step"
    );
}

#[test]
fn routes_rewrite_and_change_headers_both_ways() {
    let upstream = Upstream::echo();
    let gateway = Setup::routes(
        "{match: {prefix: /old/}, route: {cluster: up, prefix_rewrite: /new/, \
          host_rewrite_literal: b.example}, \
          request_headers_to_add: [{header: {key: x-add, value: '%REQ(:path)%'}}], \
          request_headers_to_remove: [x-remove], \
          response_headers_to_add: [{header: {key: x-code, value: 'was %RESPONSE_CODE%'}}]}",
    )
    .cluster("up", &[upstream.address])
    .start();
    let response = gateway.connect().get("/old/a?b", "x-remove: 1\r\n");
    let head = &response.body;
    assert!(head.starts_with("GET /new/a?b HTTP/1.1\r\n"), "{head}");
    for (name, value) in [
        ("host", Some("b.example")),
        ("x-add", Some("/old/a?b")),
        ("x-remove", None),
        ("x-envoy-original-path", Some("/old/a?b")),
        ("x-envoy-original-host", Some("a.example")),
    ] {
        assert_eq!(header(head, name), value, "{name}");
    }
    assert_eq!(response.header("x-code"), Some("was 200"));
}

#[test]
fn endpoints_take_turns_on_each_worker() {
    let upstreams: Vec<Upstream> = ["a", "b", "c"]
        .map(|name| format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{name}"))
        .iter()
        .map(|answer| Upstream::answering(answer))
        .collect();
    let addresses: Vec<_> = upstreams.iter().map(|upstream| upstream.address).collect();
    let gateway = Setup::routes("{match: {prefix: /}, route: {cluster: up}}")
        .cluster("up", &addresses)
        .start();
    // One connection stays with one worker.
    let mut client = gateway.connect();
    let names: Vec<String> = (0..6).map(|_| client.get("/", "").body).collect();
    let mut turn = names[..3].to_vec();
    assert_eq!(turn, names[3..]);
    turn.sort_unstable();
    assert_eq!(turn, ["a", "b", "c"]);
}

#[test]
fn weights_decide_between_clusters() {
    let [one, other] = ["a", "b"].map(|name| {
        Upstream::answering(&format!(
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{name}"
        ))
    });
    let gateway = Setup::routes(
        "{match: {path: /never}, route: {weighted_clusters: {clusters: \
          [{name: a, weight: 0}, {name: b, weight: 5}]}}}, \
         {match: {prefix: /}, route: {weighted_clusters: {clusters: \
          [{name: a, weight: 1}, {name: b, weight: 1}]}}}",
    )
    .cluster("a", &[one.address])
    .cluster("b", &[other.address])
    .start();
    let mut client = gateway.connect();
    assert!((0..20).all(|_| client.get("/never", "").body == "b"));
    // All of 64 fair draws alike happen once in 2^63 runs.
    let drawn: Vec<String> = (0..64).map(|_| client.get("/", "").body).collect();
    assert!(drawn.iter().any(|name| name == "a") && drawn.iter().any(|name| name == "b"));
}

#[test]
fn names_are_looked_up() {
    let upstream = Upstream::echo();
    let port = upstream.address.port();
    for kind in ["STRICT_DNS", "LOGICAL_DNS"] {
        let mut setup = Setup::routes("{match: {prefix: /}, route: {cluster: up}}");
        setup = setup.raw_cluster(&format!(
            "{{name: up, type: {kind}, dns_lookup_family: V4_ONLY, load_assignment: {{cluster_name: up, \
             endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: \
             {{address: localhost, port_value: {port}}}}}}}}}]}}]}}}}"
        ));
        assert_eq!(setup.start().get("/").status, 200, "{kind}");
    }
}

#[test]
fn both_workers_get_connections() {
    let gateway = Setup::routes("{match: {prefix: /}, direct_response: {status: 200}}")
        .guest(
            "count",
            // Counts the streams of this VM, and so of this worker, in a header.
            r#"(global $n (mut i32) (i32.const 48))
            (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
              (global.set $n (i32.add (global.get $n) (i32.const 1)))
              (i32.store8 (i32.const 60) (global.get $n))
              (drop (call $add_header (i32.const 2) str("x-n") (i32.const 60) (i32.const 1)))
              (i32.const 0))"#,
            "",
        )
        .start();
    let numbers: Vec<_> = (0..4)
        .map(|_| gateway.get("/").header("x-n").map(str::to_owned))
        .collect();
    let expected = ["1", "1", "2", "2"].map(|n| Some(n.to_owned()));
    assert_eq!(
        numbers, expected,
        "connections alternate between two workers"
    );
}
